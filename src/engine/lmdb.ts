/**
 * The default engine: LMDB on disk, and in front of it, in memory, the batches that are not durable yet. A checkpoint
 * freezes that overlay and commits it as one LMDB transaction, on LMDB's own thread, with the groups' applied indexes in it; new
 * batches go to a fresh overlay meanwhile. Reads merge the overlays over LMDB.
 *
 * LMDB is copy-on-write: a transaction writes pages that no older one uses, syncs them, then writes and syncs the meta page that
 * makes them count. Power loss leaves the last committed transaction, whatever else reached the disk. That holds only with
 * syncs on and in that order, so: no noSync, no noMetaSync, no mapAsync, no useWritemap (a stray write into the map would
 * reach the file), and no overlappingSync (it commits before it syncs).
 *
 * This file is the one place where the library is used, and where its promises are (DESIGN laws 1 and 3).
 */
import { open } from 'lmdb'
import type { Database, RootDatabase, Transaction } from 'lmdb'
import type { GroupId, LogIndex, Result } from '../base/index.ts'
import { compareBytes, err, failure, invariant, logIndex, ok } from '../base/index.ts'
import type { Failure } from '../base/index.ts'
import type { World } from '../world/index.ts'
import { LmdbCursor } from './lmdb-cursor.ts'
import { MergedCursor } from './merged-cursor.ts'
import { OrderedMap } from './ordered-map.ts'
import { createRestore } from './lmdb-restore.ts'
import { checkFile } from './lmdb-file.ts'
import type { Engine, EngineCursor, EngineOptions, EngineReader, EngineSnapshot } from './types.ts'

/** With pages of 4096 bytes. */
const MAX_KEY_BYTES = 1978
const MAX_SNAPSHOTS = 4
/** How long until a checkpoint that failed for want of space is tried again. */
const FULL_RETRY_MS = 500

/** undefined: removed. */
export type Overlay = OrderedMap<Uint8Array | undefined>

export type LmdbData = Database<Uint8Array, Uint8Array>
export type LmdbView = Transaction
export type LmdbStore = {
  readonly root: RootDatabase<Uint8Array, Uint8Array>
  readonly data: Database<Uint8Array, Uint8Array>
  readonly meta: Database<Uint8Array, Uint8Array>
}

export function openLmdbEngine(world: World, options: EngineOptions, done: (result: Result<Engine>) => void): void {
  world.disk.makeDirectory(options.directory, (made) => {
    if (!made.ok) return done(made)
    checkFile(world, `${options.directory}/data.mdb`, (checked) => {
      if (!checked.ok && checked.error.code !== 'not-found') return done(checked)
      openChecked(world, options, done)
    })
  })
}

function openChecked(world: World, options: EngineOptions, done: (result: Result<Engine>) => void): void {
  let store: LmdbStore
  const applied = new Map<GroupId, LogIndex>()
  try {
    const root = open<Uint8Array, Uint8Array>({
      path: `${options.directory}/data.mdb`,
      noSubdir: true,
      maxDbs: 4,
      keyEncoding: 'binary',
      encoding: 'binary',
      overlappingSync: false,
      noSync: false,
      useWritemap: false,
      cache: false,
      compression: false,
      permissionsMode: 0o600,
      pageSize: 4096,
    } as Parameters<typeof open>[0])
    store = { root, data: root.openDB({ name: 'data', ...BINARY }), meta: root.openDB({ name: 'meta', ...BINARY }) }
    for (const { key, value } of store.meta.getRange({})) applied.set(readU32(key) as GroupId, logIndex(readF64(value)))
  } catch (error) {
    return done(err(failure('engine-damaged', `${options.directory}/data.mdb cannot be opened: ${String(error)}`)))
  }
  // The name of a new file is durable before anything in it counts.
  world.disk.syncDirectory(options.directory, (synced) => {
    done(synced.ok ? ok(engineOver(world, options, store, applied)) : synced)
  })
}

const BINARY = { keyEncoding: 'binary', encoding: 'binary', cache: false } as const

