/**
 * One HTTP/2 connection as a pure state machine, in either role: the states of streams, header blocks, flow control of
 * what is received, settings, and the end. Bytes in, events out by handlers called from `receive`; bytes to send gather
 * until `takeOutput`. Frames are cut in http2-frames.ts, sent in http2-sender.ts, and counted in http2-floods.ts.
 * Promises: the events do not depend on how the bytes were cut; a broken rule ends the stream or the connection with the
 * code that the RFC names, and never throws; what a peer can make it hold or do is bounded.
 * Source: RFC 9113.
 */
import type { Failure } from '../base/index.ts'
import { concatBytes, failure } from '../base/index.ts'
import type { HeaderBlock } from './hpack.ts'
import { CompressionError, HpackDecoder } from './hpack.ts'
import { ConnectionError, DEFAULT_WINDOW_BYTES, ERROR, FLAG, FRAME } from './http2-constants.ts'
import { MAX_31_BIT, MAX_FRAME_BYTES, PREFACE } from './http2-constants.ts'
import type { Http2Limits, Role } from './http2-control.ts'
import { Http2Control, TABLE_BYTES } from './http2-control.ts'
import { FloodGuard } from './http2-floods.ts'
import { FrameReader, u32 } from './http2-frames.ts'
import type { RequestHead, ResponseHead } from './http2-headers.ts'
import { checkRequest, checkResponse, checkTrailers } from './http2-headers.ts'
import { Http2Sender } from './http2-sender.ts'
import { Stream } from './http2-stream.ts'

export interface Http2Handlers {
  /** The head of a new request, or of a (final) response. `block.headMemo` is its RequestHead or ResponseHead. */
  onHead(stream: Stream, block: HeaderBlock, endStream: boolean): void
  /** The end of a body, in trailers. */
  onTrailers(stream: Stream, block: HeaderBlock): void
  /** Part of a body, `bytes[start, end)`, valid during the call; empty only where it ends the stream. */
  onData(stream: Stream, bytes: Uint8Array, start: number, end: number, endStream: boolean): void
  /** A head or trailers were larger than the limit: the owner answers or gives up the stream. */
  onHeadTooLarge(stream: Stream): void
  /** The stream is over before both sides ended it. `notProcessed`: the peer says that it never looked at it. */
  onReset(stream: Stream, code: number, notProcessed: boolean): void
  /** What waited for room has been sent. */
  onDrained(stream: Stream): void
  /** No stream can be opened here any more; those that are open may still end. */
  onGoaway(): void
  onPong(): void
}

/** Of one header block. */
const MAX_CONTINUATIONS = 64
/** Streams that this side reset and of which more may be on the way. Beyond it the oldest is forgotten. */
const MAX_LINGERING = 1024
type PartialBlock = { readonly stream: number; readonly flags: number; readonly parts: Uint8Array[]; bytes: number }

export class Http2Connection {
  readonly streams: Map<number, Stream> = new Map()
  readonly sender: Http2Sender
  /** Set once the connection must be closed, after what is left to send. */
  failed: Failure | undefined
  private readonly role: Role
  private readonly limits: Http2Limits
  private readonly handlers: Http2Handlers
  private readonly decoder: HpackDecoder
  private readonly frames: FrameReader
  private readonly guard: FloodGuard
  private prefaceLeft: number
  private readonly control: Http2Control
  private block: PartialBlock | undefined
  /** Received over all streams, and not yet given back as window. */
  private unacknowledgedBytes = 0
  /** Highest id that the peer has opened. */
  private lastRemote = 0
  /** The ids last skipped by the peer, between two that it opened: they can never be opened. */
  private skippedFrom = 0
  private skippedTo = 0
  private nextLocal = 1
  private peerGoesAway = false
  private readonly lingering: Set<number> = new Set()

