/**
 * One open file over node:fs. Writes loop until every byte is accepted (a short write is not an error); reads loop until
 * the length or the end of the file. A write and a datasync in flight at once are a bug of the caller. The descriptor is
 * given back only when no operation is in flight: its number could already be another file's.
 */
import fs from 'node:fs'
import { EMPTY, err, invariant, ok, type Failure, type Result } from '../../base/index.ts'
import type { DiskFile, Done } from '../index.ts'
import { diskFailure, syncFailure } from './failures.ts'

/** Ends an operation: counts it out and delivers its result in a turn. */
export type Finish = <T>(done: Done<T>, result: Result<T>) => void
/** Counts an operation in; false once the world has stopped, when nothing may be issued any more. */
export type Begin = () => boolean

/** Linux takes at most this many buffers in one call (IOV_MAX). */
const MOST_BUFFERS = 1024

type Settled = (error: NodeJS.ErrnoException | null) => void

/** Writes all of `parts` from byte `offset` on; calls back once, with the first error. */
export function writeAll(fd: number, offset: number, parts: readonly Uint8Array[], settled: Settled): void {
  let part = 0
  let skip = 0
  let position = offset

  function step(): void {
    while (part < parts.length && skip >= (parts[part] as Uint8Array).length) {
      part++
      skip = 0
    }
    if (part >= parts.length) {
      settled(null)
      return
    }
    const batch = parts.slice(part, part + MOST_BUFFERS)
    if (skip > 0) batch[0] = (batch[0] as Uint8Array).subarray(skip)
    fs.writev(fd, batch, position, advance)
  }

  function advance(error: NodeJS.ErrnoException | null, written: number): void {
    if (error !== null || written === 0) {
      settled(error ?? Object.assign(new Error('the system took no byte of it'), { code: 'EIO' }))
      return
    }
    position += written
    skip += written
    while (part < parts.length && skip >= (parts[part] as Uint8Array).length) {
      skip -= (parts[part] as Uint8Array).length
      part++
    }
    if (part < parts.length) step()
    else settled(null)
  }

  step()
}

/** Reads `length` bytes at `offset`, fewer only at the end of the file. */
export function readAll(
  fd: number,
  offset: number,
  length: number,
  settled: (error: NodeJS.ErrnoException | null, bytes: Uint8Array) => void,
): void {
  const bytes = new Uint8Array(length)
  let filled = 0
  function step(): void {
    if (filled === length) {
      settled(null, bytes)
      return
    }
    fs.read(fd, bytes, filled, length - filled, offset + filled, (error, count) => {
      if (error !== null) settled(error, EMPTY)
      else if (count === 0) settled(null, bytes.subarray(0, filled))
      else {
        filled += count
        step()
      }
    })
  }
  step()
}

export function createDiskFile(path: string, fd: number, begin: Begin, finish: Finish, onClosed: () => void): DiskFile {
  let writing = false
  let open = true
  let inFlight = 0
  let closing: (() => void) | undefined

  function issue(): boolean {
    invariant(open, 'disk-file-open', path)
    if (!begin()) return false
    inFlight++
    return true
  }
  function end<T>(done: Done<T>, result: Result<T>): void {
    inFlight--
    if (inFlight === 0) closing?.()
    finish(done, result)
  }
  function exclusively(
    operation: string,
    done: Done<void>,
    failed: (operation: string, path: string, error: unknown) => Failure = diskFailure,
  ): Settled | undefined {
    invariant(!writing, 'one-write-in-flight', `${operation} of ${path}`)
    if (!issue()) return undefined
    writing = true
    return (error) => {
      writing = false
      end(done, error === null ? ok() : err(failed(operation, path, error)))
    }
  }

  return {
    path,
    write(offset, parts, done) {
      const settled = exclusively('write', done)
      if (settled === undefined) return
      if (parts.every((part) => part.length === 0)) setImmediate(settled, null)
      else writeAll(fd, offset, parts, settled)
    },
    read(offset, length, done) {
      if (!issue()) return
      if (length === 0) {
        setImmediate(() => end(done, ok(EMPTY)))
        return
      }
      readAll(fd, offset, length, (error, bytes) => {
        end(done, error === null ? ok(bytes) : err(diskFailure('read', path, error)))
      })
    },
    datasync(done) {
      const settled = exclusively('fdatasync', done, syncFailure)
      if (settled !== undefined) fs.fdatasync(fd, settled)
    },
    truncate(sizeBytes, done) {
      const settled = exclusively('truncate', done)
      if (settled !== undefined) fs.ftruncate(fd, sizeBytes, settled)
    },
    size(done) {
      if (!issue()) return
      fs.fstat(fd, (error, stats) => {
        end(done, error === null ? ok(stats.size) : err(diskFailure('size', path, error)))
      })
    },
    close(done) {
      invariant(open, 'disk-file-open', path)
      if (!begin()) return
      open = false
      closing = () => {
        onClosed()
        fs.close(fd, (error) => finish(done, error === null ? ok() : err(diskFailure('close', path, error))))
      }
      if (inFlight === 0) closing()
    },
  }
}
