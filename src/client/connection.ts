/**
 * The client's side of one server: connected when first needed, introduced (is it Skein?), shared by all calls. When a
 * connection ends, the next call makes a new one. A server that accepts and does not introduce itself in time counts as
 * unreachable: nothing has been asked of it yet, so its calls can go elsewhere.
 */
import type { Failure, Result } from '../base/index.ts'
import { EMPTY, failure } from '../base/index.ts'
import type { DescribeResponse, Metadata } from '../wire/index.ts'
import { decodeDescribeResponse, DESCRIBE_PATH, GRPC_STATUS } from '../wire/index.ts'
import type { Address, Connection, TlsOptions, World } from '../world/index.ts'
import type { Ended, Link, OpenStream, StreamHandlers } from './link.ts'
import { createLink } from './link.ts'

export type { Ended, OpenStream, StreamHandlers } from './link.ts'

/** What is known of the server at the other end: undefined where it is no Skein. */
export type Introduced = DescribeResponse | undefined

export type Asked = {
  readonly path: string
  /** Chosen once it is known who is at the other end. Undefined: the call must not be sent there. */
  readonly metadata: (server: Introduced) => Metadata | undefined
  readonly message: Uint8Array
  readonly deadlineMs: number
}

export type StreamAsked = { readonly path: string; readonly metadata: Metadata; readonly deadlineMs: number }

export interface ServerConnection {
  readonly address: Address
  /** Calls `done` once. What was never sent ends as not-processed. */
  call(asked: Asked, done: (ended: Ended) => void): void
  /**
   * Opens a stream once there is a connection and room on it, which must be before the deadline. `opened` is called
   * first, if at all; `onEnd` last, once, unless it was cancelled. Returns a function that cancels, opened or not.
   */
  stream(asked: StreamAsked, opened: (stream: OpenStream) => void, handlers: StreamHandlers): () => void
  /** The next call asks the server anew who and how far it is. */
  forgetIntroduction(): void
  close(): void
}

/** Calls that wait for a connection or for room on it; more are refused. */
const MAX_WAITING = 16_384

type Waiting = { readonly start: (link: Link) => boolean; readonly fail: (why: Failure) => void }

type State =
  | { readonly type: 'idle' }
  | { readonly type: 'dialling' }
  | { readonly type: 'introducing'; readonly link: Link }
  | { readonly type: 'ready'; readonly link: Link; readonly server: Introduced }
  | { readonly type: 'closed' }

const NO_METADATA: ReadonlyMap<string, string> = new Map()

