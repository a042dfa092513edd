/**
 * One client connection that speaks gRPC: drives the protocol's state machine over the byte stream, and hands whole
 * unary requests to their handlers. Back-pressure: a client that does not read is not read from; what is queued for it
 * is bounded by the machine's `maxOutputBytes`, beyond which the connection ends.
 */
import { concatBytes, EMPTY } from '../base/index.ts'
import type { Connection, ConnectionHandlers, World } from '../world/index.ts'
import type { GrpcCall, GrpcLimits, GrpcServerConnection, GrpcStatus, Metadata } from '../wire/index.ts'
import { createGrpcServer, GRPC_STATUS } from '../wire/index.ts'
import type { Flushable, Flusher } from './flusher.ts'
import { NOT_FOUND } from './not-found.ts'
import type { Call, Services, UnaryHandler } from './types.ts'

/** Counters shared by all sessions of a port. */
export type SessionCounters = { openCalls: number; calls: number; receivedBytes: number; sentBytes: number }

export interface GrpcSession extends Flushable {
  readonly handlers: ConnectionHandlers
  drain(): void
  readonly idle: boolean
  end(): void
}

export function createGrpcSession(
  world: World,
  connection: Connection,
  limits: GrpcLimits,
  services: Services,
  flusher: Flusher,
  counters: SessionCounters,
  onEnd: () => void,
): GrpcSession {
  const calls = new Map<number, OpenCall>()
  let draining = false
  let ended = false

  class OpenCall implements Call {
    readonly id: number
    readonly metadata: Metadata
    readonly deadlineMs: number
    readonly handler: UnaryHandler
    message: Uint8Array | undefined = undefined
    started = false
    done = false

    constructor(call: GrpcCall, handler: UnaryHandler) {
      this.id = call.id
      this.metadata = call.metadata
      this.deadlineMs =
        call.timeoutMs === undefined ? Number.POSITIVE_INFINITY : world.clock.monotonicMs() + call.timeoutMs
      this.handler = handler
    }

    get cancelled(): boolean {
      return this.done || (this.deadlineMs !== Number.POSITIVE_INFINITY && world.clock.monotonicMs() > this.deadlineMs)
    }

    respond(parts: readonly Uint8Array[]): void {
      if (!this.close()) return
      machine.respond(this.id, parts.length === 1 ? (parts[0] as Uint8Array) : concatBytes(parts))
    }

    fail(status: GrpcStatus): void {
      if (this.close()) machine.finish(this.id, status)
    }

    /** False where the call is over already. */
    close(): boolean {
      if (this.done) return false
      this.done = true
      calls.delete(this.id)
      counters.openCalls--
      flusher.mark(session)
      return true
    }
  }

  const machine: GrpcServerConnection = createGrpcServer(limits, {
    onCall(call) {
      const handler = services.unary.get(call.path)
      if (handler === undefined) {
        machine.finish(call.id, { code: GRPC_STATUS.unimplemented, message: `unknown method ${call.path}` })
        return
      }
      counters.calls++
      counters.openCalls++
      calls.set(call.id, new OpenCall(call, handler))
    },
    onMessage(id, message) {
      const call = calls.get(id)
      if (call === undefined) return
      if (call.message !== undefined) {
        call.fail({
          code: GRPC_STATUS.internal,
          message: 'a unary call carries one message, and this one carries more',
        })
        return
      }
      call.message = message
    },
    onHalfClose(id) {
      const call = calls.get(id)
      if (call === undefined || call.started) return
      call.started = true
      if (call.message === undefined) {
        call.fail({ code: GRPC_STATUS.internal, message: 'the call ended without its message' })
        return
      }
      call.handler(call.message, call)
    },
    onCancel(id) {
      calls.get(id)?.close()
    },
    onWritable() {
      // Unary answers are one message each: nothing waits for room.
    },
    onHttp(request) {
      const answer = services.http(request.method, request.path.split('?', 1)[0] as string)
      if (answer === undefined) machine.respondHttp(request.id, 404, 'text/plain', NOT_FOUND)
      else
        machine.respondHttp(
          request.id,
          answer.status,
          answer.contentType,
          request.method === 'HEAD' ? EMPTY : answer.body,
        )
    },
  })

  const finish = (): void => {
    if (ended) return
    ended = true
    machine.closed()
    for (const call of calls.values()) call.close()
    onEnd()
  }

  const session: GrpcSession = {
    handlers: {
      onData(bytes) {
        counters.receivedBytes += bytes.length
        machine.receive(bytes, world.clock.monotonicMs())
        flusher.mark(session)
      },
      onDrain() {
        connection.resume()
      },
      onClose: finish,
    },
    flush() {
      if (ended) return
      const output = machine.takeOutput()
      if (output !== undefined) {
        counters.sentBytes += output.length
        if (!connection.write(output)) connection.pause()
      }
      if (machine.failed !== undefined || connection.bufferedBytes > limits.maxOutputBytes) {
        world.diagnostics.log('info', 'client-ended', {
          client: connection.remoteAddress,
          reason: machine.failed?.message ?? 'it does not read its answers',
        })
        if (machine.failed === undefined) connection.reset()
        else connection.close()
        finish()
      } else if (draining && machine.openCalls === 0) {
        connection.close()
        finish()
      }
    },
    drain() {
      draining = true
      machine.drain()
      flusher.mark(session)
    },
    get idle() {
      return machine.openCalls === 0
    },
    end() {
      connection.reset()
      finish()
    },
  }
  return session
}
