/**
 * A watch that outlives connections and servers: it goes on at the next server from the revision after the last one
 * that was handed over whole.
 *
 * Promises: (1) events come in order of revision, each once, and those of one revision in one batch; (2) nothing is
 * skipped: where the history that it needs is compacted it says so and ends; (3) who asks slowly is read ahead for by
 * about READ_AHEAD events, then the server waits.
 * Never: skips ahead by a header that an answer with events carries: etcd sends one that is ahead of them.
 * Source: etcd 3.4 `clientv3/watch.go`.
 */
import type { Failure, FailureCode } from '../base/index.ts'
import { EMPTY, failure, SkeinError } from '../base/index.ts'
import type { Metadata, WatchCreateRequest, WatchedEvent, WatchResponse } from '../wire/index.ts'
import { decodeWatchResponse, encodeWatchRequest, EVENT_TYPE, WATCH_FILTER } from '../wire/index.ts'
import type { Timer, World } from '../world/index.ts'
import { keysOf } from './bytes.ts'
import type { Ended, OpenStream, ServerConnection } from './connection.ts'
import { judge } from './errors.ts'
import type { Watch, WatchBatch, WatchEvent, WatchOptions } from './types.ts'

const PATH = '/etcdserverpb.Watch/Watch'
/** Events held for who asks; beyond, the stream is paused. */
const READ_AHEAD = 1_000
/** How long a server may take to connect and to say that the watch stands. */
const CREATE_TIMEOUT_MS = 4_000
const FIRST_PAUSE_MS = 10
const LONGEST_PAUSE_MS = 1_000

/** What another server would say as well. */
const FINAL: ReadonlySet<FailureCode> = new Set<FailureCode>([
  'invalid-request',
  'space-unknown',
  'permission-denied',
  'authentication-failed',
  'unimplemented',
])

type Step = IteratorResult<WatchBatch, undefined>
type Waiter = { readonly resolve: (step: Step) => void; readonly reject: (error: SkeinError) => void }