  constructor(role: Role, limits: Http2Limits, handlers: Http2Handlers) {
    this.role = role
    this.limits = limits
    this.handlers = handlers
    this.decoder = new HpackDecoder(TABLE_BYTES, limits.maxHeaderListBytes)
    this.guard = new FloodGuard(limits.maxConcurrentStreams)
    this.prefaceLeft = role === 'server' ? PREFACE.length : 0
    this.frames = new FrameReader((type, flags, id, bytes, start, end) => {
      this.onFrame(type, flags, id, bytes, start, end)
      if (this.sender.output.sizeBytes > limits.maxOutputBytes)
        throw new ConnectionError(ERROR.enhanceYourCalm, 'the peer does not read what it is sent')
      return this.failed === undefined
    })
    this.sender = new Http2Sender(limits.maxOutputBytes / 2, {
      onLocalEnd: (stream) => {
        if (stream.isAbandoned && !stream.remoteEnded) this.cancel(stream, ERROR.none)
        else this.closeIfDone(stream)
      },
      onDrained: (stream) => handlers.onDrained(stream),
    })
    this.control = new Http2Control(role, this.sender, this.guard, this.streams, () => handlers.onPong())
    this.control.sendPreface(limits)
  }

  /** What is to be written now; to be called until it has no more. */
  takeOutput(): Uint8Array | undefined {
    return this.sender.take()
  }

  receive(bytes: Uint8Array, nowMs: number): void {
    if (this.failed !== undefined) return
    this.guard.tick(nowMs)
    try {
      this.frames.push(bytes, this.prefaceLeft > 0 ? this.takePreface(bytes) : 0)
    } catch (error) {
      if (error instanceof ConnectionError) this.fail(error.code, error.message)
      else if (error instanceof CompressionError) this.fail(ERROR.compression, error.message)
      else throw error
    }
  }

  private takePreface(bytes: Uint8Array): number {
    const known = PREFACE.length - this.prefaceLeft
    const count = Math.min(this.prefaceLeft, bytes.length)
    for (let i = 0; i < count; i++) {
      if (bytes[i] !== PREFACE[known + i]) throw new ConnectionError(ERROR.protocol, 'the connection preface is wrong')
    }
    this.prefaceLeft -= count
    return count
  }

  private onFrame(type: number, flags: number, id: number, bytes: Uint8Array, start: number, end: number): void {
    if (this.block !== undefined && (type !== FRAME.continuation || id !== this.block.stream))
      throw new ConnectionError(ERROR.protocol, 'a header block is interrupted')
    if (!this.control.settingsSeen && (type !== FRAME.settings || (flags & FLAG.ack) !== 0))
      throw new ConnectionError(ERROR.protocol, 'the first frame is not SETTINGS')
    switch (type) {
      case FRAME.data:
        return this.onData(flags, id, bytes, start, end)
      case FRAME.headers:
        return this.onHeaders(flags, id, bytes, start, end)
      case FRAME.continuation:
        return this.onContinuation(flags, id, bytes, start, end)
      case FRAME.priority:
        return this.onPriority(id, bytes, start, end)
      case FRAME.rstStream:
        return this.onRstStream(id, bytes, start, end)
      case FRAME.settings:
        return this.control.onSettings(flags, id, bytes, start, end)
      case FRAME.pushPromise:
        throw new ConnectionError(ERROR.protocol, 'pushes are disabled')
      case FRAME.ping:
        return this.control.onPing(flags, id, bytes, start, end)
      case FRAME.goaway:
        return this.onGoaway(id, bytes, start, end)
      case FRAME.windowUpdate:
        return this.onWindowUpdate(id, bytes, start, end)
      default:
        // Section 4.1: frames of unknown types are ignored.
        return this.guard.frame()
    }
  }

  /** Never opened. This side never pushes, and neither may the other. */
  private isIdle(id: number): boolean {
    if (id % 2 === 0) return true
    return this.role === 'server' ? id > this.lastRemote || this.isSkipped(id) : id >= this.nextLocal
  }

