/**
 * etcd's key-value messages in protobuf: one table each. Requests keep the client's bytes as views.
 * Source: etcd 3.4 `etcdserverpb/rpc.proto`, `mvccpb/kv.proto`.
 */
import { EMPTY } from '../base/index.ts'
import type {
  CompactionRequest,
  CompactionResponse,
  Compare,
  DeleteRangeRequest,
  DeleteRangeResponse,
  KeyValue,
  PutRequest,
  PutResponse,
  RangeRequest,
  RangeResponse,
  RequestOp,
  ResponseHeader,
  ResponseOp,
  TxnRequest,
  TxnResponse,
} from './etcd-types.ts'
import type { MessageCodec } from './protobuf-message.ts'
import {
  BIG_INT64,
  bigInt64Field,
  bigUint64Field,
  boolField,
  BYTES,
  bytesField,
  ENUM,
  enumField,
  framed,
  INT64,
  int64Field,
  message,
  messageField,
  repeatedField,
  uint64Field,
  wrongType,
} from './protobuf-message.ts'
import type { ProtobufReader } from './protobuf-reader.ts'
import { WIRE_TYPE } from './protobuf-reader.ts'
import type { ProtobufWriter } from './protobuf-writer.ts'

export const KEY_VALUE: MessageCodec<KeyValue> = message<KeyValue>(
  'KeyValue',
  () => ({ key: EMPTY, createRevision: 0, modRevision: 0, version: 0, value: EMPTY, lease: 0n }),
  {
    key: bytesField(1),
    createRevision: int64Field(2),
    modRevision: int64Field(3),
    version: int64Field(4),
    value: bytesField(5),
    lease: bigInt64Field(6),
  },
)

export const RESPONSE_HEADER: MessageCodec<ResponseHeader> = message<ResponseHeader>(
  'ResponseHeader',
  () => ({ clusterId: 0n, memberId: 0n, revision: 0, raftTerm: 0 }),
  {
    clusterId: bigUint64Field(1),
    memberId: bigUint64Field(2),
    revision: int64Field(3),
    raftTerm: uint64Field(4),
  },
)

export const RANGE_REQUEST: MessageCodec<RangeRequest> = message<RangeRequest>(
  'RangeRequest',
  () => ({
    key: EMPTY,
    rangeEnd: EMPTY,
    limit: 0,
    revision: 0,
    sortOrder: 0,
    sortTarget: 0,
    serializable: false,
    keysOnly: false,
    countOnly: false,
    minModRevision: 0,
    maxModRevision: 0,
    minCreateRevision: 0,
    maxCreateRevision: 0,
  }),
  {
    key: bytesField(1),
    rangeEnd: bytesField(2),
    limit: int64Field(3),
    revision: int64Field(4),
    sortOrder: enumField(5),
    sortTarget: enumField(6),
    serializable: boolField(7),
    keysOnly: boolField(8),
    countOnly: boolField(9),
    minModRevision: int64Field(10),
    maxModRevision: int64Field(11),
    minCreateRevision: int64Field(12),
    maxCreateRevision: int64Field(13),
  },
)

export const RANGE_RESPONSE: MessageCodec<RangeResponse> = message<RangeResponse>(
  'RangeResponse',
  () => ({ kvs: [], more: false, count: 0 }),
  {
    header: messageField(1, RESPONSE_HEADER),
    kvs: repeatedField(2, KEY_VALUE),
    more: boolField(3),
    count: int64Field(4),
  },
)

export const PUT_REQUEST: MessageCodec<PutRequest> = message<PutRequest>(
  'PutRequest',
  () => ({ key: EMPTY, value: EMPTY, lease: 0n, prevKv: false, ignoreValue: false, ignoreLease: false }),
  {
    key: bytesField(1),
    value: bytesField(2),
    lease: bigInt64Field(3),
    prevKv: boolField(4),
    ignoreValue: boolField(5),
    ignoreLease: boolField(6),
  },
)

export const PUT_RESPONSE: MessageCodec<PutResponse> = message<PutResponse>('PutResponse', () => ({}), {
  header: messageField(1, RESPONSE_HEADER),
  prevKv: messageField(2, KEY_VALUE),
})

export const DELETE_RANGE_REQUEST: MessageCodec<DeleteRangeRequest> = message<DeleteRangeRequest>(
  'DeleteRangeRequest',
  () => ({ key: EMPTY, rangeEnd: EMPTY, prevKv: false }),
  { key: bytesField(1), rangeEnd: bytesField(2), prevKv: boolField(3) },
)

