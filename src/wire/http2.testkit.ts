/** For tests of HTTP/2: frames made by hand, and output read back as lines that a person can read. */
import { concatBytes } from '../base/index.ts'
import { encodeHeaders } from './hpack-encode.ts'
import type { Header } from './hpack.ts'
import { HpackDecoder } from './hpack.ts'
import { ERROR, FLAG, FRAME, PREFACE } from './http2-constants.ts'
import { u32 } from './http2-frames.ts'

export type Frame = {
  readonly type: number
  readonly flags: number
  readonly stream: number
  readonly payload: Uint8Array
}

export function frame(
  type: number,
  flags: number,
  stream: number,
  payload: readonly number[] | Uint8Array,
): Uint8Array {
  const length = payload.length
  return Uint8Array.from([
    length >>> 16,
    (length >>> 8) & 0xff,
    length & 0xff,
    type,
    flags,
    stream >>> 24,
    (stream >>> 16) & 0xff,
    (stream >>> 8) & 0xff,
    stream & 0xff,
    ...payload,
  ])
}

export const be32 = (value: number): number[] => [
  value >>> 24,
  (value >>> 16) & 0xff,
  (value >>> 8) & 0xff,
  value & 0xff,
]

export const GET: readonly Header[] = [
  [':method', 'GET'],
  [':scheme', 'http'],
  [':path', '/'],
  [':authority', 'a'],
]
export const POST: readonly Header[] = [[':method', 'POST'], ...GET.slice(1)]

export function settings(...pairs: readonly (readonly [id: number, value: number])[]): Uint8Array {
  const payload: number[] = []
  for (const [id, value] of pairs) payload.push(id >> 8, id & 0xff, ...be32(value))
  return frame(FRAME.settings, 0, 0, payload)
}
export const settingsAck = (): Uint8Array => frame(FRAME.settings, FLAG.ack, 0, [])
/** What a client says first. */
export const hello = (): Uint8Array => concatBytes([PREFACE, settings(), settingsAck()])

export const headers = (stream: number, list: readonly Header[], flags: number): Uint8Array =>
  frame(FRAME.headers, flags, stream, encodeHeaders(list))
/** A whole request without a body. */
export const request = (stream: number, list: readonly Header[] = GET): Uint8Array =>
  headers(stream, list, FLAG.endHeaders | FLAG.endStream)
/** The head of a request whose body follows. */
export const head = (stream: number, list: readonly Header[] = POST): Uint8Array =>
  headers(stream, list, FLAG.endHeaders)
export const data = (stream: number, bytes: readonly number[] | Uint8Array, ends = false): Uint8Array =>
  frame(FRAME.data, ends ? FLAG.endStream : 0, stream, bytes)
export const rst = (stream: number, code: number): Uint8Array => frame(FRAME.rstStream, 0, stream, be32(code))
export const windowUpdate = (stream: number, increment: number): Uint8Array =>
  frame(FRAME.windowUpdate, 0, stream, be32(increment))
export const ping = (flags = 0): Uint8Array => frame(FRAME.ping, flags, 0, [9, 8, 7, 6, 5, 4, 3, 2])

export function readFrames(bytes: Uint8Array): Frame[] {
  const frames: Frame[] = []
  let at = 0
  while (at + 9 <= bytes.length) {
    const length = u32(bytes, at) >>> 8
    frames.push({
      type: bytes[at + 3] as number,
      flags: bytes[at + 4] as number,
      stream: u32(bytes, at + 5),
      payload: bytes.subarray(at + 9, at + 9 + length),
    })
    at += 9 + length
  }
  if (at !== bytes.length) throw new Error('the output ends in the middle of a frame')
  return frames
}

const TYPES: ReadonlyMap<number, string> = new Map(Object.entries(FRAME).map(([name, type]) => [type, name]))
const ERRORS: ReadonlyMap<number, string> = new Map(Object.entries(ERROR).map(([name, code]) => [code, name]))

/** Such as `rstStream 1 protocol`, `goaway last=3 enhanceYourCalm`, `headers 1 end :status=200`, `data 1 5 end`. */
export function describeFrame(one: Frame, decoder: HpackDecoder): string {
  const { type, flags, stream, payload } = one
  const name = TYPES.get(type) ?? `type${type}`
  const end = (flags & FLAG.endStream) !== 0 ? ' end' : ''
  const errorAt = (at: number): string => ERRORS.get(u32(payload, at)) ?? String(u32(payload, at))
  switch (type) {
    case FRAME.rstStream:
      return `${name} ${stream} ${errorAt(0)}`
    case FRAME.goaway:
      return `${name} last=${u32(payload, 0)} ${errorAt(4)}`
    case FRAME.headers: {
      const list = decoder.decode(payload, 0, payload.length).headers
      return `${name} ${stream}${end} ${list.map(([key, value]) => `${key}=${value}`).join(' ')}`
    }
    case FRAME.data:
      return `${name} ${stream} ${payload.length}${end}`
    case FRAME.windowUpdate:
      return `${name} ${stream} ${u32(payload, 0)}`
    case FRAME.ping:
    case FRAME.settings:
      return `${name}${(flags & FLAG.ack) !== 0 ? ' ack' : ''}`
    default:
      return `${name} ${stream}`
  }
}

/** The frames of an output as lines. The preface of a client is left out. */
export function describe(
  bytes: Uint8Array | undefined,
  decoder: HpackDecoder = new HpackDecoder(4096, 65_536),
): string[] {
  if (bytes === undefined) return []
  const isClient = PREFACE.every((byte, i) => bytes[i] === byte)
  return readFrames(isClient ? bytes.subarray(PREFACE.length) : bytes).map((one) => describeFrame(one, decoder))
}
