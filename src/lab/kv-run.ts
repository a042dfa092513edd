/**
 * One run of the key-value scenario: a cluster of real servers, clients that read and write a few keys, faults from the
 * seed, and at the end a healed cluster that must make progress and have kept what it acknowledged.
 */
import { crc32, SkeinError, strictText, utf8 } from '../base/index.ts'
import type { Client } from '../client/index.ts'
import { connectClient } from '../client/index.ts'
import type { ServerOptions } from '../server/index.ts'
import { COMPARE_RESULT, COMPARE_TARGET } from '../wire/index.ts'
import { type Draws, drawsOf, type Seed } from './draws.ts'
import { type Answer, type Call, createHistory, type HistoryRecorder, type Operation } from './history.ts'
import { checkLinearizable } from './linearizability.ts'
import { checkRevisions } from './revisions.ts'
import { createSimCluster, type SimCluster, type SimServer } from './sim-cluster.ts'
import { drawFaults, inflict, mendAll, type Scheduled } from './sim-faults.ts'
import { createSimulation, type Simulation, type SimulationOptions } from './simulation.ts'

export type KvRunOptions = Pick<SimulationOptions, 'yieldMacrotask' | 'onEvent' | 'onLog'> & {
  readonly seed: Seed
  /** 5 when left out. */
  readonly servers?: number
  /** 4 when left out. */
  readonly clients?: number
  readonly keys?: number
  /** How long faults come, simulated milliseconds; 10,000 when left out. */
  readonly faultyMs?: number
  /** Instead of those drawn from the seed. */
  readonly faults?: readonly Scheduled[]
  readonly server?: Partial<ServerOptions>
}

export type KvRun = {
  readonly seed: Seed
  readonly traceHash: string
  /** What went wrong, for a person; empty where nothing did. */
  readonly problems: readonly string[]
  readonly operations: readonly Operation[]
  readonly faults: readonly Scheduled[]
  readonly answered: number
  readonly unknown: number
  readonly refused: number
  readonly elections: number
  readonly events: number
  readonly simulatedMs: number
}

/** Small bounds, so that a short run compacts its log, rotates segments and sends snapshots. */
const SMALL = { checkpointBytes: 8_192, checkpointDelayMs: 300, segmentBytes: 65_536 } as const
const ELECTION_TIMEOUTS_MS = [1000, 300, 150] as const
const KEPT_ENTRIES = [64, 8] as const
/** The shorter one ends requests before their clients do: then the server must say what became of them. */
const REQUEST_TIMEOUTS_MS = [7_000, 800] as const
/** Values are padded to half of it on average: batches of many sectors, which a crash can tear. */
const LONGEST_PADDINGS = [0, 6_000] as const
const SETTLE_MS = 15_000
/** How long clients go on after everything was mended. */
const MENDED_MS = 2_500
const CLIENT_TIMEOUT_MS = 3_000
const READER_TIMEOUT_MS = 1_000
const READER_PAUSE_MS = 80

export async function runKv(options: KvRunOptions): Promise<KvRun> {
  const { seed, servers = 5, clients = 4, keys = 3, faultyMs = 10_000 } = options
  const { yieldMacrotask, onEvent, onLog } = options
  const simulation = createSimulation({
    seed,
    ...(yieldMacrotask && { yieldMacrotask }),
    ...(onEvent && { onEvent }),
    ...(onLog && { onLog }),
  })
  const character = characterOf(seed)
  const { electionTimeoutMs, keepEntries, requestTimeoutMs } = character
  const cluster = createSimCluster(simulation, servers, {
    electionTimeoutMs,
    requestTimeoutMs,
    tuning: { ...SMALL, keepEntries },
    ...options.server,
  })
  const names = [
    ...Array.from({ length: clients }, (_, i) => `client${i}`),
    ...cluster.servers.map(({ name }) => `reader-${name}`),
  ]
  const faults = options.faults ?? drawFaults(seed, servers, 1_500, faultyMs)
  for (const { atMs, fault } of faults) simulation.at(atMs, () => inflict(simulation, cluster, names, fault))
  const history = createHistory()
  const problems: string[] = []

  const scenario = async (): Promise<void> => {
    const state = { running: true }
    const working = [
      ...Array.from({ length: clients }, (_, i) =>
        work(
          simulation,
          cluster,
          history,
          `client${i}`,
          drawsOf(seed, 'client', String(i)),
          keys,
          state,
          character.longestPadding,
        ),
      ),
      ...cluster.servers.map((server) =>
        watch(simulation, server, history, drawsOf(seed, 'reader', server.name), keys, character.longestPadding, state),
      ),
    ]
    await simulation.sleep(faultyMs)
    mendAll(simulation, cluster)
    await simulation.sleep(MENDED_MS)
    state.running = false
    await Promise.all(working)
    problems.push(...(await settle(simulation, cluster, history, keys, character.longestPadding)))
  }
  try {
    await simulation.runAsync(scenario, { untilMs: faultyMs + 10 * SETTLE_MS, maxEvents: 20_000_000 })
  } catch (error) {
    problems.push(`the scenario did not end: ${error instanceof Error ? error.message : String(error)}`)
  }

  const operations = history.operations()
  const causes: string[] = []
  for (const { process, atMs, violation } of simulation.findings)
    problems.push(`${process} failed at ${atMs} ms: ${violation.message}`)
  causes.push(...new Set(cluster.problems), ...checkRevisions(operations))
  const verdict = checkLinearizable(operations)
  if (verdict.verdict === 'unknown') causes.push(`linearizability of ${verdict.key} is undecided: ${verdict.why}`)
  if (verdict.verdict === 'no') {
    causes.push(`${verdict.key} is not linearizable: nothing explains ${describe(verdict.at)}`)
  }
  return {
    seed,
    traceHash: simulation.traceHash(),
    problems: [...causes, ...problems],
    operations,
    faults,
    answered: history.answered,
    unknown: history.unknown,
    refused: history.refused,
    elections: cluster.elections,
    events: simulation.events,
    simulatedMs: simulation.nowMs,
  }
}

