/**
 * log: the write-ahead log of one server, shared by all its groups.
 *
 * Promises: (1) `append` completes in order, once its batch is durable, with one write and one fdatasync for everything
 * that came meanwhile; (2) after a crash a batch is there whole or not at all; (3) damage below what is known to be
 * synced is refused with file and offset, a torn tail is cut; (4) a full disk takes nothing back that was acknowledged
 * and holds what was not; (5) a failed fdatasync ends the server.
 * Never: knows what an entry means; retries a failed sync.
 * Source: DESIGN law 6; Rebello et al., "Can Applications Recover from fsync Failures?" (ATC 2020); rabbitmq/ra's log.
 */
export { openLog } from './open.ts'
export type { LogBase, LogEntry, LogHardState, LogOptions, LogWrite, RecoveredGroup, WriteAheadLog } from './types.ts'
