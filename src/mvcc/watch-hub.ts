/**
 * Who watches a space, and what each has been told. Watchers that are told everything as it happens are *synced*: the
 * changes of a turn are collected as they are applied and go out together. All others are *behind*: they are told what
 * happened from the revision that they are at, read from the revision index in slices, one slice for all whom it
 * concerns, until they are synced.
 *
 * Promises: (1) a watcher is told every change of its range from its first revision on, once, in order of revision, and
 * what happened at one revision in one piece; (2) a stream that takes no more holds nothing here but its watchers'
 * positions: what it misses it is told from history later; (3) where compaction has overtaken a watcher it is told that
 * and nothing more; (4) nothing is told from inside `create` or `record`; (5) a turn tells at most about
 * MAX_DELIVERIES_PER_TURN, and looks at MAX_CHANGES_PER_SLICE or MAX_SLICE_BYTES of changes, then the rest of a revision.
 * Never: forgets a change because somebody is slow; looks at a clock.
 * Source: etcd 3.4 `mvcc/watchable_store.go`, `mvcc/watcher.go`.
 */
import type { Result } from '../base/index.ts'
import { compareBytes, err, failure, ok } from '../base/index.ts'
import {
  MAX_CHANGES_PER_SLICE,
  MAX_DELIVERIES_PER_TURN,
  MAX_SLICE_BYTES,
  MAX_WATCHERS,
  MAX_WATCHERS_PER_SLICE,
} from './limits.ts'
import type { MvccStore, WrittenChange } from './store.ts'
import { encodedKeyValue, isTombstone, storedMain } from './stored.ts'
import { WatchEvent } from './watch-event.ts'
import type { WatchedRange } from './watch-group.ts'
import { isUnbounded, WatchGroup } from './watch-group.ts'

export type WatchSpec = WatchedRange & {
  /** 0: from the next change on. */
  readonly startRevision: number
  /** 0: chosen here. */
  readonly watchId: number
  readonly noPut: boolean
  readonly noDelete: boolean
}

/** Whoever is told, over one stream for any number of watchers. */
export interface WatchSink {
  /**
   * At least one event; all of `revision` and before that the watcher had not been told. False: that was taken, and
   * nothing more is until `resume`.
   */
  onEvents(watchId: number, events: readonly WatchEvent[], revision: number): boolean
  /** What the watcher should have been told next is compacted: it is over. Its id is taken until it is cancelled. */
  onCompacted(watchId: number, compactedRevision: number): void
  /** Once for each `whenSynced`. */
  onSynced(revision: number): void
}

export interface WatchStream {
  /** The watcher's id. Failures: invalid-request with etcd's own text, too-many-requests. */
  create(spec: WatchSpec): Result<number>
  /** False where there is no such watcher. */
  cancel(watchId: number): boolean
  /** Whether it has been told everything up to the store's revision. */
  isSynced(watchId: number): boolean
  /** Asks for `onSynced` as soon as all watchers that are not over have been told everything. */
  whenSynced(): void
  /** The sink takes more. */
  resume(): void
  close(): void
}

export type WatchStats = { readonly watchers: number; readonly behind: number; readonly streams: number }

export interface WatchHub {
  open(sink: WatchSink): WatchStream
  /** What a write has changed, in order. To be called for each write of the store, before the next `turn`. */
  record(changes: readonly WrittenChange[]): void
  /** Another state has taken the store's place: nobody misses anything, or is told that it is compacted. */
  replaced(store: MvccStore): void
  /** Tells what there is to tell; true where more waits. Not to be called while the store's state is being replaced. */
  turn(): boolean
  stats(): WatchStats
}

/** The stream refuses with these, as etcd does, in what is no gRPC error. */
const EMPTY_RANGE = 'mvcc: watcher range is empty'
const DUPLICATE_ID = 'mvcc: duplicate watch ID provided on the WatchStream'

type Watcher = {
  readonly stream: Stream
  readonly id: number
  readonly range: WatchedRange
  readonly noPut: boolean
  readonly noDelete: boolean
  /** The first revision that it has not been told; of a synced one a lower bound, see `positionOf`. */
  next: number
  /** held: behind, and its stream takes no more. */
  state: 'synced' | 'behind' | 'held' | 'over'
}

type Stream = {
  readonly sink: WatchSink
  readonly watchers: Map<number, Watcher>
  readonly held: Set<Watcher>
  isBlocked: boolean
  nextId: number
}

