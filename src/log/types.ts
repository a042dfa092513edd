/** The contract of the write-ahead log: one per server, shared by all its groups (DESIGN law 6). */
import type { GroupId, LogIndex, MemberId, Result, Term } from '../base/index.ts'

/** As raft's Entry; the two rooms do not know each other, the replica's type check keeps them equal. */
export type LogEntry = {
  readonly index: LogIndex
  readonly term: Term
  readonly type: 'normal' | 'config'
  readonly data: Uint8Array
}

export type LogHardState = { readonly term: Term; readonly vote: MemberId | undefined; readonly commit: LogIndex }

/** Where a group's log begins: everything up to `index` is in the engine. `config` is opaque here. */
export type LogBase = { readonly index: LogIndex; readonly term: Term; readonly config: Uint8Array }

/** One group's part of a batch; applied in the order base, entries, hardState. */
export type LogWrite = {
  readonly group: GroupId
  /** Resets the group's log to begin (and end) here: creation, or a received snapshot. Drops all its entries. */
  readonly base?: LogBase
  /** Non-empty: the group's log is cut to end just before `entries[0].index`, then extended. No gaps. */
  readonly entries?: readonly LogEntry[]
  readonly hardState?: LogHardState
}

/** What recovery found for one group. */
export type RecoveredGroup = {
  readonly group: GroupId
  readonly base: LogBase
  readonly hardState: LogHardState
  readonly lastIndex: LogIndex
  /** Runs of equal term above the base, oldest first. */
  readonly termRuns: readonly { readonly term: Term; readonly firstIndex: LogIndex }[]
  /** Entries of type 'config' above the base, oldest first. */
  readonly configEntries: readonly LogEntry[]
}

export interface WriteAheadLog {
  /** Every group that the log knows, as recovered at open. */
  readonly recovered: readonly RecoveredGroup[]
  /**
   * Appends atomically: after a crash either all of `writes` is there or none of it. `done` is called in the order of
   * calls, once the batch is durable. All calls made while a sync is in flight share the next one, up to 8 MiB. A full disk
   * holds the batch and retries until there is space (`onFull` tells); any other error ends in world.fail. What makes no
   * sense (a gap, an unknown group) throws here. `writes` must not change until `done`. What waits is bounded by its
   * callers, who have only so much outstanding for each group; `stats().waitingBytes` tells.
   */
  append(writes: readonly LogWrite[], done: () => void): void
  /**
   * Durable entries [from, through] of a group from the first on, at least one, at most `maxBytes` of data beyond the
   * first; all of one history, whatever is appended meanwhile. Failure `compacted` where the log does not hold `from`:
   * it is at or below the base, or beyond the end.
   */
  read(
    group: GroupId,
    from: LogIndex,
    through: LogIndex,
    maxBytes: number,
    done: (result: Result<readonly LogEntry[]>) => void,
  ): void
  /**
   * Entries up to `base.index`, at most the group's last, are no longer needed. Rides along with the next batch or marker;
   * whole segments go once nobody needs them, and entries of idle groups are written forward so that they can.
   */
  compact(group: GroupId, base: LogBase): void
  /** Forgets a group. */
  removeGroup(group: GroupId, done: () => void): void
  /** Bytes on disk; batches, syncs and entries since open: for metrics and for tests of batching. */
  stats(): {
    readonly sizeBytes: number
    readonly segments: number
    readonly batches: number
    readonly syncs: number
    readonly entries: number
    /** Of appends that are not durable yet. */
    readonly waitingBytes: number
    readonly full: boolean
  }
  /** Finishes what was asked for (unless the disk is full), writes the synced marker, closes. Nothing may be appended after. */
  close(done: () => void): void
}

export type LogOptions = {
  readonly directory: string
  /** A segment is closed once it is this long. */
  readonly segmentBytes: number
  /** After a sync, an idle log writes a marker this much later saying how far it is synced. */
  readonly markerDelayMs: number
  /** While the disk is full, the held batch is tried again this often. */
  readonly fullRetryMs: number
  /** Called with true when the disk is found full, with false once the held batch is durable. */
  readonly onFull: (full: boolean) => void
}
