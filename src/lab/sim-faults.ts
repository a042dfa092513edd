/**
 * What goes wrong, and when: data, drawn from the seed. Swarm-style (Groce et al. 2012): each seed leaves some kinds of
 * fault out entirely, so that runs differ in character and not only in detail.
 */
import { type Draws, drawsOf, type Seed } from './draws.ts'
import type { SimCluster, SimServer } from './sim-cluster.ts'
import { NVME } from './sim-disk.ts'
import type { Simulation } from './simulation.ts'

/** A server by its place, or whoever leads when the fault comes. */
type Target = number | 'leader'

export type Fault =
  | {
      readonly type: 'crash'
      readonly targets: readonly Target[]
      readonly keepWrites: boolean
      readonly silent: boolean
    }
  | { readonly type: 'stop'; readonly target: Target }
  /** Those that are down come back. */
  | { readonly type: 'restart' }
  | {
      readonly type: 'isolate'
      readonly targets: readonly Target[]
      readonly direction: 'both' | 'in' | 'out'
      readonly mode: 'hold' | 'reset'
    }
  | { readonly type: 'heal' }
  | { readonly type: 'resetConnections'; readonly target: Target }
  /** Of clients: answers are lost, and writes are sent again. */
  | { readonly type: 'resetClients'; readonly target: Target }
  | { readonly type: 'clockRate'; readonly target: Target; readonly rate: number }
  | { readonly type: 'wallJump'; readonly target: Target; readonly byMs: number }
  | { readonly type: 'slowDisk'; readonly target: Target; readonly factor: number }
  /** Only so much more fits, until there is space again. */
  | { readonly type: 'fullDisk'; readonly targets: readonly Target[]; readonly spareBytes: number }
  | { readonly type: 'freeDisk' }

export type Scheduled = { readonly atMs: number; readonly fault: Fault }

const KINDS = [
  'crash',
  'stop',
  'isolate',
  'resetConnections',
  'resetClients',
  'clockRate',
  'wallJump',
  'slowDisk',
  'fullDisk',
] as const
/** What only these bring to light is seldom: a leader that does not know of the next one, what was not durable. */
const OFTEN: ReadonlySet<(typeof KINDS)[number]> = new Set(['crash', 'isolate'])
/** Draws about one step of the schedule. */
const DRAWS_PER_STEP = 16

/** Faults from `fromMs` to `untilMs`; what they break is not mended at the end: see `mendAll`. */
export function drawFaults(seed: Seed, servers: number, fromMs: number, untilMs: number): readonly Scheduled[] {
  const swarm = drawsOf(seed, 'swarm', 'kinds')
  const draws = drawsOf(seed, 'faults', 'schedule')
  const kinds = KINDS.filter((_, i) => swarm.fraction(i) < 0.6).flatMap((kind) =>
    OFTEN.has(kind) ? [kind, kind, kind] : [kind],
  )
  if (kinds.length === 0) return []
  const gapMs = 150 + swarm.fraction(100) * 1_500
  const schedule: Scheduled[] = []
  for (let step = 0, atMs = fromMs; ; step++) {
    const item = step * DRAWS_PER_STEP
    atMs += gapMs * (0.2 + draws.fraction(item) * 1.6)
    if (atMs >= untilMs) return schedule.sort((a, b) => a.atMs - b.atMs)
    const kind = kinds[draws.integer(item + 1, kinds.length)] as (typeof KINDS)[number]
    const mendMs = atMs + gapMs * (0.1 + draws.fraction(item + 2) * 3)
    schedule.push({ atMs, fault: drawFault(kind, draws, item + 3, servers) })
    if (kind === 'crash' || kind === 'stop') schedule.push({ atMs: mendMs, fault: { type: 'restart' } })
    if (kind === 'fullDisk') schedule.push({ atMs: mendMs, fault: { type: 'freeDisk' } })
    if (kind === 'isolate') schedule.push({ atMs: mendMs, fault: { type: 'heal' } })
  }
}

