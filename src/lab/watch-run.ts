/**
 * One run of the watch scenario: a cluster of real servers under faults from the seed, clients that write, and clients
 * that watch everything through whichever server they reach, from the beginning or from now, now and then closing a
 * watch and going on by hand. Some seeds compact on the way.
 *
 * Judged is what etcd promises of watches, from the clients' side alone: ordered, unique, reliable (every revision in
 * what a watch covered, and so every acknowledged write), atomic (one revision in one batch, the same for everybody),
 * resumable, and with the right previous values.
 */
import { SkeinError, strictText, utf8 } from '../base/index.ts'
import type { Client, Watch, WatchEvent } from '../client/index.ts'
import { connectClient } from '../client/index.ts'
import type { TxnRequest } from '../wire/index.ts'
import { type Draws, drawsOf, type Seed } from './draws.ts'
import { createSimCluster, type SimCluster } from './sim-cluster.ts'
import { drawFaults, inflict, mendAll, type Scheduled } from './sim-faults.ts'
import { createSimulation, type Simulation, type SimulationOptions } from './simulation.ts'

export type WatchRunOptions = Pick<SimulationOptions, 'yieldMacrotask' | 'onEvent' | 'onLog'> & {
  readonly seed: Seed
  /** 3 when left out. */
  readonly servers?: number
  readonly writers?: number
  readonly watchers?: number
  /** How long faults come, simulated milliseconds; 8,000 when left out. */
  readonly faultyMs?: number
  readonly faults?: readonly Scheduled[]
}

export type WatchRun = {
  readonly seed: Seed
  readonly traceHash: string
  /** What went wrong, for a person; empty where nothing did. */
  readonly problems: readonly string[]
  readonly faults: readonly Scheduled[]
  readonly acknowledged: number
  /** Events told, over all watchers. */
  readonly told: number
  /** Watches that were closed and went on by hand, and those that were told that history is compacted. */
  readonly resumed: number
  readonly compacted: number
}

/** A write that was acknowledged: the keys at its revision, with their values. */
type Acknowledged = { readonly revision: number; readonly changes: ReadonlyMap<string, string | undefined> }

/** One stretch of a watcher's life: everything from `from` on. */
type Segment = {
  readonly watcher: string
  readonly from: number
  readonly events: WatchEvent[]
  batchEnds: Set<number>
}

const KEYS = 4
const SETTLE_MS = 20_000
const TUNING = {
  keepEntries: 64,
  checkpointBytes: 8_192,
  checkpointDelayMs: 300,
  segmentBytes: 65_536,
  watchProgressMs: 500,
} as const

type State = {
  running: boolean
  /** The last revision that everybody must be told. */
  last: number
  resumed: number
  compacted: number
  readonly acknowledged: Acknowledged[]
  readonly segments: Segment[]
  readonly problems: string[]
  readonly open: Set<Watch>
}

export async function runWatch(options: WatchRunOptions): Promise<WatchRun> {
  const { seed, servers = 3, writers = 3, watchers = 4, faultyMs = 8_000 } = options
  const { yieldMacrotask, onEvent, onLog } = options
  const simulation = createSimulation({
    seed,
    ...(yieldMacrotask && { yieldMacrotask }),
    ...(onEvent && { onEvent }),
    ...(onLog && { onLog }),
  })
  const cluster = createSimCluster(simulation, servers, { tuning: TUNING })
  const faults = options.faults ?? drawFaults(seed, servers, 1_500, faultyMs)
  const names = [
    ...Array.from({ length: writers }, (_, i) => `writer${i}`),
    ...Array.from({ length: watchers }, (_, i) => `watcher${i}`),
  ]
  for (const { atMs, fault } of faults) simulation.at(atMs, () => inflict(simulation, cluster, names, fault))
  const state: State = {
    ...{ running: true, last: Number.POSITIVE_INFINITY, resumed: 0, compacted: 0 },
    ...{ acknowledged: [], segments: [], problems: [], open: new Set() },
  }
  const compacts = drawsOf(seed, 'watch', 'compacts').fraction(0) < 0.4

  const scenario = async (): Promise<void> => {
    const writing = Array.from({ length: writers }, (_, i) =>
      write(simulation, cluster, `writer${i}`, drawsOf(seed, 'writer', String(i)), state, compacts && i === 0),
    )
    const watching = Array.from({ length: watchers }, (_, i) =>
      follow(simulation, cluster, `watcher${i}`, drawsOf(seed, 'watcher', String(i)), state, i === 0),
    )
    await simulation.sleep(faultyMs)
    mendAll(simulation, cluster)
    await simulation.sleep(3_000)
    state.running = false
    await Promise.all(writing)
    state.last = await lastWrite(simulation, cluster, state)
    // Those that were told it before it was known to be the last would wait for the next.
    for (const watch of state.open) if ((watch.nextRevision ?? 0) > state.last) watch.close()
    const limit = simulation.sleep(SETTLE_MS).then(() => 'late' as const)
    const done = await Promise.race([Promise.all(watching), limit])
    if (done === 'late') state.problems.push(`not everybody was told revision ${state.last} within ${SETTLE_MS} ms`)
  }
  try {
    await simulation.runAsync(scenario, { untilMs: faultyMs + 10 * SETTLE_MS, maxEvents: 20_000_000 })
  } catch (error) {
    state.problems.push(`the scenario did not end: ${error instanceof Error ? error.message : String(error)}`)
  }
  for (const { process, atMs, violation } of simulation.findings)
    state.problems.push(`${process} failed at ${atMs} ms: ${violation.message}`)
  return {
    seed,
    traceHash: simulation.traceHash(),
    problems: [...new Set(cluster.problems), ...state.problems, ...judgeWatches(state)],
    faults,
    acknowledged: state.acknowledged.length,
    told: state.segments.reduce((sum, { events }) => sum + events.length, 0),
    resumed: state.resumed,
    compacted: state.compacted,
  }
}

