/**
 * One HTTP/2 connection as a pure state machine, in either role: frames, header blocks, streams, flow control, and bounds against
 * floods. Bytes in, events out by handlers called from `receive`; bytes to send gather until `takeOutput`.
 * Sources: RFC 9113; CVE-2019-9511 and following, CVE-2023-44487 for the floods.
 */
import type { Failure } from '../base/index.ts'
import { concatBytes, EMPTY, failure } from '../base/index.ts'
import type { Header, HpackDecoder } from './hpack.ts'
import { CompressionError, createHpackDecoder, encodeHeaders } from './hpack.ts'
import { ERROR, FLAG, FRAME, PREFACE, SETTING } from './http2-constants.ts'
import { Output } from './http2-output.ts'

export type Http2Limits = {
  readonly maxConcurrentStreams: number
  readonly maxHeaderListBytes: number
  readonly streamWindowBytes: number
  readonly connectionWindowBytes: number
  readonly maxOutputBytes: number
}

export interface Http2Handlers {
  /** Headers of a new request, of a response, or trailers. */
  onHeaders(stream: Stream, headers: readonly Header[], endStream: boolean): void
  /** Bytes of a body. The view is valid during the call. */
  onData(stream: Stream, bytes: Uint8Array, endStream: boolean): void
  /** The stream is over before both sides ended it. `notProcessed`: the peer says that it never looked at it. */
  onReset(stream: Stream, code: number, notProcessed: boolean): void
  /** What waited for the window of this stream has been sent. */
  onDrained(stream: Stream): void
  onGoaway(failed: boolean): void
  onPong(): void
}

type Queued = { readonly bytes: Uint8Array; offset: number }

/** A stream that is not over yet. */
export class Stream {
  readonly id: number
  /** We may send this much more. */
  sendWindow: number
  receivedBytes = 0
  remoteEnded = false
  localEnded = false
  headersSeen = false
  queue: Queued[] = []
  /** To be sent after the queue: trailers, or an empty end. */
  after: { readonly block: Uint8Array | undefined } | undefined
  /** The owner's. */
  state: unknown

  constructor(id: number, sendWindow: number) {
    this.id = id
    this.sendWindow = sendWindow
  }
}

const FRAME_HEADER = 9
const MAX_FRAME = 16_384
const MAX_WINDOW = 0x7fff_ffff
/** Frames that cost the peer nothing, per second, before it is taken for an attacker. */
const MAX_CHEAP_FRAMES = 10_000
const MAX_RESETS = 1_000
const MAX_CONTINUATIONS = 64

class ProtocolError extends Error {
  readonly code: number
  constructor(code: number, message: string) {
    super(message)
    this.code = code
  }
}

export class Http2Connection {
  readonly streams: Map<number, Stream> = new Map()
  failed: Failure | undefined
  goingAway = false
  peerMaxStreams: number = Number.POSITIVE_INFINITY
  private readonly role: 'client' | 'server'
  private readonly limits: Http2Limits
  private readonly handlers: Http2Handlers
  private readonly output: Output = new Output()
  private readonly decoder: HpackDecoder = createHpackDecoder(4096)
  private carry: Uint8Array = EMPTY
  private prefaceLeft: number
  private lastRemote = 0
  private nextLocal = 1
  private sendWindow = 65_535
  private initialWindow = 65_535
  private peerMaxFrame = MAX_FRAME
  private unacknowledged = 0
  private block: { readonly stream: number; readonly flags: number; parts: Uint8Array[]; bytes: number } | undefined
  private settingsSeen = false
  private windowStart = 0
  private cheap = 0
  private resets = 0
  private readonly blocked: Set<Stream> = new Set()

