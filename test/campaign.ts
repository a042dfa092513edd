/**
 * `npm run campaign -- --seeds N | --minutes M [--seed S] [--workers W]`: the key-value scenario over many seeds, on
 * several threads. Every tenth seed is run twice and must leave the same trace. Prints a line for each failure that
 * reproduces it, then a summary; exits with 1 where anything failed. Ctrl-C keeps the results so far.
 */
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { isMainThread, parentPort, Worker } from 'node:worker_threads'
import { type KvRun, runKv } from '../src/lab/index.ts'
import { yieldMacrotask } from '../src/world/node/index.ts'

/** What a worker says of one seed. */
type Outcome = Pick<KvRun, 'problems' | 'answered' | 'unknown' | 'refused' | 'elections' | 'events' | 'simulatedMs'> & {
  readonly seed: number
}

const REPEAT_EVERY = 10

async function runSeed(seed: number): Promise<Outcome> {
  const run = await runKv({ seed, yieldMacrotask })
  const problems = [...run.problems]
  if (run.answered === 0) problems.push('nobody was answered: the run proves nothing')
  if (seed % REPEAT_EVERY === 0) {
    const again = await runKv({ seed, yieldMacrotask })
    if (again.traceHash !== run.traceHash)
      problems.push(`not deterministic: trace ${run.traceHash}, then ${again.traceHash}`)
  }
  const { answered, unknown, refused, elections, events, simulatedMs } = run
  return { seed, problems, answered, unknown, refused, elections, events, simulatedMs }
}

if (isMainThread) {
  const { values } = parseArgs({
    options: {
      seeds: { type: 'string' },
      minutes: { type: 'string' },
      seed: { type: 'string', default: '1' },
      workers: { type: 'string', default: String(availableParallelism()) },
    },
  })
  await campaign(values.seeds, values.minutes, Number(values.seed), Number(values.workers))
} else {
  parentPort?.on('message', (seed: number) => {
    void runSeed(seed).then((outcome) => parentPort?.postMessage(outcome, []))
  })
}

async function campaign(
  seeds: string | undefined,
  minutes: string | undefined,
  first: number,
  workers: number,
): Promise<void> {
  const count = seeds === undefined ? (minutes === undefined ? 100 : Number.POSITIVE_INFINITY) : Number(seeds)
  const startMs = performance.now()
  const endMs = minutes === undefined ? Number.POSITIVE_INFINITY : startMs + Number(minutes) * 60_000
  if (!(count > 0) || !Number.isSafeInteger(first) || !(workers >= 1) || Number.isNaN(endMs)) {
    console.error('usage: npm run campaign -- --seeds N | --minutes M [--seed S] [--workers W]')
    process.exit(3)
  }
  const total = { runs: 0, answered: 0, unknown: 0, refused: 0, elections: 0, events: 0, simulatedMs: 0 }
  const failed: number[] = []
  let next = first
  let stopped = false
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => (stopped = true))

  const note = (outcome: Outcome): void => {
    total.runs++
    for (const name of ['answered', 'unknown', 'refused', 'elections', 'events', 'simulatedMs'] as const)
      total[name] += outcome[name]
    if (outcome.problems.length === 0) return
    failed.push(outcome.seed)
    console.log(
      `seed ${outcome.seed} failed; again with: SKEIN_SEED=${outcome.seed} SKEIN_SEEDS=1 npm test -- sim-cluster`,
    )
    for (const problem of outcome.problems.slice(0, 5)) console.log(`  ${problem}`)
  }
  const work = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const worker = new Worker(fileURLToPath(import.meta.url))
      let seed: number
      const give = (): void => {
        if (stopped || next >= first + count || performance.now() >= endMs) {
          void worker.terminate().then(() => resolve())
          return
        }
        seed = next++
        worker.postMessage(seed, [])
      }
      worker.on('message', (outcome: Outcome) => {
        note(outcome)
        give()
      })
      worker.on('error', (error) => reject(new Error(`the worker died on seed ${seed}`, { cause: error })))
      give()
    })
  await Promise.all(Array.from({ length: workers }, work))

  const seconds = (performance.now() - startMs) / 1000
  console.log(
    `campaign: ${total.runs} seeds from ${first} in ${seconds.toFixed(0)} s, ${failed.length} failed; ` +
      `${(total.simulatedMs / 1000).toFixed(0)} simulated seconds, ${total.events} events (${(total.events / seconds).toFixed(0)}/s), ` +
      `${total.elections} elections, ${total.answered} operations answered, ${total.unknown} unknown, ${total.refused} refused`,
  )
  process.exit(failed.length > 0 || total.runs === 0 ? 1 : 0)
}
