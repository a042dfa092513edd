/**
 * The store on disk: LMDB. Commits run on the library's own thread, all of them in its one write transaction at a time.
 * This file is the one place where the library is used, and where its promises are (DESIGN laws 1 and 3).
 *
 * LMDB is copy-on-write: a transaction writes pages that no older state uses, syncs them, then writes the meta page that
 * makes them count through a descriptor that syncs (O_DSYNC). Power loss leaves the last committed transaction or the one
 * being committed, whatever else reached the disk. That holds with syncs on and in that order, so: no noSync,
 * noMetaSync, mapAsync; no useWritemap (the system may write any page at any time); no overlappingSync (the library's
 * default: it commits before it syncs, and finds out at opening which transaction is safe).
 *
 * The library adds a later batch to the transaction under way where it can, so batches that are fed turn by turn share one
 * sync. When a transaction fails, a batch behind it might still succeed; so each is conditional on a number that the one
 * before it has written. No synchronous transaction runs after opening: it could cut a batch under way in two.
 */
import { open as openLibrary } from 'lmdb'
import type { Database, RootDatabase, Transaction } from 'lmdb'
import type { Failure, Result } from '../base/index.ts'
import { err, failure, invariant, ok } from '../base/index.ts'
import type { World } from '../world/index.ts'
import { checkFile, FILE, NEW_FILE, PAGE_BYTES } from './lmdb-file.ts'
import { META_SLOT, type Pair, type ReadOptions, type Store, type StoreView } from './store.ts'
import type { StoreTransaction } from './store.ts'

/** With pages of 4096 bytes. */
const MAX_KEY_BYTES = 1978
/** The engine's records and as many data slots as there may be restored intervals. */
const SLOTS = 128
const ARENA_BYTES = 256 * 1024
const MAX_NEW_FILE_BYTES = 16 * 1024 * 1024

const CHAIN_KEY: Uint8Array = Uint8Array.of(1)
const CHAIN_START = 1
const SHORT_WRITE = /EIO|Input\/output error/i
const PROBE_FILE = 'space.probe'
const PROBE_PART: Uint8Array = new Uint8Array(256 * 1024)
const PROBE_PARTS = 32
const FULL = /MDB_MAP_FULL|ENOSPC|EDQUOT|No space left|quota exceeded/i

type Data = Database<Uint8Array, Uint8Array>

/** What the library takes and has beyond its published types. */
type Untyped = {
  getBinary(key: Uint8Array, options: { readonly transaction: Transaction }): Uint8Array | undefined
}
type Info = { readonly env: { info(): { readonly lastPageNumber: number } } }

type UnderWay = { readonly done: (result: Result<void>) => void; result: Result<void> | undefined }

type Databases = { readonly root: RootDatabase<Uint8Array, Uint8Array>; readonly chain: Data; readonly slots: Data[] }

/** Makes the file where there is none. Failures: engine-damaged, data-newer, and the disk's. */
export function openLmdbStore(world: World, directory: string, done: (result: Result<Store>) => void): void {
  const { disk } = world
  const path = `${directory}/${FILE}`
  const open = (): void =>
    checkFile(world, directory, (checked) => {
      if (!checked.ok) return done(checked)
      try {
        done(ok(storeOver(world, directory, openDatabases(path, false))))
      } catch (error) {
        done(err(failure('engine-damaged', `${path} cannot be opened: ${String(error)}`, { file: path })))
      }
    })
  disk.makeDirectory(directory, (made) => {
    if (!made.ok) return done(made)
    disk.list(directory, (names) => {
      if (!names.ok) return done(names)
      if (names.value.includes(FILE)) return open()
      create(world, directory, (created) => (created.ok ? open() : done(created)))
    })
  })
}

/** A new file appears whole and durable: it is made beside its place, and put there by the disk's atomic replacement. */
function create(world: World, directory: string, done: (result: Result<void>) => void): void {
  const { disk } = world
  const path = `${directory}/${NEW_FILE}`
  const clear = (then: () => void): void => disk.remove(path, () => disk.remove(`${path}-lock`, then))
  clear(() => {
    const { root, chain } = openDatabases(path, true)
    chain.putSync(CHAIN_KEY, CHAIN_KEY, CHAIN_START)
    void root.close().then(() =>
      disk.readWhole(path, MAX_NEW_FILE_BYTES, (read) => {
        if (!read.ok) return done(read)
        disk.replace(`${directory}/${FILE}`, [read.value], (replaced) => clear(() => done(replaced)))
      }),
    )
  })
}

