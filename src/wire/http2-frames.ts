/**
 * Cuts a byte stream into frames. A frame that lies whole in one chunk is looked at in place; one that is split is
 * gathered into a buffer of its own size, each byte copied once, however small the pieces. What the frames say does
 * not depend on where the stream was cut.
 */
import { ConnectionError, ERROR, FRAME_HEADER_BYTES, MAX_31_BIT, MAX_FRAME_BYTES } from './http2-constants.ts'

/** Gets one whole frame; the payload is `bytes[start, end)`, valid during the call. False stops the reading for good. */
export type FrameSink = (
  type: number,
  flags: number,
  stream: number,
  bytes: Uint8Array,
  start: number,
  end: number,
) => boolean

export class FrameReader {
  /** The beginning of a frame that has not come whole. */
  private part: Uint8Array | undefined
  private partBytes = 0
  private readonly sink: FrameSink

  constructor(sink: FrameSink) {
    this.sink = sink
  }

  /** Throws ConnectionError where a frame is too large, and whatever the sink throws. */
  push(input: Uint8Array, from: number): void {
    let at = this.part === undefined ? from : this.complete(this.part, input, from)
    if (at === STOP) return
    const whole = input.length - FRAME_HEADER_BYTES
    while (at <= whole) {
      const end = at + FRAME_HEADER_BYTES + lengthOf(input, at)
      if (end > input.length) break
      if (!this.emit(input, at, end)) return
      at = end
    }
    if (at < input.length) this.keep(input, at)
  }

  private keep(input: Uint8Array, at: number): void {
    const have = input.length - at
    const size = have < FRAME_HEADER_BYTES ? FRAME_HEADER_BYTES : FRAME_HEADER_BYTES + lengthOf(input, at)
    this.part = new Uint8Array(size)
    this.part.set(input.subarray(at))
    this.partBytes = have
  }

  /** Adds to the frame begun before; where its end is reached, emits it. Returns where the next frame begins. */
  private complete(begun: Uint8Array, input: Uint8Array, from: number): number {
    let part = begun
    let at = from
    while (this.partBytes < FRAME_HEADER_BYTES) {
      if (at === input.length) return at
      part[this.partBytes++] = input[at++] as number
      if (this.partBytes === FRAME_HEADER_BYTES) {
        const grown = new Uint8Array(FRAME_HEADER_BYTES + lengthOf(part, 0))
        grown.set(part)
        part = grown
        this.part = part
      }
    }
    const count = Math.min(part.length - this.partBytes, input.length - at)
    part.set(input.subarray(at, at + count), this.partBytes)
    this.partBytes += count
    at += count
    if (this.partBytes < part.length) return at
    this.part = undefined
    this.partBytes = 0
    return this.emit(part, 0, part.length) ? at : STOP
  }

  private emit(bytes: Uint8Array, at: number, end: number): boolean {
    const type = bytes[at + 3] as number
    const flags = bytes[at + 4] as number
    return this.sink(type, flags, u32(bytes, at + 5) & MAX_31_BIT, bytes, at + FRAME_HEADER_BYTES, end)
  }
}

const STOP = -1

function lengthOf(bytes: Uint8Array, at: number): number {
  const length = ((bytes[at] as number) << 16) | ((bytes[at + 1] as number) << 8) | (bytes[at + 2] as number)
  if (length <= MAX_FRAME_BYTES) return length
  throw new ConnectionError(ERROR.frameSize, `a frame has ${length} bytes, the limit is ${MAX_FRAME_BYTES}`)
}

export function u32(bytes: Uint8Array, at: number): number {
  return (
    (((bytes[at] as number) << 24) |
      ((bytes[at + 1] as number) << 16) |
      ((bytes[at + 2] as number) << 8) |
      (bytes[at + 3] as number)) >>>
    0
  )
}