export const DELETE_RANGE_RESPONSE: MessageCodec<DeleteRangeResponse> = message<DeleteRangeResponse>(
  'DeleteRangeResponse',
  () => ({ deleted: 0, prevKvs: [] }),
  { header: messageField(1, RESPONSE_HEADER), deleted: int64Field(2), prevKvs: repeatedField(3, KEY_VALUE) },
)

export const COMPACTION_REQUEST: MessageCodec<CompactionRequest> = message<CompactionRequest>(
  'CompactionRequest',
  () => ({ revision: 0, physical: false }),
  { revision: int64Field(1), physical: boolField(2) },
)

export const COMPACTION_RESPONSE: MessageCodec<CompactionResponse> = message<CompactionResponse>(
  'CompactionResponse',
  () => ({}),
  { header: messageField(1, RESPONSE_HEADER) },
)

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

/** The operand is a oneof: each of its fields replaces whatever operand came before. */
const COMPARE: MessageCodec<Compare> = framed<Compare>('Compare', {
  make: () => ({ result: 0, target: 0, key: EMPTY, rangeEnd: EMPTY, operand: undefined }),
  readFields(reader, compare: Mutable<Compare>) {
    while (reader.more() && reader.tag('Compare')) {
      switch (reader.fieldNumber) {
        case 1:
          if (typed(reader, 'Compare.result', ENUM.wireType)) compare.result = reader.int32('Compare.result')
          break
        case 2:
          if (typed(reader, 'Compare.target', ENUM.wireType)) compare.target = reader.int32('Compare.target')
          break
        case 3:
          if (typed(reader, 'Compare.key', BYTES.wireType)) compare.key = reader.bytes('Compare.key')
          break
        case 4:
        case 5:
        case 6: {
          const type = REVISION_OPERANDS[reader.fieldNumber - 4] as 'version' | 'create' | 'mod'
          if (!typed(reader, 'Compare.operand', INT64.wireType)) break
          compare.operand = { type, revision: reader.int64('Compare.operand') }
          break
        }
        case 7:
          if (!typed(reader, 'Compare.value', BYTES.wireType)) break
          compare.operand = { type: 'value', value: reader.bytes('Compare.value') }
          break
        case 8:
          if (!typed(reader, 'Compare.lease', BIG_INT64.wireType)) break
          compare.operand = { type: 'lease', lease: reader.bigInt64('Compare.lease') }
          break
        case 64:
          if (typed(reader, 'Compare.range_end', BYTES.wireType)) compare.rangeEnd = reader.bytes('Compare.range_end')
          break
        default:
          reader.skip('Compare')
      }
    }
  },
  writeFields(writer, compare) {
    COMPARE_RESULT_FIELD.write(writer, compare.result)
    COMPARE_TARGET_FIELD.write(writer, compare.target)
    COMPARE_KEY_FIELD.write(writer, compare.key)
    if (compare.operand !== undefined) writeOperand(writer, compare.operand)
    COMPARE_RANGE_END_FIELD.write(writer, compare.rangeEnd)
  },
})

const REVISION_OPERANDS = ['version', 'create', 'mod'] as const
const COMPARE_RESULT_FIELD = enumField(1)
const COMPARE_TARGET_FIELD = enumField(2)
const COMPARE_KEY_FIELD = bytesField(3)
const COMPARE_RANGE_END_FIELD = bytesField(64)

/** Fields of a oneof are written even where they are zero. */
function writeOperand(writer: ProtobufWriter, operand: NonNullable<Compare['operand']>): void {
  switch (operand.type) {
    case 'version':
    case 'create':
    case 'mod':
      writer.tag(REVISION_OPERANDS.indexOf(operand.type) + 4, WIRE_TYPE.varint)
      writer.int64(operand.revision)
      return
    case 'value':
      writer.tag(7, WIRE_TYPE.bytes)
      writer.bytes(operand.value)
      return
    case 'lease':
      writer.tag(8, WIRE_TYPE.varint)
      writer.bigInt64(operand.lease)
      return
    default:
      operand satisfies never
  }
}

function typed(reader: ProtobufReader, where: string, wireType: number): boolean {
  if (reader.wireType === wireType) return true
  wrongType(reader, where, wireType)
  return false
}

