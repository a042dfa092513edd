/**
 * The messages of the handshake between members, pure: encoders, and decoders that take nothing on trust. A message is a
 * length, a type and fields of fixed sizes; the first is preceded by the magic bytes. The layout of `refusal` never
 * changes, so that every version can tell every other why.
 */
import { type FailureCode } from '../base/index.ts'
import { MAGIC, recognisePeer } from './recognise.ts'
import { PROOF_BYTES } from './secrets.ts'
import type { Lane } from './types.ts'

/** Of the handshake itself, not of what is spoken afterwards. */
export const HANDSHAKE_VERSION = 1
export const MAX_MESSAGE_BYTES = 512
export const INSTANCE_BYTES = 16
export const NONCE_BYTES = 32
export const PROCESS_BYTES = 8
export const SESSION_BYTES = 16

const LENGTH_BYTES = 2
const LANES: readonly Lane[] = ['control', 'bulk']

/** Who somebody says to be. */
export type Introduction = {
  readonly member: bigint
  readonly instance: Uint8Array
  /** Drawn at each start: tells a restarted process from the one before. */
  readonly process: Uint8Array
  readonly lowest: number
  readonly highest: number
  readonly nonce: Uint8Array
}

export type Hello = Introduction & {
  readonly type: 'hello'
  readonly lane: Lane
  readonly cluster: bigint
  readonly to: bigint
  /** Grows with every dial of a process: tells a late one from a new one. */
  readonly attempt: number
}
export type Challenge = Introduction & {
  readonly type: 'challenge'
  readonly protocol: number
  readonly proof: Uint8Array
}
/** `last`: the session of this pair and lane that was last open at the dialler; zeros for none. */
export type Finish = { readonly type: 'finish'; readonly last: Uint8Array; readonly proof: Uint8Array }
export type Ready = { readonly type: 'ready'; readonly proof: Uint8Array }

/** `unknown-member`: of whom the acceptor has not heard (yet). `busy`: the two already have a connection. */
export type RefusalReason =
  | 'wrong-cluster'
  | 'wrong-member'
  | 'unknown-member'
  | 'version'
  | 'proof'
  | 'instance'
  | 'busy'
/** A refusal that is worth telling. */
export type Grounds = Exclude<RefusalReason, 'busy'>
export type Refusal = {
  readonly type: 'refusal'
  readonly reason: RefusalReason
  readonly cluster: bigint
  readonly member: bigint
  readonly lowest: number
  readonly highest: number
}
export type HandshakeMessage = Hello | Challenge | Finish | Ready | Refusal

/** A reason's place is its number on the wire: append only. */
const REASONS: readonly RefusalReason[] = [
  'wrong-cluster',
  'wrong-member',
  'unknown-member',
  'version',
  'proof',
  'instance',
  'busy',
]

export const REFUSAL_CODES: Readonly<Record<Grounds, FailureCode>> = {
  'wrong-cluster': 'wrong-cluster',
  'wrong-member': 'wrong-cluster',
  'unknown-member': 'wrong-cluster',
  version: 'version-mismatch',
  proof: 'authentication-failed',
  instance: 'wrong-instance',
}

const TYPES = ['hello', 'challenge', 'finish', 'ready', 'refusal'] as const
const INTRODUCTION_BYTES = 8 + INSTANCE_BYTES + PROCESS_BYTES + 4 + NONCE_BYTES
const BODY_BYTES: Readonly<Record<HandshakeMessage['type'], number>> = {
  hello: 1 + 1 + 8 + 8 + 4 + INTRODUCTION_BYTES,
  challenge: 2 + INTRODUCTION_BYTES + PROOF_BYTES,
  finish: SESSION_BYTES + PROOF_BYTES,
  ready: PROOF_BYTES,
  refusal: 1 + 8 + 8 + 4,
}

