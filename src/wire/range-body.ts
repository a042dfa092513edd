/**
 * A RangeResponse without header, put together from encoded KeyValues as they are found: each is copied once, into
 * chunks that grow, so that no step of a long range copies what earlier ones gathered.
 */
import { varintSize, writeVarint } from './protobuf-writer.ts'

const KVS_TAG = 0x12
const MORE_TAG = 0x18
const COUNT_TAG = 0x20
/** Bytes that `more` and `count` take at most. */
const TAIL_BYTES = 2 + 1 + 8
const LARGEST_CHUNK = 1024 * 1024
/** Shorter ones are copied faster by a loop than by the engine's own copy. */
const SHORT_COPY = 48

export class RangeBody {
  readonly #full: Uint8Array[] = []
  #fullBytes = 0
  #chunk: Uint8Array | undefined
  #at = 0

  get sizeBytes(): number {
    return this.#fullBytes + this.#at
  }

  /** Adds the KeyValue at `[from, end)` of `source`, without its part at `[cutFrom, cutEnd)`. */
  add(source: Uint8Array, from: number, end: number, cutFrom: number = end, cutEnd: number = end): void {
    const length = end - from - (cutEnd - cutFrom)
    const chunk = this.#room(1 + varintSize(length) + length)
    chunk[this.#at] = KVS_TAG
    const at = writeVarint(chunk, this.#at + 1, length)
    copy(chunk, at, source, from, cutFrom)
    copy(chunk, at + cutFrom - from, source, cutEnd, end)
    this.#at = at + length
  }

  /** The whole body. Nothing may be added any more. */
  finish(more: boolean, count: number): Uint8Array {
    const chunk = this.#room(TAIL_BYTES)
    let at = this.#at
    if (more) {
      chunk[at++] = MORE_TAG
      chunk[at++] = 1
    }
    if (count > 0) {
      chunk[at++] = COUNT_TAG
      at = writeVarint(chunk, at, count)
    }
    if (this.#full.length === 0) return chunk.subarray(0, at)
    const whole = new Uint8Array(this.#fullBytes + at)
    let offset = 0
    for (const part of this.#full) {
      whole.set(part, offset)
      offset += part.length
    }
    whole.set(chunk.subarray(0, at), offset)
    return whole
  }

  #room(sizeBytes: number): Uint8Array {
    if (this.#chunk !== undefined && this.#at + sizeBytes <= this.#chunk.length) return this.#chunk
    if (this.#chunk !== undefined && this.#at > 0) {
      this.#full.push(this.#chunk.subarray(0, this.#at))
      this.#fullBytes += this.#at
    }
    const grown = Math.min(LARGEST_CHUNK, this.#fullBytes * 2)
    this.#chunk = new Uint8Array(Math.max(grown, sizeBytes + TAIL_BYTES))
    this.#at = 0
    return this.#chunk
  }
}

function copy(target: Uint8Array, at: number, source: Uint8Array, from: number, end: number): void {
  if (end - from > SHORT_COPY) target.set(source.subarray(from, end), at)
  else for (let i = from, to = at; i < end;) target[to++] = source[i++] as number
}
