/**
 * Frames on an authenticated connection, pure. Frames (a length and bytes) follow each other in a stream; the stream is
 * cut into records (a length, a tag, at most 64 KiB), each authenticated by its tag and its place in the order. A record
 * without bytes is a beat: a sign of life.
 *
 * Nothing is believed before its tag is checked but a record's length, which is bounded; a frame is copied once at most,
 * and not at all where it came in one piece. Source: the record layer of TLS 1.3 (RFC 8446, section 5).
 */
import { EMPTY, failure, type Failure } from '../base/index.ts'
import { equalProofs, TAG_BYTES, type Tagger } from './secrets.ts'

export const RECORD_BYTES = 65_536
const LENGTH_BYTES = 4
export const RECORD_HEAD_BYTES: number = LENGTH_BYTES + TAG_BYTES

/** A frame in the parts that its sender gave. */
export type Parts = readonly Uint8Array[]

export function lengthOf(parts: Parts): number {
  let sizeBytes = 0
  for (const part of parts) sizeBytes += part.length
  return sizeBytes
}

export interface RecordWriter {
  /** The frames' records in one array, for one write. */
  frames(frames: readonly Parts[]): Uint8Array
  beat(): Uint8Array
}

export function createRecordWriter(tag: Tagger): RecordWriter {
  let sequence = 0
  return {
    frames(frames) {
      let streamBytes = 0
      for (const parts of frames) streamBytes += LENGTH_BYTES + lengthOf(parts)
      const out = new Uint8Array(streamBytes + Math.ceil(streamBytes / RECORD_BYTES) * RECORD_HEAD_BYTES)
      const view = new DataView(out.buffer)
      let leftBytes = streamBytes
      let at = 0
      let begin = 0
      let end = 0

      const openRecord = (): void => {
        begin = at
        at += RECORD_HEAD_BYTES
        end = at + Math.min(leftBytes, RECORD_BYTES)
        leftBytes -= end - at
      }
      const closeRecord = (): void => {
        const body = out.subarray(begin + RECORD_HEAD_BYTES, end)
        view.setUint32(begin, body.length)
        out.set(tag(sequence++, body), begin + LENGTH_BYTES)
      }
      const put = (bytes: Uint8Array): void => {
        let from = 0
        while (from < bytes.length) {
          if (at === end) {
            closeRecord()
            openRecord()
          }
          const count = Math.min(bytes.length - from, end - at)
          out.set(count === bytes.length ? bytes : bytes.subarray(from, from + count), at)
          from += count
          at += count
        }
      }

      openRecord()
      const prefix = new Uint8Array(LENGTH_BYTES)
      const prefixView = new DataView(prefix.buffer)
      for (const parts of frames) {
        prefixView.setUint32(0, lengthOf(parts))
        put(prefix)
        for (const part of parts) put(part)
      }
      closeRecord()
      return out
    },
    beat() {
      const out = new Uint8Array(RECORD_HEAD_BYTES)
      out.set(tag(sequence++, EMPTY), LENGTH_BYTES)
      return out
    },
  }
}

export interface FrameReader {
  /** Adds bytes behind those not taken yet. */
  push(bytes: Uint8Array): void
  /** The next whole frame, or undefined: more bytes are needed, or the stream is broken. */
  next(): Uint8Array | undefined
  /** Why the stream cannot go on. */
  readonly failure: Failure | undefined
}

