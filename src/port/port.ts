/**
 * The listener for everything: recognises what a new connection speaks from its first bytes, and hands it to the
 * session of that protocol. One port serves gRPC, plain HTTP and the members' own links.
 */
import type { Result } from '../base/index.ts'
import { concatBytes, EMPTY, err, ok } from '../base/index.ts'
import type { Connection, ConnectionHandlers, Listener, World } from '../world/index.ts'
import { recognise } from '../wire/index.ts'
import { createFlusher } from './flusher.ts'
import type { SessionCounters } from './grpc-session.ts'
import { createGrpcSession } from './grpc-session.ts'
import { createHttp1Session } from './http1-session.ts'
import type { Port, PortOptions, Services } from './types.ts'

/** What the port keeps of every client connection, whatever it speaks. */
export interface Session {
  drain(): void
  readonly idle: boolean
  end(): void
}

/** The longest prefix that any protocol needs to be recognised. */
const MAX_PREFIX_BYTES = 64

export function openPort(
  world: World,
  options: PortOptions,
  services: Services,
  recognisePeer: (bytes: Uint8Array) => 'yes' | 'no' | 'need-more',
  done: (result: Result<Port>) => void,
): void {
  const flusher = createFlusher(world)
  const counters: SessionCounters = { openCalls: 0, calls: 0, receivedBytes: 0, sentBytes: 0 }
  const sessions = new Set<Session>()
  const peers = new Set<Connection>()
  let accepted = 0
  let refused = 0
  let draining = false
  let onIdle: (() => void) | undefined

  const remove = (session: Session): void => {
    sessions.delete(session)
    if (sessions.size === 0) onIdle?.()
  }

  /** The session that `bytes` ask for; undefined while they are too few, and null where nothing here speaks that. */
  const open = (connection: Connection, bytes: Uint8Array): ConnectionHandlers | undefined | null => {
    const peer = recognisePeer(bytes)
    if (peer === 'yes' && services.peer !== undefined) return servePeer(connection, bytes, services.peer)
    const protocol = recognise(bytes)
    if (protocol === 'http2') {
      const session = createGrpcSession(world, connection, options.grpc, services, flusher, counters, () =>
        remove(session),
      )
      sessions.add(session)
      return session.handlers
    }
    if (protocol === 'http1') {
      const session = createHttp1Session(world, connection, services, flusher, counters, () => remove(session))
      sessions.add(session)
      return session.handlers
    }
    if ((protocol === 'need-more' || peer === 'need-more') && bytes.length < MAX_PREFIX_BYTES) return undefined
    return null
  }

  const servePeer = (
    connection: Connection,
    bytes: Uint8Array,
    accept: NonNullable<Services['peer']>,
  ): ConnectionHandlers => {
    peers.add(connection)
    const handlers = accept(connection, bytes)
    return {
      onData: (more) => handlers.onData(more),
      onDrain: () => handlers.onDrain(),
      onClose: (reason) => {
        peers.delete(connection)
        handlers.onClose(reason)
      },
    }
  }

  const accept = (connection: Connection): ConnectionHandlers => {
    accepted++
    let handlers: ConnectionHandlers | undefined
    let prefix: Uint8Array = EMPTY
    const unrecognised: Session = {
      drain: () => connection.close(),
      idle: true,
      end: () => connection.reset(),
    }
    if (draining || sessions.size >= options.maxConnections) {
      refused++
      world.endOfTurn(() => connection.reset())
      return { onData() {}, onDrain() {}, onClose() {} }
    }
    sessions.add(unrecognised)
    const timer = world.clock.setTimer(options.recogniseTimeoutMs, () => connection.reset())
    return {
      onData(bytes) {
        if (handlers !== undefined) {
          handlers.onData(bytes)
          return
        }
        prefix = prefix.length === 0 ? bytes : concatBytes([prefix, bytes])
        const opened = open(connection, prefix)
        if (opened === undefined) return
        timer.cancel()
        if (opened === null) {
          refused++
          world.diagnostics.log('info', 'client-not-understood', { client: connection.remoteAddress })
          connection.close()
          return
        }
        handlers = opened
        sessions.delete(unrecognised)
        if (!peers.has(connection)) handlers.onData(prefix)
      },
      onDrain() {
        handlers?.onDrain()
      },
      onClose(reason) {
        timer.cancel()
        remove(unrecognised)
        handlers?.onClose(reason)
      },
    }
  }

  world.network.listen(options.listen, options.tls === undefined ? {} : { tls: options.tls }, accept, (result) => {
    if (!result.ok) {
      done(err(result.error))
      return
    }
    done(ok(portOver(result.value)))
  })

  const portOver = (listener: Listener): Port => ({
    address: listener.address,
    stats: () => ({
      connections: sessions.size,
      accepted,
      refused,
      openCalls: counters.openCalls,
      calls: counters.calls,
      receivedBytes: counters.receivedBytes,
      sentBytes: counters.sentBytes,
    }),
    drain(graceMs, drained) {
      draining = true
      const timer = world.clock.setTimer(graceMs, () => onIdle?.())
      onIdle = () => {
        onIdle = undefined
        timer.cancel()
        drained()
      }
      listener.close(() => {})
      for (const session of sessions) session.drain()
      if (sessions.size === 0) onIdle()
    },
    close(closed) {
      draining = true
      listener.close(() => {})
      for (const session of sessions) session.end()
      for (const peer of peers) peer.reset()
      world.endOfTurn(closed)
    },
  })
}
