/**
 * The listener for everything: recognises what a new connection speaks from its first bytes, and hands it to the
 * session of that protocol. One port serves gRPC, plain HTTP and the members' own links.
 */
import type { Result } from '../base/index.ts'
import { concatBytes, EMPTY, err, ok } from '../base/index.ts'
import type { Connection, ConnectionHandlers, Listener, World } from '../world/index.ts'
import { recognise } from '../wire/index.ts'
import { createFlusher } from './flusher.ts'
import type { Session, SessionCounters, SessionTimes } from './grpc-session.ts'
import { createGrpcSession } from './grpc-session.ts'
import { createHttp1Session } from './http1-session.ts'
import type { Port, PortOptions, Services } from './types.ts'

/** The longest prefix that any protocol needs to be recognised. */
const MAX_PREFIX_BYTES = 64
const DEFAULT_KEEP_ALIVE_MS = 60_000
const DEFAULT_PATIENCE_MS = 20_000

const DEAF: ConnectionHandlers = { onData() {}, onDrain() {}, onClose() {} }

export function openPort(
  world: World,
  options: PortOptions,
  services: Services,
  recognisePeer: (bytes: Uint8Array) => 'yes' | 'no' | 'need-more',
  done: (result: Result<Port>) => void,
): void {
  const flusher = createFlusher(world)
  const counters: SessionCounters = { openCalls: 0, calls: 0, receivedBytes: 0, sentBytes: 0 }
  const times: SessionTimes = {
    keepAliveMs: options.keepAliveMs ?? DEFAULT_KEEP_ALIVE_MS,
    patienceMs: options.patienceMs ?? DEFAULT_PATIENCE_MS,
  }
  const sessions = new Set<Session>()
  /** Not recognised yet, oldest first. */
  const strangers = new Set<Connection>()
  const peers = new Set<Connection>()
  let accepted = 0
  let refused = 0
  let draining = false
  let onIdle: (() => void) | undefined

  const remove = (session: Session): void => {
    sessions.delete(session)
    if (sessions.size === 0) onIdle?.()
  }

  const refuse = (connection: Connection, reason: string): ConnectionHandlers => {
    refused++
    world.diagnostics.log('info', 'client-refused', { client: connection.remoteAddress, reason })
    connection.reset()
    return DEAF
  }

  /** The owner of a connection that begins with `bytes`; undefined while they are too few to tell. */
  const ownerOf = (connection: Connection, bytes: Uint8Array): ConnectionHandlers | undefined => {
    const peer = services.peer === undefined ? 'no' : recognisePeer(bytes)
    if (peer === 'yes' && services.peer !== undefined) return servePeer(connection, bytes, services.peer)
    const protocol = recognise(bytes)
    if (peer === 'need-more' || protocol === 'need-more') {
      return bytes.length < MAX_PREFIX_BYTES ? undefined : refuse(connection, 'it speaks no protocol of this port')
    }
    if (protocol === 'tls') return refuse(connection, 'it speaks TLS, and this port does not')
    if (protocol === 'unknown') return refuse(connection, 'it speaks no protocol of this port')
    if (sessions.size >= options.maxConnections) return refuse(connection, 'there are too many connections')
    const onEnd = (): void => remove(session)
    const session =
      protocol === 'http2'
        ? createGrpcSession(world, connection, options.grpc, times, services, flusher, counters, onEnd)
        : createHttp1Session(world, connection, times, services, flusher, counters, onEnd)
    sessions.add(session)
    session.handlers.onData(bytes)
    return session.handlers
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

  /** Strangers are bounded by sending away the one that has been silent for longest: a member always gets in. */
  const makeRoom = (): void => {
    if (strangers.size < options.maxConnections) return
    const [oldest] = strangers
    if (oldest === undefined) return
    strangers.delete(oldest)
    refuse(oldest, 'it has not said what it speaks, and others wait')
  }

  const accept = (connection: Connection): ConnectionHandlers => {
    accepted++
    if (draining) {
      world.endOfTurn(() => refuse(connection, 'the server is stopping'))
      return DEAF
    }
    let handlers: ConnectionHandlers | undefined
    let prefix: Uint8Array = EMPTY
    makeRoom()
    strangers.add(connection)
    const timer = world.clock.setTimer(options.recogniseTimeoutMs, () => {
      if (strangers.delete(connection)) handlers = refuse(connection, 'it did not say in time what it speaks')
    })
    return {
      onData(bytes) {
        if (handlers !== undefined) {
          handlers.onData(bytes)
          return
        }
        // Sent away to make room.
        if (!strangers.has(connection)) return
        prefix = prefix.length === 0 ? bytes : concatBytes([prefix, bytes])
        handlers = ownerOf(connection, prefix)
        if (handlers === undefined) return
        prefix = EMPTY
        timer.cancel()
        strangers.delete(connection)
      },
      onDrain() {
        handlers?.onDrain()
      },
      onClose(reason) {
        timer.cancel()
        strangers.delete(connection)
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

  const stopListening = (listener: Listener): void => {
    draining = true
    listener.close(() => {})
    for (const stranger of strangers) stranger.reset()
    strangers.clear()
  }

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
      stopListening(listener)
      const timer = world.clock.setTimer(graceMs, () => onIdle?.())
      onIdle = () => {
        onIdle = undefined
        timer.cancel()
        drained()
      }
      for (const session of Array.from(sessions)) session.drain()
      // In a turn of its own, as every callback.
      if (sessions.size === 0) world.endOfTurn(() => onIdle?.())
    },
    close(closed) {
      stopListening(listener)
      for (const session of Array.from(sessions)) session.end()
      for (const peer of peers) peer.reset()
      world.endOfTurn(closed)
    },
  })
}
