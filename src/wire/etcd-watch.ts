/**
 * etcd's watch messages in protobuf, and the parts of a response that a server puts together itself: an event is
 * encoded once, with its tag, and copied into the responses of all who watch its key.
 * Source: etcd 3.4 `etcdserverpb/rpc.proto`, `mvccpb/kv.proto`.
 */
import { EMPTY } from '../base/index.ts'
import { KEY_VALUE, RESPONSE_HEADER } from './etcd-kv.ts'
import type {
  WatchCancelRequest,
  WatchCreateRequest,
  WatchedEvent,
  WatchRequest,
  WatchResponse,
} from './etcd-watch-types.ts'
import type { MessageCodec } from './protobuf-message.ts'
import {
  boolField,
  bytesField,
  ENUM,
  enumField,
  framed,
  int64Field,
  message,
  messageField,
  repeatedField,
  stringField,
  wrongType,
} from './protobuf-message.ts'
import type { ProtobufReader } from './protobuf-reader.ts'
import { WIRE_TYPE } from './protobuf-reader.ts'
import { ProtobufWriter, varintSize, writeVarint } from './protobuf-writer.ts'

const CREATE: MessageCodec<WatchCreateRequest> = message<WatchCreateRequest>(
  'WatchCreateRequest',
  () => ({
    key: EMPTY,
    rangeEnd: EMPTY,
    startRevision: 0,
    progressNotify: false,
    filters: [],
    prevKv: false,
    watchId: 0,
    fragment: false,
  }),
  {
    key: bytesField(1),
    rangeEnd: bytesField(2),
    startRevision: int64Field(3),
    progressNotify: boolField(4),
    filters: repeatedField(5, ENUM),
    prevKv: boolField(6),
    watchId: int64Field(7),
    fragment: boolField(8),
  },
)

const CANCEL: MessageCodec<WatchCancelRequest> = message<WatchCancelRequest>(
  'WatchCancelRequest',
  () => ({ watchId: 0 }),
  { watchId: int64Field(1) },
)

const PROGRESS: MessageCodec<object> = message<object>('WatchProgressRequest', () => ({}), {})

/** One oneof of messages: the last one wins, two of the same kind are merged. */
export const WATCH_REQUEST: MessageCodec<WatchRequest> = framed<WatchRequest>('WatchRequest', {
  make: () => ({ type: 'none' }),
  readFields(reader, before) {
    let request = before
    while (reader.more() && reader.tag('WatchRequest')) {
      if (reader.fieldNumber > 3) reader.skip('WatchRequest')
      else if (reader.wireType !== WIRE_TYPE.bytes) wrongType(reader, 'WatchRequest.request', WIRE_TYPE.bytes)
      else request = readRequest(reader, request)
    }
    return request
  },
  writeFields(writer, request) {
    switch (request.type) {
      case 'create':
        return messageField(1, CREATE).write(writer, request.create)
      case 'cancel':
        return messageField(2, CANCEL).write(writer, request.cancel)
      case 'progress':
        return messageField(3, PROGRESS).write(writer, {})
      case 'none':
        return
      default:
        request satisfies never
    }
  },
})

function readRequest(reader: ProtobufReader, before: WatchRequest): WatchRequest {
  switch (reader.fieldNumber) {
    case 1: {
      const create = before.type === 'create' ? before.create : undefined
      return { type: 'create', create: CREATE.read(reader, 'WatchRequest.create_request', create) }
    }
    case 2: {
      const cancel = before.type === 'cancel' ? before.cancel : undefined
      return { type: 'cancel', cancel: CANCEL.read(reader, 'WatchRequest.cancel_request', cancel) }
    }
    default:
      PROGRESS.read(reader, 'WatchRequest.progress_request', undefined)
      return { type: 'progress' }
  }
}

const EVENT: MessageCodec<WatchedEvent> = message<WatchedEvent>('Event', () => ({ type: 0 }), {
  type: enumField(1),
  kv: messageField(2, KEY_VALUE),
  prevKv: messageField(3, KEY_VALUE),
})

export const WATCH_RESPONSE: MessageCodec<WatchResponse> = message<WatchResponse>(
  'WatchResponse',
  () => ({
    watchId: 0,
    created: false,
    canceled: false,
    compactRevision: 0,
    cancelReason: '',
    fragment: false,
    events: [],
  }),
  {
    header: messageField(1, RESPONSE_HEADER),
    watchId: int64Field(2),
    created: boolField(3),
    canceled: boolField(4),
    compactRevision: int64Field(5),
    cancelReason: stringField(6),
    fragment: boolField(7),
    events: repeatedField(11, EVENT),
  },
)

const EVENTS_TAG = 0x5a
const TYPE_TAG = 0x08
const KV_TAG = 0x12
const PREV_KV_TAG = 0x1a

function kvSize(kv: Uint8Array): number {
  return 1 + varintSize(kv.length) + kv.length
}

function writeKv(target: Uint8Array, at: number, tag: number, kv: Uint8Array): number {
  target[at] = tag
  const offset = writeVarint(target, at + 1, kv.length)
  target.set(kv, offset)
  return offset + kv.length
}

/** One event as a response's field, tag and length included, from encoded KeyValues. */
export function encodeEventField(isDeletion: boolean, kv: Uint8Array, prevKv: Uint8Array | undefined): Uint8Array {
  const size = (isDeletion ? 2 : 0) + kvSize(kv) + (prevKv === undefined ? 0 : kvSize(prevKv))
  const field = new Uint8Array(1 + varintSize(size) + size)
  field[0] = EVENTS_TAG
  let at = writeVarint(field, 1, size)
  if (isDeletion) {
    field[at++] = TYPE_TAG
    field[at++] = 1
  }
  at = writeKv(field, at, KV_TAG, kv)
  if (prevKv !== undefined) writeKv(field, at, PREV_KV_TAG, prevKv)
  return field
}

/** A WatchResponse's fields between its header and its events. */
export function encodeWatchHead(head: Partial<Omit<WatchResponse, 'header' | 'events'>>): Uint8Array {
  const writer = new ProtobufWriter(32)
  int64Field(2).write(writer, head.watchId ?? 0)
  boolField(3).write(writer, head.created ?? false)
  boolField(4).write(writer, head.canceled ?? false)
  int64Field(5).write(writer, head.compactRevision ?? 0)
  stringField(6).write(writer, head.cancelReason ?? '')
  boolField(7).write(writer, head.fragment ?? false)
  return writer.finish()
}