  constructor(role: 'client' | 'server', limits: Http2Limits, handlers: Http2Handlers) {
    this.role = role
    this.limits = limits
    this.handlers = handlers
    this.prefaceLeft = role === 'server' ? PREFACE.length : 0
    if (role === 'client') this.output.raw(PREFACE)
    const settings: [number, number][] = [
      [SETTING.maxConcurrentStreams, limits.maxConcurrentStreams],
      [SETTING.initialWindowSize, limits.streamWindowBytes],
      [SETTING.maxHeaderListSize, limits.maxHeaderListBytes],
    ]
    if (role === 'client') settings.push([SETTING.enablePush, 0])
    this.output.frameHeader(settings.length * 6, FRAME.settings, 0, 0)
    for (const [id, value] of settings) {
      this.output.u8(id >> 8)
      this.output.u8(id)
      this.output.u32(value)
    }
    this.windowUpdate(0, limits.connectionWindowBytes - 65_535)
  }

  takeOutput(): Uint8Array | undefined {
    return this.output.take()
  }

  receive(bytes: Uint8Array, nowMs: number): void {
    if (this.failed !== undefined) return
    if (nowMs - this.windowStart >= 1000) {
      this.windowStart = nowMs
      this.cheap = 0
      this.resets = 0
    }
    try {
      this.consume(this.carry.length === 0 ? bytes : concatBytes([this.carry, bytes]))
    } catch (error) {
      if (error instanceof ProtocolError) this.fail(error.code, error.message)
      else if (error instanceof CompressionError) this.fail(ERROR.compression, error.message)
      else throw error
    }
  }

  private consume(input: Uint8Array): void {
    let at = 0
    if (this.prefaceLeft > 0) {
      const known = PREFACE.length - this.prefaceLeft
      const count = Math.min(this.prefaceLeft, input.length)
      for (let i = 0; i < count; i++) {
        if (input[i] !== PREFACE[known + i]) throw new ProtocolError(ERROR.protocol, 'the connection preface is wrong')
      }
      this.prefaceLeft -= count
      at = count
    }
    while (input.length - at >= FRAME_HEADER && this.failed === undefined) {
      const length = ((input[at] as number) << 16) | ((input[at + 1] as number) << 8) | (input[at + 2] as number)
      if (length > MAX_FRAME)
        throw new ProtocolError(ERROR.frameSize, `a frame has ${length} bytes, the limit is ${MAX_FRAME}`)
      const end = at + FRAME_HEADER + length
      if (end > input.length) break
      const type = input[at + 3] as number
      const flags = input[at + 4] as number
      const id = u32(input, at + 5) & MAX_WINDOW
      this.frame(type, flags, id, input, at + FRAME_HEADER, end)
      at = end
    }
    this.carry = at === input.length ? EMPTY : input.slice(at)
  }

  private frame(type: number, flags: number, id: number, input: Uint8Array, start: number, end: number): void {
    if (this.block !== undefined && (type !== FRAME.continuation || id !== this.block.stream)) {
      throw new ProtocolError(ERROR.protocol, 'a header block is interrupted')
    }
    if (!this.settingsSeen && type !== FRAME.settings)
      throw new ProtocolError(ERROR.protocol, 'the first frame is not SETTINGS')
    switch (type) {
      case FRAME.data:
        return this.onData(flags, id, input, start, end)
      case FRAME.headers:
        return this.onHeaders(flags, id, input, start, end)
      case FRAME.continuation:
        return this.onContinuation(flags, id, input, start, end)
      case FRAME.priority:
        if (id === 0) throw new ProtocolError(ERROR.protocol, 'PRIORITY on stream 0')
        if (end - start !== 5) throw new ProtocolError(ERROR.frameSize, 'PRIORITY has 5 bytes')
        return this.countCheap()
      case FRAME.rstStream:
        return this.onRstStream(id, input, start, end)
      case FRAME.settings:
        return this.onSettings(flags, id, input, start, end)
      case FRAME.pushPromise:
        throw new ProtocolError(ERROR.protocol, 'pushes are disabled')
      case FRAME.ping:
        return this.onPing(flags, id, input, start, end)
      case FRAME.goaway:
        return this.onGoaway(id, input, start, end)
      case FRAME.windowUpdate:
        return this.onWindowUpdate(id, input, start, end)
      default:
        return this.countCheap()
    }
  }

