/**
 * The disk over node:fs. Errors are values; every result comes in a later turn; after the world has stopped nothing is
 * issued, and files and locks are given back only when the operations in flight have ended, so that a successor in this process
 * never meets a late write of its predecessor.
 */
import fs from 'node:fs'
import { dirname, isAbsolute, join, resolve } from 'node:path'
import { err, failure, ok, type Result } from '../../base/index.ts'
import type { Disk, Done } from '../index.ts'
import { createDiskFile, readAll, writeAll } from './disk-file.ts'
import { diskFailure, syncFailure } from './failures.ts'
import { takeLock } from './lock.ts'
import type { Turns } from './turns.ts'

const FILE_MODE = 0o600
const DIRECTORY_MODE = 0o700
/** Names of this ending are unfinished replacements: never listed, overwritten by the next attempt. */
const UNFINISHED = '.unfinished'

type Settled = (error: NodeJS.ErrnoException | null) => void

function syncDirectory(path: string, settled: Settled): void {
  fs.open(path, fs.constants.O_RDONLY, (error, fd) => {
    if (error !== null) {
      settled(error)
      return
    }
    fs.fsync(fd, (syncError) => {
      fs.close(fd, (closeError) => settled(syncError ?? closeError))
    })
  })
}

/** Writes a new file `path` durably, then closes it whatever happened. */
function writeNew(path: string, parts: readonly Uint8Array[], settled: Settled): void {
  fs.open(path, 'w', FILE_MODE, (error, fd) => {
    if (error !== null) {
      settled(error)
      return
    }
    const close: Settled = (failed) => fs.close(fd, (closeError) => settled(failed ?? closeError))
    writeAll(fd, 0, parts, (failed) => {
      if (failed === null) fs.fdatasync(fd, close)
      else close(failed)
    })
  })
}

function replaceFile(path: string, parts: readonly Uint8Array[], settled: Settled): void {
  const unfinished = path + UNFINISHED
  writeNew(unfinished, parts, (error) => {
    if (error !== null) {
      fs.unlink(unfinished, () => settled(error))
      return
    }
    fs.rename(unfinished, path, (renameError) => {
      if (renameError === null) syncDirectory(dirname(path), settled)
      else settled(renameError)
    })
  })
}

/** Syncs `path` and its parents up to and including the parent of `highest`. */
function syncUpwards(path: string, highest: string, settled: Settled): void {
  syncDirectory(path, (error) => {
    if (error !== null || path === dirname(highest)) settled(error)
    else syncUpwards(dirname(path), highest, settled)
  })
}

/** A parent that is another's to read was made by that other. */
function mayNotRead(error: NodeJS.ErrnoException | null): boolean {
  return error?.code === 'EACCES' || error?.code === 'EPERM'
}

/**
 * Not `recursive: true`: that asks for the parents again and again, without end, where one exists and takes no directory, as
 * /proc does. `highest`: the uppermost that was made; undefined where all were there.
 */
function makeMissing(path: string, settled: (error: NodeJS.ErrnoException | null, highest?: string) => void): void {
  fs.mkdir(path, { mode: DIRECTORY_MODE }, (error) => {
    if (error === null) return settled(null, path)
    const parent = dirname(path)
    if (error.code !== 'ENOENT' || parent === path) return isDirectory(path, error, settled)
    return makeMissing(parent, (parentError, highest) => {
      if (parentError !== null) return settled(parentError)
      return fs.mkdir(path, { mode: DIRECTORY_MODE }, (again) => {
        if (again === null) settled(null, highest ?? path)
        else isDirectory(path, again, (failed) => settled(failed, highest))
      })
    })
  })
}

function isDirectory(path: string, otherwise: NodeJS.ErrnoException, settled: Settled): void {
  fs.stat(path, (error, stats) => settled(error === null && stats.isDirectory() ? null : otherwise))
}

function makeDirectories(path: string, settled: Settled): void {
  makeMissing(path, (error, highest) => {
    if (error !== null) settled(error)
    else if (highest !== undefined) syncUpwards(path, highest, settled)
    // It may be there because an earlier process made it, and died before its name was durable.
    else syncDirectory(dirname(path), (syncError) => settled(mayNotRead(syncError) ? null : syncError))
  })
}

