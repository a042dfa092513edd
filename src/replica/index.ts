/**
 * replica: one copy of one range. Joins raft, log, engine and mvcc into something that can be written to and read from.
 *
 * Promises: (1) a write is answered with success only after a majority has it on disk and it is applied here; (2) a
 * proposal takes effect at most once, however often it is sent; (3) a refusal is certain, anything else is reported as
 * unknown; (4) a linearizable read sees every write acknowledged before it was asked; (5) every queue is bounded.
 * Never: opens a connection, knows a protocol of clients, reads a clock for a decision that must be the same everywhere.
 * Source: Raft dissertation (Ongaro 2014), chapters 3 to 6; etcd's raft `Ready` loop.
 */
export { openReplica } from './replica.ts'
export type {
  Applied,
  ProposalRequest,
  Replica,
  ReplicaEnvironment,
  ReplicaOptions,
  ReplicaStatus,
  Transport,
} from './types.ts'
// Of the store's: what a server passes on between a replica and those who watch it.
export type { WatchSink, WatchStats, WatchStream } from '../mvcc/index.ts'
