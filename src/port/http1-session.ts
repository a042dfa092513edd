/** One connection that speaks plain HTTP/1.1: probes and scrapers. */
import { createHttp1Server } from '../wire/index.ts'
import type { Connection, ConnectionHandlers, World } from '../world/index.ts'
import type { Flushable, Flusher } from './flusher.ts'
import { NOT_FOUND } from './not-found.ts'
import type { SessionCounters } from './grpc-session.ts'
import type { Services } from './types.ts'

export interface Http1Session extends Flushable {
  readonly handlers: ConnectionHandlers
  drain(): void
  readonly idle: boolean
  end(): void
}

/** An idle keep-alive connection is ended after this long. */
const IDLE_MS = 60_000

export function createHttp1Session(
  world: World,
  connection: Connection,
  services: Services,
  flusher: Flusher,
  counters: SessionCounters,
  onEnd: () => void,
): Http1Session {
  let ended = false
  let idleTimer = world.clock.setTimer(IDLE_MS, () => connection.close())
  const machine = createHttp1Server(
    (method, path) => services.http(method, path) ?? { status: 404, contentType: 'text/plain', body: NOT_FOUND },
  )
  const finish = (): void => {
    if (ended) return
    ended = true
    idleTimer.cancel()
    onEnd()
  }
  const session: Http1Session = {
    handlers: {
      onData(bytes) {
        counters.receivedBytes += bytes.length
        idleTimer.cancel()
        idleTimer = world.clock.setTimer(IDLE_MS, () => connection.close())
        machine.receive(bytes)
        flusher.mark(session)
      },
      onDrain: () => connection.resume(),
      onClose: finish,
    },
    flush() {
      if (ended) return
      const output = machine.takeOutput()
      if (output !== undefined) {
        counters.sentBytes += output.length
        // A client that does not read its answers is not read from.
        if (!connection.write(output)) connection.pause()
      }
      if (machine.finished) {
        connection.close()
        finish()
      }
    },
    drain() {
      connection.close()
      finish()
    },
    idle: true,
    end() {
      connection.reset()
      finish()
    },
  }
  return session
}
