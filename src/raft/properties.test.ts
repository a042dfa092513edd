/**
 * Election safety, leader append-only, log matching, leader completeness, state machine safety (Raft paper, figure 3),
 * linearizable ReadIndex, and that only what a majority has on disk is committed: over random schedules. A failure prints
 * the line that repeats it. SKEIN_RAFT_SEEDS=N runs N schedules, SKEIN_RAFT_SEED=S that one.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runSchedule } from './schedule.testkit.ts'

const STEPS = 600
const only = process.env['SKEIN_RAFT_SEED']
const count = Number(process.env['SKEIN_RAFT_SEEDS'] ?? 3000)
const BATCHES = 4

function run(seed: number): ReturnType<typeof runSchedule> {
  try {
    return runSchedule(seed, STEPS)
  } catch (error) {
    throw new Error(`reproduce with: SKEIN_RAFT_SEED=${seed} node scripts/test.mjs raft/properties`, { cause: error })
  }
}

for (let batch = 0; batch < (only === undefined ? BATCHES : 0); batch++) {
  test(`properties: ${count / BATCHES} random schedules, batch ${batch + 1} of ${BATCHES}`, (t) => {
    const sum = { committed: 0, leaders: 0, reads: 0, snapshots: 0, crashes: 0, configs: 0, transfers: 0 }
    for (let seed = batch; seed < count; seed += BATCHES) {
      const outcome = run(seed)
      for (const key of Object.keys(sum) as (keyof typeof sum)[]) sum[key] += outcome[key]
    }
    t.diagnostic(JSON.stringify(sum))
    // The schedules reach what they are to test.
    const schedules = count / BATCHES
    assert.ok(sum.committed > schedules && sum.leaders > schedules && sum.crashes > schedules)
    assert.ok(sum.reads > schedules / 2 && sum.snapshots > schedules / 10 && sum.configs > schedules / 3)
  })
}

test('properties: a schedule is the same every time', { skip: only !== undefined && 'one seed was asked for' }, () => {
  assert.deepEqual(run(42), run(42))
})

test('properties: the seed that was asked for', { skip: only === undefined && 'none was' }, (t) => {
  t.diagnostic(JSON.stringify(run(Number(only))))
})
