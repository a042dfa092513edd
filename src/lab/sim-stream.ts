/**
 * One end of a simulated TCP connection. It behaves like the Node.js world's socket: an end from the other side is
 * answered after what is queued, a close flushes and then lingers for a bounded time, a reset drops, bytes keep their
 * order but not their boundaries, and a window bounds what is on the way.
 */
import { failure, type Failure } from '../base/index.ts'
import type { Connection, ConnectionHandlers, TlsIdentity } from '../world/index.ts'
import type { SimCore, SimHost } from './sim-host.ts'
import { linkDraw, type SimLink } from './sim-link.ts'
import type { SimEvent } from './sim-scheduler.ts'
import { digestOf } from './trace.ts'

/** As in the Node.js world. */
const WRITE_LIMIT_BYTES = 256 * 1024
/** What the other side may have in its buffers, read or not: a system's socket buffers. */
const WINDOW_BYTES = 256 * 1024
const LARGEST_SEGMENT_BYTES = 64 * 1024
const LINGER_MS = 2000
const END: Uint8Array = new Uint8Array(0)

type Segment = { readonly bytes: Uint8Array; readonly isEnd: boolean; joinNext: boolean }

export type EndOptions = {
  readonly id: number
  readonly host: SimHost
  /** The outgoing direction. */
  readonly link: SimLink
  readonly localAddress: string
  readonly remoteAddress: string
  readonly tlsIdentity: TlsIdentity | undefined
  /** How long unanswered bytes are tried before the connection counts as lost. */
  readonly giveUpMs: number
  /** Hears when this end is gone for good. */
  readonly onGone: (end: SimEnd) => void
}

export class SimEnd implements Connection {
  readonly localAddress: string
  readonly remoteAddress: string
  readonly tlsIdentity: TlsIdentity | undefined
  readonly host: SimHost
  readonly link: SimLink
  bufferedBytes = 0
  /** Set by the network before anything happens. */
  other: SimEnd | undefined
  handlers: ConnectionHandlers | undefined
  /** No event may arrive at the other end before this: keeps the order, and data behind the handshake. */
  lastArrivalMs = 0
  /** Nothing happens here any more; whatever still arrives is answered with a reset. */
  gone = false
  readonly #core: SimCore
  readonly #options: EndOptions
  #queue: Uint8Array[] = []
  #onTheWay: Segment[] = []
  #unreadBytes = 0
  #wantsDrain = false
  #ending = false
  #endSent = false
  #endReceived = false
  #closed = false
  #closedByOwner = false
  #paused = false
  #inbox: Uint8Array[] = []
  #joining: Uint8Array[] = []
  #open = false
  #stalled = false
  #due = 0
  #linger: SimEvent | undefined
  #ackScheduled = false

  constructor(core: SimCore, options: EndOptions) {
    this.#core = core
    this.#options = options
    this.host = options.host
    this.link = options.link
    this.localAddress = options.localAddress
    this.remoteAddress = options.remoteAddress
    this.tlsIdentity = options.tlsIdentity
  }

