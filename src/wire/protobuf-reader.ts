/**
 * Reads protobuf's wire format strictly. A reader never throws on bad bytes: the first problem sticks, all later reads
 * return nothing, and loops over `more()` end. Byte fields are views of the input, never copies.
 *
 * Stricter than the format demands: groups, field number 0 and varints above 64 bits are refused.
 * Source: protobuf.dev, "Encoding".
 */
import type { Failure } from '../base/index.ts'
import { EMPTY, failure, strictText } from '../base/index.ts'

export const WIRE_TYPE = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 } as const

/** Messages inside messages: protobuf's usual limit. */
const MAX_DEPTH = 100

const TWO_32 = 2 ** 32

export class ProtobufReader {
  readonly #bytes: Uint8Array
  #at = 0
  #end: number
  #depth = 0
  #low = 0
  #high = 0
  #problem: Failure | undefined
  /** Of the field read last by `tag`. */
  fieldNumber = 0
  wireType = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.#end = bytes.length
  }

  get problem(): Failure | undefined {
    return this.#problem
  }

  /** Whether the current message has more fields; false after a problem. */
  more(): boolean {
    return this.#at < this.#end
  }

  /** Records the first problem and ends all loops. `where` names message and field. */
  refuse(code: 'protocol-error' | 'invalid-request', where: string, what: string): void {
    if (this.#problem !== undefined) return
    this.#problem = failure(code, `${where}: ${what}, at byte ${this.#at} of ${this.#bytes.length}`, {
      offset: this.#at,
    })
    this.#at = this.#end = 0
  }

  /** Reads the next field's number and wire type; false after a problem. */
  tag(where: string): boolean {
    const low = this.#bytes[this.#at] as number
    if (low < 128) {
      this.#at++
      this.fieldNumber = low >>> 3
      this.wireType = low & 7
    } else {
      if (!this.#varint(where)) return false
      if (this.#high !== 0) {
        this.refuse('protocol-error', where, 'a field number above 2^29')
        return false
      }
      this.fieldNumber = this.#low >>> 3
      this.wireType = this.#low & 7
    }
    if (this.fieldNumber === 0) {
      this.refuse('protocol-error', where, 'field number 0')
      return false
    }
    return true
  }

  /** Leaves the field whose tag was read last unread. */
  skip(where: string): void {
    switch (this.wireType) {
      case WIRE_TYPE.varint:
        this.#varint(where)
        return
      case WIRE_TYPE.fixed64:
        this.#advance(8, where)
        return
      case WIRE_TYPE.bytes:
        this.#advance(this.#length(where), where)
        return
      case WIRE_TYPE.fixed32:
        this.#advance(4, where)
        return
      default:
        this.refuse('protocol-error', where, `wire type ${this.wireType} of unknown field ${this.fieldNumber}`)
    }
  }

  bool(where: string): boolean {
    return this.#varint(where) && (this.#low !== 0 || this.#high !== 0)
  }

  /** An enum's number; as in other decoders the upper 32 bits are dropped. */
  int32(where: string): number {
    return this.#varint(where) ? this.#low | 0 : 0
  }

  /** A signed number; outside ±2^53 is refused. */
  int64(where: string): number {
    if (!this.#varint(where)) return 0
    return this.#safe((this.#high | 0) * TWO_32 + this.#low, where)
  }

  /** An unsigned number; 2^53 and above is refused. */
  uint64(where: string): number {
    if (!this.#varint(where)) return 0
    return this.#safe(this.#high * TWO_32 + this.#low, where)
  }

  bigInt64(where: string): bigint {
    if (!this.#varint(where)) return 0n
    return this.#high === 0 ? BigInt(this.#low) : (BigInt(this.#high | 0) << 32n) | BigInt(this.#low)
  }

  bigUint64(where: string): bigint {
    if (!this.#varint(where)) return 0n
    return this.#high === 0 ? BigInt(this.#low) : (BigInt(this.#high) << 32n) | BigInt(this.#low)
  }

  /** A view of the input. */
  bytes(where: string): Uint8Array {
    const length = this.#length(where)
    if (length === 0) return EMPTY
    const start = this.#at
    this.#at += length
    return this.#bytes.subarray(start, this.#at)
  }

  string(where: string): string {
    const bytes = this.bytes(where)
    const text = strictText(bytes)
    if (text === undefined) this.refuse('protocol-error', where, 'text that is not UTF-8')
    return text ?? ''
  }

  /** Enters a length-delimited field; returns what `leave` needs, or -1 after a problem. */
  enter(where: string): number {
    const length = this.#length(where)
    if (this.#problem !== undefined) return -1
    if (this.#depth >= MAX_DEPTH) {
      this.refuse('protocol-error', where, `messages nested deeper than ${MAX_DEPTH}`)
      return -1
    }
    this.#depth++
    const outerEnd = this.#end
    this.#end = this.#at + length
    return outerEnd
  }

  leave(outerEnd: number): void {
    this.#depth--
    if (this.#problem === undefined) this.#end = outerEnd
  }

  #safe(value: number, where: string): number {
    if (Number.isSafeInteger(value)) return value
    this.refuse('invalid-request', where, 'a number beyond ±2^53')
    return 0
  }

  /** A length that fits in what is left, or 0 after a problem. */
  #length(where: string): number {
    if (!this.#varint(where)) return 0
    if (this.#high !== 0 || this.#low > this.#end - this.#at) {
      this.refuse('protocol-error', where, `a length beyond the ${this.#end - this.#at} bytes left`)
      return 0
    }
    return this.#low
  }

  #advance(count: number, where: string): void {
    if (count > this.#end - this.#at) this.refuse('protocol-error', where, 'cut off')
    else this.#at += count
  }

  /** Reads into #low and #high (unsigned); false after a problem. */
  #varint(where: string): boolean {
    const bytes = this.#bytes
    let low = 0
    let high = 0
    for (let i = 0; i < 10; i++) {
      if (this.#at >= this.#end) {
        this.refuse('protocol-error', where, 'cut off')
        return false
      }
      const byte = bytes[this.#at++] as number
      const bits = byte & 127
      if (i < 4) low |= bits << (7 * i)
      else if (i === 4) {
        low |= bits << 28
        high = bits >>> 4
      } else if (i < 9) high |= bits << (7 * i - 32)
      else {
        if (byte > 1) break
        high |= bits << 31
      }
      if (byte < 128) {
        this.#low = low >>> 0
        this.#high = high >>> 0
        return true
      }
    }
    this.refuse('protocol-error', where, 'a varint of more than 64 bits')
    return false
  }
}
