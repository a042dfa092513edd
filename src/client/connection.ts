/**
 * The client's connection to one server: dialled when first needed, shared by all calls, written to once a turn. A connection
 * that ends is dialled anew by the next call.
 */
import type { Failure, Result } from '../base/index.ts'
import { failure } from '../base/index.ts'
import type { GrpcClientConnection, GrpcStatus, Metadata } from '../wire/index.ts'
import { createGrpcClient, GRPC_STATUS } from '../wire/index.ts'
import type { Address, Connection, ConnectionHandlers, TlsOptions, World } from '../world/index.ts'

export type Outcome = 'answered' | 'not-processed' | 'unknown'

/** How a unary call ended: the message where the status is ok. */
export type Ended = { readonly status: GrpcStatus; readonly outcome: Outcome; readonly message: Uint8Array | undefined }

export interface ServerConnection {
  readonly address: Address
  /** Calls `done` once; `unreachable` failures come as status unavailable with outcome not-processed. */
  call(path: string, metadata: Metadata, message: Uint8Array, deadlineMs: number, done: (ended: Ended) => void): void
  close(): void
}

const LIMITS = {
  maxMessageBytes: 64 * 1024 * 1024,
  maxConcurrentCalls: 1_000,
  maxHeaderListBytes: 64 * 1024,
  callWindowBytes: 8 * 1024 * 1024,
  connectionWindowBytes: 16 * 1024 * 1024,
  maxOutputBytes: 64 * 1024 * 1024,
} as const

type Call = { message: Uint8Array | undefined; readonly done: (ended: Ended) => void; readonly cancelTimer: () => void }
type Queued = { readonly start: () => void; readonly fail: (why: Failure) => void }

export function createServerConnection(
  world: World,
  address: Address,
  tls: TlsOptions | undefined,
  dialTimeoutMs: number,
): ServerConnection {
  let live: { readonly machine: GrpcClientConnection; readonly connection: Connection } | undefined
  let dialling = false
  let closed = false
  let queue: Queued[] = []
  const calls = new Map<number, Call>()
  let flushing = false

  const flush = (): void => {
    if (flushing || live === undefined) return
    flushing = true
    world.endOfTurn(() => {
      flushing = false
      if (live === undefined) return
      writeOut(live)
      if (live.machine.failed !== undefined) live.connection.close()
    })
  }

  /** What the connection has no room for waits in the machine until it drains. */
  const writeOut = ({ machine, connection }: { machine: GrpcClientConnection; connection: Connection }): void => {
    let output = machine.takeOutput()
    while (output !== undefined) {
      if (!connection.write(output)) {
        machine.hold()
        return
      }
      output = machine.takeOutput()
    }
  }

  const finish = (id: number, status: GrpcStatus, outcome: Outcome): void => {
    const call = calls.get(id)
    if (call === undefined) return
    calls.delete(id)
    call.cancelTimer()
    call.done({ status, outcome, message: status.code === GRPC_STATUS.ok ? call.message : undefined })
    pump()
  }

  const pump = (): void => {
    const waiting = queue
    queue = []
    for (const entry of waiting) entry.start()
  }

  const drop = (reason: Failure | undefined): void => {
    const ended = live
    live = undefined
    ended?.machine.closed(reason ?? failure('connection-lost', `${address} ended the connection`))
    if (queue.length > 0) dial()
  }

  const handlersFor = (machine: GrpcClientConnection): ConnectionHandlers => ({
    onData(bytes) {
      machine.receive(bytes, world.clock.monotonicMs())
      flush()
    },
    onDrain() {
      machine.release()
      flush()
    },
    onClose(reason) {
      if (live?.machine === machine) drop(reason)
      else machine.closed(reason)
    },
  })

  const connected = (connection: Connection): ConnectionHandlers => {
    const machine = createGrpcClient(
      LIMITS,
      {
        onMessage(id, message) {
          const call = calls.get(id)
          if (call !== undefined) call.message = message
        },
        onEnd: finish,
        onWritable() {},
        onClosing() {
          // Calls that are open may still end; new ones get a new connection.
          if (live?.machine === machine) live = undefined
          if (machine.openCalls === 0) connection.close()
        },
      },
      address,
      tls === undefined ? 'http' : 'https',
    )
    live = { machine, connection }
    flush()
    world.endOfTurn(pump)
    return handlersFor(machine)
  }

  const dial = (): void => {
    if (dialling || closed) return
    dialling = true
    world.network.dial(address, { timeoutMs: dialTimeoutMs, ...(tls && { tls }) }, (result: Result<Connection>) => {
      dialling = false
      if (closed) {
        if (result.ok) result.value.reset()
        return undefined
      }
      if (result.ok) return connected(result.value)
      const waiting = queue
      queue = []
      for (const entry of waiting) entry.fail(result.error)
      return undefined
    })
  }

  return {
    address,
    call(path, metadata, message, deadlineMs, done) {
      let settled = false
      let id: number | undefined
      const settle = (ended: Ended): void => {
        if (settled) return
        settled = true
        timer.cancel()
        done(ended)
      }
      const timer = world.clock.setTimer(Math.max(0, deadlineMs - world.clock.monotonicMs()), () => {
        if (id !== undefined) {
          calls.delete(id)
          live?.machine.cancel(id)
          flush()
        }
        settle({
          status: { code: GRPC_STATUS.deadlineExceeded, message: `${address} did not answer in time` },
          outcome: id === undefined ? 'not-processed' : 'unknown',
          message: undefined,
        })
      })
      const start = (): void => {
        if (settled) return
        const opened = live?.machine.open(path, metadata, deadlineMs - world.clock.monotonicMs())
        if (live === undefined || opened === undefined) {
          queue.push({ start, fail })
          if (live === undefined) dial()
          return
        }
        id = opened
        calls.set(opened, { message: undefined, done: settle, cancelTimer: () => timer.cancel() })
        live.machine.sendMessage(opened, message)
        live.machine.halfClose(opened)
        flush()
      }
      const fail = (why: Failure): void => {
        settle({
          status: { code: GRPC_STATUS.unavailable, message: why.message },
          outcome: 'not-processed',
          message: undefined,
        })
      }
      if (closed) fail(failure('connection-lost', 'the client is closed'))
      else start()
    },
    close() {
      closed = true
      const connection = live?.connection
      live = undefined
      const open = [...calls.keys()]
      for (const id of open) finish(id, { code: GRPC_STATUS.cancelled, message: 'the client was closed' }, 'unknown')
      for (const entry of queue) entry.fail(failure('connection-lost', 'the client is closed'))
      queue = []
      connection?.close()
    },
  }
}