/** `directory` is what relative paths are relative to. */
export function createDisk(turns: Turns, directory: string): Disk {
  const root = resolve(directory)
  let inFlight = 0
  /** What gives back each open file and lock. */
  const held = new Set<() => void>()
  /** Replacements of one path wait for each other: they share the unfinished file's name. */
  const replacing = new Map<string, (() => void)[]>()

  const absolute = (path: string): string => (isAbsolute(path) ? path : join(root, path))

  function begin(): boolean {
    if (turns.stopped) return false
    inFlight++
    return true
  }
  function releaseWhenIdle(): void {
    if (inFlight > 0 || !turns.stopped) return
    for (const release of held) release()
    held.clear()
  }
  function finish<T>(done: Done<T>, result: Result<T>): void {
    inFlight--
    if (turns.stopped) releaseWhenIdle()
    else turns.enter(done, result)
  }
  function settle(operation: string, path: string, done: Done<void>): Settled {
    return (error) => finish(done, error === null ? ok() : err(diskFailure(operation, path, error)))
  }
  turns.onStop(releaseWhenIdle)

  return {
    open(path, options, done) {
      if (!begin()) return
      const where = absolute(path)
      const flags = fs.constants.O_RDWR | (options.create ? fs.constants.O_CREAT : 0)
      fs.open(where, flags, FILE_MODE, (error, fd) => {
        if (error !== null) {
          finish(done, err(diskFailure('open', where, error)))
          return
        }
        const giveBack = (): void => fs.close(fd, () => {})
        held.add(giveBack)
        finish(done, ok(createDiskFile(where, fd, begin, finish, () => void held.delete(giveBack))))
      })
    },

    readWhole(path, limitBytes, done) {
      if (!begin()) return
      const where = absolute(path)
      fs.open(where, fs.constants.O_RDONLY, (error, fd) => {
        if (error !== null) {
          finish(done, err(diskFailure('open', where, error)))
          return
        }
        const end = (result: Result<Uint8Array>): void => fs.close(fd, () => finish(done, result))
        fs.fstat(fd, (statError, stats) => {
          if (statError !== null) end(err(diskFailure('size', where, statError)))
          else if (stats.size > limitBytes) {
            const sizes = { path: where, sizeBytes: stats.size, limitBytes }
            end(err(failure('request-too-large', `${where} is larger than ${limitBytes} bytes`, sizes)))
          } else {
            readAll(fd, 0, stats.size, (readError, bytes) => {
              end(readError === null ? ok(bytes) : err(diskFailure('read', where, readError)))
            })
          }
        })
      })
    },

    replace(path, parts, done) {
      if (!begin()) return
      const where = absolute(path)
      const settled = settle('replace', where, done)
      const run = (): void => {
        replaceFile(where, parts, (error) => {
          const next = replacing.get(where)?.shift()
          if (next === undefined) replacing.delete(where)
          else next()
          settled(error)
        })
      }
      const queue = replacing.get(where)
      if (queue !== undefined) {
        queue.push(run)
        return
      }
      replacing.set(where, [])
      run()
    },

    remove(path, done) {
      if (!begin()) return
      const where = absolute(path)
      fs.unlink(where, settle('remove', where, done))
    },

    list(path, done) {
      if (!begin()) return
      const where = absolute(path)
      fs.readdir(where, (error, names) => {
        if (error === null) finish(done, ok(names.filter((name) => !name.endsWith(UNFINISHED)).sort()))
        else finish(done, err(diskFailure('list', where, error)))
      })
    },

    makeDirectory(path, done) {
      if (!begin()) return
      const where = absolute(path)
      makeDirectories(where, settle('make directory', where, done))
    },

    syncDirectory(path, done) {
      if (!begin()) return
      const where = absolute(path)
      syncDirectory(where, (error) =>
        finish(done, error === null ? ok() : err(syncFailure('sync directory', where, error))),
      )
    },

    lock(path, done) {
      if (!begin()) return
      takeLock(absolute(path), (result) => {
        if (!result.ok) {
          finish(done, result)
          return
        }
        const { release } = result.value
        held.add(release)
        finish(
          done,
          ok({
            release() {
              if (held.delete(release)) release()
            },
          }),
        )
      })
    },
  }
}
