/**
 * log: the write-ahead log of one server, shared by all its groups.
 *
 * Promises: (1) `append` completes in the order of calls, each once it is durable, with one write and one fdatasync for everything
 * that came meanwhile; (2) after a crash an append is there whole or not at all, and what is reported then survives the next crash;
 * (3) damage below what is known to be synced is refused with file and offset, a torn tail is cut, and neither earlier content of the
 * same blocks nor a client's value is ever taken for a batch; (4) a full disk takes nothing back that was acknowledged, holds what was
 * not, and still takes compactions, which make space; (5) a failed fdatasync ends the server; (6) the log stays within about twice
 * what its groups need and a few segments: an idle group's entries are written forward.
 * What remains: until the marker that an idle log writes `markerDelayMs` after its last batch, damage of exactly that batch cannot be
 * told from a torn write.
 * Never: knows what an entry means; retries a failed sync.
 * Source: DESIGN law 6; Rebello et al., "Can Applications Recover from fsync Failures?" (ATC 2020); rabbitmq/ra's log; the cleaner of
 * Rosenblum and Ousterhout, "The Design and Implementation of a Log-Structured File System" (1992).
 */
export { openLog } from './open.ts'
export type { LogBase, LogEntry, LogHardState, LogOptions, LogWrite, RecoveredGroup, WriteAheadLog } from './types.ts'
