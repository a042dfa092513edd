/**
 * Writes protobuf's wire format into one growing array. Numbers are whole and within ±2^53; the length of a nested
 * message is filled in when it is closed. Source: protobuf.dev, "Encoding".
 */
import { invariant, utf8 } from '../base/index.ts'

const TWO_32 = 2 ** 32
const MASK_32 = 0xffff_ffffn

/** Bytes that `value` (0 to 2^53) takes as a varint. */
export function varintSize(value: number): number {
  let size = 1
  for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) size++
  return size
}

/** Writes `value` (0 to 2^53) at `at`; returns the offset after it. The caller has made room. */
export function writeVarint(target: Uint8Array, at: number, value: number): number {
  let rest = value
  let offset = at
  while (rest >= 128) {
    target[offset++] = (rest % 128) | 128
    rest = Math.floor(rest / 128)
  }
  target[offset++] = rest
  return offset
}

export class ProtobufWriter {
  #bytes: Uint8Array
  #at = 0

  /** `expectedBytes`: what is allocated at first. */
  constructor(expectedBytes: number = 128) {
    this.#bytes = new Uint8Array(expectedBytes)
  }

  /** What was written. The writer must not be used any more. */
  finish(): Uint8Array {
    return this.#at === this.#bytes.length ? this.#bytes : this.#bytes.slice(0, this.#at)
  }

  tag(fieldNumber: number, wireType: number): void {
    this.#room(5)
    this.#at = writeVarint(this.#bytes, this.#at, fieldNumber * 8 + wireType)
  }

  bool(value: boolean): void {
    this.#room(1)
    this.#bytes[this.#at++] = value ? 1 : 0
  }

  /** Also for int32 and enums, which are sign-extended to 64 bits. */
  int64(value: number): void {
    invariant(Number.isSafeInteger(value), 'encodable-number', () => `${value}`)
    this.#room(10)
    if (value >= 0) this.#at = writeVarint(this.#bytes, this.#at, value)
    else this.#words(value >>> 0, Math.floor(value / TWO_32) >>> 0)
  }

  /** int64 and uint64 alike: the low 64 bits. */
  bigInt64(value: bigint): void {
    const bits = BigInt.asUintN(64, value)
    this.#room(10)
    this.#words(Number(bits & MASK_32), Number(bits >> 32n))
  }

  bytes(value: Uint8Array): void {
    this.#room(5 + value.length)
    this.#at = writeVarint(this.#bytes, this.#at, value.length)
    this.#bytes.set(value, this.#at)
    this.#at += value.length
  }

  string(value: string): void {
    this.bytes(utf8(value))
  }

  /** Opens a length-delimited field; `close` takes what this returns. */
  open(): number {
    this.#room(1)
    return this.#at++
  }

  close(opened: number): void {
    const length = this.#at - opened - 1
    const extra = varintSize(length) - 1
    if (extra > 0) {
      this.#room(extra)
      this.#bytes.copyWithin(opened + 1 + extra, opened + 1, this.#at)
      this.#at += extra
    }
    writeVarint(this.#bytes, opened, length)
  }

  #words(low: number, high: number): void {
    let lowRest = low
    let highRest = high
    while (highRest !== 0 || lowRest > 127) {
      this.#bytes[this.#at++] = (lowRest & 127) | 128
      lowRest = ((lowRest >>> 7) | (highRest << 25)) >>> 0
      highRest >>>= 7
    }
    this.#bytes[this.#at++] = lowRest
  }

  #room(count: number): void {
    if (this.#at + count <= this.#bytes.length) return
    const larger = new Uint8Array(Math.max(this.#bytes.length * 2, this.#at + count))
    larger.set(this.#bytes.subarray(0, this.#at))
    this.#bytes = larger
  }
}