function openDatabases(path: string, isNew: boolean): Databases {
  const root = openLibrary<Uint8Array, Uint8Array>({
    ...BINARY,
    path,
    noSubdir: true,
    maxDbs: SLOTS + 1,
    pageSize: PAGE_BYTES,
    permissionsMode: 0o600,
    compression: false,
    // With it the library wraps a turn's writes in a batch of its own, whose promise nobody hears: rejected, it would end
    // the process.
    eventTurnBatching: false,
    overlappingSync: false,
    // A new file is in nobody's hands yet: what is durable of it is a copy.
    noSync: isNew,
    noMetaSync: false,
    useWritemap: false,
    mapAsync: false,
  } as Parameters<typeof openLibrary>[0])
  const slots: Data[] = []
  for (let slot = 0; slot < SLOTS; slot++) {
    // The types leave out the encoder.
    const options = { name: nameOf(slot), ...BINARY, encoder: arenaEncoder() } as { name: string }
    slots.push(root.openDB<Uint8Array, Uint8Array>(options))
  }
  const chain = root.openDB<Uint8Array, Uint8Array>({ name: 'chain', ...BINARY, useVersions: true })
  return { root, slots, chain }
}

const BINARY = { keyEncoding: 'binary', encoding: 'binary', cache: false } as const

function nameOf(slot: number): string {
  return slot === META_SLOT ? 'meta' : `data-${slot}`
}

/**
 * Copies values into large buffers on their way to the library's thread. It reads them by address, and for that a small
 * array would have to be moved out of the heap one by one.
 */
function arenaEncoder(): {
  encode(value: Uint8Array): Uint8Array
  decode(bytes: Uint8Array, sizeBytes?: number): Uint8Array
} {
  let arena: (Uint8Array & { start?: number; end?: number }) | undefined
  let at = 0
  return {
    encode(value) {
      if (arena === undefined || at + value.length > arena.length) {
        arena = new Uint8Array(Math.max(ARENA_BYTES, value.length))
        at = 0
      }
      arena.set(value, at)
      arena.start = at
      at += value.length
      arena.end = at
      return arena
    },
    decode: (bytes, sizeBytes = bytes.length) => Uint8Array.prototype.slice.call(bytes, 0, sizeBytes),
  }
}

function storeOver(world: World, directory: string, { root, chain, slots }: Databases): Store {
  /** The number that the last durable commit wrote, and the last one under way. */
  let durable = chain.getEntry(CHAIN_KEY)?.version ?? 0
  let issued = durable
  const underWay: UnderWay[] = []
  /** Of a commit after which others are still under way. */
  let broken: Failure | undefined
  invariant(durable >= CHAIN_START, 'lmdb-chain', String(durable))
  const views = new Map<StoreView, Transaction>()
  /** After a full disk: attempts wait here until there is known to be space, for the library is loud about failed ones. */
  let gate: ((full: Failure | undefined) => void)[] | undefined
  let wasFull = false

  const data = (slot: number): Data => slots[slot] as Data

  const transaction: StoreTransaction = {
    put: (slot, key, value) => void data(slot).put(key, value),
    remove: (slot, key) => void data(slot).remove(key),
    clear: (slot) => void data(slot).clearAsync(),
  }

  /** Calls back in the order given: the library's promises may end in another, where some fail. */
  const settle = (commit: UnderWay, result: Result<void>): void => {
    commit.result = result
    while (underWay[0]?.result !== undefined) {
      const first = underWay.shift() as UnderWay
      const ended = first.result as Result<void>
      if (ended.ok) {
        invariant(broken === undefined, 'lmdb-chain-holds')
        durable++
      } else broken ??= ended.error
      const told: Result<void> = broken === undefined ? ok() : err(broken)
      if (underWay.length === 0) {
        issued = durable
        broken = undefined
      }
      first.done(told)
    }
  }

  return {
    maxKeyBytes: MAX_KEY_BYTES,
    slots: SLOTS,
    get(slot, key, view) {
      const pinned = view === undefined ? undefined : views.get(view)
      if (pinned === undefined) return data(slot).getBinary(key)
      return (data(slot) as unknown as Untyped).getBinary(key, { transaction: pinned })
    },
    read(slot, from, options, view) {
      const { reverse, limit } = options
      // No longer key is stored: all that is at or before it is before its first bytes, or those.
      const tooLong = from.length > MAX_KEY_BYTES
      const start = tooLong ? from.subarray(0, MAX_KEY_BYTES) : from
      const exclusive = tooLong ? !reverse : options.exclusive
      return readRun(data(slot), { start, reverse, exclusive, limit }, view && views.get(view))
    },
    pin() {
      const view: StoreView = {
        close() {
          const pinned = views.get(view)
          if (views.delete(view)) pinned?.done()
        },
      }
      views.set(view, root.useReadTransaction())
      return view
    },
    commit(write, done) {
      invariant(broken === undefined, 'lmdb-commit-after-failure')
      const after = issued++
      const commit: UnderWay = { done, result: undefined }
      underWay.push(commit)
      const settled = (result: Result<void>): void => world.endOfTurn(() => settle(commit, result))
      const refused = (cause: unknown): void =>
        explain(world, directory, cause, (why) => {
          wasFull = why.code === 'disk-full'
          settled(err(why))
        })
      const attempt = (full: Failure | undefined): void => {
        if (full !== undefined) return settled(err(full))
        chain
          .ifVersion(CHAIN_KEY, after, () => {
            write(transaction)
            void chain.put(CHAIN_KEY, CHAIN_KEY, after + 1)
          })
          .then(
            (isDone) => settled(isDone ? ok() : err(problem('the commit before it failed'))),
            (error: unknown) => causeOf(error, refused),
          )
      }
      if (gate !== undefined) return void gate.push(attempt)
      if (!wasFull) return attempt(undefined)
      const waiting = [attempt]
      gate = waiting
      probeSpace(world, directory, (full) => {
        gate = undefined
        wasFull = full !== undefined
        for (const one of waiting) one(full)
      })
    },
    sizeBytes: () => ((root as unknown as Info).env.info().lastPageNumber + 1) * PAGE_BYTES,
    close(done) {
      for (const view of views.keys()) view.close()
      root.close().then(
        () => world.endOfTurn(() => done(ok())),
        (error: unknown) => world.endOfTurn(() => done(err(problem(error)))),
      )
    },
  }
}