function engineOver(world: World, options: EngineOptions, store: LmdbStore, applied: Map<GroupId, LogIndex>): Engine {
  let fresh: Overlay = new OrderedMap()
  let frozen: Overlay | undefined
  let freshBytes = 0
  let frozenBytes = 0
  let durable = new Map(applied)
  let checkpoints = 0
  let snapshots = 0
  let pressure = false
  let closed = false
  /** Counts what changes the layers below a cursor. */
  let generation = 0
  let waiting: ((result: Result<void>) => void)[] = []
  let timer: { cancel(): void } | undefined

  const look = (): void => {
    const now = freshBytes + frozenBytes > options.maxOverlayBytes
    if (now !== pressure) {
      pressure = now
      options.onPressure(now)
    }
    if (freshBytes > options.checkpointBytes) checkpoint()
  }

  const arm = (): void => {
    if (timer !== undefined || frozen !== undefined || closed) return
    timer = world.clock.setTimer(options.checkpointDelayMs, () => checkpoint())
  }

  const checkpoint = (done?: (result: Result<void>) => void): void => {
    if (done !== undefined) waiting.push(done)
    if (frozen !== undefined || closed) return
    timer?.cancel()
    timer = undefined
    const told = waiting
    waiting = []
    const indexes = new Map(applied)
    freeze()
    commit(indexes, told)
  }

  const freeze = (): void => {
    frozen = fresh
    frozenBytes = freshBytes
    fresh = new OrderedMap()
    freshBytes = 0
    generation++
  }

  const commit = (indexes: Map<GroupId, LogIndex>, told: readonly ((result: Result<void>) => void)[]): void => {
    store.root
      .batch(() => {
        const cursor = (frozen as Overlay).cursor(LOWEST, HIGHEST, false)
        while (cursor.next()) {
          if (cursor.value === undefined) void store.data.remove(cursor.key)
          else void store.data.put(cursor.key, cursor.value)
        }
        for (const [group, index] of indexes) void store.meta.put(u32(group), f64(index))
      })
      .then(
        () => world.endOfTurn(() => committed(indexes, told)),
        (error: unknown) => world.endOfTurn(() => refused(indexes, told, error)),
      )
  }

  const committed = (indexes: Map<GroupId, LogIndex>, told: readonly ((result: Result<void>) => void)[]): void => {
    durable = indexes
    frozen = undefined
    frozenBytes = 0
    generation++
    checkpoints++
    for (const tell of told) tell(ok())
    options.onDurable()
    if (closed) return
    look()
    if (waiting.length > 0) checkpoint()
    else if (freshBytes > 0) arm()
  }

  /** The overlay stays as it is: nothing is lost, and the commit is tried again as a whole. */
  const refused = (
    indexes: Map<GroupId, LogIndex>,
    told: readonly ((result: Result<void>) => void)[],
    error: unknown,
  ): void => {
    const why = problem(error)
    world.diagnostics.log('error', 'checkpoint-failed', { code: why.code, message: why.message })
    for (const tell of told) tell(err(why))
    invariant(why.code === 'disk-full', 'engine-commits', why.message)
    world.clock.setTimer(FULL_RETRY_MS, () => commit(indexes, []))
  }

  const get = (key: Uint8Array): Uint8Array | undefined => {
    for (const layer of [fresh, frozen]) {
      if (layer === undefined || layer.size === 0) continue
      const found = layer.find(key)
      const pair = layer.at(found[0], found[1])
      if (pair !== undefined && compareBytes(pair.key, key) === 0) return pair.value
    }
    return store.data.getBinary(key)
  }

  const scan = (start: Uint8Array, end: Uint8Array, scanOptions?: { readonly reverse?: boolean }): EngineCursor => {
    const reverse = scanOptions?.reverse === true
    return new MergedCursor(
      () => {
        const base = new LmdbCursor(store.data, start, end, reverse)
        const first = fresh.cursor(start, end, reverse)
        return frozen === undefined ? [first, base] : [first, frozen.cursor(start, end, reverse), base]
      },
      () => generation,
      () => fresh.version,
      reverse,
    )
  }

  const engine: Engine = {
    maxKeyBytes: MAX_KEY_BYTES,
    get,
    scan,
    applyBatch(group, index, write) {
      write({
        put(key, value) {
          invariant(key.length > 0 && key.length <= MAX_KEY_BYTES, 'engine-key-size', () => `${key.length} bytes`)
          fresh.set(key, value)
          freshBytes += key.length + value.length + 64
        },
        remove(key) {
          fresh.set(key, undefined)
          freshBytes += key.length + 64
        },
      })
      const to = typeof index === 'function' ? index() : index
      invariant(to >= (applied.get(group) ?? 0), 'applied-never-back', () => `group ${group}: ${to}`)
      applied.set(group, to)
      freshBytes += 16
      arm()
      look()
    },
    appliedIndex: (group) => applied.get(group) ?? logIndex(0),
    durableIndex: (group) => durable.get(group) ?? logIndex(0),
    get underPressure() {
      return pressure
    },
    checkpoint,
    openSnapshot(): Result<EngineSnapshot> {
      if (snapshots >= MAX_SNAPSHOTS)
        return err(failure('too-many-requests', `${snapshots} snapshots are open, the limit is ${MAX_SNAPSHOTS}`))
      snapshots++
      const transaction = store.root.useReadTransaction()
      const layers = [fresh.snapshot(), ...(frozen === undefined ? [] : [frozen])]
      const indexes = new Map(applied)
      let open = true
      const reader: EngineReader = {
        get: (key) => {
          for (const layer of layers) {
            const [leaf, slot] = layer.find(key)
            const pair = layer.at(leaf, slot)
            if (pair !== undefined && compareBytes(pair.key, key) === 0) return pair.value
          }
          return binaryIn(store.data, key, transaction)
        },
        scan: (start, end, scanOptions) => {
          const reverse = scanOptions?.reverse === true
          return new MergedCursor(
            () => [
              ...layers.map((layer) => layer.cursor(start, end, reverse)),
              new LmdbCursor(store.data, start, end, reverse, transaction),
            ],
            () => 0,
            () => 0,
            reverse,
          )
        },
      }
      return ok({
        reader,
        appliedIndex: (group) => indexes.get(group) ?? logIndex(0),
        close() {
          if (!open) return
          open = false
          snapshots--
          transaction.done()
        },
      })
    },
    openRestore: (group, start, end) =>
      createRestore(world, store, start, end, {
        /** Everything applied is in LMDB, and nothing else is being committed. */
        quiesce: (then) => checkpoint(then),
        swapped(index) {
          applied.set(group, index)
          durable.set(group, index)
          generation++
        },
        meta: (index) => [u32(group), f64(index)],
        problem,
      }),
    stats() {
      const info = store.root.getStats() as {
        readonly pageSize?: number
        readonly root?: { pageSize?: number }
        readonly lastPageNumber?: number
      }
      return { diskBytes: (info.lastPageNumber ?? 0) * 4096, overlayBytes: freshBytes + frozenBytes, checkpoints }
    },
    close(done) {
      const finish = (): void => {
        closed = true
        timer?.cancel()
        store.root.close().then(
          () => world.endOfTurn(() => done(ok())),
          (error: unknown) => world.endOfTurn(() => done(err(problem(error)))),
        )
      }
      if (frozen === undefined) finish()
      else waiting.push(finish)
    },
  }
  return engine
}

const LOWEST = new Uint8Array(0)
const HIGHEST: Uint8Array = new Uint8Array(MAX_KEY_BYTES + 1).fill(255)

function problem(error: unknown): Failure {
  const message = String(error)
  if (/MDB_MAP_FULL|ENOSPC|No space left/i.test(message))
    return failure('disk-full', `the engine cannot commit: ${message}`)
  return failure('disk-failed', `the engine cannot commit: ${message}`)
}

/** The library takes options here that its types do not mention. */
function binaryIn(data: LmdbStore['data'], key: Uint8Array, transaction: Transaction): Uint8Array | undefined {
  const reading = data as unknown as {
    getBinary(key: Uint8Array, options: { transaction: Transaction }): Uint8Array | undefined
  }
  return reading.getBinary(key, { transaction })
}

function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, value)
  return bytes
}

function readU32(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(0)
}

function f64(value: number): Uint8Array {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setFloat64(0, value)
  return bytes
}

function readF64(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getFloat64(0)
}
