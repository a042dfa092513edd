/**
 * One lane to one peer: dials until there is a connection, decides which connection counts where both sides dial, and
 * carries frames over the one that is open.
 *
 * Both sides dial, the one with the lower id first; what happens where they cross is in crossing.ts.
 */
import { failure } from '../base/index.ts'
import type { Connection, ConnectionHandlers, Timer } from '../world/index.ts'
import type { Context, Remote } from './context.ts'
import { considerOffer, type Standing } from './crossing.ts'
import { lengthOf, type Parts } from './framing.ts'
import { type Agreement, NO_SESSION, type Proven } from './handshake.ts'
import type { Accepting } from './incoming.ts'
import { dialOut, type Outgoing } from './outgoing.ts'
import { createSession, type Session } from './session.ts'
import type { Lane } from './types.ts'

type Open = Standing & { readonly session: Session }

export interface Link extends Accepting {
  readonly lane: Lane
  readonly up: boolean
  readonly sentBytes: number
  readonly receivedBytes: number
  readonly queuedBytes: number
  readonly dials: number
  /** Begins to dial. */
  start(): void
  /** The peer is known to answer, or has moved: dials now, where it waits. */
  hurry(): void
  send(frame: Parts): 'sent' | 'full' | 'down'
  tick(nowMs: number, stalledMs: number): void
  pause(): void
  resume(): void
  /** For good. `onDown` follows where it was up, unless it is `silent`. */
  stop(silent: boolean): void
}

export function createLink(context: Context, remote: Remote, lane: Lane, onUp: () => void): Link {
  const { world, options, handlers, party, refusals } = context
  const isLower = party.self < remote.id
  let open: Open | undefined
  let outgoing: Outgoing | undefined
  let redial: Timer | undefined
  let failures = 0
  let stopped = false
  let lastSession: Uint8Array = NO_SESSION
  let dials = 0
  let sentBefore = 0
  let receivedBefore = 0
  let flushing = false

  /** Doubles from redialMinMs to redialMaxMs; the second half of it is drawn. */
  const pauseMs = (): number => {
    const wholeMs = Math.min(options.redialMaxMs, options.redialMinMs * 2 ** Math.min(failures, 30))
    return wholeMs * (0.5 + 0.5 * world.random.fraction())
  }
  const dialAfter = (delayMs: number): void => {
    redial?.cancel()
    redial = stopped || open !== undefined ? undefined : world.clock.setTimer(delayMs, dial)
  }

  const dial = (): void => {
    redial = undefined
    if (stopped || open !== undefined || outgoing !== undefined) return
    dials++
    outgoing = dialOut(context, remote, lane, {
      last: () => lastSession,
      onOpen(connection, who, agreement) {
        outgoing = undefined
        return begin(connection, who, agreement, 'us')
      },
      onFailed(reason, refused) {
        outgoing = undefined
        const pause = refused ? options.redialMaxMs * (0.5 + 0.5 * world.random.fraction()) : pauseMs()
        failures++
        world.diagnostics.log('debug', 'peer-not-reached', { peer: remote.id, lane, message: reason.message })
        dialAfter(pause)
      },
    })
  }

  /** Forgets the open session; what it counted stays. */
  const retire = ({ session }: Open): void => {
    sentBefore += session.sentBytes
    receivedBefore += session.receivedBytes
    open = undefined
  }

  const begin = (
    connection: Connection,
    who: Proven,
    agreement: Agreement,
    dialledBy: 'us' | 'them',
  ): ConnectionHandlers => {
    redial?.cancel()
    redial = undefined
    outgoing?.abandon()
    outgoing = undefined
    failures = 0
    if (open !== undefined) {
      open.session.end('reset')
      retire(open)
      handlers.onDown(remote.id, lane, failure('connection-lost', 'replaced by a newer connection of the same peer'))
    }
    const session = createSession(world, connection, agreement, options, {
      onFrame: (frame) => handlers.onFrame(remote.id, lane, frame),
      onDrain: () => handlers.onDrain(remote.id, lane),
      onEnd(reason) {
        if (open?.session !== session) return
        retire(open)
        handlers.onDown(remote.id, lane, reason)
        // The higher id leaves the first try to the lower.
        dialAfter(isLower ? pauseMs() / 2 : options.redialMinMs + pauseMs())
      },
    })
    open = { session, id: agreement.id, process: who.process, dialledBy, attempt: who.attempt }
    lastSession = agreement.id
    refusals.forget(remote.id)
    onUp()
    handlers.onUp(remote.id, lane, who.protocol)
    session.start()
    return session.handlers
  }

  const flush = (): void => {
    flushing = false
    if (open?.session.flush() === true) flushLater()
  }
  const flushLater = (): void => {
    if (flushing) return
    flushing = true
    context.flushSoon(flush)
  }

  return {
    remote,
    lane,
    get up() {
      return open !== undefined
    },
    get sentBytes() {
      return sentBefore + (open?.session.sentBytes ?? 0)
    },
    get receivedBytes() {
      return receivedBefore + (open?.session.receivedBytes ?? 0)
    },
    get queuedBytes() {
      return open?.session.queuedBytes ?? 0
    },
    get dials() {
      return dials
    },
    start: () => dialAfter(isLower ? 0 : options.redialMinMs + pauseMs()),
    hurry() {
      if (redial === undefined) return
      failures = 0
      dialAfter(isLower ? 0 : pauseMs())
    },
    consider: (who) => considerOffer(who, open, outgoing?.committedTo, isLower),
    open: (connection, who, agreement) => begin(connection, who, agreement, 'them'),
    send(frame) {
      if (open === undefined) return 'down'
      const sizeBytes = lengthOf(frame)
      if (sizeBytes > options.maxFrameBytes) {
        world.diagnostics.log('error', 'peer-frame-too-large', { peer: remote.id, lane, sizeBytes })
        return 'full'
      }
      const outcome = open.session.send(frame)
      flushLater()
      return outcome
    },
    tick: (nowMs, stalledMs) => open?.session.tick(nowMs, stalledMs),
    pause: () => open?.session.pause(),
    resume: () => open?.session.resume(),
    stop(silent) {
      stopped = true
      redial?.cancel()
      outgoing?.abandon()
      outgoing = undefined
      if (open === undefined) return
      open.session.end('close')
      retire(open)
      if (!silent) world.endOfTurn(() => handlers.onDown(remote.id, lane, undefined))
    },
  }
}
