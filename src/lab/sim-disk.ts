/**
 * A simulated disk: it outlives the process that uses it, and at a crash it keeps what the contract in
 * `world/disk.ts` promises and, of the rest, what the draws say. Names made or removed since the last sync of their
 * directory may come or go; a `replace` in flight has happened or not.
 */
import { err, failure, type FailureCode, invariant, ok, type Result } from '../base/index.ts'
import type { Disk, DiskFile, Done } from '../world/index.ts'
import { type Draws, drawsOf, type Seed } from './draws.ts'
import type { SimCore, SimHost } from './sim-host.ts'
import { SimInode } from './sim-inode.ts'
import { digestOf, type Traced } from './trace.ts'

export type DiskOperation =
  | 'open'
  | 'read'
  | 'write'
  | 'datasync'
  | 'truncate'
  | 'size'
  | 'close'
  | 'replace'
  | 'remove'
  | 'list'
  | 'make-directory'
  | 'sync-directory'
  | 'lock'

/** Delays are uniform in [min, max). */
export type DiskProfile = {
  readonly minMs: number
  readonly maxMs: number
  readonly syncMinMs: number
  readonly syncMaxMs: number
  readonly bytesPerMs: number
}

/** A good NVMe disk with power-loss protection left out. */
export const NVME: DiskProfile = { minMs: 0.01, maxMs: 0.1, syncMinMs: 0.2, syncMaxMs: 2, bytesPerMs: 1_000_000 }

export interface SimDisk {
  profile: DiskProfile
  /** Writes beyond it are `disk-full`, after keeping some of their bytes. */
  capacityBytes: number
  /** Asked at the start of each operation: a code makes it fail. A failed `datasync` leaves its data uncertain. */
  fault: ((operation: DiskOperation, path: string) => FailureCode | undefined) | undefined
  /** The doors of a new life of the process. */
  join(host: SimHost): Disk
  /** The life ends. With `keepWrites` only the process ended, not the machine: the system still has every write. */
  leave(keepWrites: boolean): void
  /** Of all files, as `capacityBytes` counts them. */
  readonly usedBytes: number
  files(): readonly { readonly path: string; readonly size: number }[]
  /** Every file below the directory is gone for good, as if the disk had been replaced. Only between two lives. */
  lose(directory: string): void
  /** What a read would find now; undefined where there is no such file. For checks. */
  peek(path: string): Uint8Array | undefined
}

/** Inside: paths without `.`, `..` and doubled slashes; the root is the empty text. */
function normal(path: string): string {
  const parts: string[] = []
  for (const part of path.split('/')) {
    if (part === '..') parts.pop()
    else if (part !== '' && part !== '.') parts.push(part)
  }
  return parts.join('/')
}

function parentOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')))
}

type Replacement = { readonly path: string; readonly inode: SimInode }