  private countCheap(): void {
    this.cheap++
    if (this.cheap > MAX_CHEAP_FRAMES) throw new ProtocolError(ERROR.enhanceYourCalm, 'too many control frames')
  }

  private isIdle(id: number): boolean {
    const remote = this.role === 'server' ? id % 2 === 1 : id % 2 === 0
    return remote ? id > this.lastRemote : id >= this.nextLocal
  }

  private unpad(flags: number, input: Uint8Array, start: number, end: number): [number, number] {
    if ((flags & FLAG.padded) === 0) return [start, end]
    const padding = input[start]
    if (padding === undefined || start + 1 + padding > end)
      throw new ProtocolError(ERROR.protocol, 'the padding is longer than the frame')
    return [start + 1, end - padding]
  }

  private onData(flags: number, id: number, input: Uint8Array, frameStart: number, frameEnd: number): void {
    if (id === 0 || this.isIdle(id)) throw new ProtocolError(ERROR.protocol, `DATA on stream ${id}`)
    const length = frameEnd - frameStart
    this.unacknowledged += length
    if (this.unacknowledged > this.limits.connectionWindowBytes)
      throw new ProtocolError(ERROR.flowControl, 'the connection window is overrun')
    if (this.unacknowledged >= this.limits.connectionWindowBytes / 2) {
      this.windowUpdate(0, this.unacknowledged)
      this.unacknowledged = 0
    }
    const stream = this.streams.get(id)
    if (stream === undefined) return this.countCheap()
    if (stream.remoteEnded) return this.resetStream(stream, ERROR.streamClosed)
    const [start, end] = this.unpad(flags, input, frameStart, frameEnd)
    const ends = (flags & FLAG.endStream) !== 0
    if (start === end && !ends) this.countCheap()
    stream.receivedBytes += length
    if (stream.receivedBytes > this.limits.streamWindowBytes) return this.resetStream(stream, ERROR.flowControl)
    if (!ends && stream.receivedBytes >= this.limits.streamWindowBytes / 2) {
      this.windowUpdate(id, stream.receivedBytes)
      stream.receivedBytes = 0
    }
    if (ends) stream.remoteEnded = true
    this.handlers.onData(stream, input.subarray(start, end), ends)
    this.closeIfDone(stream)
  }

  private onHeaders(flags: number, id: number, input: Uint8Array, frameStart: number, frameEnd: number): void {
    if (id === 0) throw new ProtocolError(ERROR.protocol, 'HEADERS on stream 0')
    let [start, end] = this.unpad(flags, input, frameStart, frameEnd)
    if ((flags & FLAG.priority) !== 0) start += 5
    if (start > end) throw new ProtocolError(ERROR.frameSize, 'HEADERS is too short')
    if ((flags & FLAG.endHeaders) !== 0) return this.headerBlock(id, flags, input.subarray(start, end))
    this.block = { stream: id, flags, parts: [input.slice(start, end)], bytes: end - start }
  }

  private onContinuation(flags: number, id: number, input: Uint8Array, start: number, end: number): void {
    const { block } = this
    if (block === undefined) throw new ProtocolError(ERROR.protocol, `CONTINUATION on stream ${id} without HEADERS`)
    block.parts.push(input.slice(start, end))
    block.bytes += end - start
    if (block.bytes > this.limits.maxHeaderListBytes || block.parts.length > MAX_CONTINUATIONS) {
      throw new ProtocolError(ERROR.enhanceYourCalm, 'a header block is too large')
    }
    if ((flags & FLAG.endHeaders) === 0) return
    this.block = undefined
    this.headerBlock(id, block.flags, concatBytes(block.parts))
  }