/** RequestOp is one oneof of messages: the last one wins, two of the same kind are merged. */
const REQUEST_OP: MessageCodec<RequestOp> = framed<RequestOp>('RequestOp', {
  make: () => ({ type: 'none' }),
  readFields(reader, before) {
    let op = before
    while (reader.more() && reader.tag('RequestOp')) {
      if (reader.fieldNumber > 4) reader.skip('RequestOp')
      else if (typed(reader, 'RequestOp.request', WIRE_TYPE.bytes)) op = readRequest(reader, op)
    }
    return op
  },
  writeFields(writer, op) {
    switch (op.type) {
      case 'range':
        return messageField(1, RANGE_REQUEST).write(writer, op.range)
      case 'put':
        return messageField(2, PUT_REQUEST).write(writer, op.put)
      case 'deleteRange':
        return messageField(3, DELETE_RANGE_REQUEST).write(writer, op.deleteRange)
      case 'txn':
        return messageField(4, TXN_REQUEST).write(writer, op.txn)
      case 'none':
        return
      default:
        op satisfies never
    }
  },
})

function readRequest(reader: ProtobufReader, before: RequestOp): RequestOp {
  switch (reader.fieldNumber) {
    case 1: {
      const range = before.type === 'range' ? before.range : undefined
      return { type: 'range', range: RANGE_REQUEST.read(reader, 'RequestOp.request_range', range) }
    }
    case 2: {
      const put = before.type === 'put' ? before.put : undefined
      return { type: 'put', put: PUT_REQUEST.read(reader, 'RequestOp.request_put', put) }
    }
    case 3: {
      const deleteRange = before.type === 'deleteRange' ? before.deleteRange : undefined
      const where = 'RequestOp.request_delete_range'
      return { type: 'deleteRange', deleteRange: DELETE_RANGE_REQUEST.read(reader, where, deleteRange) }
    }
    default: {
      const txn = before.type === 'txn' ? before.txn : undefined
      return { type: 'txn', txn: TXN_REQUEST.read(reader, 'RequestOp.request_txn', txn) }
    }
  }
}

/** A ResponseOp without a response is read as an empty range: etcd never sends one. */
const RESPONSE_OP: MessageCodec<ResponseOp> = framed<ResponseOp>('ResponseOp', {
  make: () => ({ type: 'range', range: { kvs: [], more: false, count: 0 } }),
  readFields(reader, before) {
    let op = before
    while (reader.more() && reader.tag('ResponseOp')) {
      if (reader.fieldNumber > 4) reader.skip('ResponseOp')
      else if (typed(reader, 'ResponseOp.response', WIRE_TYPE.bytes)) op = readResponse(reader, op)
    }
    return op
  },
  writeFields(writer, op) {
    switch (op.type) {
      case 'range':
        return messageField(1, RANGE_RESPONSE).write(writer, op.range)
      case 'put':
        return messageField(2, PUT_RESPONSE).write(writer, op.put)
      case 'deleteRange':
        return messageField(3, DELETE_RANGE_RESPONSE).write(writer, op.deleteRange)
      case 'txn':
        return messageField(4, TXN_RESPONSE).write(writer, op.txn)
      default:
        op satisfies never
    }
  },
})

function readResponse(reader: ProtobufReader, before: ResponseOp): ResponseOp {
  switch (reader.fieldNumber) {
    case 1: {
      const range = before.type === 'range' ? before.range : undefined
      return { type: 'range', range: RANGE_RESPONSE.read(reader, 'ResponseOp.response_range', range) }
    }
    case 2: {
      const put = before.type === 'put' ? before.put : undefined
      return { type: 'put', put: PUT_RESPONSE.read(reader, 'ResponseOp.response_put', put) }
    }
    case 3: {
      const deleteRange = before.type === 'deleteRange' ? before.deleteRange : undefined
      const where = 'ResponseOp.response_delete_range'
      return { type: 'deleteRange', deleteRange: DELETE_RANGE_RESPONSE.read(reader, where, deleteRange) }
    }
    default: {
      const txn = before.type === 'txn' ? before.txn : undefined
      return { type: 'txn', txn: TXN_RESPONSE.read(reader, 'ResponseOp.response_txn', txn) }
    }
  }
}

export const TXN_REQUEST: MessageCodec<TxnRequest> = message<TxnRequest>(
  'TxnRequest',
  () => ({ compare: [], success: [], failure: [] }),
  { compare: repeatedField(1, COMPARE), success: repeatedField(2, REQUEST_OP), failure: repeatedField(3, REQUEST_OP) },
)

export const TXN_RESPONSE: MessageCodec<TxnResponse> = message<TxnResponse>(
  'TxnResponse',
  () => ({ succeeded: false, responses: [] }),
  { header: messageField(1, RESPONSE_HEADER), succeeded: boolField(2), responses: repeatedField(3, RESPONSE_OP) },
)
