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

/** Changes, and bytes of them, that one slice of a watcher's history looks at, but for the rest of a revision. */
export const MAX_CHANGES_PER_SLICE: number = 1_000
export const MAX_SLICE_BYTES: number = 1024 * 1024

/** Watchers that one slice of history serves. */
export const MAX_WATCHERS_PER_SLICE: number = 1_000

/** Events for watchers, each counted once for each of them, that one turn hands over, but for the rest of a revision. */
export const MAX_DELIVERIES_PER_TURN: number = 20_000

/** Watchers of one replica, on all its streams. */
export const MAX_WATCHERS: number = 200_000
