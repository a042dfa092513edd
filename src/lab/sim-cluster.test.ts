import assert from 'node:assert/strict'
import { test } from 'node:test'
import { yieldMacrotask } from '../world/node/index.ts'
import { type KvRun, runKv } from './index.ts'

/** How many seeds; the first one can be set to look at a failure again: SKEIN_SEED=17 SKEIN_SEEDS=1. */
const SEEDS = Number(process.env['SKEIN_SEEDS'] ?? 40)
const FIRST = Number(process.env['SKEIN_SEED'] ?? 1)
/** Mostly five servers; by the seed, so that a seed tells all. */
const SIZES = [5, 5, 3, 5, 7, 5, 1, 5, 3, 5]
/** Every so many seeds, a seed is run twice and must leave the same trace. */
const REPEAT_EVERY = 10

function reproduce(run: KvRun): string {
  return [
    `seed ${run.seed}: SKEIN_SEED=${run.seed} SKEIN_SEEDS=1 npm test -- sim-cluster`,
    ...run.problems.slice(0, 10),
    ...run.faults.map(({ atMs, fault }) => `  ${atMs.toFixed(0)} ms ${JSON.stringify(fault)}`),
  ].join('\n')
}

test(`one to seven servers under faults keep what they acknowledged (${SEEDS} seeds)`, async () => {
  const tally = { answered: 0, unknown: 0, refused: 0, elections: 0, events: 0, simulatedMs: 0 }
  for (let seed = FIRST; seed < FIRST + SEEDS; seed++) {
    const servers = SIZES[seed % SIZES.length] as number
    const run = await runKv({ seed, servers, yieldMacrotask })
    assert.deepEqual(run.problems, [], reproduce(run))
    // A run in which nobody got an answer would prove nothing.
    assert.ok(run.answered > 50, `seed ${seed}: only ${run.answered} answers`)
    if (seed % REPEAT_EVERY === 0) {
      const again = await runKv({ seed, servers, yieldMacrotask })
      assert.equal(again.traceHash, run.traceHash, `seed ${seed} runs differently the second time`)
    }
    for (const name of Object.keys(tally) as (keyof typeof tally)[]) tally[name] += run[name]
  }
  console.log(JSON.stringify({ seeds: SEEDS, ...tally }))
})