  write(bytes: Uint8Array): boolean {
    if (this.#ending || this.gone) return true
    if (bytes.length > 0) {
      this.#queue.push(bytes)
      this.bufferedBytes += bytes.length
      this.#transmit()
    }
    if (this.bufferedBytes < WRITE_LIMIT_BYTES) return true
    this.#wantsDrain = true
    return false
  }

  pause(): void {
    if (!this.#closedByOwner) this.#paused = true
  }

  resume(): void {
    if (!this.#paused) return
    this.#paused = false
    this.#soon(() => this.#deliver())
  }

  close(): void {
    if (this.#closedByOwner || this.gone) return
    this.#closedByOwner = true
    this.#paused = false
    this.#ending = true
    this.#transmit()
    this.#soon(() => this.#deliver())
  }

  reset(): void {
    if (this.gone) return
    const why = failure('connection-lost', `connection with ${this.remoteAddress} was reset by this side`, {
      address: this.remoteAddress,
    })
    this.#leave()
    this.sendReset()
    this.#soon(() => this.#tellClosed(why))
  }

  /** The handlers are in place: what has arrived meanwhile may be heard. */
  open(): void {
    this.#open = true
    this.#deliver()
  }

  /** The connection is lost, found out at this end: the owner hears why. */
  lose(why: string): void {
    if (this.gone) return
    this.#leave()
    this.#tellClosed(
      failure('connection-lost', `connection with ${this.remoteAddress} ended: ${why}`, {
        address: this.remoteAddress,
      }),
    )
  }

  /** The process is gone: nobody hears anything. */
  vanish(): void {
    this.#closed = true
    this.#leave()
  }

  /** Tells the other end that there is nobody here. */
  sendReset(): void {
    const { other, link } = this
    if (other === undefined || link.blocked) return
    link.carry(0, () => {
      if (other.host.alive) other.lose('the other side reset it')
    })
  }

  #soon(run: () => void): void {
    this.#core.scheduler.at(this.#core.scheduler.nowMs, run)
  }

  #leave(): void {
    this.gone = true
    this.#ending = true
    if (this.#linger !== undefined) this.#core.scheduler.cancel(this.#linger)
    this.#queue = []
    this.bufferedBytes = 0
    this.#inbox = []
    this.#joining = []
    this.#onTheWay = []
    this.#options.onGone(this)
  }

  #trace(kind: 'deliver' | 'drain' | 'closed', amount: number, digest: number): void {
    this.#core.trace.add(this.#core.scheduler.nowMs, kind, this.host.process, this.#options.id, amount, digest)
  }

  #tellClosed(reason: Failure | undefined): void {
    if (this.#closed) return
    this.#closed = true
    const { handlers } = this
    if (handlers === undefined || !this.host.alive) return
    this.#trace('closed', reason === undefined ? 0 : 1, 0)
    this.host.enter((why) => handlers.onClose(why), reason)
  }

  // Sending.

  #transmit(): void {
    while (this.#queue.length > 0 && this.#unreadBytes < WINDOW_BYTES) {
      const first = this.#queue[0] as Uint8Array
      const room = Math.min(WINDOW_BYTES - this.#unreadBytes, LARGEST_SEGMENT_BYTES)
      if (first.length <= room) {
        this.#queue.shift()
        this.#send(first, false)
      } else {
        this.#queue[0] = first.subarray(room)
        this.#send(first.subarray(0, room), false)
      }
    }
    if (this.#ending && !this.#endSent && this.#queue.length === 0 && !this.gone) {
      this.#endSent = true
      this.#send(END, true)
      this.#linger = this.#core.scheduler.at(this.#core.scheduler.nowMs + LINGER_MS, () => this.#finish())
      this.#closeIfBothEnded()
    }
  }

  #send(bytes: Uint8Array, isEnd: boolean): void {
    this.bufferedBytes -= bytes.length
    this.#unreadBytes += bytes.length
    const item = this.link.nextItem()
    const { splitChance, mergeChance } = this.link.profile
    const last = this.#onTheWay.at(-1)
    if (last !== undefined && !last.isEnd && !isEnd && linkDraw(this.link, item, 'merge') < mergeChance) {
      last.joinNext = true
    }
    const u = linkDraw(this.link, item, 'split')
    if (bytes.length > 1 && u < splitChance) {
      // The same draw, stretched, says where.
      const cut = 1 + Math.floor((u / splitChance) * (bytes.length - 1))
      this.#launch(bytes.subarray(0, cut), isEnd, item)
      this.#launch(bytes.subarray(cut), isEnd, this.link.nextItem())
    } else {
      this.#launch(bytes, isEnd, item)
    }
  }

