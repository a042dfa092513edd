/**
 * Random schedules: a group of cores whose messages are lost, doubled and reordered, whose disks are slow, that crash
 * and lose what was not durable, change their membership, compact and send snapshots. Everything is drawn from one seed;
 * the properties are watched throughout. At the end all faults stop, and the group has to come together again.
 */
import type { MemberId } from '../base/index.ts'
import { logIndex, memberId } from '../base/index.ts'
import { membersOf } from './config.ts'
import { createChecker } from './properties.testkit.ts'
import type { Hooks, Packet, Server } from './server.testkit.ts'
import {
  apply,
  compact,
  configOf,
  crash,
  createServer,
  DEFAULTS,
  drain,
  emptyDisk,
  persist,
  readWanted,
  receive,
  restart,
  step,
  write,
} from './server.testkit.ts'
import type { RaftOptions } from './types.ts'

/** What happened: for the suite to see that schedules reach what they are meant to test. */
export type Outcome = {
  readonly committed: number
  readonly leaders: number
  readonly reads: number
  readonly snapshots: number
  readonly crashes: number
  readonly configs: number
  readonly transfers: number
}

/** Sebastiano Vigna's splitmix, 32 bits of it. */
export function createDraws(seed: number): () => number {
  let state = (seed * 0x9e3779b1) | 0
  return () => {
    state = (state + 0x9e3779b9) | 0
    let mixed = Math.imul(state ^ (state >>> 16), 0x21f0aaad)
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97)
    return ((mixed ^ (mixed >>> 15)) >>> 0) / 2 ** 32
  }
}

/** How often each thing happens, in proportion. */
const WEIGHTS = {
  deliver: 46,
  persist: 20,
  time: 10,
  propose: 6,
  read: 4,
  apply: 5,
  configure: 2,
  compact: 2,
  split: 0.7,
  transfer: 0.5,
  unreachable: 0.3,
  campaign: 1,
  crash: 0.6,
  restart: 2,
  drain: 2,
} as const
const CHURN: Readonly<Record<keyof typeof WEIGHTS, number>> = {
  ...WEIGHTS,
  persist: 40,
  time: 3,
  propose: 4,
  configure: 0.3,
  compact: 0.3,
  split: 2,
  campaign: 5,
}
/** Without these nothing moves. */
const CALM: ReadonlySet<string> = new Set(['deliver', 'persist', 'apply', 'drain'])

const SPARES = 2
const MAX_DRIFT_PPM = 100_000

type Sent = { readonly to: MemberId; readonly index: number; readonly ok: boolean; readonly at: MemberId }
type Flight = { readonly packet: Packet } | { readonly sent: Sent }

