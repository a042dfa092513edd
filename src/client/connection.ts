/**
 * The client's connection to one server: dialled when first needed, shared by all calls, written to once a turn. A
 * connection that ends, or that the server asks to leave, is dialled anew by the next call; what is open on the one that
 * is left may still end there.
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

type Call = {
  message: Uint8Array | undefined
  readonly settle: (ended: Ended) => void
}

/** One byte stream, from its dial to its end, with the calls that are open on it. */
class Line {
  readonly calls: Map<number, Call> = new Map()
  readonly machine: GrpcClientConnection
  private readonly world: World
  private readonly connection: Connection
  private isFlushing = false
  private isLeaving = false

  constructor(
    world: World,
    connection: Connection,
    address: Address,
    isTls: boolean,
    events: { onRoom(): void; onLeft(line: Line): void },
  ) {
    this.world = world
    this.connection = connection
    this.machine = createGrpcClient(
      LIMITS,
      {
        onMessage: (id, message) => {
          const call = this.calls.get(id)
          if (call !== undefined) call.message = message
        },
        onEnd: (id, status, outcome) => {
          this.end(id, status, outcome)
          events.onRoom()
        },
        onWritable() {},
        onClosing: () => {
          this.isLeaving = true
          events.onLeft(this)
          this.flush()
        },
      },
      address,
      isTls ? 'https' : 'http',
    )
    this.flush()
  }

  end(id: number, status: GrpcStatus, outcome: Outcome): void {
    const call = this.calls.get(id)
    if (call === undefined) return
    this.calls.delete(id)
    call.settle({ status, outcome, message: status.code === GRPC_STATUS.ok ? call.message : undefined })
  }

  cancel(id: number): void {
    this.calls.delete(id)
    this.machine.cancel(id)
    this.flush()
  }

  /** Writes at the end of the turn; what the connection has no room for waits in the machine until it drains. */
  flush(): void {
    if (this.isFlushing) return
    this.isFlushing = true
    this.world.endOfTurn(() => {
      this.isFlushing = false
      let output = this.machine.takeOutput()
      while (output !== undefined) {
        if (!this.connection.write(output)) {
          this.machine.hold()
          break
        }
        output = this.machine.takeOutput()
      }
      if (this.machine.failed !== undefined || (this.isLeaving && this.machine.openCalls === 0)) this.connection.close()
    })
  }

  shut(): void {
    this.connection.close()
  }

  handlers(onGone: (reason: Failure | undefined) => void): ConnectionHandlers {
    return {
      onData: (bytes) => {
        this.machine.receive(bytes, this.world.clock.monotonicMs())
        this.flush()
      },
      onDrain: () => {
        this.machine.release()
        this.flush()
      },
      onClose: onGone,
    }
  }
}

type Queued = { readonly start: () => void; readonly fail: (why: Failure) => void }

export function createServerConnection(
  world: World,
  address: Address,
  tls: TlsOptions | undefined,
  dialTimeoutMs: number,
): ServerConnection {
  /** The one that new calls are opened on, and all that there are. */
  let current: Line | undefined
  const lines = new Set<Line>()
  let dialling = false
  let closed = false
  let queue: Queued[] = []

  const pump = (): void => {
    const waiting = queue
    queue = []
    for (const entry of waiting) entry.start()
  }

  const connected = (connection: Connection): ConnectionHandlers => {
    const line = new Line(world, connection, address, tls !== undefined, {
      onRoom: pump,
      onLeft(left) {
        if (current === left) current = undefined
      },
    })
    lines.add(line)
    current = line
    world.endOfTurn(pump)
    return line.handlers((reason) => {
      lines.delete(line)
      if (current === line) current = undefined
      line.machine.closed(reason ?? failure('connection-lost', `${address} ended the connection`))
      if (queue.length > 0) dial()
    })
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
      let opened: { readonly line: Line; readonly id: number } | undefined
      const settle = (ended: Ended): void => {
        if (settled) return
        settled = true
        timer.cancel()
        done(ended)
      }
      const timer = world.clock.setTimer(Math.max(0, deadlineMs - world.clock.monotonicMs()), () => {
        opened?.line.cancel(opened.id)
        settle({
          status: { code: GRPC_STATUS.deadlineExceeded, message: `${address} did not answer in time` },
          outcome: opened === undefined ? 'not-processed' : 'unknown',
          message: undefined,
        })
      })
      const start = (): void => {
        if (settled) return
        const line = current
        const id = line?.machine.open(path, metadata, deadlineMs - world.clock.monotonicMs())
        if (line === undefined || id === undefined) {
          queue.push({ start, fail })
          // Opening may have found out that the connection takes no more calls.
          if (current === undefined) dial()
          return
        }
        opened = { line, id }
        line.calls.set(id, { message: undefined, settle })
        line.machine.sendMessage(id, message, true)
        line.flush()
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
      current = undefined
      for (const line of lines) {
        for (const id of Array.from(line.calls.keys()))
          line.end(id, { code: GRPC_STATUS.cancelled, message: 'the client was closed' }, 'unknown')
        line.shut()
      }
      const waiting = queue
      queue = []
      for (const entry of waiting) entry.fail(failure('connection-lost', 'the client is closed'))
    },
  }
}