/** `wake`: there is something to be told. */
export function createWatchHub(first: MvccStore, wake: () => void): WatchHub {
  let store = first
  const streams = new Set<Stream>()
  /** Those that want to hear when they are synced. */
  const awaiting = new Set<Stream>()
  const synced = new WatchGroup<Watcher>()
  /** Those whose streams take more, the longest waiting first. */
  const behind = new Set<Watcher>()
  /** What synced watchers have not been told yet. */
  let fresh: WatchEvent[] = []
  let freshBytes = 0
  /** Up to here synced watchers have been told. */
  let told = first.revision
  let watchers = 0

  const positionOf = (watcher: Watcher): number =>
    watcher.state === 'synced' ? Math.max(watcher.next, told + 1) : watcher.next

  const fallBehind = (watcher: Watcher, next: number): void => {
    synced.delete(watcher)
    watcher.next = next
    if (watcher.stream.isBlocked) {
      watcher.state = 'held'
      watcher.stream.held.add(watcher)
    } else {
      watcher.state = 'behind'
      behind.add(watcher)
    }
  }

  const allFallBehind = (): void => {
    for (const watcher of Array.from(synced.all())) {
      const next = positionOf(watcher)
      if (next <= store.revision) fallBehind(watcher, next)
    }
    fresh = []
    freshBytes = 0
    told = store.revision
  }

  const detach = (watcher: Watcher): void => {
    synced.delete(watcher)
    behind.delete(watcher)
    watcher.stream.held.delete(watcher)
  }

  const deliver = (watcher: Watcher, events: readonly WatchEvent[], revision: number): void => {
    if (!watcher.stream.sink.onEvents(watcher.id, events, revision)) watcher.stream.isBlocked = true
  }

  /** What was there before a revision; of the compacted one that is not known for certain any more. */
  const earlierValue = (key: Uint8Array, main: number): Uint8Array | undefined =>
    main - 1 < store.compactedRevision ? undefined : store.valueAt(key, main - 1)

  const wants = (watcher: Watcher, event: WatchEvent): boolean =>
    event.main >= watcher.next && !(event.kv === undefined ? watcher.noDelete : watcher.noPut)

  /** Tells synced watchers what is fresh: whole revisions, until it is enough for a turn. */
  const tellFresh = (): void => {
    const batches = new Map<Watcher, WatchEvent[]>()
    let deliveries = 0
    let count = 0
    for (const event of fresh) {
      if (deliveries >= MAX_DELIVERIES_PER_TURN && event.main !== fresh[count - 1]?.main) break
      count++
      synced.match(event.key, (watcher) => {
        if (!wants(watcher, event)) return
        deliveries++
        const batch = batches.get(watcher)
        if (batch === undefined) batches.set(watcher, [event])
        else batch.push(event)
      })
    }
    const last = fresh[count - 1]
    for (let i = 0; i < count; i++) freshBytes -= (fresh[i] as WatchEvent).sizeBytes
    fresh = count === fresh.length ? [] : fresh.slice(count)
    for (const [watcher, events] of batches) {
      // A sink may end watchers, its own or others, while it is told.
      if (watcher.state !== 'synced') continue
      const [oldest] = events
      if (watcher.stream.isBlocked) fallBehind(watcher, (oldest as WatchEvent).main)
      else deliver(watcher, events, (events.at(-1) as WatchEvent).main)
    }
    told = fresh.length === 0 || last === undefined ? store.revision : last.main
  }

  /** Those whom a slice from the position of the one that waits longest concerns; ends those that came too late. */
  const chooseBehind = (): Watcher[] => {
    const chosen: Watcher[] = []
    let from: number | undefined
    for (const watcher of behind) {
      if (watcher.stream.isBlocked) {
        behind.delete(watcher)
        watcher.state = 'held'
        watcher.stream.held.add(watcher)
      } else if (watcher.next < store.compactedRevision) {
        behind.delete(watcher)
        watcher.state = 'over'
        watcher.stream.sink.onCompacted(watcher.id, store.compactedRevision)
      } else {
        from ??= watcher.next
        if (watcher.next >= from) chosen.push(watcher)
        if (chosen.length === MAX_WATCHERS_PER_SLICE) break
      }
    }
    return chosen
  }

  const tellHistory = (): void => {
    const chosen = chooseBehind()
    const [first] = chosen
    if (first === undefined) return
    const group = new WatchGroup<Watcher>()
    for (const watcher of chosen) group.add(watcher)
    const batches = new Map<Watcher, WatchEvent[]>()
    const { revision } = store
    let through = revision
    let sizeBytes = 0
    let deliveries = 0
    let count = 0
    let main = 0
    store.visitChanges(Math.max(0, first.next), revision, (change) => {
      const isEnough =
        count >= MAX_CHANGES_PER_SLICE || sizeBytes >= MAX_SLICE_BYTES || deliveries >= MAX_DELIVERIES_PER_TURN
      if (isEnough && change.main !== main) {
        through = main
        return false
      }
      main = change.main
      count++
      const event = new WatchEvent(main, change.key, change.kv, () => earlierValue(change.key, change.main))
      sizeBytes += event.sizeBytes
      group.match(event.key, (watcher) => {
        if (!wants(watcher, event)) return
        deliveries++
        const batch = batches.get(watcher)
        if (batch === undefined) batches.set(watcher, [event])
        else batch.push(event)
      })
      return true
    })
    for (const watcher of chosen) {
      if (watcher.state !== 'behind' || watcher.next > through) continue
      const events = batches.get(watcher)
      if (events !== undefined) {
        // Its turn comes again from where it is.
        if (watcher.stream.isBlocked) continue
        deliver(watcher, events, through === revision ? revision : (events.at(-1) as WatchEvent).main)
        // The sink may have ended it.
        if ((watcher.state as Watcher['state']) !== 'behind') continue
      }
      behind.delete(watcher)
      watcher.next = through + 1
      if (through < revision) behind.add(watcher)
      else {
        watcher.state = 'synced'
        synced.add(watcher)
      }
    }
  }

  const create = (stream: Stream, spec: WatchSpec): Result<number> => {
    const { key, rangeEnd, watchId, startRevision } = spec
    if (rangeEnd.length > 0 && !isUnbounded(rangeEnd) && compareBytes(key, rangeEnd) >= 0)
      return err(failure('invalid-request', EMPTY_RANGE))
    if (watchId !== 0 && stream.watchers.has(watchId)) return err(failure('invalid-request', DUPLICATE_ID))
    if (watchers >= MAX_WATCHERS)
      return err(failure('too-many-requests', `this server has ${MAX_WATCHERS} watches and takes no more`))
    let id = watchId
    if (id === 0) {
      while (stream.watchers.has(stream.nextId)) stream.nextId++
      id = stream.nextId++
    }
    const next = startRevision === 0 ? store.revision + 1 : startRevision
    const range = { key, rangeEnd }
    const { noPut, noDelete } = spec
    const watcher: Watcher = { stream, id, range, noPut, noDelete, next, state: 'synced' }
    stream.watchers.set(id, watcher)
    watchers++
    if (next > store.revision) synced.add(watcher)
    else {
      fallBehind(watcher, next)
      wake()
    }
    return ok(id)
  }

  const isSynced = (stream: Stream): boolean => {
    if (stream.isBlocked || fresh.length > 0) return false
    for (const { state } of stream.watchers.values()) if (state !== 'synced' && state !== 'over') return false
    return true
  }

  const isTold = (watcher: Watcher): boolean =>
    watcher.state === 'synced' && fresh.length === 0 && !watcher.stream.isBlocked

  return {
    open(sink) {
      const stream: Stream = { sink, watchers: new Map(), held: new Set(), isBlocked: false, nextId: 0 }
      streams.add(stream)
      return {
        create: (spec) => create(stream, spec),
        cancel(watchId) {
          const watcher = stream.watchers.get(watchId)
          if (watcher === undefined) return false
          detach(watcher)
          watcher.state = 'over'
          stream.watchers.delete(watchId)
          watchers--
          return true
        },
        isSynced(watchId) {
          const watcher = stream.watchers.get(watchId)
          return watcher !== undefined && isTold(watcher)
        },
        whenSynced() {
          awaiting.add(stream)
          wake()
        },
        resume() {
          if (!stream.isBlocked) return
          stream.isBlocked = false
          for (const watcher of stream.held) {
            watcher.state = 'behind'
            behind.add(watcher)
          }
          stream.held.clear()
          if (behind.size > 0) wake()
        },
        close() {
          if (!streams.delete(stream)) return
          awaiting.delete(stream)
          for (const watcher of stream.watchers.values()) {
            detach(watcher)
            watcher.state = 'over'
            watchers--
          }
          stream.watchers.clear()
        },
      }
    },
    record(changes) {
      if (synced.size === 0) return
      for (const { main, key, stored, before } of changes) {
        const event = new WatchEvent(main, key, isTombstone(stored) ? undefined : encodedKeyValue(stored), () => {
          if (before === undefined) return undefined
          // Changed twice by one transaction: what counts is what was there before it.
          if (storedMain(before) === main) return earlierValue(key, main)
          return isTombstone(before) ? undefined : encodedKeyValue(before)
        })
        fresh.push(event)
        freshBytes += event.sizeBytes
      }
      // More than a slice at once is better read again than kept: the store has it.
      if (fresh.length > MAX_CHANGES_PER_SLICE || freshBytes > MAX_SLICE_BYTES) allFallBehind()
    },
    replaced(next) {
      store = next
      allFallBehind()
    },
    turn() {
      if (fresh.length > 0) tellFresh()
      else told = store.revision
      if (behind.size > 0) tellHistory()
      for (const stream of awaiting) {
        if (!isSynced(stream)) continue
        awaiting.delete(stream)
        stream.sink.onSynced(store.revision)
      }
      return fresh.length > 0 || behind.size > 0
    },
    stats() {
      let waiting = behind.size
      for (const stream of streams) waiting += stream.held.size
      return { watchers, behind: waiting, streams: streams.size }
    },
  }
}