export function openWatch(
  world: World,
  metadata: Metadata,
  connections: readonly ServerConnection[],
  first: number,
  options: WatchOptions,
  onOver: () => void,
): Watch {
  const sent =
    options.requireLeader === false ? metadata : new Map<string, string>([...metadata, ['hasleader', 'true']])
  const batches: WatchBatch[] = []
  const waiters: Waiter[] = []
  let held = 0
  /** The first revision that no batch holds; 0 before the watch stands for the first time. */
  let next = options.startRevision ?? 0
  let handedOut: number | undefined
  let at = first
  let failures = 0
  let stream: OpenStream | undefined
  let cancel: (() => void) | undefined
  let timer: Timer | undefined
  let isPaused = false
  let isClosed = false
  let failed: SkeinError | undefined
  /** Events of a batch that is not whole yet. */
  let parts: WatchedEvent[] = []
  let start: { readonly resolve: (revision: number) => void; readonly reject: (error: SkeinError) => void } | undefined
  const started = new Promise<number>((resolve, reject) => {
    start = { resolve, reject }
  })
  // Who does not look at it hears it from the iterator.
  started.catch(() => undefined)

  const drop = (): void => {
    timer?.cancel()
    cancel?.()
    cancel = undefined
    stream = undefined
    isPaused = false
    parts = []
  }

  const end = (error: SkeinError | undefined): void => {
    if (isClosed) return
    isClosed = true
    failed = error
    drop()
    const why = error ?? new SkeinError(failure('connection-lost', 'the watch was closed before it stood'))
    start?.reject(why)
    start = undefined
    for (const waiter of waiters.splice(0)) {
      if (error === undefined) waiter.resolve({ done: true, value: undefined })
      else waiter.reject(error)
    }
    onOver()
  }

  const fail = (why: Failure): void => end(new SkeinError(why))

  /** Tries the next server, after a pause that grows with the failures in a row. */
  const goOn = (): void => {
    drop()
    at = (at + 1) % connections.length
    failures++
    const isRound = failures % connections.length === 0
    const most = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(failures, 10))
    const pauseMs = isRound || failures > connections.length ? most * (0.5 + world.random.fraction() / 2) : 0
    timer = world.clock.setTimer(pauseMs, connect)
  }

  const connect = (): void => {
    if (isClosed) return
    const connection = connections[at] as ServerConnection
    const deadlineMs = world.clock.monotonicMs() + CREATE_TIMEOUT_MS
    timer = world.clock.setTimer(CREATE_TIMEOUT_MS, goOn)
    cancel = connection.stream(
      { path: PATH, metadata: sent, deadlineMs },
      (opened) => {
        stream = opened
        opened.send(encodeWatchRequest({ type: 'create', create: createRequest(options, next) }))
      },
      {
        onMessage(message) {
          const response = decodeWatchResponse(message)
          if (response.ok) take(connection, response.value)
          else goOn()
        },
        onEnd: (ended) => ending(connection, ended),
      },
    )
  }

  const ending = (connection: ServerConnection, ended: Ended): void => {
    cancel = undefined
    const { error } = judge(connection.address, ended, false)
    if (ended.outcome === 'answered' && FINAL.has(error.code)) fail(error)
    else goOn()
  }

  const take = (connection: ServerConnection, response: WatchResponse): void => {
    const revision = response.header?.revision ?? 0
    if (response.canceled) return cancelled(connection, response)
    if (response.created) {
      timer?.cancel()
      failures = 0
      if (next === 0) next = revision + 1
      handedOut ??= next
      start?.resolve(revision)
      start = undefined
      return
    }
    if (response.events.length === 0) {
      // Progress: everything up to this revision has been told.
      if (!response.fragment && parts.length === 0) next = Math.max(next, revision + 1)
      return
    }
    parts.push(...response.events)
    if (response.fragment) return
    const events = parts.map(eventOf).filter(({ kv }) => kv.modRevision >= next)
    parts = []
    const last = events.at(-1)
    if (last === undefined) return
    next = last.kv.modRevision + 1
    hand({ revision: last.kv.modRevision, events })
  }

  const cancelled = (connection: ServerConnection, { compactRevision, cancelReason }: WatchResponse): void => {
    if (compactRevision !== 0) {
      const text = `revision ${next} was to be watched next, and the store is compacted at ${compactRevision}`
      return fail(failure('compacted', text, { compactRevision }))
    }
    const why = cancelReason === '' ? 'the server cancelled the watch' : cancelReason
    fail(failure('invalid-request', `${connection.address}: ${why}`))
  }

  const hand = (batch: WatchBatch): void => {
    const waiter = waiters.shift()
    if (waiter !== undefined) {
      handedOut = batch.revision + 1
      return waiter.resolve({ done: false, value: batch })
    }
    batches.push(batch)
    held += batch.events.length
    if (held < READ_AHEAD || isPaused) return
    isPaused = true
    stream?.pause()
  }

  const ask = (): Promise<Step> => {
    const batch = batches.shift()
    if (batch !== undefined) {
      held -= batch.events.length
      handedOut = batch.revision + 1
      if (isPaused && held < READ_AHEAD / 2) {
        isPaused = false
        stream?.resume()
      }
      return Promise.resolve({ done: false, value: batch })
    }
    if (failed !== undefined) return Promise.reject(failed)
    if (isClosed) return Promise.resolve({ done: true, value: undefined })
    return new Promise((resolve, reject) => waiters.push({ resolve, reject }))
  }

  const close = (): void => {
    batches.length = 0
    end(undefined)
  }

  connect()
  return {
    started,
    get nextRevision() {
      return handedOut
    },
    close,
    [Symbol.asyncIterator]: () => ({
      next: ask,
      return() {
        close()
        return Promise.resolve({ done: true, value: undefined })
      },
    }),
  }
}

function createRequest(options: WatchOptions, startRevision: number): WatchCreateRequest {
  const filters = [
    ...(options.noPut === true ? [WATCH_FILTER.noPut] : []),
    ...(options.noDelete === true ? [WATCH_FILTER.noDelete] : []),
  ]
  return {
    ...keysOf(options),
    startRevision,
    progressNotify: true,
    filters,
    prevKv: options.prevKv ?? false,
    watchId: 0,
    fragment: true,
  }
}

function eventOf({ type, kv, prevKv }: WatchedEvent): WatchEvent {
  return {
    type: type === EVENT_TYPE.delete ? 'delete' : 'put',
    kv: kv ?? { key: EMPTY, createRevision: 0, modRevision: 0, version: 0, value: EMPTY, lease: 0n },
    ...(prevKv && { prevKv }),
  }
}