function describe({ client, call, outcome, invoked, completed }: Operation): string {
  return `${client} ${JSON.stringify(call)} -> ${JSON.stringify(outcome)} [${invoked}, ${completed}]`
}

/** One client's life: an operation, a pause, the next. */
async function work(
  simulation: Simulation,
  cluster: SimCluster,
  history: HistoryRecorder,
  name: string,
  draws: Draws,
  keys: number,
  state: { readonly running: boolean },
  longestPadding: number,
): Promise<void> {
  const first = draws.integer(0, cluster.endpoints.length)
  const { world } = simulation.process(name)
  const client = connectClient(world, {
    endpoints: [...cluster.endpoints.slice(first), ...cluster.endpoints.slice(0, first)],
    timeoutMs: CLIENT_TIMEOUT_MS,
    // Under a session a server's own mistake in counting proposals would go unseen.
    resendWrites: draws.fraction(1) < 0.5,
  })
  let lastSeen: string | undefined
  for (let n = 1; state.running; n++) {
    const item = n * 8
    const key = `k${draws.integer(item, keys)}`
    const call = drawCall(draws, item + 1, `${name}-${n}`, lastSeen)
    const answer = await perform(client, history, name, key, call, longestPadding)
    if (call.type === 'get') lastSeen = answer?.value
    await simulation.sleep(draws.fraction(item + 5) * 60 + (answer === undefined ? 50 : 0))
  }
  client.close()
}

/** Only reads, and only from one server, whatever becomes of that: it must not answer what is no longer true. */
async function watch(
  simulation: Simulation,
  server: SimServer,
  history: HistoryRecorder,
  draws: Draws,
  keys: number,
  longestPadding: number,
  state: { readonly running: boolean },
): Promise<void> {
  const name = `reader-${server.name}`
  const { world } = simulation.process(name)
  const client = connectClient(world, { endpoints: [server.address], timeoutMs: READER_TIMEOUT_MS })
  for (let n = 0; state.running; n++) {
    const answer = await perform(
      client,
      history,
      name,
      `k${draws.integer(2 * n, keys)}`,
      { type: 'get' },
      longestPadding,
    )
    await simulation.sleep(draws.fraction(2 * n + 1) * READER_PAUSE_MS + (answer === undefined ? 50 : 0))
  }
  client.close()
}

type Character = {
  readonly electionTimeoutMs: number
  readonly keepEntries: number
  readonly longestPadding: number
  readonly requestTimeoutMs: number
}

/** Which kind of cluster a seed has: quick or slow to elect, with a long log or a short one, with small or large values. */
function characterOf(seed: Seed): Character {
  const draws = drawsOf(seed, 'character', 'cluster')
  const one = <T>(item: number, choices: readonly T[]): T => choices[draws.integer(item, choices.length)] as T
  return {
    electionTimeoutMs: one(0, ELECTION_TIMEOUTS_MS),
    keepEntries: one(1, KEPT_ENTRIES),
    longestPadding: one(2, LONGEST_PADDINGS),
    requestTimeoutMs: one(3, REQUEST_TIMEOUTS_MS),
  }
}

/** What stands for a value in the store: of a length of its own. */
function padded(value: string, longestPadding: number): string {
  return value + '.'.repeat(crc32(utf8(value)) % (longestPadding + 1))
}