  private isSkipped(id: number): boolean {
    return id >= this.skippedFrom && id <= this.skippedTo
  }

  /** Where the padding begins; its length is in the first byte. */
  private paddingStart(bytes: Uint8Array, start: number, end: number): number {
    const padding = start < end ? (bytes[start] as number) : end
    if (start + 1 + padding > end)
      throw new ConnectionError(ERROR.protocol, 'the padding is as long as the frame, or longer')
    return end - padding
  }

  private onData(flags: number, id: number, bytes: Uint8Array, frameStart: number, frameEnd: number): void {
    const stream = this.streams.get(id)
    if (stream === undefined && this.isIdle(id)) throw new ConnectionError(ERROR.protocol, `DATA on idle stream ${id}`)
    this.countData(frameEnd - frameStart)
    let start = frameStart
    let end = frameEnd
    if ((flags & FLAG.padded) !== 0) {
      end = this.paddingStart(bytes, frameStart, frameEnd)
      start = frameStart + 1
    }
    const ends = (flags & FLAG.endStream) !== 0
    if (stream === undefined) return this.onStray(id, ends, 'DATA')
    if (stream.remoteEnded) return this.resetStream(stream, ERROR.streamClosed)
    if (!stream.hasHead) return this.resetStream(stream, ERROR.protocol)
    if (start === end && !ends) this.guard.frame()
    stream.bodyBytes += end - start
    const { contentLength } = stream
    if (
      contentLength !== undefined &&
      (stream.bodyBytes > contentLength || (ends && stream.bodyBytes !== contentLength))
    )
      return this.resetStream(stream, ERROR.protocol)
    if (ends) stream.remoteEnded = true
    else if (!this.countStreamData(stream, frameEnd - frameStart)) return
    if (start < end || ends) this.handlers.onData(stream, bytes, start, end, ends)
    this.closeIfDone(stream)
  }

  /** Padding and what is dropped count too (section 6.9). */
  private countData(sizeBytes: number): void {
    const limit = Math.max(this.limits.connectionWindowBytes, DEFAULT_WINDOW_BYTES)
    this.unacknowledgedBytes += sizeBytes
    if (this.unacknowledgedBytes > limit)
      throw new ConnectionError(ERROR.flowControl, 'the connection window is overrun')
    if (this.unacknowledgedBytes < limit / 2) return
    this.sender.windowUpdate(0, this.unacknowledgedBytes)
    this.unacknowledgedBytes = 0
  }

  private countStreamData(stream: Stream, sizeBytes: number): boolean {
    // Until the peer has acknowledged our settings, it may go by the initial window.
    const { streamWindowBytes } = this.limits
    const limit = this.control.settingsAcknowledged
      ? streamWindowBytes
      : Math.max(streamWindowBytes, DEFAULT_WINDOW_BYTES)
    stream.unacknowledgedBytes += sizeBytes
    if (stream.unacknowledgedBytes > limit) {
      this.resetStream(stream, ERROR.flowControl)
      return false
    }
    if (!stream.isPaused) this.returnWindow(stream)
    return true
  }

  private returnWindow(stream: Stream): void {
    if (stream.unacknowledgedBytes < this.limits.streamWindowBytes / 2) return
    this.sender.windowUpdate(stream.id, stream.unacknowledgedBytes)
    stream.unacknowledgedBytes = 0
  }

  /** DATA or HEADERS on a stream that is over: still on its way when this side reset it, or a broken rule (5.1). */
  private onStray(id: number, ends: boolean, what: string): void {
    if (!this.lingering.has(id)) throw new ConnectionError(ERROR.streamClosed, `${what} on closed stream ${id}`)
    this.guard.frame()
    if (ends) this.lingering.delete(id)
  }

