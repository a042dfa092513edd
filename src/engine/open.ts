/** Opens an engine by kind. lmdb is loaded on demand, so that everything else bundles where it does not exist. */
import type { Result } from '../base/index.ts'
import { err, failure } from '../base/index.ts'
import type { World } from '../world/index.ts'
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
    (module) => module.openLmdbEngine(world, options, done),
    (cause: unknown) => done(err(failure('internal', `lmdb cannot be loaded: ${String(cause)}`))),
  )
}
