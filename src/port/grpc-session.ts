/**
 * One client connection that speaks gRPC: drives the protocol's state machine over the byte stream, hands whole unary
 * requests and the messages of streams to their handlers, and answers what runs into its deadline. Back-pressure: a
 * client that does not read is not read from, its answers wait, and after some patience it is gone.
 */
import type { Connection, ConnectionHandlers, Timer, World } from '../world/index.ts'
import type { GrpcLimits, GrpcServerConnection } from '../wire/index.ts'
import { createGrpcServer, GRPC_STATUS } from '../wire/index.ts'
import type { Flushable, Flusher } from './flusher.ts'
import { answerHttp } from './http-answer.ts'
import { KeepAlive } from './keep-alive.ts'
import type { CallHost, OpenCall } from './open-call.ts'
import { OpenStream, OpenUnary } from './open-call.ts'
import type { Services } from './types.ts'

/** Counters shared by all sessions of a port. */
export type SessionCounters = { openCalls: number; calls: number; receivedBytes: number; sentBytes: number }

export interface Session {
  /** Answers what is open, takes no more, and then ends. */
  drain(): void
  end(): void
}

export interface GrpcSession extends Flushable, Session {
  readonly handlers: ConnectionHandlers
}

export type SessionTimes = { readonly keepAliveMs: number; readonly patienceMs: number }

export function createGrpcSession(
  world: World,
  connection: Connection,
  limits: GrpcLimits,
  times: SessionTimes,
  services: Services,
  flusher: Flusher,
  counters: SessionCounters,
  onEnd: () => void,
): GrpcSession {
  const calls = new Map<number, OpenCall>()
  let isHeld = false
  let ended = false
  let deadlineTimer: Timer | undefined
  let nextDeadlineMs = Number.POSITIVE_INFINITY

  const mark = (): void => flusher.mark(session)

  const host: CallHost = {
    get machine() {
      return machine
    },
    nowMs: () => world.clock.monotonicMs(),
    mark,
    onOver(id) {
      calls.delete(id)
      counters.openCalls--
    },
  }

  /** One timer for all calls, at the earliest deadline that it knew of; those that are answered in time leave it be. */
  const watchDeadline = (deadlineMs: number): void => {
    if (deadlineMs >= nextDeadlineMs) return
    deadlineTimer?.cancel()
    nextDeadlineMs = deadlineMs
    deadlineTimer = world.clock.setTimer(Math.max(0, deadlineMs - world.clock.monotonicMs()), onDeadline)
  }

  const onDeadline = (): void => {
    const nowMs = world.clock.monotonicMs()
    let earliestMs = Number.POSITIVE_INFINITY
    nextDeadlineMs = Number.POSITIVE_INFINITY
    for (const call of Array.from(calls.values())) {
      if (call.deadlineMs <= nowMs) call.expire()
      else earliestMs = Math.min(earliestMs, call.deadlineMs)
    }
    if (!ended && earliestMs !== Number.POSITIVE_INFINITY) watchDeadline(earliestMs)
  }

  const machine: GrpcServerConnection = createGrpcServer(limits, {
    onCall(call) {
      const unary = services.unary.get(call.path)
      const streaming = unary === undefined ? services.streaming?.get(call.path) : undefined
      if (unary === undefined && streaming === undefined) {
        machine.finish(call.id, { code: GRPC_STATUS.unimplemented, message: `unknown method ${call.path}` })
        return
      }
      const deadlineMs =
        call.timeoutMs === undefined ? Number.POSITIVE_INFINITY : world.clock.monotonicMs() + call.timeoutMs
      if (call.timeoutMs === 0) {
        machine.finish(call.id, { code: GRPC_STATUS.deadlineExceeded, message: 'the deadline had passed on arrival' })
        return
      }
      counters.calls++
      counters.openCalls++
      if (unary !== undefined) calls.set(call.id, new OpenUnary(host, call, deadlineMs, unary))
      else if (streaming !== undefined) {
        const open = new OpenStream(host, call, deadlineMs)
        calls.set(call.id, open)
        open.begin(streaming)
      }
      if (deadlineMs !== Number.POSITIVE_INFINITY) watchDeadline(deadlineMs)
    },
    onMessage(id, message) {
      calls.get(id)?.onMessage(message)
    },
    onHalfClose(id) {
      calls.get(id)?.onHalfClose()
    },
    onCancel(id) {
      calls.get(id)?.onCancel()
    },
    onWritable(id) {
      calls.get(id)?.onWritable()
    },
    onHttp({ id, method, path }) {
      machine.respondHttp(id, answerHttp(services, 2, method, path))
    },
  })

  const keepAlive = new KeepAlive(world.clock, times, {
    ask(answered) {
      machine.ping(answered)
      mark()
    },
    giveUp: (why) => giveUp(why),
  })

  const finish = (): void => {
    if (ended) return
    ended = true
    keepAlive.stop()
    deadlineTimer?.cancel()
    machine.closed()
    onEnd()
  }

  const giveUp = (reason: string): void => {
    world.diagnostics.log('info', 'client-ended', { client: connection.remoteAddress, reason })
    connection.reset()
    finish()
  }

  /** Writes all that there is; what is large leaves in pieces, and waits where the connection is full. */
  const writeOut = (): void => {
    while (!isHeld) {
      const output = machine.takeOutput()
      if (output === undefined) return
      counters.sentBytes += output.length
      if (connection.write(output)) continue
      isHeld = true
      machine.hold()
      connection.pause()
      keepAlive.blocked()
    }
  }

  const session: GrpcSession = {
    handlers: {
      onData(bytes) {
        if (ended) return
        counters.receivedBytes += bytes.length
        keepAlive.heard()
        machine.receive(bytes, world.clock.monotonicMs())
        mark()
      },
      onDrain() {
        if (!isHeld || ended) return
        isHeld = false
        keepAlive.unblocked()
        machine.release()
        connection.resume()
        mark()
      },
      onClose: finish,
    },
    flush() {
      if (ended) return
      writeOut()
      if (machine.failed !== undefined) {
        world.diagnostics.log('info', 'client-ended', {
          client: connection.remoteAddress,
          reason: machine.failed.message,
        })
        connection.close()
        finish()
      } else if (connection.bufferedBytes > limits.maxOutputBytes) giveUp('it does not read its answers')
      else if (machine.isDrained && !isHeld) {
        connection.close()
        finish()
      }
    },
    drain() {
      machine.drain()
      mark()
    },
    end() {
      connection.reset()
      finish()
    },
  }
  keepAlive.heard()
  mark()
  return session
}