export function createSimDisk(core: SimCore, seed: Seed, owner: Traced, start: DiskProfile): SimDisk {
  const { scheduler, trace } = core
  const draws: Draws = drawsOf(seed, 'disk', owner.name)
  const crashDraws = drawsOf(seed, 'disk-crash', owner.name)
  let items = 0
  let crashItems = 0
  const directories = new Set<string>([''])
  const files = new Map<string, SimInode>()
  const durableFiles = new Map<string, SimInode>()
  /** Names whose presence is not durable yet. */
  const unsyncedNames = new Set<string>()
  const replacements = new Set<Replacement>()
  /** When the latest replacement of a path ends: they keep their order. */
  const replacedAtMs = new Map<string, number>()
  const locked = new Set<string>()

  const next = (below: number): number => crashDraws.integer(crashItems++, below)

  function usedBytes(): number {
    let sum = 0
    for (const inode of files.values()) sum += inode.size
    return sum
  }

  function delayMs(operation: DiskOperation, sizeBytes: number): number {
    const { minMs, maxMs, syncMinMs, syncMaxMs, bytesPerMs } = disk.profile
    const u = draws.fraction(items++)
    const syncs = operation === 'datasync' || operation === 'replace' || operation === 'sync-directory'
    return (syncs ? syncMinMs + (syncMaxMs - syncMinMs) * u : minMs + (maxMs - minMs) * u) + sizeBytes / bytesPerMs
  }

  function setDurable(path: string): void {
    const inode = files.get(path)
    if (inode === undefined) durableFiles.delete(path)
    else durableFiles.set(path, inode)
    unsyncedNames.delete(path)
  }

  function crash(): void {
    for (const replacement of replacements) {
      if (next(2) === 0) continue
      replacement.inode.sync()
      files.set(replacement.path, replacement.inode)
      setDurable(replacement.path)
    }
    for (const path of unsyncedNames) {
      if (next(2) === 0) {
        setDurable(path)
        continue
      }
      const before = durableFiles.get(path)
      if (before === undefined) files.delete(path)
      else files.set(path, before)
    }
    unsyncedNames.clear()
    const seen = new Set<SimInode>()
    for (const [path, inode] of files) {
      durableFiles.set(path, inode)
      if (inode.isSynced || seen.has(inode)) continue
      seen.add(inode)
      inode.crash({ next })
    }
  }

  function join(host: SimHost): Disk {
    /**
     * Ends an operation some time later, with what `settle` then says, unless a fault speaks first; `atEnd` hears of
     * either. Returns when.
     */
    function later<T>(
      operation: DiskOperation,
      path: string,
      sizeBytes: number,
      done: Done<T>,
      settle: () => Result<T>,
      { notBeforeMs = 0, atEnd }: { notBeforeMs?: number; atEnd?: (isFaulty: boolean) => void } = {},
    ): number {
      const code = disk.fault?.(operation, path)
      const atMs = Math.max(scheduler.nowMs + delayMs(operation, sizeBytes), notBeforeMs)
      scheduler.at(atMs, () => {
        if (!host.alive) return
        atEnd?.(code !== undefined)
        const result = code === undefined ? settle() : refuse<T>(code, operation, path, 'EIO')
        const content: unknown = result.ok ? result.value : undefined
        const digest = content instanceof Uint8Array ? digestOf(content) : 0
        trace.add(scheduler.nowMs, 'disk', host.process, sizeBytes, result.ok ? 1 : 0, digest)
        host.enter(done, result)
      })
      return atMs
    }

    function refuse<T>(code: FailureCode, operation: DiskOperation, path: string, errno: string): Result<T> {
      return err(failure(code, `${operation} of ${path} failed: ${errno}`, { operation, path, errno }))
    }
    const absent = <T>(operation: DiskOperation, path: string): Result<T> =>
      refuse('not-found', operation, path, 'ENOENT')

    function openFile(path: string, inode: SimInode): DiskFile {
      let writing = false
      let isOpen = true
      const issue = (): boolean => {
        invariant(isOpen, 'disk-file-open', path)
        return host.alive
      }
      function exclusively(
        operation: 'write' | 'datasync' | 'truncate',
        sizeBytes: number,
        done: Done<void>,
        settle: () => Result<void>,
      ): void {
        writing = true
        const atEnd = (isFaulty: boolean): void => {
          writing = false
          if (isFaulty && operation === 'datasync') inode.failSync()
        }
        later(operation, path, sizeBytes, done, settle, { atEnd })
      }
      const claim = (operation: DiskOperation): boolean => {
        invariant(!writing, 'one-write-in-flight', `${operation} of ${path}`)
        return issue()
      }
      return {
        path,
        write(offset, parts, done) {
          if (!claim('write')) return
          const size = parts.reduce((sum, part) => sum + part.length, 0)
          const growth = Math.max(0, offset + size - inode.size)
          const isFull = growth > 0 && usedBytes() + growth > disk.capacityBytes
          if (isFull)
            inode.write(offset, [(parts[0] ?? new Uint8Array(0)).subarray(0, next(1 + (parts[0]?.length ?? 0)))])
          else inode.write(offset, parts)
          exclusively('write', size, done, () => (isFull ? refuse('disk-full', 'write', path, 'ENOSPC') : ok()))
        },
        read(offset, length, done) {
          if (issue()) later('read', path, length, done, () => ok(inode.read(offset, length)))
        },
        datasync(done) {
          if (!claim('datasync')) return
          exclusively('datasync', 0, done, () => {
            inode.sync()
            return ok()
          })
        },
        truncate(sizeBytes, done) {
          if (!claim('truncate')) return
          inode.truncate(sizeBytes)
          exclusively('truncate', 0, done, () => ok())
        },
        size(done) {
          if (issue()) later('size', path, 0, done, () => ok(inode.size))
        },
        close(done) {
          if (!issue()) return
          isOpen = false
          later('close', path, 0, done, () => ok())
        },
      }
    }

    return {
      open(given, { create }, done) {
        if (!host.alive) return
        const path = normal(given)
        if (!files.has(path) && create && directories.has(parentOf(path))) {
          files.set(path, new SimInode())
          unsyncedNames.add(path)
        }
        const inode = files.get(path)
        later('open', path, 0, done, () => (inode === undefined ? absent('open', path) : ok(openFile(path, inode))))
      },
      readWhole(given, limitBytes, done) {
        if (!host.alive) return
        const path = normal(given)
        later('read', path, files.get(path)?.size ?? 0, done, () => {
          const inode = files.get(path)
          if (inode === undefined) return absent('open', path)
          if (inode.size <= limitBytes) return ok(inode.read(0, inode.size))
          const sizes = { path, sizeBytes: inode.size, limitBytes }
          return err(failure('request-too-large', `${path} is larger than ${limitBytes} bytes`, sizes))
        })
      },
      replace(given, parts, done) {
        if (!host.alive) return
        const path = normal(given)
        const inode = new SimInode()
        inode.write(0, parts)
        const isKnown = directories.has(parentOf(path))
        const isFull = usedBytes() + inode.size > disk.capacityBytes
        const replacement: Replacement = { path, inode }
        if (isKnown && !isFull) replacements.add(replacement)
        const settle = (): Result<void> => {
          if (!isKnown) return absent('replace', path)
          if (isFull) return refuse('disk-full', 'replace', path, 'ENOSPC')
          inode.sync()
          files.set(path, inode)
          setDurable(path)
          return ok()
        }
        const notBeforeMs = replacedAtMs.get(path) ?? 0
        const atEnd = (): void => void replacements.delete(replacement)
        replacedAtMs.set(path, later('replace', path, inode.size, done, settle, { notBeforeMs, atEnd }))
      },
      remove(given, done) {
        if (!host.alive) return
        const path = normal(given)
        const existed = files.delete(path)
        if (existed) unsyncedNames.add(path)
        later('remove', path, 0, done, () => (existed ? ok() : absent('remove', path)))
      },
      list(given, done) {
        if (!host.alive) return
        const path = normal(given)
        later('list', path, 0, done, () => {
          if (!directories.has(path)) return absent('list', path)
          const names: string[] = []
          for (const known of [directories, files.keys()]) {
            for (const one of known)
              if (one !== '' && parentOf(one) === path) names.push(one.slice(one.lastIndexOf('/') + 1))
          }
          return ok(names.sort())
        })
      },
      makeDirectory(given, done) {
        if (!host.alive) return
        const path = normal(given)
        later('make-directory', path, 0, done, () => {
          for (let made = path; !directories.has(made); made = parentOf(made)) directories.add(made)
          return ok()
        })
      },
      syncDirectory(given, done) {
        if (!host.alive) return
        const path = normal(given)
        // Only what was there when the sync began is sure to be durable at its end.
        const began = [...unsyncedNames].filter((name) => parentOf(name) === path)
        later('sync-directory', path, 0, done, () => {
          if (!directories.has(path)) return absent('sync-directory', path)
          for (const name of began) setDurable(name)
          return ok()
        })
      },
      lock(given, done) {
        if (!host.alive) return
        const path = normal(given)
        later('lock', path, 0, done, () => {
          if (!directories.has(path)) return absent('lock', path)
          if (locked.has(path)) return err(failure('data-in-use', `${path} is in use by another process`, { path }))
          locked.add(path)
          let isHeld = true
          return ok({
            release() {
              if (isHeld && host.alive) locked.delete(path)
              isHeld = false
            },
          })
        })
      },
    }
  }

  const disk: SimDisk = {
    profile: start,
    capacityBytes: Infinity,
    fault: undefined,
    join,
    leave(keepWrites) {
      if (!keepWrites) crash()
      replacements.clear()
      replacedAtMs.clear()
      locked.clear()
    },
    get usedBytes() {
      return usedBytes()
    },
    files: () => [...files].map(([path, inode]) => ({ path, size: inode.size })),
    lose(directory) {
      const start = `${normal(directory)}/`
      for (const path of [...files.keys(), ...durableFiles.keys()]) {
        if (!path.startsWith(start)) continue
        files.delete(path)
        setDurable(path)
      }
    },
    peek: (path) => {
      const inode = files.get(normal(path))
      return inode?.read(0, inode.size)
    },
  }
  return disk
}