function connect(simulation: Simulation, cluster: SimCluster, name: string, first: number): Client {
  const endpoints = [...cluster.endpoints.slice(first), ...cluster.endpoints.slice(0, first)]
  return connectClient(simulation.process(name).world, { endpoints, timeoutMs: 3_000 })
}

async function write(
  simulation: Simulation,
  cluster: SimCluster,
  name: string,
  draws: Draws,
  state: State,
  compacts: boolean,
): Promise<void> {
  const client = connect(simulation, cluster, name, draws.integer(0, cluster.endpoints.length))
  for (let n = 1; state.running; n++) {
    const item = n * 8
    const u = draws.fraction(item)
    const keys =
      u < 0.3 ? [draws.integer(item + 1, KEYS)] : [0, 1, 2].map((of) => (draws.integer(item + 1, KEYS) + of) % KEYS)
    const isDeletion = u > 0.85
    const changes = new Map(keys.map((key) => [`k${key}`, isDeletion ? undefined : `${name}-${n}`]))
    try {
      const response = await client.txn(transaction(changes))
      const revision = response.header?.revision ?? 0
      const deleted = response.responses.some((op) => op.type === 'deleteRange' && op.deleteRange.deleted > 0)
      if (!isDeletion || deleted) state.acknowledged.push({ revision, changes })
      if (compacts && n % 25 === 0) await client.compact(revision - draws.integer(item + 2, 20))
    } catch (error) {
      if (!(error instanceof SkeinError)) throw error
      await simulation.sleep(50)
    }
    await simulation.sleep(draws.fraction(item + 3) * 60)
  }
  client.close()
}

function transaction(changes: ReadonlyMap<string, string | undefined>): TxnRequest {
  const base = { lease: 0n, prevKv: false, ignoreValue: false, ignoreLease: false }
  const success = [...changes].map(([key, value]): TxnRequest['success'][number] =>
    value === undefined
      ? { type: 'deleteRange', deleteRange: { key: utf8(key), rangeEnd: new Uint8Array(0), prevKv: false } }
      : { type: 'put', put: { ...base, key: utf8(key), value: utf8(value) } },
  )
  return { compare: [], success, failure: [] }
}

async function lastWrite(simulation: Simulation, cluster: SimCluster, state: State): Promise<number> {
  const client = connect(simulation, cluster, 'last', 0)
  try {
    const response = await client.put(utf8('k0'), utf8('last'))
    return response.header?.revision ?? 0
  } catch (error) {
    state.problems.push(
      `no write after everything was mended: ${error instanceof Error ? error.message : String(error)}`,
    )
    return 0
  } finally {
    client.close()
  }
}

/** One watcher's life: until it has been told the last write. */
async function follow(
  simulation: Simulation,
  cluster: SimCluster,
  name: string,
  draws: Draws,
  state: State,
  fromBeginning: boolean,
): Promise<void> {
  const client = connect(simulation, cluster, name, draws.integer(0, cluster.endpoints.length))
  // One is there before all others, and one comes late and wants everything.
  if (!fromBeginning) await simulation.sleep(draws.fraction(1) * 4_000)
  let from: number | undefined = fromBeginning || draws.fraction(2) < 0.5 ? 1 : undefined
  for (let life = 0; (from ?? 0) <= state.last; life++) {
    const watch: Watch = client.watch({
      ...{ key: utf8('k'), rangeEnd: utf8('l'), prevKv: true },
      ...(from !== undefined && { startRevision: from }),
    })
    state.open.add(watch)
    const batches = 1 + draws.integer(10 + life, 80)
    try {
      const standing = await watch.started
      const segment: Segment = { watcher: name, from: from ?? standing + 1, events: [], batchEnds: new Set() }
      state.segments.push(segment)
      from = segment.from
      let count = 0
      for await (const { events, revision } of watch) {
        segment.events.push(...events)
        segment.batchEnds.add(revision)
        from = revision + 1
        if (from > state.last || ++count >= batches) break
      }
      if (from <= state.last) state.resumed++
    } catch (error) {
      if (!(error instanceof SkeinError) || error.code !== 'compacted') throw error
      const compacted = Number(error.details?.['compactRevision'])
      if (from !== undefined && from >= compacted)
        state.problems.push(`${name} was told that revision ${from} is compacted at ${compacted}`)
      state.compacted++
      from = compacted
    }
    state.open.delete(watch)
    watch.close()
    await simulation.sleep(draws.fraction(500 + life) * 100)
  }
  client.close()
}

