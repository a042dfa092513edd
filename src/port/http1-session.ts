/** One connection that speaks plain HTTP/1.1: probes and scrapers. */
import { createHttp1Server } from '../wire/index.ts'
import type { Connection, ConnectionHandlers, Timer, World } from '../world/index.ts'
import type { Flushable, Flusher } from './flusher.ts'
import type { Session, SessionCounters, SessionTimes } from './grpc-session.ts'
import { answerHttp } from './http-answer.ts'
import type { Services } from './types.ts'

export interface Http1Session extends Flushable, Session {
  readonly handlers: ConnectionHandlers
}

export function createHttp1Session(
  world: World,
  connection: Connection,
  times: SessionTimes,
  services: Services,
  flusher: Flusher,
  counters: SessionCounters,
  onEnd: () => void,
): Http1Session {
  let ended = false
  let isHeld = false
  let isDraining = false
  let timer: Timer | undefined
  /** What the client has time for now: to finish its request, to read, or to ask again. */
  let waitsFor: 'request' | 'read' | 'idle' | undefined
  const machine = createHttp1Server((method, target) => answerHttp(services, 1, method, target))

  const finish = (): void => {
    if (ended) return
    ended = true
    timer?.cancel()
    onEnd()
  }

  /** A drip of bytes does not renew the patience with one request. */
  const wait = (): void => {
    const next = isHeld ? 'read' : machine.isMidRequest ? 'request' : 'idle'
    if (next === waitsFor && next !== 'idle') return
    waitsFor = next
    timer?.cancel()
    timer = world.clock.setTimer(next === 'idle' ? times.keepAliveMs : times.patienceMs, () => {
      if (next === 'read') connection.reset()
      else connection.close()
      finish()
    })
  }

  const session: Http1Session = {
    handlers: {
      onData(bytes) {
        if (ended) return
        counters.receivedBytes += bytes.length
        machine.receive(bytes)
        flusher.mark(session)
      },
      onDrain() {
        if (ended) return
        isHeld = false
        connection.resume()
        wait()
      },
      onClose: finish,
    },
    flush() {
      if (ended) return
      const output = machine.takeOutput()
      if (output !== undefined) {
        counters.sentBytes += output.length
        waitsFor = undefined
        // A client that does not read its answers is not read from.
        if (!connection.write(output)) {
          isHeld = true
          connection.pause()
        }
      }
      if (machine.finished || (isDraining && !machine.isMidRequest)) {
        connection.close()
        finish()
      } else wait()
    },
    drain() {
      isDraining = true
      flusher.mark(session)
    },
    end() {
      connection.reset()
      finish()
    },
  }
  return session
}
