/**
 * The sending half of a connection: frames are written straight into one growing buffer; a body waits where the peer's
 * windows, the buffer's bound, or the byte stream below (`hold`) want it to. Streams that wait take turns, a frame each.
 * Source: RFC 9113 sections 5.2 and 6.9.
 */
import { concatBytes } from '../base/index.ts'
import { TABLE_SIZE_ZERO } from './hpack-encode.ts'
import { ConnectionError, DEFAULT_WINDOW_BYTES, ERROR, FLAG, FRAME, MAX_31_BIT } from './http2-constants.ts'
import { MAX_FRAME_BYTES } from './http2-constants.ts'
import { Output } from './http2-output.ts'
import type { Stream } from './http2-stream.ts'

/** Bodies wait once this much is ready to be taken: what is large then leaves in pieces. */
const MAX_READY_BYTES = 1024 * 1024
/** However large the frames are that the peer takes, others want their turn. */
const LARGEST_FRAME_BYTES = 65_536

export interface SenderEvents {
  /** This side of the stream has ended. */
  onLocalEnd(stream: Stream): void
  /** `data` had returned false, and now everything has been sent. */
  onDrained(stream: Stream): void
}

export class Http2Sender {
  readonly output: Output = new Output()
  /** Of bodies that wait, over all streams. */
  queuedBytes = 0
  initialWindow: number = DEFAULT_WINDOW_BYTES
  private window: number = DEFAULT_WINDOW_BYTES
  private maxFrameBytes: number = MAX_FRAME_BYTES
  private isHeld = false
  /** The peer has lowered its table's size below the initial one, and waits to be told that we know. */
  private owesTableUpdate = false
  /** Streams with a body that waits for something else than their own window. */
  private readonly ready: Set<Stream> = new Set()
  private readonly maxReadyBytes: number
  private readonly events: SenderEvents

  constructor(maxReadyBytes: number, events: SenderEvents) {
    this.maxReadyBytes = Math.min(maxReadyBytes, MAX_READY_BYTES)
    this.events = events
  }

  // What the peer allows

  set peerMaxFrameBytes(bytes: number) {
    this.maxFrameBytes = Math.min(bytes, LARGEST_FRAME_BYTES)
  }

  tableLowered(): void {
    this.owesTableUpdate = true
  }

  growWindow(increment: number): void {
    this.window += increment
    if (this.window > MAX_31_BIT) throw new ConnectionError(ERROR.flowControl, 'the connection window overflows')
    this.pumpReady()
  }

  /** SETTINGS_INITIAL_WINDOW_SIZE changes the windows of streams that are open (section 6.9.2). */
  setInitialWindow(bytes: number, streams: Iterable<Stream>): void {
    const change = bytes - this.initialWindow
    this.initialWindow = bytes
    if (change === 0) return
    for (const stream of streams) {
      stream.sendWindow += change
      if (stream.sendWindow > MAX_31_BIT) throw new ConnectionError(ERROR.flowControl, 'a stream window overflows')
      if (stream.queue !== undefined && stream.sendWindow > 0) this.ready.add(stream)
    }
    this.pumpReady()
  }

  streamWindowGrew(stream: Stream): void {
    if (stream.queue !== undefined) this.pump(stream)
  }

  /** The byte stream below is full: bodies wait until `release`. Control frames and headers do not. */
  hold(): void {
    this.isHeld = true
  }

  release(): void {
    this.isHeld = false
    this.pumpReady()
  }

  // Frames

  take(): Uint8Array | undefined {
    if (this.ready.size > 0) this.pumpReady()
    return this.output.take()
  }

  headers(stream: Stream, encoded: Uint8Array, endStream: boolean): void {
    let block = encoded
    if (this.owesTableUpdate) {
      this.owesTableUpdate = false
      block = concatBytes([TABLE_SIZE_ZERO, encoded])
    }
    const flags = endStream ? FLAG.endStream : 0
    if (block.length <= this.maxFrameBytes) {
      this.output.frameHeader(block.length, FRAME.headers, flags | FLAG.endHeaders, stream.id)
      this.output.raw(block)
    } else this.longHeaders(stream, block, flags)
    if (endStream) this.ended(stream)
  }

  private longHeaders(stream: Stream, block: Uint8Array, flags: number): void {
    for (let at = 0; at < block.length; at += this.maxFrameBytes) {
      const part = block.subarray(at, at + this.maxFrameBytes)
      const isFirst = at === 0
      const isLast = at + part.length === block.length
      this.output.frameHeader(
        part.length,
        isFirst ? FRAME.headers : FRAME.continuation,
        (isFirst ? flags : 0) | (isLast ? FLAG.endHeaders : 0),
        stream.id,
      )
      this.output.raw(part)
    }
  }

