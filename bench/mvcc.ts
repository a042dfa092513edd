/**
 * The versioned store on the lmdb engine, alone, on one thread: loads keys in random order, then measures puts of new
 * versions, point reads, ranges and a count of everything, and shows that memory does not grow with the number of keys.
 *
 * Rates are per second of the main thread's processor time, collection and handing over to LMDB included, so that other
 * work on the machine does not count; on Linux only, elsewhere they are by the clock. Rates by the clock stand beside.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { EMPTY, groupId, logIndex, spaceId } from '../src/base/index.ts'
import type { Engine } from '../src/engine/index.ts'
import { openEngine } from '../src/engine/index.ts'
import type { MvccStore } from '../src/mvcc/index.ts'
import { openStore } from '../src/mvcc/index.ts'
import type { PutRequest, RangeRequest } from '../src/wire/index.ts'
import { openNodeWorld } from '../src/world/node/index.ts'

const GROUP = groupId(1)
const SPACE = spaceId(0)
const BATCH = 200
const KEYS_PER_SLICE = 2_000
const MEBIBYTE = 1024 * 1024

type Bench = {
  readonly engine: Engine
  readonly store: MvccStore
  /** Resolves once the engine takes more. */
  readonly relief: () => Promise<void>
}

/** A step that is coprime to any count of keys that is used here visits every number once, far from its neighbours. */
const STEP = 7_368_787

function key(number: number): Uint8Array {
  const bytes = new Uint8Array(17)
  bytes.set(PREFIX)
  for (let at = bytes.length - 1, rest = number; at >= PREFIX.length; at--) {
    bytes[at] = 48 + (rest % 10)
    rest = Math.floor(rest / 10)
  }
  return bytes
}
const PREFIX = new TextEncoder().encode('users/')

function put(number: number, value: Uint8Array): PutRequest {
  return { key: key(number), value, lease: 0n, prevKv: false, ignoreValue: false, ignoreLease: false }
}

function range(from: Uint8Array, rangeEnd: Uint8Array, options: Partial<RangeRequest> = {}): RangeRequest {
  return {
    key: from,
    rangeEnd,
    limit: 0,
    revision: 0,
    sortOrder: 0,
    sortTarget: 0,
    serializable: false,
    keysOnly: false,
    countOnly: false,
    minModRevision: 0,
    maxModRevision: 0,
    minCreateRevision: 0,
    maxCreateRevision: 0,
    ...options,
  }
}

async function open(directory: string): Promise<Bench> {
  let relieved: (() => void)[] = []
  const world = openNodeWorld({
    onFail(violation) {
      throw violation
    },
  })
  const engine = await new Promise<Engine>((resolve, reject) => {
    const options = {
      directory,
      checkpointBytes: 16 * MEBIBYTE,
      checkpointDelayMs: 1_000,
      maxOverlayBytes: 64 * MEBIBYTE,
      onPressure(pressed: boolean) {
        if (pressed) return
        for (const go of relieved) go()
        relieved = []
      },
      onDurable() {},
    }
    openEngine('lmdb', world, options, (result) => (result.ok ? resolve(result.value) : reject(result.error)))
  })
  const relief = (): Promise<void> =>
    engine.underPressure ? new Promise((resolve) => relieved.push(resolve)) : new Promise((go) => setImmediate(go))
  return { engine, store: openStore(engine, SPACE), relief }
}

/** Processor time of the main thread where the system tells, else the clock. */
function processorMs(): number {
  try {
    return Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'latin1').split(' ')[0]) / 1e6
  } catch {
    return performance.now()
  }
}

/** Rates of `count` since `start` was called. */
function stopwatch(): (count: number) => string {
  const processor = processorMs()
  const began = performance.now()
  const rate = (count: number, ms: number): string => `${Math.round((count / ms) * 1_000).toLocaleString('en')}/s`
  return (count) => `${rate(count, processorMs() - processor)} (by the clock ${rate(count, performance.now() - began)})`
}

/** Applies puts in batches, and waits for the disk where the engine asks to. */
async function puts(
  { engine, store, relief }: Bench,
  count: number,
  request: (i: number) => PutRequest,
): Promise<void> {
  for (let from = 0; from < count; from += BATCH) {
    const through = Math.min(count, from + BATCH)
    engine.applyBatch(GROUP, logIndex(engine.appliedIndex(GROUP) + 1), (writer) => {
      for (let i = from; i < through; i++) {
        const result = store.apply({ type: 'put', request: request(i) }, writer)
        if (!result.ok) throw new Error(result.error.message)
      }
    })
    await relief()
  }
}

