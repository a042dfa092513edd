/**
 * What concerns a connection as a whole: settings of both sides, pings, and the orderly end in two steps, so that no
 * request that is on its way is lost. Source: RFC 9113 sections 6.5, 6.7 and 6.8.
 */
import { utf8 } from '../base/index.ts'
import { ConnectionError, DEFAULT_WINDOW_BYTES, ERROR, FLAG, FRAME } from './http2-constants.ts'
import { MAX_31_BIT, MAX_FRAME_BYTES, PREFACE, SETTING } from './http2-constants.ts'
import type { FloodGuard } from './http2-floods.ts'
import { u32 } from './http2-frames.ts'
import type { Http2Sender } from './http2-sender.ts'
import type { Stream } from './http2-stream.ts'

export type Role = 'client' | 'server'

export type Http2Limits = {
  readonly maxConcurrentStreams: number
  readonly maxHeaderListBytes: number
  readonly streamWindowBytes: number
  readonly connectionWindowBytes: number
  readonly maxOutputBytes: number
}

/** HPACK's initial table size, which this side never changes. */
export const TABLE_BYTES = 4096
/** What a client assumes until the server has said how many streams it takes (section 6.5.2 wants at least this). */
const ASSUMED_MAX_STREAMS = 100
/** Opaque data of our PINGs: the owner's, and the one that ends the announcement of a drain. */
const PING_ALIVE = 1
const PING_DRAIN = 2

export class Http2Control {
  settingsSeen = false
  settingsAcknowledged = false
  peerMaxStreams: number = ASSUMED_MAX_STREAMS
  draining: 'no' | 'announced' | 'final' = 'no'
  /** Highest id of a stream that an owner was told of. */
  lastAccepted = 0
  private pingsOut = 0
  private readonly role: Role
  private readonly sender: Http2Sender
  private readonly guard: FloodGuard
  private readonly streams: ReadonlyMap<number, Stream>
  private readonly onAlive: () => void

  constructor(
    role: Role,
    sender: Http2Sender,
    guard: FloodGuard,
    streams: ReadonlyMap<number, Stream>,
    onAlive: () => void,
  ) {
    this.role = role
    this.sender = sender
    this.guard = guard
    this.streams = streams
    this.onAlive = onAlive
  }

  sendPreface(limits: Http2Limits): void {
    const { output } = this.sender
    if (this.role === 'client') output.raw(PREFACE)
    const settings: [number, number][] = [
      this.role === 'server' ? [SETTING.maxConcurrentStreams, limits.maxConcurrentStreams] : [SETTING.enablePush, 0],
      [SETTING.initialWindowSize, limits.streamWindowBytes],
      [SETTING.maxHeaderListSize, limits.maxHeaderListBytes],
    ]
    output.frameHeader(settings.length * 6, FRAME.settings, 0, 0)
    for (const [id, value] of settings) {
      output.u8(id >> 8)
      output.u8(id)
      output.u32(value)
    }
    this.sender.windowUpdate(0, limits.connectionWindowBytes - DEFAULT_WINDOW_BYTES)
  }

  onSettings(flags: number, id: number, bytes: Uint8Array, start: number, end: number): void {
    if (id !== 0) throw new ConnectionError(ERROR.protocol, 'SETTINGS on a stream')
    if ((flags & FLAG.ack) !== 0) {
      if (end !== start) throw new ConnectionError(ERROR.frameSize, 'an acknowledgement of SETTINGS is not empty')
      if (this.settingsAcknowledged) this.guard.frame()
      this.settingsAcknowledged = true
      return
    }
    if ((end - start) % 6 !== 0) throw new ConnectionError(ERROR.frameSize, 'SETTINGS is no multiple of 6 bytes')
    // Each value may change the window of every stream: they cost accordingly.
    if (this.settingsSeen) this.guard.frame(1 + ((end - start) / 6) * (1 + this.streams.size / 8))
    this.settingsSeen = true
    // The acknowledgement goes first: what the settings let go may then count on being heard after it.
    this.sender.output.frameHeader(0, FRAME.settings, FLAG.ack, 0)
    for (let at = start; at < end; at += 6)
      this.setting(((bytes[at] as number) << 8) | (bytes[at + 1] as number), u32(bytes, at + 2))
  }

  private setting(id: number, value: number): void {
    switch (id) {
      case SETTING.headerTableSize:
        if (value < TABLE_BYTES) this.sender.tableLowered()
        return
      case SETTING.enablePush:
        if (value > 1 || (value === 1 && this.role === 'client'))
          throw new ConnectionError(ERROR.protocol, `ENABLE_PUSH is ${value}`)
        return
      case SETTING.initialWindowSize:
        if (value > MAX_31_BIT) throw new ConnectionError(ERROR.flowControl, `the initial window is ${value}`)
        return this.sender.setInitialWindow(value, this.streams.values())
      case SETTING.maxFrameSize:
        if (value < MAX_FRAME_BYTES || value > 0xff_ffff)
          throw new ConnectionError(ERROR.protocol, `the frame size is ${value}`)
        this.sender.peerMaxFrameBytes = value
        return
      case SETTING.maxConcurrentStreams:
        this.peerMaxStreams = value
        return
      default:
        return
    }
  }

  onPing(flags: number, id: number, bytes: Uint8Array, start: number, end: number): void {
    if (id !== 0) throw new ConnectionError(ERROR.protocol, 'PING on a stream')
    if (end - start !== 8) throw new ConnectionError(ERROR.frameSize, 'PING has 8 bytes')
    if ((flags & FLAG.ack) !== 0) return this.onPong(u32(bytes, start), u32(bytes, start + 4))
    this.guard.frame()
    this.sender.output.frameHeader(8, FRAME.ping, FLAG.ack, 0)
    this.sender.output.raw(bytes.subarray(start, end))
  }

  private onPong(high: number, low: number): void {
    if (high !== 0 || this.pingsOut === 0) return this.guard.frame()
    this.pingsOut--
    if (low === PING_ALIVE) return this.onAlive()
    if (low !== PING_DRAIN || this.draining !== 'announced') return
    this.draining = 'final'
    this.sendGoaway(this.lastAccepted, ERROR.none, '')
  }

  ping(): void {
    this.sendPing(PING_ALIVE)
  }

  /**
   * Tells the client to open no more streams, and once it has answered that (its PING comes back after whatever was on
   * its way) which was the last.
   */
  drain(): void {
    if (this.draining !== 'no') return
    this.draining = 'announced'
    this.sendGoaway(MAX_31_BIT, ERROR.none, '')
    this.sendPing(PING_DRAIN)
  }

  private sendPing(data: number): void {
    this.pingsOut++
    this.sender.output.frameHeader(8, FRAME.ping, 0, 0)
    this.sender.output.u32(0)
    this.sender.output.u32(data)
  }

  sendGoaway(last: number, code: number, message: string): void {
    const debug = utf8(message)
    const { output } = this.sender
    output.frameHeader(8 + debug.length, FRAME.goaway, 0, 0)
    output.u32(last)
    output.u32(code)
    output.raw(debug)
  }
}
