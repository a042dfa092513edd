/** What gRPC puts around messages, statuses and deadlines. Source: gRPC's PROTOCOL-HTTP2.md. */
import { EMPTY, strictText, utf8 } from '../base/index.ts'
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

/** Of messages that have come in part, over all calls of one connection. */
export type PartialBytes = { held: number; readonly limit: number }

/**
 * Puts messages together again out of the body's pieces. Memory is taken as bytes come, not as a prefix announces
 * them, and each byte is copied a bounded number of times.
 */
export class MessageReader {
  private readonly maxBytes: number
  private readonly partial: PartialBytes
  /** The beginning of a message, prefix included: `have` bytes of it. */
  private part: Uint8Array = EMPTY
  private have = 0

  constructor(maxBytes: number, partial: PartialBytes) {
    this.maxBytes = maxBytes
    this.partial = partial
  }

  /** Whether the body may end here. */
  get isWhole(): boolean {
    return this.have === 0
  }

  /** Forgets what has come in part. */
  release(): void {
    this.partial.held -= this.part.length
    this.part = EMPTY
    this.have = 0
  }

  /**
   * Calls `each` with every whole message of `bytes[start, end)`, copied out, until it returns false. Returns what is
   * wrong with the body, if anything is.
   */
  push(bytes: Uint8Array, start: number, end: number, each: (message: Uint8Array) => boolean): Problem | undefined {
    let at = start
    while (at < end) {
      if (this.have === 0 && end - at >= PREFIX_BYTES) {
        const length = this.lengthAt(bytes, at)
        if (typeof length !== 'number') return length
        const next = at + PREFIX_BYTES + length
        if (next <= end) {
          if (!each(bytes.slice(at + PREFIX_BYTES, next))) return undefined
          at = next
          continue
        }
      }
      const taken = this.gather(bytes, at, end)
      if (typeof taken !== 'number') return taken
      at += taken
      const message = this.takeWhole()
      if (message !== undefined && !each(message)) return undefined
    }
    return undefined
  }

  private lengthAt(bytes: Uint8Array, at: number): number | Problem {
    if (bytes[at] !== 0) {
      return {
        code: GRPC_STATUS.internal,
        message: 'grpc: a message is marked as compressed, but the call names no encoding',
      }
    }
    const length =
      (((bytes[at + 1] as number) << 24) |
        ((bytes[at + 2] as number) << 16) |
        ((bytes[at + 3] as number) << 8) |
        (bytes[at + 4] as number)) >>>
      0
    if (length <= this.maxBytes) return length
    return {
      code: GRPC_STATUS.resourceExhausted,
      message: `grpc: received message larger than max (${length} vs. ${this.maxBytes})`,
    }
  }

  /** Takes what belongs to the message begun; returns how much that was. */
  private gather(bytes: Uint8Array, at: number, end: number): number | Problem {
    let taken = 0
    if (this.have < PREFIX_BYTES) {
      taken = Math.min(PREFIX_BYTES - this.have, end - at)
      this.append(bytes, at, at + taken, PREFIX_BYTES)
      if (this.have < PREFIX_BYTES) return taken
    }
    const length = this.lengthAt(this.part, 0)
    if (typeof length !== 'number') return length
    const size = PREFIX_BYTES + length
    const count = Math.min(size - this.have, end - at - taken)
    this.append(bytes, at + taken, at + taken + count, size)
    if (this.partial.held <= this.partial.limit) return taken + count
    return {
      code: GRPC_STATUS.resourceExhausted,
      message: `grpc: more than ${this.partial.limit} bytes of unfinished messages on one connection`,
    }
  }

  private append(bytes: Uint8Array, from: number, to: number, size: number): void {
    const needed = this.have + to - from
    if (needed > this.part.length) {
      const grown = new Uint8Array(Math.min(size, Math.max(needed, 2 * this.part.length)))
      grown.set(this.part.subarray(0, this.have))
      this.partial.held += grown.length - this.part.length
      this.part = grown
    }
    this.part.set(bytes.subarray(from, to), this.have)
    this.have = needed
  }

  private takeWhole(): Uint8Array | undefined {
    if (this.have < PREFIX_BYTES) return undefined
    const length = this.lengthAt(this.part, 0)
    if (typeof length !== 'number' || this.have < PREFIX_BYTES + length) return undefined
    const message = this.part.subarray(PREFIX_BYTES, this.have)
    this.release()
    return message
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

/** Whether an application may send this as metadata: what is not ASCII has a name in `-bin` and is base64. */
export function isMetadata(name: string, value: string): boolean {
  return (
    /^[0-9a-z_.-]+$/.test(name) &&
    !name.startsWith('grpc-') &&
    !RESERVED.has(name) &&
    /^(?:[!-~](?:[ -~]*[!-~])?)?$/.test(value)
  )
}

/** Names that the transport gives a meaning. */
const RESERVED: ReadonlySet<string> = new Set([
  ...['connection', 'content-length', 'content-type', 'host', 'keep-alive', 'proxy-connection', 'te'],
  ...['transfer-encoding', 'upgrade'],
])