/** Reads one range as the server does; returns the response's bytes and the longest step. */
function read(store: MvccStore, request: RangeRequest): { readonly body: Uint8Array; readonly longestMs: number } {
  const cursor = store.range(request)
  let longestMs = 0
  if (cursor.step(KEYS_PER_SLICE)) {
    const result = cursor.result()
    if (!result.ok) throw new Error(result.error.message)
    return { body: result.value.body, longestMs }
  }
  for (;;) {
    const at = performance.now()
    const done = cursor.step(KEYS_PER_SLICE)
    longestMs = Math.max(longestMs, performance.now() - at)
    if (done) break
  }
  const at = performance.now()
  const result = cursor.result()
  longestMs = Math.max(longestMs, performance.now() - at)
  if (!result.ok) throw new Error(result.error.message)
  return { body: result.value.body, longestMs }
}

/** Resident memory that is not a view of a file: LMDB maps its file, whose pages the system lends and takes back. */
function ownBytes(): number | undefined {
  try {
    const line = /^RssAnon:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'latin1'))
    return line === null ? undefined : Number(line[1]) * 1024
  } catch {
    return undefined
  }
}

function memory(): string {
  const { heapUsed, external, rss } = process.memoryUsage()
  const mib = (bytes: number): string => (bytes / MEBIBYTE).toFixed(0)
  const own = ownBytes()
  const owned = own === undefined ? '' : `, of them own ${mib(own)} MiB, the rest pages of the file`
  return `heap ${mib(heapUsed)} MiB, buffers ${mib(external)} MiB, resident ${mib(rss)} MiB${owned}`
}

export async function benchMvcc(keys: number): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'skein-bench-mvcc-'))
  try {
    const bench = await open(directory)
    console.log(
      `Node.js ${process.versions.node}, lmdb engine, ${keys.toLocaleString('en')} keys of 17 bytes; at the start ${memory()}`,
    )
    await load(bench, keys)
    await change(bench, keys)
    point(bench, keys)
    ranges(bench, keys)
    await new Promise<void>((resolve) => bench.engine.checkpoint(() => resolve()))
    console.log(`at the end: ${memory()}, ${(bench.engine.stats().diskBytes / MEBIBYTE).toFixed(0)} MiB on disk`)
    await new Promise<void>((resolve) => bench.engine.close(() => resolve()))
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

async function load(bench: Bench, keys: number): Promise<void> {
  const value = new Uint8Array(32).fill(118)
  const part = Math.ceil(keys / 10)
  for (let from = 0; from < keys; from += part) {
    const count = Math.min(part, keys - from)
    const rates = stopwatch()
    await puts(bench, count, (i) => put(((from + i) * STEP) % keys, value))
    console.log(`loaded ${(from + count).toLocaleString('en')}: ${rates(count)}; ${memory()}`)
  }
}

async function change(bench: Bench, keys: number): Promise<void> {
  const value = new Uint8Array(256).fill(119)
  const count = Math.min(keys, 500_000)
  const rates = stopwatch()
  await puts(bench, count, (i) => put((i * 2 * STEP + 1) % keys, value))
  console.log(`puts of 256 bytes to random keys: ${rates(count)}`)
}

function point({ store }: Bench, keys: number): void {
  const count = 1_000_000
  const rates = stopwatch()
  for (let i = 0; i < count; i++) {
    const { body } = read(store, range(key((i * 3 * STEP + 2) % keys), EMPTY))
    if (body.length === 0) throw new Error('a key is missing')
  }
  console.log(`point reads of random keys: ${rates(count)}`)
}

function ranges({ store }: Bench, keys: number): void {
  const count = 5_000
  const rates = stopwatch()
  for (let i = 0; i < count; i++) {
    const from = (i * 3 * STEP) % keys
    read(store, range(key(from), key(from + 100)))
  }
  console.log(`ranges of 100 keys, in keys: ${rates(count * 100)}`)
  const everything = new Uint8Array([0])
  for (const [what, options] of [
    ['count of all keys', { countOnly: true }],
    ['the 10 newest of all keys', { sortOrder: 2, sortTarget: 3, limit: 10 }],
    ['the first 100,000 of all keys', { limit: 100_000 }],
  ] as const) {
    const took = stopwatch()
    const { longestMs } = read(store, range(everything, everything, options))
    console.log(`${what}, in keys: ${took(keys)}; longest step ${longestMs.toFixed(1)} ms`)
  }
}