  private headerBlock(id: number, flags: number, block: Uint8Array): void {
    const headers = this.decoder.decode(block, this.limits.maxHeaderListBytes)
    const ends = (flags & FLAG.endStream) !== 0
    let stream = this.streams.get(id)
    if (stream === undefined) {
      if (!this.isIdle(id)) return this.countCheap()
      if (this.role === 'client' || id % 2 === 0)
        throw new ProtocolError(ERROR.protocol, `stream ${id} is not the peer's to open`)
      this.lastRemote = id
      if (this.goingAway || this.streams.size >= this.limits.maxConcurrentStreams) {
        this.countCheap()
        return this.rstStream(id, ERROR.refusedStream)
      }
      stream = new Stream(id, this.initialWindow)
      this.streams.set(id, stream)
    } else if (stream.remoteEnded) return this.resetStream(stream, ERROR.streamClosed)
    else if (stream.headersSeen && !ends && this.role === 'server') return this.resetStream(stream, ERROR.protocol)
    stream.headersSeen = true
    if (ends) stream.remoteEnded = true
    this.handlers.onHeaders(stream, headers, ends)
    this.closeIfDone(stream)
  }

  private onRstStream(id: number, input: Uint8Array, start: number, end: number): void {
    if (end - start !== 4) throw new ProtocolError(ERROR.frameSize, 'RST_STREAM has 4 bytes')
    if (id === 0 || this.isIdle(id)) throw new ProtocolError(ERROR.protocol, `RST_STREAM on stream ${id}`)
    this.resets++
    if (this.role === 'server' && this.resets > MAX_RESETS)
      throw new ProtocolError(ERROR.enhanceYourCalm, 'too many streams are reset')
    const stream = this.streams.get(id)
    if (stream === undefined) return
    const code = u32(input, start)
    this.drop(stream)
    this.handlers.onReset(stream, code, code === ERROR.refusedStream)
  }

  private onSettings(flags: number, id: number, input: Uint8Array, start: number, end: number): void {
    if (id !== 0) throw new ProtocolError(ERROR.protocol, 'SETTINGS on a stream')
    if ((flags & FLAG.ack) !== 0) {
      if (end !== start) throw new ProtocolError(ERROR.frameSize, 'an acknowledgement of SETTINGS is not empty')
      return this.countCheap()
    }
    if ((end - start) % 6 !== 0) throw new ProtocolError(ERROR.frameSize, 'SETTINGS is no multiple of 6 bytes')
    if (this.settingsSeen) this.countCheap()
    this.settingsSeen = true
    for (let at = start; at < end; at += 6)
      this.setting(((input[at] as number) << 8) | (input[at + 1] as number), u32(input, at + 2))
    this.output.frameHeader(0, FRAME.settings, FLAG.ack, 0)
    this.checkOutput()
  }

  private setting(id: number, value: number): void {
    switch (id) {
      case SETTING.enablePush:
        if (value > 1) throw new ProtocolError(ERROR.protocol, `ENABLE_PUSH is ${value}`)
        return
      case SETTING.initialWindowSize: {
        if (value > MAX_WINDOW) throw new ProtocolError(ERROR.flowControl, `the initial window is ${value}`)
        const change = value - this.initialWindow
        this.initialWindow = value
        for (const stream of this.streams.values()) {
          stream.sendWindow += change
          if (stream.sendWindow > MAX_WINDOW) throw new ProtocolError(ERROR.flowControl, 'a window overflows')
        }
        if (change > 0) this.pumpAll()
        return
      }
      case SETTING.maxFrameSize:
        if (value < MAX_FRAME || value > 0xff_ffff)
          throw new ProtocolError(ERROR.protocol, `the frame size is ${value}`)
        this.peerMaxFrame = Math.min(value, 65_536)
        return
      case SETTING.maxConcurrentStreams:
        this.peerMaxStreams = value
        return
      default:
        return
    }
  }

  private onPing(flags: number, id: number, input: Uint8Array, start: number, end: number): void {
    if (id !== 0) throw new ProtocolError(ERROR.protocol, 'PING on a stream')
    if (end - start !== 8) throw new ProtocolError(ERROR.frameSize, 'PING has 8 bytes')
    this.countCheap()
    if ((flags & FLAG.ack) !== 0) return this.handlers.onPong()
    this.output.frameHeader(8, FRAME.ping, FLAG.ack, 0)
    this.output.raw(input.subarray(start, end))
    this.checkOutput()
  }

