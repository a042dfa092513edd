/**
 * An exclusive lock on a directory that cannot outlive its process and needs no native module.
 *
 * On Linux it is a socket bound to an abstract name made of the directory's device and inode: the kernel binds it
 * atomically, excludes two takers in one process as well, and frees it when the process ends, however it ends. Its
 * limit: abstract names belong to a network namespace, so two containers that share a volume do not exclude each other
 * (nor do two machines that share a network file system).
 *
 * Elsewhere it is a file, created exclusively, that names the owner's process and the moment that it started; a file
 * whose process is gone is taken over. Its limits: two takers that find the same dead owner at the same moment may both
 * win, and a process id that was given to another program looks alive.
 *
 * Both leave the file `LOCK` with the owner's process id, for people and for the message.
 */
import fs from 'node:fs'
import net from 'node:net'
import { join } from 'node:path'
import { err, failure, ok, type Failure } from '../../base/index.ts'
import type { Done } from '../index.ts'
import { diskFailure, errnoOf } from './failures.ts'

export type Lock = { readonly release: () => void }

const LOCK_FILE = 'LOCK'
/** Attempts against others who take and release at the same time. */
const MOST_ATTEMPTS = 8

/** This process, told apart from an earlier one of the same id. */
function self(): string {
  return `${process.pid} ${Math.round(performance.timeOrigin)}\n`
}

function inUse(path: string, owner: string): Failure {
  const processId = Number.parseInt(owner, 10)
  const who = Number.isInteger(processId) ? `process ${processId}` : 'another process'
  return failure('data-in-use', `${path} is in use by ${who}`, {
    path,
    ...(Number.isInteger(processId) ? { processId } : {}),
  })
}

function readOwner(file: string, got: (owner: string) => void): void {
  fs.readFile(file, 'latin1', (error, content) => got(error === null ? content.slice(0, 64) : ''))
}

/** The lock for Linux. */
export function lockBySocket(path: string, done: Done<Lock>): void {
  const file = join(path, LOCK_FILE)
  fs.stat(path, { bigint: true }, (error, stats) => {
    if (error !== null) {
      done(err(diskFailure('lock', path, error)))
      return
    }
    const server = net.createServer((socket) => socket.destroy())
    server.once('error', (bindError) => {
      if (errnoOf(bindError) === 'EADDRINUSE') readOwner(file, (owner) => done(err(inUse(path, owner))))
      else done(err(diskFailure('lock', path, bindError)))
    })
    server.listen({ path: `\0skein-lock-${stats.dev}-${stats.ino}` }, () => {
      server.unref()
      fs.writeFile(file, self(), { mode: 0o600 }, (writeError) => {
        // The file only informs, but a directory that cannot be written to is of no use either.
        if (writeError === null) done(ok({ release: () => void server.close() }))
        else server.close(() => done(err(diskFailure('lock', path, writeError))))
      })
    })
  })
}

function isAlive(owner: string): boolean {
  if (owner === self()) return true
  const processId = Number.parseInt(owner, 10)
  if (!Number.isInteger(processId) || processId <= 0 || processId === process.pid) return false
  try {
    process.kill(processId, 0)
    return true
  } catch (error) {
    return errnoOf(error) === 'EPERM'
  }
}

/** The lock for other systems. */
export function lockByFile(path: string, done: Done<Lock>, attempt: number = 0): void {
  const file = join(path, LOCK_FILE)
  fs.writeFile(file, self(), { flag: 'wx', mode: 0o600 }, (error) => {
    if (error === null) {
      done(ok({ release: () => fs.rmSync(file, { force: true }) }))
      return
    }
    if (errnoOf(error) !== 'EEXIST') {
      done(err(diskFailure('lock', path, error)))
      return
    }
    readOwner(file, (owner) => {
      if (isAlive(owner) || attempt >= MOST_ATTEMPTS) {
        done(err(inUse(path, owner)))
        return
      }
      // Moving the dead owner's file aside fails for all takers but one.
      const aside = `${file}.${process.pid}.${attempt}`
      fs.rename(file, aside, () => fs.rm(aside, { force: true }, () => lockByFile(path, done, attempt + 1)))
    })
  })
}

export function takeLock(path: string, done: Done<Lock>): void {
  if (process.platform === 'linux') lockBySocket(path, done)
  else lockByFile(path, done)
}
