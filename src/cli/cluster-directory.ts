/**
 * The data directory of `skein up`: what the cluster is (`cluster.json`), its key (`cluster-key`, mode 0600), its control
 * socket, and a directory for each server. One supervisor at a time holds its lock. Nothing names a new cluster until its
 * servers are about to start; a first start of which nothing came can be undone.
 */
import { randomBytes } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, rmdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Result } from '../base/index.ts'
import { SkeinError, toHex, utf8 } from '../base/index.ts'
import type { Done, World } from '../world/index.ts'
import { refuse } from './exit.ts'
import { quote } from './name.ts'

export const DEFAULT_PORT = 7701
export const DEFAULT_SERVERS = 5
export const MAX_SERVERS = 15

export type ClusterFile = {
  readonly servers: number
  /** Server i listens on port + i - 1. */
  readonly port: number
  /** Tells this cluster from others whose servers have the same names. */
  readonly token: string
}

export type ClusterDirectory = ClusterFile & {
  readonly keyFile: string
  /** Whether the servers have been started before. */
  readonly found: boolean
  /** Writes the key and `cluster.json`, durably: must be over before a server starts, which must never outlive what names it. */
  save(): Promise<void>
  /** After `save` of a new cluster of which no majority ever ran, so that nothing was acknowledged: removes all of it. */
  undo(): void
  release(): void
}

const FILE = 'cluster.json'
const KEY_FILE = 'cluster-key'
const FORMAT = 1
/** What may lie in a directory that is not a cluster's yet: left by a first start that was interrupted. */
const OWN_NAMES: readonly string[] = ['LOCK', KEY_FILE, 'control.sock']

export function serverName(index: number): string {
  return `S${index + 1}`
}

export function serverAddress(cluster: { readonly port: number }, index: number): string {
  return `127.0.0.1:${cluster.port + index}`
}

export function addressesOf(cluster: { readonly port: number; readonly servers: number }): string[] {
  return Array.from({ length: cluster.servers }, (_, i) => serverAddress(cluster, i))
}

/** Undefined where there is none. Throws `data-mismatch` or `data-newer` where it cannot be understood. */
export function readClusterFile(directory: string): ClusterFile | undefined {
  const path = join(directory, FILE)
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    return refuse('permission-denied', `${path} cannot be read: ${(error as Error).message}`)
  }
  let fields: Partial<Record<string, unknown>> = {}
  try {
    fields = Object(JSON.parse(text)) as Partial<Record<string, unknown>>
  } catch {
    refuse('data-mismatch', `${path} is not JSON`, 'Restore it from a backup, or choose another --data.')
  }
  const { format, servers, port, token } = fields
  if (typeof format === 'number' && format > FORMAT) {
    refuse('data-newer', `${path} has format ${format}; this version knows up to ${FORMAT}`)
  }
  const whole = (value: unknown, max: number): value is number =>
    typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= max
  if (!whole(servers, MAX_SERVERS) || !whole(port, 65_535) || typeof token !== 'string') {
    refuse(
      'data-mismatch',
      `${path} lacks servers, port or token, or they are out of range`,
      'Restore it from a backup, or choose another --data.',
    )
  }
  return { servers, port, token }
}

/**
 * Makes the directory or finds it again, and locks it. Throws: data-in-use, data-mismatch (another number of servers, or
 * files that are not a cluster's), permission-denied.
 */
export async function openClusterDirectory(
  world: World,
  directory: string,
  wanted: { readonly servers: number | undefined; readonly port: number | undefined },
): Promise<ClusterDirectory> {
  const { disk } = world
  const wasThere = existsSync(directory)
  await makeDataDirectory(world, directory)
  const lock = await completed<{ release(): void }>((done) => disk.lock(directory, done))
  try {
    const before = readClusterFile(directory)
    if (before === undefined) refuseStrangers(directory)
    else if (wanted.servers !== undefined && wanted.servers !== before.servers) {
      refuse(
        'data-mismatch',
        `${directory} holds a cluster of ${before.servers} servers, not of ${wanted.servers}`,
        `Leave out --servers, or choose another directory: --data ${quote(`${directory.replace(/\/+$/, '')}-${wanted.servers}`)}`,
      )
    }
    const cluster: ClusterFile = {
      servers: before?.servers ?? wanted.servers ?? DEFAULT_SERVERS,
      port: wanted.port ?? before?.port ?? DEFAULT_PORT,
      token: before?.token ?? toHex(randomBytes(16)),
    }
    const keyFile = join(directory, KEY_FILE)
    let madeKey = false
    const save = async (): Promise<void> => {
      // `replace` makes files of mode 0600 and is durable.
      if (!existsSync(keyFile)) {
        await completed<void>((done) => disk.replace(keyFile, [utf8(`${toHex(randomBytes(32))}\n`)], done))
        madeKey = true
      }
      if (before?.port === cluster.port) return
      const json = `${JSON.stringify({ format: FORMAT, ...cluster }, undefined, 2)}\n`
      await completed<void>((done) => disk.replace(join(directory, FILE), [utf8(json)], done))
    }
    const undo = (): void => {
      if (before !== undefined) return
      // `cluster.json` last: an undo that is interrupted leaves a cluster that can be started.
      for (let i = 0; i < cluster.servers; i++) rmSync(join(directory, serverName(i)), { recursive: true, force: true })
      if (madeKey) rmSync(keyFile, { force: true })
      rmSync(join(directory, FILE), { force: true })
    }
    const release = (): void => {
      lock.release()
      if (!wasThere) removeIfUnused(directory)
    }
    return { ...cluster, keyFile, found: before !== undefined, save, undo, release }
  } catch (error) {
    lock.release()
    throw error
  }
}

/** A directory that was made for a cluster that came to nothing. */
function removeIfUnused(directory: string): void {
  try {
    if (readdirSync(directory).some((name) => name !== 'LOCK')) return
    rmSync(join(directory, 'LOCK'), { force: true })
    rmdirSync(directory)
  } catch {
    // It stays, empty: the next start takes it.
  }
}

export async function makeDataDirectory(world: World, path: string): Promise<void> {
  const made = await new Promise<Result<void>>((told) => {
    world.disk.makeDirectory(path, told)
  })
  if (made.ok) return
  const { code, message } = made.error
  refuse(
    code === 'disk-failed' ? 'permission-denied' : code,
    `the data directory ${path} cannot be made: ${message}`,
    'Choose a place where you may write, with --data.',
  )
}

function refuseStrangers(directory: string): void {
  const strangers = readdirSync(directory).filter((name) => !OWN_NAMES.includes(name) && !name.includes('.unfinished'))
  const [first] = strangers
  if (first === undefined) return
  refuse(
    'data-mismatch',
    `${directory} is not empty and holds no cluster: it has ${first}${strangers.length > 1 ? ` and ${strangers.length - 1} more` : ''}`,
    'Choose a new directory with --data.',
  )
}

/** A door of the world as a promise. */
export function completed<T>(operation: (done: Done<T>) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    operation((result: Result<T>) => {
      if (result.ok) resolve(result.value)
      else reject(new SkeinError(result.error))
    })
  })
}
