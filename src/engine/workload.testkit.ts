/**
 * A program that works on an lmdb engine and can be killed: everything it writes follows from a step's number, so that
 * whatever it leaves can be checked. `run DIRECTORY LAST` goes on from where the directory is, and prints `durable N` for
 * every checkpoint that completed; `check DIRECTORY...` reads lines `IMAGE FLOOR` from its input and prints a verdict each.
 */
import assert from 'node:assert/strict'
import { writeSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { logIndex, type Result, text, utf8 } from '../base/index.ts'
import { openNodeWorld } from '../world/node/index.ts'
import { G1 } from './engine.testkit.ts'
import { openEngine } from './index.ts'
import type { Engine } from './types.ts'

export const PROGRAM: string = fileURLToPath(import.meta.url)

const KEYS = 150
const RESTORED = { start: 'k050', end: 'k100' } as const

function mix(a: number, b: number): number {
  let x = Math.imul(a ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(b ^ 0x7f4a7c15, 0xc2b2ae35)
  x = Math.imul(x ^ (x >>> 15), 0x2c1b3c6d)
  return (x ^ (x >>> 13)) >>> 0
}

const keyOf = (number: number): string => `k${String(number % KEYS).padStart(3, '0')}`

/** The writes of a step, in order; undefined removes. */
function writesOf(step: number): [string, string | undefined][] {
  const count = step % 17 === 0 ? 9000 : 3 + (mix(step, 1) % 12)
  return Array.from({ length: count }, (_, i) => {
    const drawn = mix(step, i + 2)
    const key = count > 100 ? `m${i}` : keyOf(drawn)
    return [key, drawn % 5 === 0 ? undefined : `${step}:`.padEnd(drawn % (count > 100 ? 20 : 2500), 'x')]
  })
}

const isRestore = (step: number): boolean => step % 10 === 9

function restoredPairs(step: number): [string, string][] {
  const pairs: [string, string][] = []
  for (let i = 50; i < 100; i++) if (mix(step, i) % 3 !== 0) pairs.push([keyOf(i), `r${step}:${'y'.repeat(i)}`])
  return pairs
}

/** What the engine holds after a step. */
export function expectedAfter(step: number): Map<string, string> {
  const pairs = new Map<string, string>()
  for (let at = 1; at <= step; at++) {
    if (isRestore(at)) {
      for (const key of pairs.keys()) if (key >= RESTORED.start && key < RESTORED.end) pairs.delete(key)
      for (const [key, value] of restoredPairs(at)) pairs.set(key, value)
    } else {
      for (const [key, value] of writesOf(at)) {
        if (value === undefined) pairs.delete(key)
        else pairs.set(key, value)
      }
    }
  }
  return pairs
}

async function open(directory: string): Promise<{ engine: Engine; stop: () => Promise<void> }> {
  const world = openNodeWorld({
    directory,
    onFail(violation) {
      writeSync(1, `failed ${violation.invariant}\n`)
      process.exit(3)
    },
  })
  const options = {
    directory,
    checkpointBytes: 1 << 20,
    checkpointDelayMs: 5,
    maxOverlayBytes: 1 << 24,
    onPressure: () => {},
    onDurable: () => {},
  }
  const opened = await new Promise<Result<Engine>>((done) => openEngine('lmdb', world, options, done))
  if (!opened.ok) throw new Error(`${opened.error.code}: ${opened.error.message}`)
  const engine = opened.value
  return {
    engine,
    async stop() {
      await new Promise((done) => engine.close(done))
      world.stop()
    },
  }
}

function applyStep(engine: Engine, step: number): void {
  engine.applyBatch(G1, logIndex(step), (writer) => {
    for (const [key, value] of writesOf(step)) {
      if (value === undefined) writer.remove(utf8(key))
      else writer.put(utf8(key), utf8(value))
    }
  })
}

async function restoreStep(engine: Engine, step: number): Promise<void> {
  const staged = engine.openRestore(G1, utf8(RESTORED.start), utf8(RESTORED.end))
  for (const [key, value] of restoredPairs(step)) {
    if (!staged.add(utf8(key), utf8(value))) await new Promise<void>((done) => staged.onDrain(done))
  }
  const result = await new Promise<Result<void>>((done) => staged.commit(logIndex(step), done))
  assert.ok(result.ok)
}

async function run(directory: string, last: number): Promise<void> {
  const { engine, stop } = await open(directory)
  for (let step = engine.appliedIndex(G1) + 1; step <= last; step++) {
    if (isRestore(step)) {
      await restoreStep(engine, step)
      writeSync(1, `durable ${step}\n`)
    } else {
      applyStep(engine, step)
      if (step % 3 === 0) {
        const result = await new Promise<Result<void>>((done) => engine.checkpoint(done))
        if (result.ok) writeSync(1, `durable ${engine.durableIndex(G1)}\n`)
        else writeSync(1, `refused ${result.error.code}\n`)
      } else if (step % 2 === 0) await new Promise((done) => setTimeout(done, step % 8))
    }
  }
  for (;;) {
    const result = await new Promise<Result<void>>((done) => engine.checkpoint(done))
    if (result.ok) break
    writeSync(1, `refused ${result.error.code}\n`)
    await new Promise((done) => setTimeout(done, 50))
  }
  writeSync(1, `durable ${last}\n`)
  await stop()
  writeSync(1, `done\n`)
}

/** The applied index found; throws where the content is not exactly that step's. */
export async function verify(directory: string, floor: number): Promise<number> {
  const { engine, stop } = await open(directory)
  try {
    return compare(engine, floor)
  } finally {
    await stop()
  }
}

function compare(engine: Engine, floor: number): number {
  const found = engine.appliedIndex(G1)
  const pairs = new Map<string, string>()
  const cursor = engine.scan(utf8('a'), utf8('z'))
  while (cursor.next()) pairs.set(text(cursor.key), text(cursor.value))
  cursor.close()
  const expected = expectedAfter(found)
  for (const [key, value] of expected)
    if (pairs.get(key) !== value) throw new Error(`step ${found}: ${key} is ${pairs.get(key)?.slice(0, 9)}`)
  if (pairs.size !== expected.size) throw new Error(`step ${found}: ${pairs.size} pairs, not ${expected.size}`)
  if (found < floor) throw new Error(`step ${found} was found, ${floor} was durable`)
  return found
}

async function check(): Promise<void> {
  for await (const line of createInterface({ input: process.stdin })) {
    const [directory, floor] = line.split(' ')
    const verdict = await verify(directory as string, Number(floor)).catch((error: unknown) => String(error))
    writeSync(1, `${verdict}\n`)
  }
}

if (process.argv[1] === PROGRAM) {
  const [, , command, directory, last] = process.argv
  if (command === 'run') await run(directory as string, Number(last))
  else await check()
}