  private onGoaway(id: number, input: Uint8Array, start: number, end: number): void {
    if (id !== 0) throw new ProtocolError(ERROR.protocol, 'GOAWAY on a stream')
    if (end - start < 8) throw new ProtocolError(ERROR.frameSize, 'GOAWAY has at least 8 bytes')
    const last = u32(input, start) & MAX_WINDOW
    const code = u32(input, start + 4)
    this.goingAway = true
    this.countCheap()
    if (this.role === 'client') {
      for (const stream of Array.from(this.streams.values())) {
        if (stream.id <= last) continue
        this.drop(stream)
        this.handlers.onReset(stream, ERROR.refusedStream, true)
      }
    }
    this.handlers.onGoaway(code !== 0)
  }

  private onWindowUpdate(id: number, input: Uint8Array, start: number, end: number): void {
    if (end - start !== 4) throw new ProtocolError(ERROR.frameSize, 'WINDOW_UPDATE has 4 bytes')
    const increment = u32(input, start) & MAX_WINDOW
    if (id === 0) {
      if (increment === 0) throw new ProtocolError(ERROR.protocol, 'a window grows by nothing')
      this.sendWindow += increment
      if (this.sendWindow > MAX_WINDOW) throw new ProtocolError(ERROR.flowControl, 'the connection window overflows')
      return this.pumpAll()
    }
    if (this.isIdle(id)) throw new ProtocolError(ERROR.protocol, `WINDOW_UPDATE on idle stream ${id}`)
    this.countCheap()
    const stream = this.streams.get(id)
    if (stream === undefined) return
    if (increment === 0) return this.resetStream(stream, ERROR.protocol)
    stream.sendWindow += increment
    if (stream.sendWindow > MAX_WINDOW) return this.resetStream(stream, ERROR.flowControl)
    if (this.blocked.has(stream)) this.pump(stream)
  }

  // Sending

  /** Opens a stream of this side; undefined where the peer allows no more. */
  open(headers: readonly Header[]): Stream | undefined {
    if (
      this.goingAway ||
      this.failed !== undefined ||
      this.streams.size >= this.peerMaxStreams ||
      this.nextLocal > MAX_WINDOW
    )
      return undefined
    const stream = new Stream(this.nextLocal, this.initialWindow)
    this.nextLocal += 2
    this.streams.set(stream.id, stream)
    this.headers(stream, encodeHeaders(headers), false)
    return stream
  }

  headers(stream: Stream, block: Uint8Array, endStream: boolean): void {
    const flags = endStream ? FLAG.endStream : 0
    if (block.length <= this.peerMaxFrame) {
      this.output.frameHeader(block.length, FRAME.headers, flags | FLAG.endHeaders, stream.id)
      this.output.raw(block)
    } else this.longHeaders(stream, block, flags)
    if (endStream) {
      stream.localEnded = true
      this.closeIfDone(stream)
    }
  }

  private longHeaders(stream: Stream, block: Uint8Array, flags: number): void {
    for (let at = 0; at < block.length; at += this.peerMaxFrame) {
      const part = block.subarray(at, at + this.peerMaxFrame)
      const last = at + part.length === block.length
      this.output.frameHeader(
        part.length,
        at === 0 ? FRAME.headers : FRAME.continuation,
        (at === 0 ? flags : 0) | (last ? FLAG.endHeaders : 0),
        stream.id,
      )
      this.output.raw(part)
    }
  }

  /** Queues bytes of the body; false where they wait for the peer's window. */
  data(stream: Stream, bytes: Uint8Array): boolean {
    if (stream.localEnded || stream.after !== undefined) return true
    stream.queue.push({ bytes, offset: 0 })
    this.pump(stream)
    return stream.queue.length === 0
  }

  /** Ends this side of the stream once its body is sent: with trailers, or without. */
  end(stream: Stream, trailers: Uint8Array | undefined): void {
    if (stream.localEnded || stream.after !== undefined) return
    stream.after = { block: trailers }
    this.pump(stream)
  }

  private pumpAll(): void {
    for (const stream of Array.from(this.blocked)) {
      if (this.sendWindow <= 0) return
      this.pump(stream)
    }
  }

