/** Opens an engine by kind. lmdb is loaded on demand, so that everything else bundles where it does not exist. */
import type { Result } from '../base/index.ts'
import { err, failure } from '../base/index.ts'
import type { World } from '../world/index.ts'
import { openLayeredEngine } from './layered.ts'
import type { openLmdbStore } from './lmdb.ts'
import { openMemoryEngine } from './memory.ts'
import type { Engine, EngineOptions } from './types.ts'

export type EngineKind = 'lmdb' | 'memory'

export function openEngine(
  kind: EngineKind,
  world: World,
  options: EngineOptions,
  done: (result: Result<Engine>) => void,
): void {
  if (kind === 'memory') return openMemoryEngine(world, options, done)
  import('./lmdb.ts').then(
    // In a turn of its own: what is thrown in it must not end in this promise.
    ({ openLmdbStore }) => world.endOfTurn(() => openOnStore(openLmdbStore, world, options, done)),
    (cause: unknown) =>
      world.endOfTurn(() => done(err(failure('internal', `lmdb cannot be loaded: ${String(cause)}`)))),
  )
}

function openOnStore(
  openStore: typeof openLmdbStore,
  world: World,
  options: EngineOptions,
  done: (result: Result<Engine>) => void,
): void {
  openStore(world, options.directory, (opened) => {
    if (!opened.ok) return done(opened)
    const store = opened.value
    const engine = openLayeredEngine(world, options, store, options.directory)
    if (engine.ok) done(engine)
    else store.close(() => done(engine))
  })
}
