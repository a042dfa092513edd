/**
 * One connection of the client's to a server, with the calls that are open on it. Output leaves once a turn and waits
 * where the byte stream is full. A server that is silent while calls wait is asked for a sign of life (PING), and
 * without one the connection is given up: its calls end with an unknown outcome.
 */
import type { Failure } from '../base/index.ts'
import { failure } from '../base/index.ts'
import type { GrpcClientConnection, GrpcStatus, Metadata } from '../wire/index.ts'
import { createGrpcClient, GRPC_STATUS } from '../wire/index.ts'
import type { Address, Connection, ConnectionHandlers, Timer, World } from '../world/index.ts'

export type Outcome = 'answered' | 'not-processed' | 'unknown'

/** How a unary call ended: the message where the status is ok. */
export type Ended = { readonly status: GrpcStatus; readonly outcome: Outcome; readonly message: Uint8Array | undefined }

export type Request = {
  readonly path: string
  readonly metadata: Metadata
  readonly message: Uint8Array
  readonly timeoutMs: number
}

/** A call with any number of messages in both directions. */
export interface OpenStream {
  send(message: Uint8Array): void
  /** Back-pressure: at most one window of messages still comes until `resume`. */
  pause(): void
  resume(): void
  /** No handler is called any more. */
  cancel(): void
}

export type StreamHandlers = {
  readonly onMessage: (message: Uint8Array) => void
  readonly onEnd: (ended: Ended) => void
}

export interface Link {
  readonly handlers: ConnectionHandlers
  /** Undefined where no more calls can be open at once; else a function that cancels without calling `done`. */
  open(request: Request, done: (ended: Ended) => void): (() => void) | undefined
  /** Undefined where no more calls can be open at once. Its messages are few and small: none is held back. */
  stream(path: string, metadata: Metadata, handlers: StreamHandlers): OpenStream | undefined
  /** Ends it now; open calls end as unknown. */
  close(reason: Failure): void
}

export type LinkHandlers = {
  /** A call has ended: there is room for another. */
  readonly onRoom: () => void
  /** No further calls here; open ones may still end. Called once. */
  readonly onClosing: (reason: Failure | undefined) => void
}

const LIMITS = {
  maxMessageBytes: 64 * 1024 * 1024,
  maxConcurrentCalls: 1_000,
  maxHeaderListBytes: 64 * 1024,
  callWindowBytes: 8 * 1024 * 1024,
  connectionWindowBytes: 16 * 1024 * 1024,
  maxOutputBytes: 64 * 1024 * 1024,
} as const

/** Nothing was heard for this long while calls wait: a PING goes out. */
export const SILENCE_MS = 1_500
/** And after this much more the server counts as gone. */
export const PATIENCE_MS = 2_000

type Call = {
  readonly take: (message: Uint8Array) => void
  readonly end: (status: GrpcStatus, outcome: Outcome) => void
}

export function createLink(
  world: World,
  address: Address,
  scheme: 'http' | 'https',
  connection: Connection,
  link: LinkHandlers,
): Link {
  const calls = new Map<number, Call>()
  let isFlushing = false
  let isHeld = false
  let isClosing = false
  let isOver = false
  let heardMs = world.clock.monotonicMs()
  let hasAsked = false
  let watch: Timer | undefined

  const machine: GrpcClientConnection = createGrpcClient(
    LIMITS,
    {
      onMessage(id, message) {
        calls.get(id)?.take(message)
      },
      onEnd(id, status, outcome) {
        const call = calls.get(id)
        if (call === undefined) return
        calls.delete(id)
        call.end(status, outcome)
        link.onRoom()
        flush()
      },
      onWritable() {
        // One message a call, handed over whole.
      },
      onClosing(reason) {
        closing(reason)
        flush()
      },
    },
    address,
    scheme,
  )

  const closing = (reason: Failure | undefined): void => {
    if (isClosing) return
    isClosing = true
    link.onClosing(reason)
  }

  const over = (reason: Failure): void => {
    if (isOver) return
    isOver = true
    watch?.cancel()
    closing(reason)
    machine.closed(reason)
  }

  const flush = (): void => {
    if (isFlushing || isOver) return
    isFlushing = true
    world.endOfTurn(() => {
      isFlushing = false
      if (isOver) return
      writeOut()
      if (machine.failed !== undefined || (isClosing && machine.openCalls === 0)) {
        connection.close()
        over(machine.failed ?? failure('connection-lost', `${address} takes no more calls on this connection`))
      }
    })
  }

  const writeOut = (): void => {
    while (!isHeld) {
      const output = machine.takeOutput()
      if (output === undefined) return
      if (connection.write(output)) continue
      isHeld = true
      machine.hold()
    }
  }

  /** Runs while calls are open; one timer for all of them. */
  const watchOver = (): void => {
    if (watch !== undefined || isOver) return
    const silentMs = world.clock.monotonicMs() - heardMs
    watch = world.clock.setTimer(Math.max(1, (hasAsked ? SILENCE_MS + PATIENCE_MS : SILENCE_MS) - silentMs), () => {
      watch = undefined
      if (calls.size === 0) return
      const silence = world.clock.monotonicMs() - heardMs
      if (silence >= SILENCE_MS + PATIENCE_MS && hasAsked) {
        connection.reset()
        over(failure('connection-lost', `${address} has been silent for ${Math.round(silence)} ms`))
        return
      }
      if (silence >= SILENCE_MS && !hasAsked) {
        hasAsked = true
        machine.ping(() => {})
        flush()
      }
      watchOver()
    })
  }

  const begin = (path: string, metadata: Metadata, timeoutMs: number | undefined, call: Call): number | undefined => {
    if (isClosing || isOver) return undefined
    const id = machine.open(path, metadata, timeoutMs)
    if (id === undefined) return undefined
    if (calls.size === 0) {
      // Silence counts from when there is something to answer.
      heardMs = Math.max(heardMs, world.clock.monotonicMs())
      hasAsked = false
    }
    calls.set(id, call)
    return id
  }

  const cancel = (id: number): void => {
    if (!calls.delete(id)) return
    machine.cancel(id)
    link.onRoom()
    flush()
  }

  return {
    handlers: {
      onData(bytes) {
        if (isOver) return
        heardMs = world.clock.monotonicMs()
        hasAsked = false
        machine.receive(bytes, heardMs)
        flush()
      },
      onDrain() {
        if (!isHeld || isOver) return
        isHeld = false
        machine.release()
        flush()
      },
      onClose(reason) {
        over(reason ?? failure('connection-lost', `${address} ended the connection`))
      },
    },
    open(request, done) {
      let message: Uint8Array | undefined
      const id = begin(request.path, request.metadata, request.timeoutMs, {
        take: (received) => (message = received),
        end: (status, outcome) =>
          done({ status, outcome, message: status.code === GRPC_STATUS.ok ? message : undefined }),
      })
      if (id === undefined) return undefined
      machine.sendMessage(id, request.message, true)
      flush()
      watchOver()
      return () => cancel(id)
    },
    stream(path, metadata, handlers) {
      const id = begin(path, metadata, undefined, {
        take: handlers.onMessage,
        end: (status, outcome) => handlers.onEnd({ status, outcome, message: undefined }),
      })
      if (id === undefined) return undefined
      flush()
      watchOver()
      return {
        send(message) {
          if (!calls.has(id)) return
          machine.sendMessage(id, message)
          flush()
        },
        pause: () => machine.pause(id),
        resume() {
          machine.resume(id)
          flush()
        },
        cancel: () => cancel(id),
      }
    },
    close(reason) {
      if (isOver) return
      connection.close()
      over(reason)
    },
  }
}