  private onHeaders(flags: number, id: number, bytes: Uint8Array, frameStart: number, frameEnd: number): void {
    if (id === 0) throw new ConnectionError(ERROR.protocol, 'HEADERS on stream 0')
    let start = frameStart
    let end = frameEnd
    if ((flags & FLAG.padded) !== 0) {
      end = this.paddingStart(bytes, frameStart, frameEnd)
      start = frameStart + 1
    }
    if ((flags & FLAG.priority) !== 0) {
      if (end - start < 5) throw new ConnectionError(ERROR.frameSize, 'HEADERS is too short for its priority')
      this.checkDependency(id, bytes, start)
      start += 5
    }
    if ((flags & FLAG.endHeaders) !== 0) return this.onBlock(id, flags, bytes, start, end)
    this.block = { stream: id, flags, parts: [bytes.slice(start, end)], bytes: end - start }
  }

  private onContinuation(flags: number, id: number, bytes: Uint8Array, start: number, end: number): void {
    const { block } = this
    if (block === undefined) throw new ConnectionError(ERROR.protocol, `CONTINUATION on stream ${id} without HEADERS`)
    block.parts.push(bytes.slice(start, end))
    block.bytes += end - start
    // A literal takes no more bytes than the list counts for it, so no list within the limit gets here.
    const limit = Math.max(this.limits.maxHeaderListBytes, MAX_FRAME_BYTES)
    if (block.bytes > limit || block.parts.length > MAX_CONTINUATIONS)
      throw new ConnectionError(ERROR.enhanceYourCalm, 'a header block is too large')
    if ((flags & FLAG.endHeaders) === 0) return
    this.block = undefined
    const whole = concatBytes(block.parts)
    this.onBlock(id, block.flags, whole, 0, whole.length)
  }

  private onBlock(id: number, flags: number, bytes: Uint8Array, start: number, end: number): void {
    // Whatever becomes of the stream, the table must stay in step.
    const block = this.decoder.decode(bytes, start, end)
    const ends = (flags & FLAG.endStream) !== 0
    const stream = this.streams.get(id)
    if (stream === undefined) {
      if (this.role === 'server' && id % 2 === 1 && id > this.lastRemote) return this.onRequest(id, block, ends)
      if (this.isIdle(id)) throw new ConnectionError(ERROR.protocol, `HEADERS on stream ${id}, which cannot be opened`)
      return this.onStray(id, ends, 'HEADERS')
    }
    if (stream.remoteEnded) return this.resetStream(stream, ERROR.streamClosed)
    if (stream.hasHead) this.onTrailers(stream, block, ends)
    else this.onResponse(stream, block, ends)
  }

  private onRequest(id: number, block: HeaderBlock, ends: boolean): void {
    if (id > this.lastRemote + 2) {
      this.skippedFrom = this.lastRemote + 1
      this.skippedTo = id - 1
    }
    this.lastRemote = id
    if (this.control.draining === 'final' || this.streams.size >= this.limits.maxConcurrentStreams) {
      this.guard.reset()
      return this.refuse(id, ERROR.refusedStream, ends)
    }
    this.control.lastAccepted = id
    const stream = new Stream(id, this.sender.initialWindow)
    stream.remoteEnded = ends
    this.streams.set(id, stream)
    if (block.isTooLarge) return this.handlers.onHeadTooLarge(stream)
    const head = (block.headMemo ??= checkRequest(block.headers)) as RequestHead | string
    if (typeof head === 'string' || (ends && (head.contentLength ?? 0) !== 0)) {
      this.guard.reset()
      return this.cancel(stream, ERROR.protocol)
    }
    stream.hasHead = true
    stream.contentLength = head.contentLength
    this.handlers.onHead(stream, block, ends)
    this.closeIfDone(stream)
  }

