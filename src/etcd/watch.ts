/**
 * etcdserverpb.Watch: any number of watches on one stream, told from this server's own applied state.
 *
 * Promises: (1) a watch is told every event of its range from its first revision on, once and in order, those of one
 * revision in one response unless it asked for fragments; (2) what is answered to `create`, `cancel` and `progress`, and
 * with which texts, is as in etcd 3.4, except that a requested progress notification waits until all watches of the
 * stream have been told everything up to its revision; (3) a client that does not read is read from no more, and holds
 * one batch here; what it misses it is told from history; (4) a stream with `hasleader` ends where nobody leads.
 * Bounds: a response without fragments has at most MAX_RESPONSE_BYTES, a watch that would need more is cancelled.
 * Source: etcd 3.4 `etcdserver/api/v3rpc/watch.go`, `interceptor.go`.
 */
import type { Failure } from '../base/index.ts'
import { concatBytes, failure } from '../base/index.ts'
import type { WatchEvent, WatchStream } from '../mvcc/index.ts'
import { MAX_RESPONSE_BYTES } from '../mvcc/index.ts'
import type { StreamCall, StreamHandler, StreamHandlers } from '../port/index.ts'
import type { Requests } from '../server/index.ts'
import type { WatchCreateRequest } from '../wire/index.ts'
import { decodeWatchRequest, encodeWatchHead, WATCH_FILTER } from '../wire/index.ts'
import type { Timer, World } from '../world/index.ts'
import { header, spaceOf } from './call.ts'
import { toStatus } from './errors.ts'

/** etcd's `--experimental-watch-progress-notify-interval`; a tenth more at random, so that not all come at once. */
const PROGRESS_INTERVAL_MS = 600_000
const PROGRESS_JITTER = 0.1

/** Responses are cut below this where fragments are allowed: etcd's `--max-request-bytes` and what it adds to it. */
const FRAGMENT_BYTES = 2 * 1024 * 1024

/** The id in an answer that is of no one watch. */
const NO_WATCH = -1
/** etcd's: the smallest key. */
const FIRST_KEY = new Uint8Array(1)

export interface WatchService {
  readonly handler: StreamHandler
  /** Ends all streams: the server is stopping. Later ones end as they begin. */
  stop(): void
}

export type WatchOptions = { readonly progressIntervalMs?: number }

/** What one watch was created with; `isDue`: a progress notification, because it was told nothing for a while. */
type Watch = { readonly prevKv: boolean; readonly fragment: boolean; readonly progressNotify: boolean; isDue: boolean }

type OpenStream = { readonly notifyProgress: () => void; readonly end: (why: Failure) => void }

export function createWatchService(world: World, requests: Requests, options: WatchOptions = {}): WatchService {
  const streams = new Set<OpenStream>()
  const headers = createHeaders(world, requests)
  let isStopped = false
  let timer: Timer | undefined

  const schedule = (): void => {
    const intervalMs = options.progressIntervalMs ?? PROGRESS_INTERVAL_MS
    timer ??= world.clock.setTimer(intervalMs * (1 + world.random.fraction() * PROGRESS_JITTER), () => {
      timer = undefined
      for (const stream of streams) stream.notifyProgress()
      if (streams.size > 0) schedule()
    })
  }

  const handler: StreamHandler = (call) => {
    const refusal = isStopped ? STOPPING : refusalOf(call, requests)
    const stream = openStream(requests, headers, call, () => streams.delete(open))
    const { open } = stream
    streams.add(open)
    // A call may not end before it has begun.
    if (refusal !== undefined) world.endOfTurn(() => open.end(refusal))
    schedule()
    return stream.handlers
  }

  return {
    handler,
    stop() {
      isStopped = true
      timer?.cancel()
      for (const stream of Array.from(streams)) stream.end(STOPPING)
    },
  }
}

const STOPPING = failure('stopping', 'this server is shutting down')

function wantsLeader(call: StreamCall): boolean {
  return call.metadata.get('hasleader') === 'true'
}

function refusalOf(call: StreamCall, requests: Requests): Failure | undefined {
  const isAlone = wantsLeader(call) && requests.status().leader === undefined
  return isAlone ? failure('no-leader', 'this server knows no leader') : undefined
}

type Headers = (revision: number) => Uint8Array

/** The header of a turn's responses is made once for all that are at one revision. */
function createHeaders(world: World, requests: Requests): Headers {
  let known: { readonly revision: number; readonly bytes: Uint8Array } | undefined
  return (revision) => {
    if (known?.revision === revision) return known.bytes
    if (known === undefined) world.endOfTurn(() => (known = undefined))
    known = { revision, bytes: header(requests, revision) }
    return known.bytes
  }
}