  private pump(stream: Stream): void {
    while (stream.queue.length > 0) {
      const queued = stream.queue[0] as Queued
      const left = queued.bytes.length - queued.offset
      const room = Math.min(left, stream.sendWindow, this.sendWindow, this.peerMaxFrame)
      if (room <= 0 && left > 0) {
        this.blocked.add(stream)
        return
      }
      const ends =
        room === left && stream.queue.length === 1 && stream.after !== undefined && stream.after.block === undefined
      this.output.frameHeader(room, FRAME.data, ends ? FLAG.endStream : 0, stream.id)
      this.output.raw(
        room === queued.bytes.length ? queued.bytes : queued.bytes.subarray(queued.offset, queued.offset + room),
      )
      queued.offset += room
      stream.sendWindow -= room
      this.sendWindow -= room
      if (queued.offset === queued.bytes.length) stream.queue.shift()
      if (ends) {
        this.unblock(stream)
        stream.localEnded = true
        return this.closeIfDone(stream)
      }
    }
    this.unblock(stream)
    if (stream.after === undefined) return
    const { block } = stream.after
    if (block === undefined) {
      this.output.frameHeader(0, FRAME.data, FLAG.endStream, stream.id)
      stream.localEnded = true
      this.closeIfDone(stream)
    } else this.headers(stream, block, true)
  }

  private unblock(stream: Stream): void {
    if (this.blocked.delete(stream) && stream.after === undefined) this.handlers.onDrained(stream)
  }

  private closeIfDone(stream: Stream): void {
    if (stream.remoteEnded && stream.localEnded) this.drop(stream)
  }

  private drop(stream: Stream): void {
    this.streams.delete(stream.id)
    this.blocked.delete(stream)
  }

  private rstStream(id: number, code: number): void {
    this.output.frameHeader(4, FRAME.rstStream, 0, id)
    this.output.u32(code)
    this.checkOutput()
  }

  /** Ends a stream of a peer that broke a rule on it; its owner is told. */
  private resetStream(stream: Stream, code: number): void {
    this.countCheap()
    this.cancel(stream, code)
    this.handlers.onReset(stream, code, false)
  }

  /** Ends a stream; nothing more is heard of it. */
  cancel(stream: Stream, code: number): void {
    if (this.streams.get(stream.id) !== stream) return
    this.drop(stream)
    this.rstStream(stream.id, code)
  }

  /** A request was answered in full before its body was read to the end (RFC 9113, section 8.1). */
  abandon(stream: Stream): void {
    if (stream.localEnded && !stream.remoteEnded) this.cancel(stream, ERROR.none)
  }

  ping(): void {
    this.output.frameHeader(8, FRAME.ping, 0, 0)
    this.output.u32(0)
    this.output.u32(0)
  }

  goaway(): void {
    if (this.goingAway) return
    this.goingAway = true
    this.sendGoaway(ERROR.none, '')
  }

  private sendGoaway(code: number, message: string): void {
    const debug = new TextEncoder().encode(message)
    this.output.frameHeader(8 + debug.length, FRAME.goaway, 0, 0)
    this.output.u32(this.lastRemote)
    this.output.u32(code)
    this.output.raw(debug)
  }

  private windowUpdate(stream: number, increment: number): void {
    if (increment <= 0) return
    this.output.frameHeader(4, FRAME.windowUpdate, 0, stream)
    this.output.u32(increment)
  }

  private checkOutput(): void {
    if (this.output.sizeBytes > this.limits.maxOutputBytes)
      throw new ProtocolError(ERROR.enhanceYourCalm, 'the peer does not read what it is sent')
  }

  private fail(code: number, message: string): void {
    this.failed = failure('protocol-error', `HTTP/2: ${message}`, { code })
    this.sendGoaway(code, message)
  }
}

function u32(bytes: Uint8Array, at: number): number {
  return (
    (((bytes[at] as number) << 24) |
      ((bytes[at + 1] as number) << 16) |
      ((bytes[at + 2] as number) << 8) |
      (bytes[at + 3] as number)) >>>
    0
  )
}
