/** The two benches: the memory engine in the simulated world, where a crash is power loss, and lmdb on real files. */
import assert from 'node:assert/strict'
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Result } from '../base/index.ts'
import type { World } from '../world/index.ts'
import { createSimulation, type Seed } from '../lab/index.ts'
import { openNodeWorld } from '../world/node/index.ts'
import type { Bench } from './engine.testkit.ts'
import { openEngine, openMemoryEngine } from './index.ts'
import { openLayeredEngine } from './layered.ts'
import type { TestDisk } from './store.testkit.ts'
import type { Engine, EngineOptions } from './types.ts'

const OPTIONS = {
  checkpointBytes: 1024 * 1024,
  checkpointDelayMs: 1000,
  maxOverlayBytes: 8 * 1024 * 1024,
  onPressure: () => {},
  onDurable: () => {},
} as const

/** Longer than anything takes in the simulated world. */
const PATIENCE_MS = 60_000

export function memoryBench(seed: Seed): Promise<Bench> {
  return simulatedBench(seed, (world, options, done) => openMemoryEngine(world, options, done), {
    crash: () => {},
    file: 'memory.checkpoint',
  })
}

/** The layered engine over a store that lives in the simulation. */
export function layeredBench(seed: Seed, disk: TestDisk): Promise<Bench> {
  const open: OpenEngine = (world, options, done) => {
    const engine = openLayeredEngine(world, options, disk.open(world), 'test-store')
    world.endOfTurn(() => done(engine))
  }
  return simulatedBench(seed, open, { crash: () => disk.crash(), file: 'test-store' })
}

type OpenEngine = (world: World, options: EngineOptions, done: (result: Result<Engine>) => void) => void

async function simulatedBench(
  seed: Seed,
  openIn: OpenEngine,
  hooks: { readonly crash: () => void; readonly file: string },
): Promise<Bench> {
  const simulation = createSimulation({ seed })
  const home = simulation.process('a')
  // Asynchronous to its callers, as the other bench is; inside, simulated time is all that passes.
  const wait = async <T>(start: (done: (value: T) => void) => void): Promise<T> => {
    const state: { value?: T; done: boolean } = { done: false }
    start((value) => {
      state.value = value
      state.done = true
    })
    const untilMs = simulation.nowMs + PATIENCE_MS
    while (!state.done && simulation.nowMs < untilMs) {
      simulation.run({ until: () => state.done, untilMs: Math.min(untilMs, simulation.nowMs + 100) })
      await Promise.resolve()
    }
    const [finding] = simulation.findings
    if (finding !== undefined) throw finding.violation
    assert.ok(state.done, 'nothing more happens, and the callback was not called')
    return state.value as T
  }
  return {
    open(overrides) {
      if (!home.running) home.restart()
      const options: EngineOptions = { directory: 'engine', ...OPTIONS, ...overrides }
      return wait<Result<Engine>>((done) => openIn(home.world, options, done))
    },
    async crash() {
      home.crash({ silent: true })
      hooks.crash()
    },
    wait,
    pass: async (ms) => void simulation.run({ untilMs: simulation.nowMs + ms }),
    async damage() {
      await wait((done) => home.world.disk.replace(`engine/${hooks.file}`, [new Uint8Array(100).fill(7)], done))
      return hooks.file
    },
    async end() {
      const [finding] = simulation.findings
      if (finding !== undefined) throw finding.violation
    },
  }
}

/** A crash is the death of the process: the files are as they were written so far. */
export async function lmdbBench(): Promise<Bench> {
  const root = mkdtempSync(join(tmpdir(), 'skein-engine-'))
  let life = 0
  let violation: unknown
  let world = openNodeWorld({ directory: root, onFail: (failed) => (violation = failed) })
  let running: Engine | undefined
  const directory = (): string => join(root, `${life}`)
  const check = (): void => {
    if (violation !== undefined) throw violation
  }
  const wait = async <T>(start: (done: (value: T) => void) => void): Promise<T> => {
    const value = await new Promise<T>((resolve) => start(resolve))
    check()
    return value
  }
  const stop = async (): Promise<void> => {
    const engine = running
    running = undefined
    if (engine !== undefined) await wait((done) => engine.close(done))
    world.stop()
  }
  return {
    async open(overrides) {
      const options: EngineOptions = { directory: directory(), ...OPTIONS, ...overrides }
      const result = await wait<Result<Engine>>((done) => openEngine('lmdb', world, options, done))
      if (result.ok) {
        const engine = result.value
        const close = engine.close.bind(engine)
        running = engine
        engine.close = (done) => {
          running = undefined
          close(done)
        }
      }
      return result
    },
    async crash() {
      const from = directory()
      life++
      mkdirSync(directory())
      copyFileSync(join(from, 'data.mdb'), join(directory(), 'data.mdb'))
      await stop()
      world = openNodeWorld({ directory: root, onFail: (failed) => (violation = failed) })
      rmSync(from, { recursive: true })
    },
    wait,
    async pass(ms) {
      await new Promise((resolve) => void setTimeout(resolve, ms))
      check()
    },
    async damage() {
      const path = join(directory(), 'data.mdb')
      const bytes = readFileSync(path)
      bytes.fill(7, 0, 8192)
      writeFileSync(path, bytes)
      truncateSync(path, bytes.length)
      return 'data.mdb'
    },
    async end() {
      await stop()
      rmSync(root, { recursive: true, force: true })
      check()
    },
  }
}
