/** The contract of a storage engine: ordered byte keys to byte values, shared by all the groups of one server. */
import type { Failure, GroupId, LogIndex, Result } from '../base/index.ts'

/** Reads see every batch applied so far. Synchronous; the bytes returned must not be changed and may be kept. */
export interface EngineReader {
  get(key: Uint8Array): Uint8Array | undefined
  /**
   * A cursor over [start, end) in key order (or from the end down, with `reverse`). It sees the state at the time of each
   * step, never a torn batch; it stays valid across turns, and must be closed.
   */
  scan(start: Uint8Array, end: Uint8Array, options?: { readonly reverse?: boolean }): EngineCursor
}

export interface EngineCursor {
  /** Moves to the next pair; false at the end. */
  next(): boolean
  /** Moves to the first pair at or after `key` (at or before with `reverse`), within the bounds; false at the end. */
  seek(key: Uint8Array): boolean
  /** Valid after a true `next` or `seek`. */
  readonly key: Uint8Array
  readonly value: Uint8Array
  close(): void
}

export interface EngineWriter {
  /** Visible to the engine's readers at once. `key` is 1 to 1978 bytes where lmdb must hold it: see `maxKeyBytes`. */
  put(key: Uint8Array, value: Uint8Array): void
  remove(key: Uint8Array): void
}

export interface EngineSnapshot {
  readonly reader: EngineReader
  readonly appliedIndex: (group: GroupId) => LogIndex
  close(): void
}

/** A replacement of a key interval, staged beside the live data and swapped in atomically. */
export interface EngineRestore {
  /** Why it could not be committed: too many are open. To be asked before the first `add`. */
  readonly refusal: Failure | undefined
  /** Pairs in strictly ascending key order. Returns false to ask for `onDrain` before more. */
  add(key: Uint8Array, value: Uint8Array): boolean
  onDrain(callback: () => void): void
  /** Swaps in, durably, visible once it is durable and not before: the interval holds exactly the staged pairs and the group's applied index is `appliedIndex`. */
  commit(appliedIndex: LogIndex, done: (result: Result<void>) => void): void
  abort(): void
}

export interface Engine extends EngineReader {
  /** Longest key in bytes. */
  readonly maxKeyBytes: number
  /**
   * Runs `write` at once; all it puts and removes, together with the group's applied index, becomes durable together or
   * not at all. `appliedIndex` never goes back; as a function it is asked after `write`, for batches that are measured
   * while they are made. Not reentrant. A throw inside is an invariant violation of the caller.
   */
  applyBatch(group: GroupId, appliedIndex: LogIndex | (() => LogIndex), write: (writer: EngineWriter) => void): void
  /** Newest applied index given to applyBatch or restored; 0 for a group never seen. */
  appliedIndex(group: GroupId): LogIndex
  /** Applied index that is known to survive a crash: the log may be compacted up to it. */
  durableIndex(group: GroupId): LogIndex
  /** True while the overlay of not yet durable batches is over its limit: applying must wait for `onPressure(false)`. */
  readonly underPressure: boolean
  /** Makes everything applied so far durable; several calls may share one commit. */
  checkpoint(done: (result: Result<void>) => void): void
  /** A pinned view for streaming; bounded number at once (a failure `too-many-requests` beyond). */
  openSnapshot(): Result<EngineSnapshot>
  openRestore(group: GroupId, start: Uint8Array, end: Uint8Array): EngineRestore
  /** Bytes on disk and held in the overlay. */
  stats(): { readonly diskBytes: number; readonly overlayBytes: number; readonly checkpoints: number }
  close(done: (result: Result<void>) => void): void
}

export type EngineOptions = {
  readonly directory: string
  /** Overlay size at which a checkpoint starts by itself. */
  readonly checkpointBytes: number
  /** ... or this long after the first batch that is not durable. */
  readonly checkpointDelayMs: number
  /** Overlay size at which `underPressure` turns true. */
  readonly maxOverlayBytes: number
  readonly onPressure: (underPressure: boolean) => void
  /** After each successful checkpoint: durable indexes may have moved. */
  readonly onDurable: () => void
}