function drawFault(kind: (typeof KINDS)[number], draws: Draws, item: number, servers: number): Fault {
  const target: Target = draws.fraction(item) < 0.4 ? 'leader' : draws.integer(item + 1, servers)
  const u = draws.fraction(item + 2)
  switch (kind) {
    case 'crash':
      return {
        type: 'crash',
        targets: several(target, draws, item + 3, servers),
        keepWrites: u < 0.3,
        silent: draws.fraction(item + 9) < 0.3,
      }
    case 'stop':
      return { type: 'stop', target }
    case 'isolate':
      return {
        type: 'isolate',
        targets: several(target, draws, item + 3, servers),
        direction: u < 0.6 ? 'both' : u < 0.8 ? 'in' : 'out',
        mode: draws.fraction(item + 9) < 0.7 ? 'hold' : 'reset',
      }
    case 'resetConnections':
      return { type: 'resetConnections', target }
    case 'resetClients':
      return { type: 'resetClients', target }
    case 'clockRate':
      return { type: 'clockRate', target, rate: 0.9 + u * 0.2 }
    case 'wallJump':
      return { type: 'wallJump', target, byMs: (u - 0.5) * 7_200_000 }
    case 'slowDisk':
      return { type: 'slowDisk', target, factor: 1 + u * u * 200 }
    case 'fullDisk':
      return { type: 'fullDisk', targets: several(target, draws, item + 3, servers), spareBytes: u * u * 65_536 }
    default:
      return kind satisfies never
  }
}

/** Mostly one, now and then a minority, a majority, or all of them: what nobody made durable is lost then. */
function several(first: Target, draws: Draws, item: number, servers: number): readonly Target[] {
  const u = draws.fraction(item)
  if (u < 0.5) return [first]
  const count = u < 0.7 ? servers : 1 + draws.integer(item + 1, servers)
  const offset = draws.integer(item + 2, servers)
  return Array.from({ length: count }, (_, i) => (offset + i) % servers)
}

/** `clients`: the names of their processes. */
export function inflict(simulation: Simulation, cluster: SimCluster, clients: readonly string[], fault: Fault): void {
  const resolve = (target: Target): SimServer | undefined =>
    target === 'leader' ? cluster.leader() : cluster.servers[target]
  switch (fault.type) {
    case 'crash':
      for (const target of fault.targets) resolve(target)?.crash({ keepWrites: fault.keepWrites, silent: fault.silent })
      return
    case 'stop':
      return resolve(fault.target)?.stop()
    case 'restart':
      for (const server of cluster.servers) server.start()
      return
    case 'isolate': {
      const inside = new Set(fault.targets.map(resolve))
      for (const one of inside) {
        for (const other of cluster.servers) {
          if (one === undefined || inside.has(other)) continue
          if (fault.direction === 'both') simulation.partition(one.name, other.name, { mode: fault.mode })
          else if (fault.direction === 'in')
            simulation.partition(other.name, one.name, { mode: fault.mode, oneWay: true })
          else simulation.partition(one.name, other.name, { mode: fault.mode, oneWay: true })
        }
      }
      return
    }
    case 'heal':
      return healAll(simulation, cluster)
    case 'resetConnections': {
      const one = resolve(fault.target)
      for (const other of cluster.servers)
        if (one !== undefined && other !== one) simulation.resetConnections(one.name, other.name)
      return
    }
    case 'resetClients': {
      const one = resolve(fault.target)
      if (one !== undefined) for (const client of clients) simulation.resetConnections(client, one.name)
      return
    }
    case 'clockRate':
      return resolve(fault.target)?.process.clock.setRate(fault.rate)
    case 'wallJump':
      return resolve(fault.target)?.process.clock.jumpWall(fault.byMs)
    case 'slowDisk': {
      const disk = resolve(fault.target)?.process.disk
      if (disk === undefined) return
      const { factor } = fault
      disk.profile = {
        ...NVME,
        maxMs: NVME.maxMs * factor,
        syncMinMs: NVME.syncMinMs * factor,
        syncMaxMs: NVME.syncMaxMs * factor,
      }
      return
    }
    case 'fullDisk':
      for (const target of fault.targets) {
        const disk = resolve(target)?.process.disk
        if (disk !== undefined) disk.capacityBytes = disk.usedBytes + fault.spareBytes
      }
      return
    case 'freeDisk':
      return freeAll(cluster)
    default:
      return fault satisfies never
  }
}

function healAll(simulation: Simulation, cluster: SimCluster): void {
  for (const [i, one] of cluster.servers.entries()) {
    for (const other of cluster.servers.slice(i + 1)) simulation.heal(one.name, other.name)
  }
}

function freeAll(cluster: SimCluster): void {
  for (const { process } of cluster.servers) process.disk.capacityBytes = Number.POSITIVE_INFINITY
}

/** Everything that faults broke is whole again: links, clocks' rates, disks' speed, and every server runs. */
export function mendAll(simulation: Simulation, cluster: SimCluster): void {
  healAll(simulation, cluster)
  freeAll(cluster)
  for (const server of cluster.servers) {
    server.process.clock.setRate(1)
    server.process.disk.profile = NVME
    server.start()
  }
}