/** What is not the whole of a value stands for itself: no history explains it. */
function unpadded(stored: string, longestPadding: number): string {
  const value = stored.replace(/\.+$/, '')
  return padded(value, longestPadding) === stored ? value : stored
}

function drawCall(draws: Draws, item: number, value: string, lastSeen: string | undefined): Call {
  const u = draws.fraction(item)
  if (u < 0.4) return { type: 'get' }
  if (u < 0.75) return { type: 'put', value }
  if (u < 0.95) return { type: 'compareAndSet', expected: lastSeen, value }
  return { type: 'delete' }
}

async function perform(
  client: Client,
  history: HistoryRecorder,
  name: string,
  key: string,
  call: Call,
  longestPadding: number,
): Promise<Answer | undefined> {
  const end = history.invoke(name, key, call)
  try {
    const answer = await ask(client, key, call, longestPadding)
    end({ type: 'answered', answer })
    return answer
  } catch (error) {
    if (!(error instanceof SkeinError)) throw error
    const isUnknown = error.code === 'timed-out' || error.code === 'outcome-unknown'
    end(isUnknown && call.type !== 'get' ? { type: 'unknown' } : { type: 'none' })
    return undefined
  }
}

async function ask(client: Client, keyText: string, call: Call, longestPadding: number): Promise<Answer> {
  const key = utf8(keyText)
  const bytesOf = (value: string): Uint8Array => utf8(padded(value, longestPadding))
  switch (call.type) {
    case 'get': {
      const response = await client.range({ key })
      const [kv] = response.kvs
      const revision = response.header?.revision ?? 0
      return kv === undefined
        ? { revision, value: undefined }
        : { revision, value: unpadded(strictText(kv.value) ?? '', longestPadding), modRevision: kv.modRevision }
    }
    case 'put': {
      const response = await client.put(key, bytesOf(call.value))
      return { revision: response.header?.revision ?? 0 }
    }
    case 'delete': {
      const response = await client.deleteRange({ key })
      return { revision: response.header?.revision ?? 0, changed: response.deleted > 0 }
    }
    case 'compareAndSet': {
      const base = { key, rangeEnd: new Uint8Array(0), result: COMPARE_RESULT.equal }
      const compare =
        call.expected === undefined
          ? { ...base, target: COMPARE_TARGET.version, operand: { type: 'version', revision: 0 } as const }
          : {
              ...base,
              target: COMPARE_TARGET.value,
              operand: { type: 'value', value: bytesOf(call.expected) } as const,
            }
      const put = { key, value: bytesOf(call.value), lease: 0n, prevKv: false, ignoreValue: false, ignoreLease: false }
      const response = await client.txn({ compare: [compare], success: [{ type: 'put', put }], failure: [] })
      return { revision: response.header?.revision ?? 0, changed: response.succeeded }
    }
    default:
      return call satisfies never
  }
}

/** After everything is mended: each server must answer, and all must hold the same. */
async function settle(
  simulation: Simulation,
  cluster: SimCluster,
  history: HistoryRecorder,
  keys: number,
  longestPadding: number,
): Promise<readonly string[]> {
  const problems: string[] = []
  const { world } = simulation.process('settle')
  const contents = new Map<string, string>()
  for (const server of cluster.servers) {
    const client = connectClient(world, { endpoints: [server.address], timeoutMs: SETTLE_MS })
    for (let k = 0; k < keys; k++) {
      const answer = await perform(client, history, 'settle', `k${k}`, { type: 'get' }, longestPadding)
      if (answer === undefined)
        problems.push(`${server.name} does not answer a read ${SETTLE_MS} ms after everything was mended`)
    }
    const put = { type: 'put', value: `settled-${server.name}` } as const
    const written = await perform(client, history, 'settle', 'k0', put, longestPadding)
    if (written === undefined) problems.push(`${server.name} does not take a write after everything was mended`)
    client.close()
  }
  // One more linearizable read through each server brings its state past the last write; then the states are compared.
  for (const server of cluster.servers) {
    const client = connectClient(world, { endpoints: [server.address], timeoutMs: SETTLE_MS })
    try {
      const range = await client.range({ key: utf8('k'), rangeEnd: utf8('l') })
      const text = range.kvs
        .map((kv) => [kv.key, kv.value, kv.createRevision, kv.modRevision, kv.version].join(':'))
        .join('\n')
      contents.set(server.name, `revision ${range.header?.revision}\n${text}`)
    } catch (error) {
      problems.push(
        `${server.name} does not answer at the end: ${error instanceof Error ? error.message : String(error)}`,
      )
    }
    client.close()
  }
  if (new Set(contents.values()).size > 1) problems.push(`servers differ at the end: ${JSON.stringify([...contents])}`)
  return problems
}