export function createServerConnection(
  world: World,
  address: Address,
  tls: TlsOptions | undefined,
  dialTimeoutMs: number,
): ServerConnection {
  let state: State = { type: 'idle' }
  let waiting: Waiting[] = []
  /** All that are not over: the one in use, and those that end their last calls. */
  const links = new Set<Link>()

  const failWaiting = (why: Failure): void => {
    const failed = waiting
    waiting = []
    for (const call of failed) call.fail(why)
  }

  const pump = (): void => {
    while (state.type === 'ready') {
      const [first] = waiting
      if (first === undefined || !first.start(state.link)) return
      waiting.shift()
    }
  }

  const dial = (): void => {
    state = { type: 'dialling' }
    world.network.dial(address, { timeoutMs: dialTimeoutMs, ...(tls && { tls }) }, (result: Result<Connection>) => {
      if (state.type === 'closed') {
        if (result.ok) result.value.reset()
        return undefined
      }
      if (!result.ok) {
        state = { type: 'idle' }
        failWaiting(result.error)
        return undefined
      }
      return connected(result.value)
    })
  }

  const connected = (connection: Connection): Link['handlers'] => {
    const link: Link = createLink(world, address, tls === undefined ? 'http' : 'https', connection, {
      onRoom: () => pump(),
      onClosing(reason) {
        links.delete(link)
        if (state.type === 'introducing' && state.link === link) {
          state = { type: 'idle' }
          failWaiting(reason ?? failure('connection-lost', `${address} ended the connection`))
        } else if (state.type === 'ready' && state.link === link) {
          state = { type: 'idle' }
          if (waiting.length > 0) dial()
        }
      },
    })
    links.add(link)
    introduce(link, undefined)
    return link.handlers
  }

  /** `known`: what an earlier introduction said, for where there is no room to ask again. */
  const introduce = (link: Link, known: Introduced): void => {
    state = { type: 'introducing', link }
    const request = { path: DESCRIBE_PATH, metadata: NO_METADATA, message: EMPTY, timeoutMs: dialTimeoutMs }
    const timer = world.clock.setTimer(dialTimeoutMs, () =>
      link.close(failure('unreachable', `${address} accepts connections and does not answer`)),
    )
    const opened = link.open(request, (ended) => {
      timer.cancel()
      const isLate = ended.status.code === GRPC_STATUS.deadlineExceeded
      if (ended.outcome !== 'answered' || isLate || state.type !== 'introducing' || state.link !== link) {
        link.close(failure('connection-lost', ended.status.message))
        return
      }
      const described =
        ended.status.code === GRPC_STATUS.ok ? decodeDescribeResponse(ended.message ?? EMPTY) : undefined
      state = { type: 'ready', link, server: described?.ok === true ? described.value : undefined }
      pump()
    })
    if (opened !== undefined) return
    timer.cancel()
    state = { type: 'ready', link, server: known }
  }

  const call = (asked: Asked, done: (ended: Ended) => void): void => {
    let settled = false
    let cancel: (() => void) | undefined
    const settle = (ended: Ended): void => {
      if (settled) return
      settled = true
      timer.cancel()
      done(ended)
    }
    const fail = (why: Failure): void =>
      settle({
        status: { code: GRPC_STATUS.unavailable, message: why.message },
        outcome: 'not-processed',
        message: undefined,
      })
    const timer = world.clock.setTimer(Math.max(0, asked.deadlineMs - world.clock.monotonicMs()), () => {
      const wasSent = cancel !== undefined
      cancel?.()
      waiting = waiting.filter((entry) => entry.fail !== fail)
      settle({
        status: { code: GRPC_STATUS.deadlineExceeded, message: 'it did not answer in time' },
        outcome: wasSent ? 'unknown' : 'not-processed',
        message: undefined,
      })
    })
    const start = (link: Link): boolean => {
      if (settled) return true
      const server = state.type === 'ready' ? state.server : undefined
      const metadata = asked.metadata(server)
      if (metadata === undefined) {
        fail(failure('unreachable', `${address} is not a server of the cluster that the write was first sent to`))
        return true
      }
      const timeoutMs = Math.max(1, asked.deadlineMs - world.clock.monotonicMs())
      cancel = link.open({ path: asked.path, metadata, message: asked.message, timeoutMs }, settle)
      return cancel !== undefined
    }
    if (state.type === 'closed') return fail(failure('connection-lost', 'the client is closed'))
    if (waiting.length >= MAX_WAITING)
      return fail(failure('too-many-requests', `${MAX_WAITING} calls wait for ${address}`))
    if (state.type === 'ready' && waiting.length === 0 && start(state.link)) return
    waiting.push({ start, fail })
    if (state.type === 'idle') dial()
  }

  const stream: ServerConnection['stream'] = (asked, opened, handlers) => {
    let isSettled = false
    let open: OpenStream | undefined
    const settle = (): boolean => {
      if (isSettled) return false
      isSettled = true
      timer.cancel()
      waiting = waiting.filter((entry) => entry.fail !== fail)
      return true
    }
    const notProcessed = (code: number, message: string): void =>
      handlers.onEnd({ status: { code, message }, outcome: 'not-processed', message: undefined })
    const fail = (why: Failure): void => {
      if (settle()) notProcessed(GRPC_STATUS.unavailable, why.message)
    }
    const timer = world.clock.setTimer(Math.max(0, asked.deadlineMs - world.clock.monotonicMs()), () => {
      if (settle()) notProcessed(GRPC_STATUS.deadlineExceeded, `${address} did not answer in time`)
    })
    const start = (link: Link): boolean => {
      if (isSettled) return true
      open = link.stream(asked.path, asked.metadata, handlers)
      if (open === undefined) return false
      settle()
      opened(open)
      return true
    }
    const isReady = state.type === 'ready' && waiting.length === 0 && start(state.link)
    if (!isReady) {
      // Told from a turn of its own, as everything else is.
      if (state.type === 'closed') world.endOfTurn(() => fail(failure('connection-lost', 'the client is closed')))
      else {
        waiting.push({ start, fail })
        if (state.type === 'idle') dial()
      }
    }
    return () => {
      if (settle()) return
      open?.cancel()
    }
  }

  return {
    address,
    call,
    stream,
    forgetIntroduction() {
      if (state.type === 'ready') introduce(state.link, state.server)
    },
    close() {
      state = { type: 'closed' }
      failWaiting(failure('connection-lost', 'the client is closed'))
      for (const link of links) link.close(failure('connection-lost', 'the client was closed'))
    },
  }
}