  /** Whether one DATA frame of this size may leave now. */
  maySend(stream: Stream, sizeBytes: number): boolean {
    return (
      stream.queue === undefined &&
      sizeBytes <= stream.sendWindow &&
      sizeBytes <= this.window &&
      sizeBytes <= this.maxFrameBytes &&
      stream.isWritable &&
      this.hasRoom
    )
  }

  /**
   * Begins a DATA frame, after `maySend`; its payload is then written to the output that is returned. With `isLast` the
   * caller says `ended` after that.
   */
  beginData(stream: Stream, sizeBytes: number, isLast = false): Output {
    stream.sendWindow -= sizeBytes
    this.window -= sizeBytes
    this.output.frameHeader(sizeBytes, FRAME.data, isLast ? FLAG.endStream : 0, stream.id)
    return this.output
  }

  /** Queues bytes of the body, its last with `isLast`; false where they wait. The array must not change afterwards. */
  data(stream: Stream, bytes: Uint8Array, isLast = false): boolean {
    if (!stream.isWritable) return true
    if (bytes.length > 0) {
      stream.queue ??= []
      stream.queue.push({ bytes, offset: 0 })
      stream.queuedBytes += bytes.length
      this.queuedBytes += bytes.length
    }
    if (isLast) {
      if (stream.queue === undefined) this.end(stream, null)
      else stream.after = null
    }
    this.pump(stream)
    stream.wantsDrain = stream.queue !== undefined
    return !stream.wantsDrain
  }

  /** Ends this side of the stream once its body is sent: with trailers, or (null) without. */
  end(stream: Stream, trailers: Uint8Array | null): void {
    if (!stream.isWritable) return
    if (stream.queue !== undefined) stream.after = trailers
    else if (trailers !== null) this.headers(stream, trailers, true)
    else {
      this.output.frameHeader(0, FRAME.data, FLAG.endStream, stream.id)
      this.ended(stream)
    }
  }

  /** Drops what waits: the stream is over, or its answer is replaced. */
  discard(stream: Stream): void {
    this.queuedBytes -= stream.queuedBytes
    stream.queuedBytes = 0
    stream.queue = undefined
    this.ready.delete(stream)
  }

  rstStream(id: number, code: number): void {
    this.output.frameHeader(4, FRAME.rstStream, 0, id)
    this.output.u32(code)
  }

  windowUpdate(id: number, increment: number): void {
    if (increment <= 0) return
    this.output.frameHeader(4, FRAME.windowUpdate, 0, id)
    this.output.u32(increment)
  }

  // Bodies that wait

  private get hasRoom(): boolean {
    return !this.isHeld && this.output.sizeBytes < this.maxReadyBytes
  }

  private pumpReady(): void {
    while (this.ready.size > 0) {
      for (const stream of Array.from(this.ready)) {
        if (!this.hasRoom || this.window <= 0) return
        if (!this.ready.delete(stream)) continue
        this.sendFrame(stream)
        // Behind those that have not had their turn.
        if (stream.queue !== undefined && stream.sendWindow > 0) this.ready.add(stream)
      }
    }
  }

  private pump(stream: Stream): void {
    while (stream.queue !== undefined && stream.sendWindow > 0) {
      if (!this.hasRoom || this.window <= 0) {
        this.ready.add(stream)
        return
      }
      this.sendFrame(stream)
    }
  }

  /** One frame of a body that waits, and what follows where it was the last. */
  private sendFrame(stream: Stream): void {
    const queue = stream.queue
    const queued = queue?.[0]
    if (queue === undefined || queued === undefined) return
    const left = queued.bytes.length - queued.offset
    const size = Math.min(left, stream.sendWindow, this.window, this.maxFrameBytes)
    if (size <= 0) return
    const isLast = size === left && queue.length === 1
    const endsHere = isLast && stream.after === null
    this.output.frameHeader(size, FRAME.data, endsHere ? FLAG.endStream : 0, stream.id)
    this.output.raw(queued.bytes.subarray(queued.offset, queued.offset + size))
    queued.offset += size
    stream.sendWindow -= size
    this.window -= size
    stream.queuedBytes -= size
    this.queuedBytes -= size
    if (size === left) queue.shift()
    if (!isLast) return
    stream.queue = undefined
    this.ready.delete(stream)
    if (endsHere) this.ended(stream)
    else if (stream.after !== undefined && stream.after !== null) this.headers(stream, stream.after, true)
    else if (stream.wantsDrain) {
      stream.wantsDrain = false
      this.events.onDrained(stream)
    }
  }

  /** This side has sent its end. */
  ended(stream: Stream): void {
    stream.localEnded = true
    this.events.onLocalEnd(stream)
  }
}
