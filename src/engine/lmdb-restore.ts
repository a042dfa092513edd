/**
 * Replacing a key interval as a whole. Pairs are staged in a database of their own, in transactions of bounded size; then one
 * transaction deletes the interval, moves the staged pairs into it and sets the applied index. A crash before that one leaves the
 * old state, and what was staged is dropped at the next restore.
 *
 * The last transaction takes one turn, whose length grows with the interval (about a second for a million pairs): the
 * server answers nobody meanwhile.
 */
import type { LogIndex, Result } from '../base/index.ts'
import { err, ok } from '../base/index.ts'
import type { Failure } from '../base/index.ts'
import type { World } from '../world/index.ts'
import type { LmdbStore } from './lmdb.ts'
import type { EngineRestore } from './types.ts'

/** Of pairs handed to LMDB in one transaction. */
const CHUNK_BYTES = 1024 * 1024

export type RestoreHooks = {
  readonly quiesce: (then: (result: Result<void>) => void) => void
  readonly swapped: (index: LogIndex) => void
  readonly meta: (index: LogIndex) => readonly [Uint8Array, Uint8Array]
  readonly problem: (error: unknown) => Failure
}

export function createRestore(
  world: World,
  store: LmdbStore,
  start: Uint8Array,
  end: Uint8Array,
  hooks: RestoreHooks,
): EngineRestore {
  const staged = store.root.openDB<Uint8Array, Uint8Array>({
    name: 'staged',
    keyEncoding: 'binary',
    encoding: 'binary',
    cache: false,
  })
  let chunk: { key: Uint8Array; value: Uint8Array }[] = []
  let chunkBytes = 0
  let aborted = false
  let inFlight = 0
  let broken: Failure | undefined
  let drained: (() => void) | undefined
  let work: Promise<unknown> = staged.clearAsync()

  const flush = (): void => {
    if (chunk.length === 0) return
    const pairs = chunk
    chunk = []
    chunkBytes = 0
    inFlight++
    work = work
      .then(() =>
        staged.batch(() => {
          for (const { key, value } of pairs) void staged.put(key, value)
        }),
      )
      .then(
        () => settled(),
        (error: unknown) => {
          broken = hooks.problem(error)
          settled()
        },
      )
  }

  const settled = (): void => {
    inFlight--
    world.endOfTurn(() => {
      const tell = drained
      drained = undefined
      tell?.()
    })
  }

  /** Moves everything in one transaction and one turn: reads in between would see the transaction half done. */
  const move = async (index: LogIndex): Promise<void> => {
    await store.root.transaction(() => {
      for (const key of store.data.getKeys({ start, end, snapshot: false })) store.data.removeSync(key)
      for (const { key, value } of staged.getRange({ snapshot: false })) store.data.putSync(key, value)
      const [metaKey, metaValue] = hooks.meta(index)
      store.meta.putSync(metaKey, metaValue)
    })
  }

  return {
    add(key, value) {
      chunk.push({ key, value })
      chunkBytes += key.length + value.length
      if (chunkBytes > CHUNK_BYTES) flush()
      return inFlight < 2
    },
    onDrain(callback) {
      if (inFlight < 2) world.endOfTurn(callback)
      else drained = callback
    },
    commit(index, done) {
      flush()
      hooks.quiesce((quiet) => {
        if (!quiet.ok) return done(quiet)
        work
          .then(() => (broken === undefined && !aborted ? move(index) : undefined))
          .then(() => staged.clearAsync())
          .then(
            () =>
              world.endOfTurn(() => {
                if (broken !== undefined) return done(err(broken))
                hooks.swapped(index)
                done(ok())
              }),
            (error: unknown) => world.endOfTurn(() => done(err(hooks.problem(error)))),
          )
      })
    },
    abort() {
      aborted = true
      chunk = []
      work = work.then(() => staged.clearAsync()).catch(() => undefined)
    },
  }
}
