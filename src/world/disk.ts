/**
 * The disk's door. Everything completes by callback, in a later turn, and reports errors as values with the codes
 * disk-full, disk-failed, not-found, already-exists, permission-denied and data-in-use. Paths are absolute, or relative
 * to the directory that the world was opened on, with `/` between parts.
 *
 * Durability: bytes appended or written are durable after a successful `datasync`; a file's name after `syncDirectory`
 * of its parent (`replace` includes it). Before that a crash may keep all, none or any sectors of them.
 */
import type { Result } from '../base/index.ts'

export type Done<T> = (result: Result<T>) => void

/** The unit in which a disk may tear a write. */
export const SECTOR_BYTES = 4096

export interface DiskFile {
  readonly path: string
  /**
   * Writes `parts` one after another, starting at byte `offset` (a log's append names its own end). All or an error;
   * after an error the bytes from `offset` on are undefined. At most one write or datasync per file is in flight: the
   * caller waits. `parts` must not change until `done`.
   */
  write(offset: number, parts: readonly Uint8Array[], done: Done<void>): void
  /** Reads up to `length` bytes at `offset`; fewer only at the end of the file. */
  read(offset: number, length: number, done: Done<Uint8Array>): void
  /** fdatasync: all earlier writes and the size are durable. A failure must never be retried (DESIGN law 6). */
  datasync(done: Done<void>): void
  truncate(sizeBytes: number, done: Done<void>): void
  size(done: Done<number>): void
  close(done: Done<void>): void
}

export interface Disk {
  /** Opens for reading and writing; with `create` makes it where absent (name durable only after `syncDirectory`). */
  open(path: string, options: { readonly create: boolean }, done: Done<DiskFile>): void
  /** Whole content; refuses with `request-too-large` above `limitBytes`. */
  readWhole(path: string, limitBytes: number, done: Done<Uint8Array>): void
  /** Atomic and durable: writes a temporary file, fdatasync, rename over `path`, sync of the directory. Mode 0600. */
  replace(path: string, parts: readonly Uint8Array[], done: Done<void>): void
  /** Removes a file; absent is `not-found`. */
  remove(path: string, done: Done<void>): void
  /** Names in a directory, sorted. */
  list(path: string, done: Done<string[]>): void
  /** Makes a directory and its parents, durably, mode 0700; existing is fine. */
  makeDirectory(path: string, done: Done<void>): void
  syncDirectory(path: string, done: Done<void>): void
  /** Takes an exclusive lock on a directory until the process ends or `release` is called; else `data-in-use`. */
  lock(path: string, done: Done<{ release(): void }>): void
}
