import { test } from 'node:test'
import fc from 'fast-check'
import { layeredBench, lmdbBench, memoryBench } from './bench.testkit.ts'
import type { Bench } from './engine.testkit.ts'
import { runModel, steps } from './model.testkit.ts'
import { createTestDisk } from './store.testkit.ts'

/** SKEIN_ENGINE_RUNS multiplies the runs; SKEIN_ENGINE_SEED repeats them. */
const factor = Number(process.env['SKEIN_ENGINE_RUNS'] ?? 1)
const seed = Number(process.env['SKEIN_ENGINE_SEED'] ?? Math.trunc(Math.random() * 2 ** 31))

function property(kind: string, runs: number, makeBench: (seed: number) => Promise<Bench>): void {
  test(`${kind}: random steps agree with the model (SKEIN_ENGINE_SEED=${seed})`, async () => {
    const check = fc.asyncProperty(steps, fc.nat(), async (actions, benchSeed) => {
      const bench = await makeBench(benchSeed)
      try {
        await runModel(bench, actions)
      } finally {
        await bench.end()
      }
    })
    await fc.assert(check, { seed, numRuns: runs * factor, includeErrorInReport: true })
  })
}

property('memory', 60, memoryBench)
property('layered', 120, (benchSeed) => layeredBench(benchSeed, createTestDisk(benchSeed)))
property('lmdb', 8, lmdbBench)
