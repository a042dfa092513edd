/** What gRPC puts around messages, statuses and deadlines. Source: gRPC's PROTOCOL-HTTP2.md. */
import { concatBytes, EMPTY, strictText, utf8 } from '../base/index.ts'
import { GRPC_STATUS } from './grpc-types.ts'

export const PREFIX_BYTES = 5

/** Flag u8 (0: not compressed), length u32, message. */
export function prefixed(message: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(PREFIX_BYTES + message.length)
  bytes[1] = message.length >>> 24
  bytes[2] = message.length >>> 16
  bytes[3] = message.length >>> 8
  bytes[4] = message.length
  bytes.set(message, PREFIX_BYTES)
  return bytes
}

export type Problem = { readonly code: number; readonly message: string }

/** Puts messages together again out of the body's pieces. */
export class MessageReader {
  private carry: Uint8Array = EMPTY
  private readonly maxBytes: number

  constructor(maxBytes: number) {
    this.maxBytes = maxBytes
  }

  /** Whether the body may end here. */
  get isWhole(): boolean {
    return this.carry.length === 0
  }

  /** Calls `each` with every whole message, copied out; returns what is wrong with the stream, if anything is. */
  push(bytes: Uint8Array, each: (message: Uint8Array) => void): Problem | undefined {
    const input = this.carry.length === 0 ? bytes : concatBytes([this.carry, bytes])
    let at = 0
    while (input.length - at >= PREFIX_BYTES) {
      if (input[at] !== 0) {
        return {
          code: GRPC_STATUS.unimplemented,
          message: 'grpc: compressed messages are not supported, only identity',
        }
      }
      const length =
        (((input[at + 1] as number) << 24) |
          ((input[at + 2] as number) << 16) |
          ((input[at + 3] as number) << 8) |
          (input[at + 4] as number)) >>>
        0
      if (length > this.maxBytes) {
        return {
          code: GRPC_STATUS.resourceExhausted,
          message: `grpc: received message larger than max (${length} vs. ${this.maxBytes})`,
        }
      }
      const end = at + PREFIX_BYTES + length
      if (end > input.length) break
      each(input.slice(at + PREFIX_BYTES, end))
      at = end
    }
    this.carry = at === input.length ? EMPTY : input.slice(at)
    return undefined
  }
}

const UNITS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 0.001, n: 0.000_001 }

/** Milliseconds of a `grpc-timeout`, or undefined where it is malformed. */
export function parseTimeout(value: string): number | undefined {
  const match = /^(\d{1,8})([HMSmun])$/.exec(value)
  return match === null ? undefined : Number(match[1]) * (UNITS[match[2] as string] as number)
}

export function formatTimeout(ms: number): string {
  const clamped = Math.max(0, Math.ceil(ms))
  return clamped < 100_000_000 ? `${clamped}m` : `${Math.min(99_999_999, Math.ceil(clamped / 1000))}S`
}

/** Percent-encoding of `grpc-message`: everything but printable ASCII, and the percent sign. */
export function encodeGrpcMessage(message: string): string {
  let encoded = ''
  for (const byte of utf8(message)) {
    encoded +=
      byte >= 0x20 && byte <= 0x7e && byte !== 0x25
        ? String.fromCharCode(byte)
        : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
  }
  return encoded
}

/** Never fails: what is malformed stays as it is. */
export function decodeGrpcMessage(encoded: string): string {
  const bytes: number[] = []
  for (let i = 0; i < encoded.length; i++) {
    const hex = encoded[i] === '%' ? encoded.slice(i + 1, i + 3) : ''
    if (/^[0-9a-fA-F]{2}$/.test(hex)) {
      bytes.push(Number.parseInt(hex, 16))
      i += 2
    } else bytes.push(encoded.charCodeAt(i) & 0xff)
  }
  return strictText(Uint8Array.from(bytes)) ?? encoded
}
