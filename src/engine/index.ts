/**
 * engine: ordered key-value storage under the state machine, shared by all the groups of one server.
 *
 * Promises: (1) a batch is visible at once and durable whole or not at all, together with its group's applied index, and
 * what survives a crash is a prefix of the batches; (2) `durableIndex` never claims what a crash can take away; (3) what
 * is held in memory is bounded, and its users are told at the limit; (4) a restore swaps in whole or not at all; (5) no
 * turn is long, however much is checkpointed or restored; (6) a full disk refuses checkpoints and loses nothing.
 * Never: knows what a key means; appends to the log.
 * Source: DESIGN, "Engine". lmdb: `layered.ts` in front of `lmdb.ts`.
 */
export { openMemoryEngine } from './memory.ts'
export { openEngine } from './open.ts'
export type {
  Engine,
  EngineCursor,
  EngineOptions,
  EngineReader,
  EngineRestore,
  EngineSnapshot,
  EngineWriter,
} from './types.ts'