function openStream(
  requests: Requests,
  headers: Headers,
  call: StreamCall,
  onOver: () => void,
): { readonly open: OpenStream; readonly handlers: StreamHandlers } {
  const watches = new Map<number, Watch>()
  let isBlocked = false
  let isOver = false
  const revisionOfSpace = (): number => requests.status().revision

  const send = (revision: number, head: Uint8Array, events: readonly Uint8Array[] = []): void => {
    if (call.send(concatBytes([headers(revision), head, ...events])) || isBlocked) return
    isBlocked = true
    call.pause()
  }
  const tell = (revision: number, head: Parameters<typeof encodeWatchHead>[0]): void =>
    send(revision, encodeWatchHead(head))

  const close = (): void => {
    if (isOver) return
    isOver = true
    stopListening?.()
    if (stream.ok) stream.value.close()
    onOver()
  }
  const end = (why: Failure): void => {
    if (isOver) return
    close()
    call.finish(toStatus(why))
  }

  const sendEvents = (watchId: number, watch: Watch, events: readonly WatchEvent[], revision: number): void => {
    const fields = events.map((event) => event.encoded(watch.prevKv))
    const head = encodeWatchHead({ watchId })
    let sizeBytes = headers(revision).length + head.length
    for (const field of fields) sizeBytes += field.length
    if (watch.fragment) return sendFragments(watchId, fields, sizeBytes, revision)
    if (sizeBytes <= MAX_RESPONSE_BYTES) return send(revision, head, fields)
    watches.delete(watchId)
    if (stream.ok) stream.value.cancel(watchId)
    const cancelReason = `skein: the events of revision ${revision} have ${sizeBytes} bytes, a response at most ${MAX_RESPONSE_BYTES}: watch with fragments`
    tell(revision, { watchId, canceled: true, cancelReason })
  }

  /** As etcd cuts: whole events, at least one in each. */
  const sendFragments = (watchId: number, fields: readonly Uint8Array[], sizeBytes: number, revision: number): void => {
    if (sizeBytes < FRAGMENT_BYTES || fields.length < 2) return send(revision, encodeWatchHead({ watchId }), fields)
    const head = encodeWatchHead({ watchId, fragment: true })
    const emptyBytes = headers(revision).length + head.length
    for (let from = 0; from < fields.length;) {
      let end = from
      let size = emptyBytes
      while (end < fields.length) {
        size += (fields[end] as Uint8Array).length
        if (end > from && size >= FRAGMENT_BYTES) break
        end++
      }
      const isLast = end === fields.length
      send(revision, isLast ? encodeWatchHead({ watchId }) : head, fields.slice(from, end))
      from = end
    }
  }

  const stream = requests.watch(spaceOf(call), {
    onEvents(watchId, events, revision) {
      const watch = watches.get(watchId)
      if (watch === undefined) return !isBlocked
      watch.isDue = false
      sendEvents(watchId, watch, events, revision)
      return !isBlocked
    },
    onCompacted(watchId, compactRevision) {
      watches.delete(watchId)
      // etcd sends no revision and no reason here.
      tell(0, { watchId, canceled: true, compactRevision })
    },
    onSynced: (revision) => tell(revision, { watchId: NO_WATCH }),
  })
  const stopListening = wantsLeader(call)
    ? requests.onLeaderless(() => end(failure('no-leader', 'this server has lost its leader')))
    : undefined

  const create = (from: WatchStream, request: WatchCreateRequest): void => {
    const { filters, prevKv, fragment, progressNotify } = request
    const revision = revisionOfSpace()
    const created = from.create({
      key: request.key.length === 0 ? FIRST_KEY : request.key,
      rangeEnd: request.rangeEnd,
      startRevision: request.startRevision,
      watchId: request.watchId,
      noPut: filters.includes(WATCH_FILTER.noPut),
      noDelete: filters.includes(WATCH_FILTER.noDelete),
    })
    if (created.ok) {
      watches.set(created.value, { prevKv, fragment, progressNotify, isDue: progressNotify })
      return tell(revision, { watchId: created.value, created: true })
    }
    const { code, message } = created.error
    const cancelReason = code === 'invalid-request' ? message : `skein: ${message}`
    tell(revision, { watchId: NO_WATCH, created: true, canceled: true, cancelReason })
  }

  const open: OpenStream = {
    notifyProgress() {
      for (const [watchId, watch] of watches) {
        if (!watch.progressNotify) continue
        if (watch.isDue && stream.ok && stream.value.isSynced(watchId) && !isBlocked)
          tell(revisionOfSpace(), { watchId })
        watch.isDue = true
      }
    },
    end,
  }
  const handlers: StreamHandlers = {
    onMessage(message) {
      if (isOver) return
      if (!stream.ok) return end(stream.error)
      const decoded = decodeWatchRequest(message)
      if (!decoded.ok) return end(decoded.error)
      const request = decoded.value
      switch (request.type) {
        case 'create':
          return create(stream.value, request.create)
        case 'cancel': {
          const { watchId } = request.cancel
          // etcd says nothing of a watch that it does not know.
          if (!stream.value.cancel(watchId)) return
          watches.delete(watchId)
          return tell(revisionOfSpace(), { watchId, canceled: true })
        }
        case 'progress':
          return stream.value.whenSynced()
        case 'none':
          return
        default:
          request satisfies never
      }
    },
    onHalfClose() {
      // The watches go on.
    },
    onWritable() {
      if (!isBlocked) return
      isBlocked = false
      call.resume()
      if (stream.ok) stream.value.resume()
    },
    onCancel: close,
  }
  return { open, handlers }
}