export function encodeMessage(message: HandshakeMessage): Uint8Array {
  const magicBytes = message.type === 'hello' ? MAGIC.length : 0
  const bodyBytes = 1 + BODY_BYTES[message.type]
  const out = new Uint8Array(magicBytes + LENGTH_BYTES + bodyBytes)
  const view = new DataView(out.buffer)
  if (magicBytes > 0) out.set(MAGIC)
  let at = magicBytes
  const u8 = (value: number): void => void (out[at++] = value)
  const u16 = (value: number): void => {
    view.setUint16(at, value)
    at += 2
  }
  const u32 = (value: number): void => {
    view.setUint32(at, value)
    at += 4
  }
  const u64 = (value: bigint): void => {
    view.setBigUint64(at, value)
    at += 8
  }
  const bytes = (value: Uint8Array): void => {
    out.set(value, at)
    at += value.length
  }
  const introduction = (who: Introduction): void => {
    u64(who.member)
    bytes(who.instance)
    bytes(who.process)
    u16(who.lowest)
    u16(who.highest)
    bytes(who.nonce)
  }

  u16(bodyBytes)
  u8(TYPES.indexOf(message.type) + 1)
  switch (message.type) {
    case 'hello':
      u8(HANDSHAKE_VERSION)
      u8(LANES.indexOf(message.lane))
      u64(message.cluster)
      u64(message.to)
      u32(message.attempt)
      introduction(message)
      break
    case 'challenge':
      u16(message.protocol)
      introduction(message)
      bytes(message.proof)
      break
    case 'finish':
      bytes(message.last)
      bytes(message.proof)
      break
    case 'ready':
      bytes(message.proof)
      break
    case 'refusal':
      u8(REASONS.indexOf(message.reason))
      u64(message.cluster)
      u64(message.member)
      u16(message.lowest)
      u16(message.highest)
      break
    default:
      message satisfies never
  }
  return out
}

export type Decoded =
  | { readonly type: 'need-more' }
  | { readonly type: 'malformed' }
  /** A hello of a handshake that this version does not know. */
  | { readonly type: 'other-version' }
  | { readonly type: 'message'; readonly message: HandshakeMessage; readonly raw: Uint8Array }

/** The message that `bytes` begin with; `first`: it is the connection's first, behind the magic bytes. */
export function decodeMessage(bytes: Uint8Array, first: boolean): Decoded {
  if (first && recognisePeer(bytes) === 'no') return { type: 'malformed' }
  const begin = first ? MAGIC.length : 0
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (bytes.length < begin + LENGTH_BYTES) return { type: 'need-more' }
  const bodyBytes = view.getUint16(begin)
  if (bodyBytes === 0 || bodyBytes > MAX_MESSAGE_BYTES) return { type: 'malformed' }
  const end = begin + LENGTH_BYTES + bodyBytes
  if (bytes.length < end) return { type: 'need-more' }
  const type = TYPES[view.getUint8(begin + LENGTH_BYTES) - 1]
  if (type === 'hello' && bodyBytes > 1 && view.getUint8(begin + LENGTH_BYTES + 1) !== HANDSHAKE_VERSION) {
    return { type: 'other-version' }
  }
  if (type === undefined || bodyBytes !== 1 + BODY_BYTES[type]) return { type: 'malformed' }
  const message = decodeBody(type, bytes, view, begin + LENGTH_BYTES + 1)
  return message === undefined ? { type: 'malformed' } : { type: 'message', message, raw: bytes.slice(0, end) }
}

/** The caller has checked that all of the body is there. */
function decodeBody(
  type: HandshakeMessage['type'],
  source: Uint8Array,
  view: DataView,
  begin: number,
): HandshakeMessage | undefined {
  let at = begin
  const u8 = (): number => view.getUint8(at++)
  const u16 = (): number => {
    at += 2
    return view.getUint16(at - 2)
  }
  const u32 = (): number => {
    at += 4
    return view.getUint32(at - 4)
  }
  const u64 = (): bigint => {
    at += 8
    return view.getBigUint64(at - 8)
  }
  const bytes = (count: number): Uint8Array => {
    at += count
    return source.slice(at - count, at)
  }
  const introduction = (): Introduction => {
    const member = u64()
    const instance = bytes(INSTANCE_BYTES)
    const process = bytes(PROCESS_BYTES)
    const lowest = u16()
    const highest = u16()
    return { member, instance, process, lowest, highest, nonce: bytes(NONCE_BYTES) }
  }
  switch (type) {
    case 'hello': {
      at++
      const lane = LANES[u8()]
      if (lane === undefined) return undefined
      const cluster = u64()
      const to = u64()
      const attempt = u32()
      return { type, lane, cluster, to, attempt, ...introduction() }
    }
    case 'challenge': {
      const protocol = u16()
      return { type, protocol, ...introduction(), proof: bytes(PROOF_BYTES) }
    }
    case 'finish': {
      const last = bytes(SESSION_BYTES)
      return { type, last, proof: bytes(PROOF_BYTES) }
    }
    case 'ready':
      return { type, proof: bytes(PROOF_BYTES) }
    case 'refusal': {
      const reason = REASONS[u8()]
      if (reason === undefined) return undefined
      const cluster = u64()
      const member = u64()
      const lowest = u16()
      return { type, reason, cluster, member, lowest, highest: u16() }
    }
    default:
      return type satisfies never
  }
}