  #launch(bytes: Uint8Array, isEnd: boolean, item: number): void {
    this.lastArrivalMs = Math.max(this.lastArrivalMs, this.link.arrivalMs(item, bytes.length))
    this.#onTheWay.push({ bytes, isEnd, joinNext: false })
    this.#core.scheduler.at(this.lastArrivalMs, () => this.#arrive())
  }

  /** The first segment on the way has reached the other side, or a wall. */
  #arrive(): void {
    if (this.#onTheWay.length === 0) return
    this.#due++
    if (this.#stalled) return
    if (this.link.blocked) this.#stall()
    else this.#flushDue()
  }

  #stall(): void {
    this.#stalled = true
    let over = false
    this.link.hold(() => {
      over = true
      this.link.carry(0, () => {
        this.#stalled = false
        this.#flushDue()
      })
    })
    this.#core.scheduler.at(this.#core.scheduler.nowMs + this.#options.giveUpMs, () => {
      if (!over && this.host.alive) this.lose('the other side does not answer')
    })
  }

  #flushDue(): void {
    const { other } = this
    while (this.#due > 0) {
      this.#due--
      const segment = this.#onTheWay.shift()
      if (segment === undefined || other === undefined) return
      if (other.gone) {
        this.#unanswered(other)
        return
      }
      other.#receive(segment)
    }
  }

  /** Bytes reached a place where the connection is unknown. */
  #unanswered(other: SimEnd): void {
    this.#onTheWay = []
    this.#due = 0
    if (this.gone) return
    if (this.#core.isReachable(other.host.process)) {
      other.sendReset()
      return
    }
    this.#core.scheduler.at(this.#core.scheduler.nowMs + this.#options.giveUpMs, () => {
      if (this.host.alive) this.lose('the other side does not answer')
    })
  }

  // Receiving.

  #receive(segment: Segment): void {
    if (segment.isEnd) {
      this.#endReceived = true
    } else {
      this.#joining.push(segment.bytes)
      if (segment.joinNext) return
      this.#inbox.push(joined(this.#joining))
      this.#joining = []
    }
    this.#deliver()
  }

  #deliver(): void {
    if (!this.#open) return
    while (this.#inbox.length > 0 && !this.#paused && !this.gone) {
      const bytes = this.#inbox.shift() as Uint8Array
      const { handlers } = this
      if (!this.#closedByOwner && handlers !== undefined) {
        this.#trace('deliver', bytes.length, digestOf(bytes))
        this.host.enter((data) => handlers.onData(data), bytes)
      }
      this.other?.consumed(bytes.length, this.link)
    }
    if (!this.#endReceived || this.#inbox.length > 0 || this.#paused || this.gone) return
    // Nobody reads on the other side: our end follows what is queued.
    this.#ending = true
    this.#transmit()
    this.#closeIfBothEnded()
  }

  #closeIfBothEnded(): void {
    if (!this.#endSent || !this.#endReceived || this.gone || this.#inbox.length > 0) return
    this.#soon(() => this.#finish())
  }

  /** The orderly end. What is still on its way arrives all the same: the operating system sees to it. */
  #finish(): void {
    if (this.gone) return
    const onTheWay = this.#onTheWay
    this.#leave()
    this.#onTheWay = onTheWay
    this.#tellClosed(undefined)
  }

  /** The other end has taken `count` bytes out of its buffer; word of it comes back over `link`. */
  consumed(count: number, link: SimLink): void {
    this.#unreadBytes -= count
    // Only a sender that waits needs to be told.
    if (this.#ackScheduled || this.gone || (this.#queue.length === 0 && !this.#wantsDrain)) return
    this.#ackScheduled = true
    link.carry(0, () => {
      this.#ackScheduled = false
      if (this.gone || !this.host.alive) return
      this.#transmit()
      const { handlers } = this
      if (!this.#wantsDrain || this.bufferedBytes > 0 || this.#closedByOwner || handlers === undefined) return
      this.#wantsDrain = false
      this.#trace('drain', 0, 0)
      this.host.enter(() => handlers.onDrain(), undefined)
    })
  }
}

/** A copy, so that receiver and sender never share memory. */
function joined(parts: readonly Uint8Array[]): Uint8Array {
  const [first] = parts
  if (parts.length === 1 && first !== undefined) return new Uint8Array(first)
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}
