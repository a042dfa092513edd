/**
 * engine: ordered key-value storage under the state machine, shared by all the groups of one server.
 *
 * Promises: (1) a batch is visible at once and durable whole or not at all, together with its group's applied index;
 * (2) `durableIndex` never claims what a crash can take away; (3) what is held in memory is bounded, and its users are
 * told at the limit.
 * Never: knows what a key means; appends to the log.
 * Source: DESIGN, "Engine".
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