export function createFrameReader(tag: Tagger, maxFrameBytes: number): FrameReader {
  let broken: Failure | undefined
  let sequence = 0
  let input: Uint8Array = EMPTY
  let at = 0
  // A record that came in pieces.
  const head = new Uint8Array(RECORD_HEAD_BYTES)
  const headView = new DataView(head.buffer)
  let headBytes = 0
  let partial: Uint8Array | undefined
  let partialBytes = 0
  // The authenticated bytes at hand.
  let body: Uint8Array = EMPTY
  let bodyAt = 0
  // A frame that spans records.
  const prefix = new Uint8Array(LENGTH_BYTES)
  const prefixView = new DataView(prefix.buffer)
  let prefixBytes = 0
  let frame: Uint8Array | undefined
  let frameBytes = 0

  const fail = (message: string): void => {
    broken = failure('protocol-error', message)
    input = EMPTY
    body = EMPTY
    partial = undefined
    frame = undefined
    at = 0
    bodyAt = 0
  }

  /** Makes the next record's body the bytes at hand; false: not possible (yet). */
  const takeRecord = (): boolean => {
    if (broken !== undefined) return false
    const wanted = Math.min(RECORD_HEAD_BYTES - headBytes, input.length - at)
    head.set(input.subarray(at, at + wanted), headBytes)
    headBytes += wanted
    at += wanted
    if (headBytes < RECORD_HEAD_BYTES) return false
    const sizeBytes = headView.getUint32(0)
    if (sizeBytes > RECORD_BYTES) {
      fail(`a record of ${sizeBytes} bytes, at most ${RECORD_BYTES} are allowed`)
      return false
    }
    let whole: Uint8Array
    if (partial === undefined && input.length - at >= sizeBytes) {
      whole = input.subarray(at, at + sizeBytes)
      at += sizeBytes
    } else {
      partial ??= new Uint8Array(sizeBytes)
      const count = Math.min(sizeBytes - partialBytes, input.length - at)
      partial.set(input.subarray(at, at + count), partialBytes)
      partialBytes += count
      at += count
      if (partialBytes < sizeBytes) return false
      whole = partial
    }
    headBytes = 0
    partial = undefined
    partialBytes = 0
    if (!equalProofs(tag(sequence++, whole), head.subarray(LENGTH_BYTES))) {
      fail('a record was changed on its way, or comes from somebody else')
      return false
    }
    body = whole
    bodyAt = 0
    return true
  }

  /** A frame whose end lies in the bytes at hand; takes what is there of one whose end does not. */
  const takeFrame = (): Uint8Array | undefined => {
    if (frame === undefined) {
      const wanted = Math.min(LENGTH_BYTES - prefixBytes, body.length - bodyAt)
      prefix.set(body.subarray(bodyAt, bodyAt + wanted), prefixBytes)
      prefixBytes += wanted
      bodyAt += wanted
      if (prefixBytes < LENGTH_BYTES) return undefined
      const sizeBytes = prefixView.getUint32(0)
      if (sizeBytes > maxFrameBytes) {
        fail(`a frame of ${sizeBytes} bytes, at most ${maxFrameBytes} are allowed`)
        return undefined
      }
      prefixBytes = 0
      if (body.length - bodyAt >= sizeBytes) {
        const whole = body.subarray(bodyAt, bodyAt + sizeBytes)
        bodyAt += sizeBytes
        return whole
      }
      frame = new Uint8Array(sizeBytes)
      frameBytes = 0
    }
    const count = Math.min(frame.length - frameBytes, body.length - bodyAt)
    frame.set(body.subarray(bodyAt, bodyAt + count), frameBytes)
    frameBytes += count
    bodyAt += count
    if (frameBytes < frame.length) return undefined
    const whole = frame
    frame = undefined
    return whole
  }

  return {
    push(bytes) {
      if (broken !== undefined) return
      if (at === input.length) {
        input = bytes
      } else {
        const rest = input.subarray(at)
        const joined = new Uint8Array(rest.length + bytes.length)
        joined.set(rest)
        joined.set(bytes, rest.length)
        input = joined
      }
      at = 0
    },
    next() {
      for (;;) {
        if (bodyAt < body.length) {
          const whole = takeFrame()
          if (whole !== undefined) return whole
        } else if (!takeRecord()) {
          return undefined
        }
      }
    },
    get failure() {
      return broken
    },
  }
}