export function runSchedule(seed: number, steps: number): Outcome {
  const fraction = createDraws(seed)
  const below = (limit: number): number => Math.floor(fraction() * limit)
  const chance = (likelihood: number): boolean => fraction() < likelihood

  const voters = [1, 2, 3, 3, 3, 4, 5, 5][below(8)] as number
  const all = voters + SPARES
  /** Leaders that fall as soon as they have done half of something (figure 8). */
  const churn = chance(0.3)
  const checkQuorum = !churn && chance(0.7)
  // Short ones, in proportion to the messages' delays, make turbulent groups.
  const electionTimeoutMs = [60, 100, 200][below(3)] as number
  const shape: Omit<RaftOptions, 'id' | 'random'> = {
    ...DEFAULTS,
    electionTimeoutMs,
    heartbeatIntervalMs: electionTimeoutMs / 5,
    preVote: !churn && chance(0.7),
    checkQuorum,
    lease: checkQuorum && chance(0.5) ? { maxDriftPpm: MAX_DRIFT_PPM } : undefined,
    maxAppendBytes: churn ? 0 : ([0, 40, 1000][below(3)] as number),
    maxInflightMessages: 1 + below(4),
    maxInflightBytes: [50, 10_000][below(2)] as number,
    maxTailBytes: [0, 100, 100_000][below(3)] as number,
    maxUncommittedBytes: [100, 10_000][below(2)] as number,
  }
  const lossy = chance(0.6) ? fraction() * 0.3 : 0
  const doubled = chance(0.5) ? fraction() * 0.2 : 0
  /** A message is overtaken by at most so many. */
  const reach = [1, 4, 30, 300][below(4)] as number
  const batching = chance(0.5) ? 0.6 : 1

  let now = 1000
  let proposed = 0
  let snapshots = 0
  let crashes = 0
  let configs = 0
  let transfers = 0
  let flights: Flight[] = []
  const blocked = new Set<string>()
  const servers = new Map<MemberId, Server>()
  const contexts = new Map<MemberId, number>()
  const checker = createChecker(servers)
  // Clocks differ by less than the bound: 1.045 / 0.955 < 1.1.
  const rates = new Map<MemberId, number>()
  const clock = (server: Server): number => now * (rates.get(server.id) ?? 1)

  const hooks: Hooks = {
    onReady: (server, ready) => checker.onReady(server, ready),
    onApply: (server, entry, digest) => checker.onApply(server, entry, digest),
    send(_, packet) {
      if (packet.state !== undefined) snapshots++
      flights.push({ packet })
    },
  }
  const config = configOf(Array.from({ length: voters }, (_, i) => i + 1))
  for (let name = 1; name <= all; name++) {
    const id = memberId(BigInt(name))
    rates.set(id, 0.955 + fraction() * 0.09)
    const first = name <= voters ? config : { ...config, voters: [] }
    servers.set(
      id,
      createServer({ ...shape, id, random: fraction }, emptyDisk(first), hooks, now * (rates.get(id) ?? 1)),
    )
  }
  const list = [...servers.values()]
  const any = (): Server => list[below(list.length)] as Server
  const leaderOf = (): Server | undefined => {
    let newest: Server | undefined
    for (const server of list) {
      if (!server.up || server.raft.status().role !== 'leader') continue
      if (newest === undefined || server.raft.status().term > newest.raft.status().term) newest = server
    }
    return newest
  }
  const settle = (server: Server): void => {
    if (chance(batching)) drain(server)
  }

  const deliver = (flight: Flight): void => {
    if ('sent' in flight) {
      const { at, to, index, ok } = flight.sent
      const server = servers.get(at) as Server
      if (!server.up) return
      step(server, { type: 'snapshotSent', to, index: logIndex(index), ok }, clock(server))
      settle(server)
      return
    }
    const { packet } = flight
    const { from, to } = packet.message
    const server = servers.get(to) as Server
    const arrives = server.up && !blocked.has(`${from}>${to}`)
    if (packet.state !== undefined) flights.push({ sent: { at: from, to, index: packet.state.index, ok: arrives } })
    if (!arrives) return
    receive(server, packet, clock(server))
    settle(server)
  }
  const deliverOne = (): void => {
    if (flights.length === 0) return
    const at = below(Math.min(flights.length, reach))
    const flight = flights[at] as Flight
    const isPacket = 'packet' in flight
    if (isPacket && flight.packet.state === undefined) {
      if (chance(doubled)) return deliver(flight)
      if (chance(lossy)) {
        flights.splice(at, 1)
        return
      }
    }
    flights.splice(at, 1)
    deliver(flight)
  }
  const passTime = (ms: number): void => {
    now += ms
    for (const server of list) {
      if (server.up && clock(server) >= server.raft.nextDeadline()) {
        step(server, { type: 'tick' }, clock(server))
        settle(server)
      }
    }
  }
  const propose = (server: Server): void => {
    const data = Array.from(
      { length: 1 + below(3) },
      () => new Uint8Array([++proposed & 255, proposed >> 8, below(256)]),
    )
    step(server, { type: 'propose', data }, clock(server))
    settle(server)
  }
  const read = (server: Server): void => {
    const context = (contexts.get(server.id) ?? 0) + 1
    contexts.set(server.id, context)
    checker.onAsk(server, context)
    step(server, { type: 'readIndex', context }, clock(server))
    settle(server)
  }
  const reconfigure = (server: Server): void => {
    if (chance(0.2)) {
      step(server, { type: 'leaveJoint' }, clock(server))
    } else {
      const names = Array.from({ length: all }, (_, i) => i + 1).filter(() => chance(0.6))
      const learners = names.filter(() => chance(0.2))
      const change = configOf(
        names.filter((name) => !learners.includes(name)),
        learners,
      )
      const result = step(server, { type: 'changeConfig', change }, clock(server))
      if (result.ok) configs++
    }
    settle(server)
  }
  const transfer = (server: Server): void => {
    const result = step(server, { type: 'transferLeadership', to: any().id }, clock(server))
    if (result.ok) transfers++
    settle(server)
  }
  const fall = (server: Server): void => {
    if (!server.up) return
    crashes++
    // What was on its way to the disk may have come there, without anybody having been told.
    for (let count = below(3); count > 0; count--) write(server)
    crash(server)
    checker.onCrash(server)
    contexts.delete(server.id)
  }
  const rise = (server: Server): void => {
    if (server.up) return
    restart(server, clock(server))
    settle(server)
  }
  const split = (): void => {
    blocked.clear()
    if (chance(0.3)) return
    const leader = leaderOf()?.id
    const alone = leader !== undefined && chance(0.5)
    const company = any().id
    const side = new Set(
      list.filter(({ id }) => (alone ? id === leader || id === company : chance(0.5))).map(({ id }) => id),
    )
    const oneWay = chance(0.3)
    for (const a of list) {
      for (const b of list) {
        if (side.has(a.id) === side.has(b.id) || (oneWay && side.has(b.id))) continue
        blocked.add(`${a.id}>${b.id}`)
      }
    }
  }
  /** One that believes to lead, perhaps no longer rightly, if there is any. */
  const believer = (server: Server): Server => {
    const leading = list.filter(({ up, raft }) => up && raft.status().role === 'leader')
    return leading[below(leading.length)] ?? server
  }
  const events: Readonly<Record<keyof typeof WEIGHTS, (server: Server) => void>> = {
    deliver() {
      for (let count = 1 + below(6); count > 0; count--) deliverOne()
    },
    persist() {
      const waiting = list.filter(({ queue }) => queue.length > 0)
      const server = waiting[below(waiting.length)]
      if (server === undefined) return
      persist(server, clock(server))
      settle(server)
    },
    time: () => passTime(1 + below(14)),
    propose: (server) => propose(chance(0.8) ? believer(server) : server),
    read: (server) => read(chance(0.6) ? believer(server) : server),
    apply(server) {
      apply(server, 1 + below(6), clock(server))
      readWanted(server, clock(server))
      settle(server)
    },
    configure: (server) => reconfigure(believer(server)),
    compact: (server) => compact(server, below(4), clock(server)),
    split,
    transfer: (server) => transfer(believer(server)),
    unreachable: (server) => void step(server, { type: 'unreachable', to: any().id }, clock(server)),
    campaign(server) {
      step(server, { type: 'campaign' }, clock(server))
      settle(server)
    },
    crash(server) {
      fall(server)
      if (chance(0.5)) rise(server)
    },
    restart: () => rise(any()),
    drain,
  }
  const names = Object.keys(WEIGHTS) as (keyof typeof WEIGHTS)[]
  // Each schedule has its own mixture: what is rare in most is common in some.
  const mixture = names.map(
    (name) => (churn ? CHURN[name] : WEIGHTS[name]) * (CALM.has(name) ? 1 : 8 ** (fraction() * 2 - 1)),
  )
  const whole = mixture.reduce((sum, weight) => sum + weight, 0)
  const pick = (): keyof typeof WEIGHTS => {
    let rest = fraction() * whole
    for (let i = 0; i < names.length; i++) {
      rest -= mixture[i] as number
      if (rest < 0) return names[i] as keyof typeof WEIGHTS
    }
    return 'drain'
  }
  const turn = (): void => {
    const event = pick()
    const server = any()
    if (server.up || event === 'restart' || event === 'time') events[event](server)
    else if (chance(0.1)) rise(server)
  }

  for (let count = 0; count < steps; count++) turn()
  comeTogether()
  return {
    committed: checker.committed,
    leaders: checker.leaders,
    reads: checker.reads,
    snapshots,
    crashes,
    configs,
    transfers,
  }

  /** Without faults, all members agree within a bounded time, and go on. */
  function comeTogether(): void {
    blocked.clear()
    for (const server of list) rise(server)
    const goal = (): boolean => {
      const leader = leaderOf()
      if (leader === undefined) return false
      const status = leader.raft.status()
      if (status.config.votersOutgoing.length > 0 || status.commit !== status.lastIndex) return false
      return membersOf(status.config).every((id) => (servers.get(id) as Server).state.index === status.commit)
    }
    quietly(goal, 'come together')
    const before = checker.committed
    let rounds = 0
    const more = (): boolean => {
      const leader = leaderOf()
      // Refused while leadership is being handed over.
      if (leader !== undefined && rounds++ % 50 === 0) propose(leader)
      return checker.committed > before && goal()
    }
    quietly(more, 'commit once more')
    const reads = checker.reads
    const answered = (): boolean => {
      const leader = leaderOf()
      // A read may be refused, or its leader deposed: then it is asked again.
      if (leader !== undefined && rounds++ % 50 === 0) {
        read(servers.get(membersOf(leader.raft.status().config)[0] as MemberId) as Server)
      }
      return checker.reads > reads
    }
    quietly(answered, 'answer a read')
  }

  function quietly(done: () => boolean, what: string): void {
    for (let round = 0; round < 3000; round++) {
      for (const server of list) {
        drain(server)
        while (persist(server, clock(server))) drain(server)
        while (readWanted(server, clock(server))) drain(server)
        apply(server, 1000, clock(server))
        drain(server)
      }
      if (done()) return
      const arriving = flights
      flights = []
      for (const flight of arriving) deliver(flight)
      if (round % 3 === 2) passTime(5)
    }
    const states = list.map(({ raft, state }) => {
      const { id, role, term, commit, lastIndex, persisted, config, progress, leader } = raft.status()
      const members = `${config.voters.join()}/${config.votersOutgoing.join()}/${config.learners.join()}`
      const peers = progress.map((peer) => `${peer.id}:${peer.state}:${peer.match}:${peer.next}`).join(' ')
      return `${id} ${role} of ${leader} term ${term} commit ${commit}/${persisted}/${lastIndex} applied ${state.index} [${members}] ${peers}`
    })
    throw new Error(`liveness: the servers do not ${what} although all faults have ended\n${states.join('\n')}`)
  }
}
