/**
 * What lies under the layered engine: numbered slots of ordered pairs in one file, changed by commits that are atomic and
 * durable in order. lmdb is one; tests have another.
 */
import type { Result } from '../base/index.ts'

export type Pair = { readonly key: Uint8Array; readonly value: Uint8Array }

/** The slot of the engine's own records; the others hold data. */
export const META_SLOT = 0
export const FIRST_DATA_SLOT = 1

export type ReadOptions = {
  /** Downwards, at or before `from`. */
  readonly reverse: boolean
  /** Leaves out `from` itself. */
  readonly exclusive: boolean
  readonly limit: number
}

/** A pinned state of the whole store. */
export interface StoreView {
  close(): void
}

/** Changes of one commit, in order: the last put or remove of a key counts. */
export interface StoreTransaction {
  put(slot: number, key: Uint8Array, value: Uint8Array): void
  remove(slot: number, key: Uint8Array): void
  /** Empties a slot. */
  clear(slot: number): void
}

/** Reads see the newest state whose commit called back, or a newer one. Bytes returned are the caller's. */
export interface Store {
  readonly maxKeyBytes: number
  /** Slots are numbered from 0 to below it. */
  readonly slots: number
  get(slot: number, key: Uint8Array, view?: StoreView): Uint8Array | undefined
  /** Up to `limit` pairs beginning at `from`; fewer only at the slot's end. */
  read(slot: number, from: Uint8Array, options: ReadOptions, view?: StoreView): Pair[]
  pin(): StoreView
  /**
   * Runs `write` at once and commits what it does, atomically and durably. Several may be under way: they take effect and
   * call back in the order given, and when one fails (disk-full, disk-failed) all those under way behind it fail too.
   */
  commit(write: (transaction: StoreTransaction) => void, done: (result: Result<void>) => void): void
  sizeBytes(): number
  /** Nothing may be under way. Views that are open end. */
  close(done: (result: Result<void>) => void): void
}