  private onResponse(stream: Stream, block: HeaderBlock, ends: boolean): void {
    if (block.isTooLarge) return this.handlers.onHeadTooLarge(stream)
    const head = (block.headMemo ??= checkResponse(block.headers)) as ResponseHead | string
    if (typeof head === 'string') return this.resetStream(stream, ERROR.protocol)
    if (head.status < 200) {
      // An interim response: the final one is still to come (section 8.1).
      if (ends) this.resetStream(stream, ERROR.protocol)
      else this.guard.frame()
      return
    }
    if (ends && (head.contentLength ?? 0) !== 0 && head.status !== 304) return this.resetStream(stream, ERROR.protocol)
    stream.hasHead = true
    stream.contentLength = head.status === 204 || head.status === 304 ? undefined : head.contentLength
    stream.remoteEnded = ends
    this.handlers.onHead(stream, block, ends)
    this.closeIfDone(stream)
  }

  private onTrailers(stream: Stream, block: HeaderBlock, ends: boolean): void {
    if (!ends) return this.resetStream(stream, ERROR.protocol)
    if (block.isTooLarge) return this.handlers.onHeadTooLarge(stream)
    const isShort = stream.contentLength !== undefined && stream.bodyBytes !== stream.contentLength
    block.areTrailers ??= checkTrailers(block.headers) === undefined
    if (isShort || !block.areTrailers) return this.resetStream(stream, ERROR.protocol)
    stream.remoteEnded = true
    this.handlers.onTrailers(stream, block)
    this.closeIfDone(stream)
  }

  private onPriority(id: number, bytes: Uint8Array, start: number, end: number): void {
    if (id === 0) throw new ConnectionError(ERROR.protocol, 'PRIORITY on stream 0')
    // Section 6.3 wants a stream error, which cannot be sent on an idle stream: 5.4.1 lets it end the connection.
    if (end - start !== 5) throw new ConnectionError(ERROR.frameSize, 'PRIORITY has 5 bytes')
    this.checkDependency(id, bytes, start)
    this.guard.frame()
  }

  /** Priorities are ignored, but for what RFC 7540 (section 5.3.1) forbids. */
  private checkDependency(id: number, bytes: Uint8Array, at: number): void {
    if ((u32(bytes, at) & MAX_31_BIT) === id)
      throw new ConnectionError(ERROR.protocol, `stream ${id} depends on itself`)
  }

  private onRstStream(id: number, bytes: Uint8Array, start: number, end: number): void {
    if (end - start !== 4) throw new ConnectionError(ERROR.frameSize, 'RST_STREAM has 4 bytes')
    if (this.isIdle(id)) throw new ConnectionError(ERROR.protocol, `RST_STREAM on idle stream ${id}`)
    if (this.role === 'server') this.guard.reset()
    else this.guard.frame()
    this.lingering.delete(id)
    const stream = this.streams.get(id)
    if (stream === undefined) return
    const code = u32(bytes, start)
    this.drop(stream)
    this.handlers.onReset(stream, code, code === ERROR.refusedStream)
  }

  private onGoaway(id: number, bytes: Uint8Array, start: number, end: number): void {
    if (id !== 0) throw new ConnectionError(ERROR.protocol, 'GOAWAY on a stream')
    if (end - start < 8) throw new ConnectionError(ERROR.frameSize, 'GOAWAY has at least 8 bytes')
    this.guard.frame()
    this.peerGoesAway = true
    if (this.role === 'client') {
      const last = u32(bytes, start) & MAX_31_BIT
      for (const stream of Array.from(this.streams.values())) {
        if (stream.id <= last || this.streams.get(stream.id) !== stream) continue
        this.drop(stream)
        this.handlers.onReset(stream, ERROR.refusedStream, true)
      }
    }
    this.handlers.onGoaway()
  }

