/** The store's bounds. Those that decide what a request does are the same on every replica: constants, not options. */

/** etcd's `--max-txn-ops`: compares, successes or failures of one transaction, and what its nested ones may have left. */
export const MAX_TXN_OPS: number = 128

/** Operations of a transaction and all transactions inside it. etcd has no such bound. */
export const MAX_TOTAL_TXN_OPS: number = 2048

/** Records that one write may look at: a transaction is applied in one turn. */
export const MAX_RECORDS_PER_WRITE: number = 1_000_000

/** Bytes of one response, and of pairs held while a range is sorted. */
export const MAX_RESPONSE_BYTES: number = 64 * 1024 * 1024

/** Pairs held while a range is sorted by anything but its keys in ascending order. */
export const MAX_SORTED_PAIRS: number = 100_000
