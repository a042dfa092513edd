import assert from 'node:assert/strict'
import { test } from 'node:test'
import { yieldMacrotask } from '../world/node/index.ts'
import { runWatch, type WatchRun } from './index.ts'

/** How many seeds; the first one can be set to look at a failure again: SKEIN_SEED=17 SKEIN_SEEDS=1. */
const SEEDS = Number(process.env['SKEIN_SEEDS'] ?? 4)
const FIRST = Number(process.env['SKEIN_SEED'] ?? 1)
const REPEAT_EVERY = 4

function reproduce(run: WatchRun): string {
  return [
    `seed ${run.seed}: SKEIN_SEED=${run.seed} SKEIN_SEEDS=1 npm test -- sim-watch`,
    ...run.problems.slice(0, 10),
    ...run.faults.map(({ atMs, fault }) => `  ${atMs.toFixed(0)} ms ${JSON.stringify(fault)}`),
  ].join('\n')
}

test(`watches under faults miss nothing and repeat nothing (${SEEDS} seeds)`, async () => {
  const tally = { acknowledged: 0, told: 0, resumed: 0, compacted: 0 }
  for (let seed = FIRST; seed < FIRST + SEEDS; seed++) {
    const run = await runWatch({ seed, yieldMacrotask, faultyMs: 5_000 })
    assert.deepEqual(run.problems, [], reproduce(run))
    // A run in which nobody was told anything would prove nothing.
    assert.ok(run.told > run.acknowledged && run.acknowledged > 20, `seed ${seed}: only ${run.told} events told`)
    if (seed % REPEAT_EVERY === 0) {
      const again = await runWatch({ seed, yieldMacrotask, faultyMs: 5_000 })
      assert.equal(again.traceHash, run.traceHash, `seed ${seed} runs differently the second time`)
    }
    for (const name of Object.keys(tally) as (keyof typeof tally)[]) tally[name] += run[name]
  }
  console.log(JSON.stringify({ seeds: SEEDS, ...tally }))
  if (SEEDS >= 20) assert.ok(tally.resumed > 0 && tally.compacted > 0, 'the seeds show what they are to show')
})
