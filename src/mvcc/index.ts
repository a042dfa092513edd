/**
 * mvcc: etcd's versioned key-value store over an engine: revisions, transactions, ranges, compaction.
 *
 * Promises: (1) apply is a pure function of state and request: no time, no randomness, so that replicas agree; (2) a
 * request that fails changes nothing; (3) a range is consistent at one revision however many slices it takes; (4) keys
 * live in the engine only: memory does not grow with their number; (5) records never name a group.
 * Never: expires a lease; looks at a clock; holds an engine cursor between calls.
 * Bounds: limits.ts; a key has at most MAX_KEY_BYTES bytes, zero bytes counting twice. A write (a deletion of many keys,
 * a transaction with large ranges) is one turn, bounded by MAX_RECORDS_PER_WRITE.
 * Source: etcd 3.4 `mvcc/`, `etcdserver/apply.go`, `etcdserver/api/v3rpc/key.go`.
 */
export type { Interval } from './keys.ts'
export { MAX_KEY_BYTES, replicaPrefix, spaceInterval } from './keys.ts'
export {
  MAX_RECORDS_PER_WRITE,
  MAX_RESPONSE_BYTES,
  MAX_SORTED_PAIRS,
  MAX_TOTAL_TXN_OPS,
  MAX_TXN_OPS,
} from './limits.ts'
export type { RangeCursor } from './range-cursor.ts'
export type { Answered, Change, MvccOperation, MvccStore, StoreOptions, WrittenChange } from './store.ts'
export { openStore } from './store.ts'
export type { WatchEvent } from './watch-event.ts'
export type { WatchHub, WatchSink, WatchSpec, WatchStats, WatchStream } from './watch-hub.ts'
export { createWatchHub } from './watch-hub.ts'
export type { Leases } from './transaction.ts'
export type { TxnLimits } from './validate.ts'
export { validateCompact, validateDeleteRange, validatePut, validateRange, validateTxn } from './validate.ts'