/** What is wrong with what was told. */
function judgeWatches({ segments, acknowledged, compacted }: State): string[] {
  const problems: string[] = []
  /** What happened at each revision, as whoever was told first was told. */
  const truth = new Map<number, string>()
  const events = new Map<number, readonly WatchEvent[]>()
  for (const segment of segments) {
    let next = segment.from === 1 ? 2 : segment.from
    for (const [revision, of] of byRevision(segment.events)) {
      if (revision !== next) problems.push(`${segment.watcher} was told ${revision} where ${next} was next`)
      next = revision + 1
      const shown = of.map((event) => `${event.type} ${strictText(event.kv.key)}=${strictText(event.kv.value)}`).join()
      const known = truth.get(revision)
      if (known !== undefined && known !== shown)
        problems.push(`at ${revision} ${segment.watcher} was told ${shown}, another ${known}`)
      truth.set(revision, shown)
      // Whoever was told with previous values knows more than who was told after a compaction.
      if ((events.get(revision) ?? []).every(({ prevKv }) => prevKv === undefined)) events.set(revision, of)
      problems.push(...judgePrevious(segment.watcher, revision, of, events, compacted > 0))
    }
    for (const end of segment.batchEnds)
      if (!segment.events.some(({ kv }) => kv.modRevision === end))
        problems.push(`${segment.watcher}: no event at ${end}`)
  }
  for (const { revision, changes } of acknowledged) {
    const told = truth.get(revision)
    const covered = segments.some(
      ({ from, events: of }) => from <= revision && (of.at(-1)?.kv.modRevision ?? 0) >= revision,
    )
    if (told === undefined) {
      if (covered) problems.push(`revision ${revision} was acknowledged and never told`)
      continue
    }
    for (const [key, value] of changes) {
      if (value !== undefined && !told.split(',').includes(`put ${key}=${value}`))
        problems.push(`${key}=${value} was acknowledged at ${revision}, and told was ${told}`)
    }
  }
  return problems
}

/** In the order in which they came: a revision that comes again, or in two pieces, shows as one out of order. */
function byRevision(events: readonly WatchEvent[]): [revision: number, events: WatchEvent[]][] {
  const groups: [number, WatchEvent[]][] = []
  for (const event of events) {
    const last = groups.at(-1)
    if (last !== undefined && last[0] === event.kv.modRevision) last[1].push(event)
    else groups.push([event.kv.modRevision, [event]])
  }
  return groups
}

function judgePrevious(
  watcher: string,
  revision: number,
  events: readonly WatchEvent[],
  all: ReadonlyMap<number, readonly WatchEvent[]>,
  mayBeCompacted: boolean,
): string[] {
  const problems: string[] = []
  for (const { type, kv, prevKv } of events) {
    const key = strictText(kv.key)
    const isNew = type === 'put' && kv.createRevision === kv.modRevision
    if (isNew !== (prevKv === undefined) && !(mayBeCompacted && prevKv === undefined))
      problems.push(
        `${watcher}: ${type} ${key} at ${revision} ${prevKv === undefined ? 'lacks' : 'has'} what was before`,
      )
    if (prevKv === undefined) continue
    if (type === 'put' && (prevKv.version !== kv.version - 1 || prevKv.createRevision !== kv.createRevision))
      problems.push(`${watcher}: before ${key} at ${revision} there was another version than ${prevKv.version}`)
    const before = all.get(prevKv.modRevision)?.find((event) => strictText(event.kv.key) === key)
    if (before !== undefined && strictText(before.kv.value) !== strictText(prevKv.value))
      problems.push(`${watcher}: before ${key} at ${revision} was told ${strictText(prevKv.value)}`)
    for (let at = prevKv.modRevision + 1; at < revision; at++)
      if (all.get(at)?.some((event) => strictText(event.kv.key) === key) === true)
        problems.push(`${watcher}: between ${prevKv.modRevision} and ${revision} there was a change of ${key} at ${at}`)
  }
  return problems
}
