/**
 * Responses put together from bytes that are encoded already: a range copies its pairs as they are stored, and the
 * header, field 1 of every response, is put in front of a body that was made without it.
 */
import { EMPTY } from '../base/index.ts'
import { KEY_VALUE, RESPONSE_HEADER } from './etcd-kv.ts'
import type { KeyValue, ResponseHeader } from './etcd-types.ts'
import { ProtobufWriter, varintSize, writeVarint } from './protobuf-writer.ts'

const PREV_KV_TAG = 0x12
const PREV_KVS_TAG = 0x1a
const DELETED_TAG = 0x10

/** Bytes of a message field with a body of `length` bytes, where the tag is one byte. */
function fieldSize(length: number): number {
  return 1 + varintSize(length) + length
}

function writeField(target: Uint8Array, at: number, tag: number, body: Uint8Array): number {
  target[at] = tag
  const offset = writeVarint(target, at + 1, body.length)
  target.set(body, offset)
  return offset + body.length
}

/** The header as field 1: what goes before the body of any response. */
export function encodeHeaderField(header: ResponseHeader): Uint8Array {
  const writer = new ProtobufWriter(64)
  writer.tag(1, 2)
  RESPONSE_HEADER.write(writer, header)
  return writer.finish()
}

/** A whole response. */
export function withHeader(header: ResponseHeader, body: Uint8Array): Uint8Array {
  const field = encodeHeaderField(header)
  const whole = new Uint8Array(field.length + body.length)
  whole.set(field)
  whole.set(body, field.length)
  return whole
}

/** A PutResponse without header, from the encoded previous KeyValue. */
export function encodePutBody(prevKv: Uint8Array | undefined): Uint8Array {
  if (prevKv === undefined) return EMPTY
  const body = new Uint8Array(fieldSize(prevKv.length))
  writeField(body, 0, PREV_KV_TAG, prevKv)
  return body
}

/** A DeleteRangeResponse without header, from encoded previous KeyValues. */
export function encodeDeleteRangeBody(deleted: number, prevKvs: readonly Uint8Array[]): Uint8Array {
  let size = deleted > 0 ? 1 + varintSize(deleted) : 0
  for (const kv of prevKvs) size += fieldSize(kv.length)
  if (size === 0) return EMPTY
  const body = new Uint8Array(size)
  let at = 0
  if (deleted > 0) {
    body[at] = DELETED_TAG
    at = writeVarint(body, 1, deleted)
  }
  for (const kv of prevKvs) at = writeField(body, at, PREV_KVS_TAG, kv)
  return body
}

export type ResponseKind = 'range' | 'put' | 'deleteRange' | 'txn'
const RESPONSE_TAG: Readonly<Record<ResponseKind, number>> = { range: 0x0a, put: 0x12, deleteRange: 0x1a, txn: 0x22 }

/** One response of a transaction, encoded with its own header. */
export type EncodedResponseOp = { readonly kind: ResponseKind; readonly response: Uint8Array }

/** A TxnResponse without header, from encoded responses. */
export function encodeTxnBody(succeeded: boolean, responses: readonly EncodedResponseOp[]): Uint8Array {
  let size = succeeded ? 2 : 0
  for (const { response } of responses) size += fieldSize(fieldSize(response.length))
  if (size === 0) return EMPTY
  const body = new Uint8Array(size)
  let at = 0
  if (succeeded) {
    body[at++] = 0x10
    body[at++] = 1
  }
  for (const { kind, response } of responses) {
    body[at++] = 0x1a
    at = writeVarint(body, at, fieldSize(response.length))
    at = writeField(body, at, RESPONSE_TAG[kind], response)
  }
  return body
}

/** A KeyValue in canonical form: fields in order, zeros left out; after `lead` bytes of zeros. On the path of every put. */
export function encodeKeyValue(kv: KeyValue, lead: number = 0): Uint8Array {
  if (kv.lease !== 0n || kv.createRevision < 0 || kv.modRevision < 0 || kv.version < 0) {
    const encoded = KEY_VALUE.encode(kv)
    if (lead === 0) return encoded
    const led = new Uint8Array(lead + encoded.length)
    led.set(encoded, lead)
    return led
  }
  const { key, value } = kv
  const size =
    lead +
    (key.length > 0 ? fieldSize(key.length) : 0) +
    numberSize(kv.createRevision) +
    numberSize(kv.modRevision) +
    numberSize(kv.version) +
    (value.length > 0 ? fieldSize(value.length) : 0)
  const bytes = new Uint8Array(size)
  let at = key.length > 0 ? writeField(bytes, lead, KEY_TAG, key) : lead
  at = writeNumber(bytes, at, CREATE_TAG, kv.createRevision)
  at = writeNumber(bytes, at, MOD_TAG, kv.modRevision)
  at = writeNumber(bytes, at, VERSION_TAG, kv.version)
  if (value.length > 0) writeField(bytes, at, VALUE_TAG, value)
  return bytes
}

const KEY_TAG = 0x0a
const CREATE_TAG = 0x10
const MOD_TAG = 0x18
const VERSION_TAG = 0x20
const VALUE_TAG = 0x2a

/** Where the parts of an encoded KeyValue are, and its numbers, without making them objects. */
export type KeyValueLayout = {
  readonly keyFrom: number
  readonly keyEnd: number
  readonly createRevision: number
  readonly modRevision: number
  readonly version: number
  /** The whole field, with tag and length; empty where there is no value. */
  readonly valueFieldFrom: number
  readonly valueFrom: number
  readonly valueEnd: number
}

/** Reads what `encodeKeyValue` wrote, from `from` on. Only for bytes of our own making: they are not checked. */
export function layoutOfKeyValue(bytes: Uint8Array, from: number): KeyValueLayout {
  let at = from
  let keyFrom = from
  let createRevision = 0
  let modRevision = 0
  let version = 0
  if (bytes[at] === KEY_TAG) {
    const length = varintAt(bytes, at + 1)
    keyFrom = at + 1 + varintSize(length)
    at = keyFrom + length
  }
  const keyEnd = at
  if (bytes[at] === CREATE_TAG) {
    createRevision = varintAt(bytes, at + 1)
    at += 1 + varintSize(createRevision)
  }
  if (bytes[at] === MOD_TAG) {
    modRevision = varintAt(bytes, at + 1)
    at += 1 + varintSize(modRevision)
  }
  if (bytes[at] === VERSION_TAG) {
    version = varintAt(bytes, at + 1)
    at += 1 + varintSize(version)
  }
  const valueFieldFrom = at
  let valueFrom = at
  if (bytes[at] === VALUE_TAG) {
    const length = varintAt(bytes, at + 1)
    valueFrom = at + 1 + varintSize(length)
    at = valueFrom + length
  }
  return { keyFrom, keyEnd, createRevision, modRevision, version, valueFieldFrom, valueFrom, valueEnd: at }
}

function varintAt(bytes: Uint8Array, from: number): number {
  let value = 0
  let scale = 1
  for (let at = from; ; at++) {
    const byte = bytes[at] as number
    value += (byte & 0x7f) * scale
    if (byte < 0x80) return value
    scale *= 0x80
  }
}

function numberSize(value: number): number {
  return value === 0 ? 0 : 1 + varintSize(value)
}

function writeNumber(target: Uint8Array, at: number, tag: number, value: number): number {
  if (value === 0) return at
  target[at] = tag
  return writeVarint(target, at + 1, value)
}
