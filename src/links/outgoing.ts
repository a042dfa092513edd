/** One attempt to reach a peer's lane: the dial and the dialler's side of the handshake, within one bounded time. */
import { failure, type Failure } from '../base/index.ts'
import type { Connection, ConnectionHandlers } from '../world/index.ts'
import type { Context, Remote } from './context.ts'
import { type Agreement, createDiallerHandshake, encodeRefusal, type Proven, type Step } from './handshake.ts'
import { NONCE_BYTES } from './handshake-messages.ts'
import { ourRefusal, theirRefusal } from './refusals.ts'
import type { Lane } from './types.ts'

export interface OutgoingEvents {
  /** The peer is proven and admitted: the last session to tell it. */
  last(): Uint8Array
  /** Returns who goes on with the connection. */
  onOpen(connection: Connection, who: Proven, agreement: Agreement): ConnectionHandlers
  /** `refused`: trying again soon will not help. */
  onFailed(reason: Failure, refused: boolean): void
}

export interface Outgoing {
  /** The peer's process, once this side has said its last word to it: the peer may open the session any moment. */
  readonly committedTo: Uint8Array | undefined
  /** Ends it without an event. */
  abandon(): void
}

export function dialOut(context: Context, remote: Remote, lane: Lane, events: OutgoingEvents): Outgoing {
  const { world, options, party, refusals } = context
  const address = remote.address()
  const attempt = context.nextAttempt()
  const handshake = createDiallerHandshake(party, remote.id, lane, attempt, world.random.bytes(NONCE_BYTES))
  let connection: Connection | undefined
  let over = false
  let session: ConnectionHandlers | undefined
  let who: Proven | undefined
  let committedTo: Uint8Array | undefined
  let withdraw = (): void => {}

  const settle = (): boolean => {
    if (over) return false
    over = true
    timer.cancel()
    withdraw()
    return true
  }
  const fail = (reason: Failure, refused: boolean): void => {
    if (!settle()) return
    connection?.reset()
    events.onFailed(reason, refused)
  }
  const refuse = (bytes: Uint8Array, why: Failure): void => {
    if (!settle()) return
    connection?.write(bytes)
    connection?.close()
    refusals.report(remote.id, why)
    events.onFailed(why, true)
  }
  const timer = world.clock.setTimer(options.handshakeTimeoutMs, () => {
    fail(failure('unreachable', `${address} has not finished a handshake in ${options.handshakeTimeoutMs} ms`), false)
  })

  const admit = (proven: Proven): void => {
    who = proven
    withdraw = remote.admission.ask(proven.instance, (admitted) => {
      if (over) return
      if (!admitted) {
        const why = ourRefusal('instance', address, { member: proven.member }, party, remote.id)
        refuse(encodeRefusal(party, 'instance'), why)
        return
      }
      committedTo = proven.process
      connection?.write(handshake.finish(events.last()))
    })
  }

  const take = (step: Step): void => {
    switch (step.type) {
      case 'wait':
      case 'send':
        return
      case 'proved':
        return admit(step.who)
      case 'open':
        if (connection === undefined || who === undefined || !settle()) return
        session = events.onOpen(connection, who, step.agreement)
        return
      case 'refuse':
        return refuse(step.bytes, ourRefusal(step.reason, address, step.claimed, party, remote.id))
      case 'refused': {
        const { reason } = step.refusal
        if (reason === 'busy') {
          fail(failure('connection-lost', `${address} already has a connection with this server`), false)
          return
        }
        const why = theirRefusal({ ...step.refusal, reason }, address, party)
        if (!over) refusals.report(remote.id, why)
        fail(why, true)
        return
      }
      case 'malformed':
        fail(failure('protocol-error', `${address}: ${step.message}`), false)
        return
      default:
        return step satisfies never
    }
  }

  const dialOptions = {
    timeoutMs: options.handshakeTimeoutMs,
    ...(options.tls === undefined ? {} : { tls: options.tls }),
  }
  world.network.dial(address, dialOptions, (dialled) => {
    if (over) return undefined
    if (!dialled.ok) {
      fail(dialled.error, false)
      return undefined
    }
    connection = dialled.value
    connection.write(handshake.hello)
    return {
      onData(bytes) {
        if (session !== undefined) session.onData(bytes)
        else if (!over) take(handshake.receive(bytes))
      },
      onDrain: () => session?.onDrain(),
      onClose(reason) {
        if (session !== undefined) session.onClose(reason)
        else fail(reason ?? failure('connection-lost', `${address} ended the connection during the handshake`), false)
      },
    }
  })

  return {
    get committedTo() {
      return over ? undefined : committedTo
    },
    abandon() {
      if (settle()) connection?.reset()
    },
  }
}
