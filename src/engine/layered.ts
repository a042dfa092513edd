/**
 * The engine over a store: in memory, in front of it, the batches that are not durable yet. A checkpoint freezes that
 * overlay and commits it segment by segment, each with the applied indexes of its batches, so that the store always holds
 * a prefix of them; new batches go to a fresh overlay meanwhile. Reads merge fresh overlay, frozen overlay and store.
 */
import type { Result } from '../base/index.ts'
import { err, failure, invariant, logIndex, ok } from '../base/index.ts'
import type { Failure } from '../base/index.ts'
import type { Timer, World } from '../world/index.ts'
import { createCommitter } from './committer.ts'
import { MergedCursor } from './merged-cursor.ts'
import { Overlay, type Segment } from './overlay.ts'
import { putIndex, readRecords } from './records.ts'
import { createRestores } from './restores.ts'
import { partsOf, type Routes, slotOf } from './routes.ts'
import type { Store, StoreTransaction, StoreView } from './store.ts'
import { storeCursor } from './store-cursor.ts'
import type { Engine, EngineOptions, EngineReader, EngineSnapshot, EngineWriter } from './types.ts'

const MAX_SNAPSHOTS = 4

type Told = (result: Result<void>) => void

/** `path` names the store in messages. Failures: engine-damaged, data-newer. */
export function openLayeredEngine(world: World, options: EngineOptions, store: Store, path: string): Result<Engine> {
  const records = readRecords(store, path)
  if (!records.ok) return records
  const { applied } = records.value
  const durable = new Map(applied)
  const views = new Set<StoreView>()
  let fresh = new Overlay()
  let frozen: Overlay | undefined
  /** Segments of the frozen overlay that are not durable. */
  let segmentsLeft = 0
  /** Counts what changes the layers below a cursor. */
  let generation = 0
  let checkpoints = 0
  let pressure = false
  let closed = false
  /** A checkpoint is due as soon as the one under way ends. */
  let wanted = false
  let waiting: Told[] = []
  /** Those whose batches are in the frozen overlay. */
  let told: Told[] = []
  /** Like `waiting` and `told`, for those who do not want to hear of a full disk. */
  let barriers: (() => void)[] = []
  let frozenBarriers: (() => void)[] = []
  let timer: Timer | undefined
  /** Ends the engine; there while a close waits for the checkpoint under way, and for those asked for before it. */
  let finish: (() => void) | undefined

  const tell = (who: readonly Told[], result: Result<void>): void => {
    for (const callback of who) callback(result)
  }

  const refused = (why: Failure): void => {
    const all = [...told, ...waiting]
    told = []
    waiting = []
    tell(all, err(why))
    finish?.()
  }

  const committer = createCommitter(world, store, refused)

  const restores = createRestores(world, store, committer, records.value.routes, {
    flush(then) {
      barriers.push(then)
      due()
    },
    swapped(group, index) {
      applied.set(group, index)
      durable.set(group, index)
      generation++
      options.onDurable()
    },
  })
  const routes = (): Routes => restores.routes

  const look = (): void => {
    const now = fresh.sizeBytes + (frozen?.sizeBytes ?? 0) > options.maxOverlayBytes
    if (now === pressure) return
    pressure = now
    options.onPressure(now)
  }

  const due = (): void => {
    wanted = true
    if (frozen === undefined) freeze()
  }

  const freeze = (): void => {
    timer?.cancel()
    timer = undefined
    wanted = false
    const overlay = fresh
    told = waiting
    waiting = []
    frozenBarriers = barriers
    barriers = []
    frozen = overlay
    fresh = new Overlay()
    generation++
    const segments = overlay.segments.filter(({ keys, indexes }) => keys.length > 0 || indexes.size > 0)
    segmentsLeft = segments.length
    if (segmentsLeft === 0) return world.endOfTurn(thawed)
    for (const segment of segments) {
      committer.push({
        write: (transaction) => writeSegment(transaction, routes(), segment),
        done() {
          for (const [group, index] of segment.indexes) durable.set(group, index)
          segmentsLeft--
          if (segmentsLeft === 0) thawed()
        },
      })
    }
  }

  /** The frozen overlay is in the store. */
  const thawed = (): void => {
    const wrote = frozen?.isEmpty === false
    frozen = undefined
    generation++
    const done = told
    const passed = frozenBarriers
    told = []
    frozenBarriers = []
    if (wrote) checkpoints++
    if (closed ? waiting.length + barriers.length > 0 : wanted) freeze()
    else if (!fresh.isEmpty) arm()
    tell(done, ok())
    for (const pass of passed) pass()
    if (wrote) options.onDurable()
    if (frozen === undefined) finish?.()
    look()
  }

  const arm = (): void => {
    if (timer !== undefined || frozen !== undefined || closed) return
    timer = world.clock.setTimer(options.checkpointDelayMs, () => {
      timer = undefined
      due()
    })
  }

  const writer: EngineWriter = {
    put(key, value) {
      invariant(key.length > 0 && key.length <= store.maxKeyBytes, 'engine-key-size', () => `${key.length} bytes`)
      fresh.write(key, value)
    },
    remove(key) {
      fresh.write(key, undefined)
    },
  }

  const readerOver = (
    layers: () => readonly Overlay['map'][],
    route: () => Routes,
    versions: { readonly generation: () => number; readonly version: () => number },
    view: StoreView | undefined,
  ): EngineReader => ({
    get(key) {
      for (const layer of layers()) {
        const found = layer.lookup(key, MISSING)
        if (found !== MISSING) return found
      }
      return store.get(slotOf(route(), key), key, view)
    },
    scan(start, end, scanOptions) {
      const reverse = scanOptions?.reverse === true
      return new MergedCursor(
        () => [
          ...layers().map((layer) => layer.cursor(start, end, reverse)),
          storeCursor(store, partsOf(route(), start, end), reverse, view),
        ],
        versions.generation,
        versions.version,
        reverse,
      )
    },
  })

  const reader = readerOver(
    () => (frozen === undefined ? [fresh.map] : [fresh.map, frozen.map]),
    routes,
    { generation: () => generation, version: () => fresh.map.version },
    undefined,
  )

  const engine: Engine = {
    maxKeyBytes: store.maxKeyBytes,
    get: (key) => reader.get(key),
    scan: (start, end, scanOptions) => reader.scan(start, end, scanOptions),
    applyBatch(group, index, write) {
      invariant(!closed, 'engine-open')
      invariant(!restores.isSwapping(group), 'no-batch-during-swap', () => `group ${group}`)
      write(writer)
      const to = typeof index === 'function' ? index() : index
      invariant(to >= (applied.get(group) ?? 0), 'applied-never-back', () => `group ${group}: ${to}`)
      applied.set(group, to)
      fresh.endBatch(group, to)
      arm()
      if (fresh.sizeBytes > options.checkpointBytes) due()
      look()
    },
    appliedIndex: (group) => applied.get(group) ?? logIndex(0),
    durableIndex: (group) => durable.get(group) ?? logIndex(0),
    get underPressure() {
      return pressure
    },
    checkpoint(done) {
      invariant(!closed, 'engine-open')
      const { refusal } = committer
      if (refusal !== undefined) return world.endOfTurn(() => done(err(refusal)))
      waiting.push(done)
      due()
    },
    openSnapshot(): Result<EngineSnapshot> {
      if (views.size >= MAX_SNAPSHOTS)
        return err(failure('too-many-requests', `${views.size} snapshots are open, the limit is ${MAX_SNAPSHOTS}`))
      const view = store.pin()
      views.add(view)
      const layers = frozen === undefined ? [fresh.map.snapshot()] : [fresh.map.snapshot(), frozen.map]
      const indexes = new Map(applied)
      const route = routes()
      const still = { generation: () => 0, version: () => 0 }
      return ok({
        reader: readerOver(
          () => layers,
          () => route,
          still,
          view,
        ),
        appliedIndex: (group) => indexes.get(group) ?? logIndex(0),
        close() {
          if (views.delete(view)) view.close()
        },
      })
    },
    openRestore: (group, start, end) => restores.open(group, start, end),
    stats: () => ({
      diskBytes: store.sizeBytes(),
      overlayBytes: fresh.sizeBytes + (frozen?.sizeBytes ?? 0),
      checkpoints,
    }),
    close(done) {
      invariant(!closed, 'engine-open')
      closed = true
      timer?.cancel()
      restores.close()
      finish = () => {
        finish = undefined
        committer.end(() => {
          for (const view of views) view.close()
          views.clear()
          store.close(done)
        })
      }
      if (frozen === undefined) finish()
    },
  }
  return ok(engine)
}

/** What `lookup` answers for a key that is not there; undefined is one that was removed. */
const MISSING: unique symbol = Symbol('missing')

function writeSegment(transaction: StoreTransaction, routes: Routes, segment: Segment): void {
  const { keys, values } = segment
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i] as Uint8Array
    const value = values[i]
    if (value === undefined) transaction.remove(slotOf(routes, key), key)
    else transaction.put(slotOf(routes, key), key, value)
  }
  for (const [group, index] of segment.indexes) putIndex(transaction, group, index)
}