  private onWindowUpdate(id: number, bytes: Uint8Array, start: number, end: number): void {
    if (end - start !== 4) throw new ConnectionError(ERROR.frameSize, 'WINDOW_UPDATE has 4 bytes')
    const increment = u32(bytes, start) & MAX_31_BIT
    this.guard.frame()
    if (id === 0) {
      if (increment === 0) throw new ConnectionError(ERROR.protocol, 'the connection window grows by nothing')
      return this.sender.growWindow(increment)
    }
    const stream = this.streams.get(id)
    if (stream === undefined) {
      if (this.isIdle(id)) throw new ConnectionError(ERROR.protocol, `WINDOW_UPDATE on idle stream ${id}`)
      return
    }
    if (increment === 0) return this.resetStream(stream, ERROR.protocol)
    stream.sendWindow += increment
    if (stream.sendWindow > MAX_31_BIT) return this.resetStream(stream, ERROR.flowControl)
    this.sender.streamWindowGrew(stream)
  }

  // What the owner does

  /** Opens a stream of this side; undefined where the peer allows no more, now or (after `onGoaway`) ever. */
  open(head: Uint8Array): Stream | undefined {
    if (this.peerGoesAway || this.failed !== undefined || this.streams.size >= this.control.peerMaxStreams)
      return undefined
    if (this.nextLocal > MAX_31_BIT) {
      this.peerGoesAway = true
      this.handlers.onGoaway()
      return undefined
    }
    const stream = new Stream(this.nextLocal, this.sender.initialWindow)
    this.nextLocal += 2
    this.streams.set(stream.id, stream)
    this.sender.headers(stream, head, false)
    return stream
  }

  /** The owner of a stream takes no more: at most one window still comes. */
  pause(stream: Stream): void {
    stream.isPaused = true
  }

  resume(stream: Stream): void {
    if (!stream.isPaused) return
    stream.isPaused = false
    if (!stream.remoteEnded && this.streams.get(stream.id) === stream) this.returnWindow(stream)
  }

  /** Ends a stream; nothing more is heard of it. */
  cancel(stream: Stream, code: number): void {
    if (this.streams.get(stream.id) !== stream) return
    if (stream.remoteEnded && stream.localEnded) return this.closeIfDone(stream)
    this.drop(stream)
    this.refuse(stream.id, code, stream.remoteEnded)
  }

  /** The answer is complete, or will be once it is sent: what of the request has not come is not wanted (section 8.1). */
  abandon(stream: Stream): void {
    if (!stream.localEnded) stream.isAbandoned = true
    else if (!stream.remoteEnded) this.cancel(stream, ERROR.none)
  }

  ping(): void {
    this.control.ping()
  }

  /** Asks the client to open no more streams: see `isDrained`. */
  drain(): void {
    if (this.failed === undefined) this.control.drain()
  }

  /** After `drain`: everything is answered and nothing more can come. */
  get isDrained(): boolean {
    return this.control.draining === 'final' && this.streams.size === 0
  }

  // The ends of streams

  private closeIfDone(stream: Stream): void {
    if (!stream.remoteEnded || !stream.localEnded || !this.streams.has(stream.id)) return
    this.guard.answered()
    this.drop(stream)
  }

  private drop(stream: Stream): void {
    this.streams.delete(stream.id)
    if (stream.queue !== undefined) this.sender.discard(stream)
  }

  /** RST_STREAM; what the peer has sent meanwhile is to be ignored. */
  private refuse(id: number, code: number, remoteEnded: boolean): void {
    if (!remoteEnded) {
      this.lingering.add(id)
      if (this.lingering.size > MAX_LINGERING) {
        const [oldest] = this.lingering
        this.lingering.delete(oldest as number)
      }
    }
    this.sender.rstStream(id, code)
  }

  /** Ends a stream whose peer broke a rule on it; its owner is told. */
  private resetStream(stream: Stream, code: number): void {
    this.guard.reset()
    this.cancel(stream, code)
    this.handlers.onReset(stream, code, false)
  }

  private fail(code: number, message: string): void {
    this.failed = failure('protocol-error', `HTTP/2: ${message}`, { code })
    this.control.sendGoaway(this.control.lastAccepted, code, message)
  }
}