function readRun(from: Data, options: ReadOptions & { start: Uint8Array }, pinned: Transaction | undefined): Pair[] {
  const { start, reverse, exclusive, limit } = options
  const pairs: Pair[] = []
  if (reverse && start.length === 0) return pairs
  const range = {
    start: start.length === 0 ? FIRST : start,
    // Named, because the library's own end of a reverse range leaves out the lowest key.
    end: undefined as unknown as Uint8Array,
    reverse,
    limit,
    exclusiveStart: exclusive,
    transaction: pinned as Transaction,
  }
  for (const pair of from.getRange(range)) pairs.push(pair)
  return pairs
}

const FIRST: Uint8Array = Uint8Array.of(0)

/** The library rejects with an error that promises the cause. */
function causeOf(error: unknown, then: (cause: unknown) => void): void {
  const cause = (error as { readonly commitError?: Promise<never> }).commitError
  if (cause === undefined) then(error)
  else cause.then(then, then)
}

/** LMDB tells a write that the disk took in part as an I/O error: then whether there is space says which it was. */
function explain(world: World, directory: string, cause: unknown, then: (why: Failure) => void): void {
  const why = problem(cause)
  if (why.code === 'disk-full' || !SHORT_WRITE.test(why.message)) return then(why)
  probeSpace(world, directory, (full) => then(full ?? why))
}

/** Calls back with `disk-full` unless the disk takes as many bytes as a few commits have, which are given back. */
function probeSpace(world: World, directory: string, then: (full: Failure | undefined) => void): void {
  const { disk } = world
  const path = `${directory}/${PROBE_FILE}`
  const end = (result: Result<unknown>): void =>
    disk.remove(path, () => then(!result.ok && result.error.code === 'disk-full' ? result.error : undefined))
  disk.open(path, { create: true }, (opened) => {
    if (!opened.ok) return end(opened)
    const file = opened.value
    const parts = Array.from({ length: PROBE_PARTS }, () => PROBE_PART)
    file.write(0, parts, (written) => {
      if (!written.ok) return file.close(() => end(written))
      file.datasync((synced) => file.close(() => end(synced)))
    })
  })
}

function problem(error: unknown): Failure {
  const message = error instanceof Error ? error.message : String(error)
  return failure(FULL.test(message) ? 'disk-full' : 'disk-failed', `the engine cannot commit: ${message}`)
}
