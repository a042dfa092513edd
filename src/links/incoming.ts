/**
 * Connections that the port hands over: the acceptor's side of the handshake. Whoever they are is unknown until the end
 * of it, so their number and time are bounded; when there are too many, the oldest goes, because a member is done within
 * two round trips and a flood is not.
 */
import { failure } from '../base/index.ts'
import type { Connection, ConnectionHandlers } from '../world/index.ts'
import type { Context, Remote } from './context.ts'
import { type Agreement, createAcceptorHandshake, encodeRefusal, type Proven, type Step } from './handshake.ts'
import { NONCE_BYTES, type Grounds } from './handshake-messages.ts'
import { ourRefusal, theirRefusal } from './refusals.ts'

export const MAX_UNPROVEN = 256

/** A link as this side's handshakes see it. */
export interface Accepting {
  readonly remote: Remote
  /** Whether the proven dialler may have the lane. */
  consider(who: Proven): 'accept' | 'busy'
  /** Returns who goes on with the connection. */
  open(connection: Connection, who: Proven, agreement: Agreement): ConnectionHandlers
}

export interface Incoming {
  accept(connection: Connection, firstBytes: Uint8Array): ConnectionHandlers
  close(): void
}

/** `find` gives the link of a member and lane; undefined for who is no member. */
export function createIncoming(context: Context, find: (who: Proven) => Accepting | undefined): Incoming {
  const { world, options, party, refusals } = context
  /** In order of arrival. */
  const unproven = new Set<() => void>()
  let closed = false

  const accept = (connection: Connection, firstBytes: Uint8Array): ConnectionHandlers => {
    const address = connection.remoteAddress
    const handshake = createAcceptorHandshake(party, world.random.bytes(NONCE_BYTES))
    let over = false
    let session: ConnectionHandlers | undefined
    let withdraw = (): void => {}

    /** The handshake is decided; who is refused counts until the connection has ended. */
    const decide = (): boolean => {
      if (over) return false
      over = true
      withdraw()
      return true
    }
    const leave = (): void => {
      timer.cancel()
      unproven.delete(drop)
    }
    const drop = (): void => {
      decide()
      leave()
      connection.reset()
    }
    const refuse = (bytes: Uint8Array): void => {
      if (!decide()) return
      connection.write(bytes)
      connection.close()
    }
    const timer = world.clock.setTimer(options.handshakeTimeoutMs, drop)

    const refuseProven = (reason: Grounds, who: Proven, remote: Remote | undefined): void => {
      refuse(encodeRefusal(party, reason))
      refusals.report(remote?.id, ourRefusal(reason, address, { member: who.member }, party, undefined))
    }

    const admit = (who: Proven): void => {
      const remote = find(who)?.remote
      if (remote === undefined) return refuseProven('unknown-member', who, undefined)
      // No stranger any more: a flood does not push it out.
      unproven.delete(drop)
      withdraw = remote.admission.ask(who.instance, (admitted) => {
        if (over) return
        // Peers may have changed while the instance was persisted.
        const link = find(who)
        if (link === undefined) return refuseProven('unknown-member', who, undefined)
        if (!admitted) return refuseProven('instance', who, remote)
        if (link.consider(who) === 'busy') return refuse(encodeRefusal(party, 'busy'))
        if (!decide()) return
        leave()
        const { bytes, agreement } = handshake.accept()
        connection.write(bytes)
        session = link.open(connection, who, agreement)
      })
    }

    const take = (step: Step): void => {
      switch (step.type) {
        case 'wait':
        case 'open':
          return
        case 'send':
          connection.write(step.bytes)
          return
        case 'proved':
          return admit(step.who)
        case 'refuse':
          refuse(step.bytes)
          return refusals.report(undefined, ourRefusal(step.reason, address, step.claimed, party, undefined))
        case 'refused': {
          const { reason } = step.refusal
          drop()
          if (reason !== 'busy') refusals.report(undefined, theirRefusal({ ...step.refusal, reason }, address, party))
          return
        }
        case 'malformed':
          world.diagnostics.log('info', 'peer-not-understood', { address, message: step.message })
          drop()
          return
        default:
          return step satisfies never
      }
    }

    if (closed) {
      drop()
    } else {
      const [oldest] = unproven
      if (unproven.size >= MAX_UNPROVEN) oldest?.()
      unproven.add(drop)
      take(handshake.receive(firstBytes))
    }
    return {
      onData(bytes) {
        if (session !== undefined) session.onData(bytes)
        else if (!over) take(handshake.receive(bytes))
      },
      onDrain: () => session?.onDrain(),
      onClose(reason) {
        if (session !== undefined) return session.onClose(reason)
        leave()
        if (!decide()) return
        const why = reason ?? failure('connection-lost', `${address} ended the connection`)
        world.diagnostics.log('debug', 'peer-handshake-ended', { address, message: why.message })
      },
    }
  }

  return {
    accept,
    close() {
      closed = true
      for (const drop of unproven) drop()
    },
  }
}
