/** Three servers host 64 Raft groups each, over one log per server: what a turn brings for all of them is one write and one fdatasync. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { groupId, type GroupId, logIndex, memberId, type MemberId, term, utf8 } from '../base/index.ts'
import { createSimulation, type SimProcess, type Simulation } from '../lab/index.ts'
import { createRaft, encodeConfig, type Raft, type RaftMessage, type RaftStart, type Ready } from '../raft/index.ts'
import type { World } from '../world/index.ts'
import { type LogWrite, openLog, type RecoveredGroup, type WriteAheadLog } from './index.ts'
import { type Counts, counting, readAllOf } from './log.testkit.ts'

const GROUPS = Array.from({ length: 64 }, (_, i) => groupId(i + 1))
const MEMBERS: readonly MemberId[] = [1n, 2n, 3n].map(memberId)
const CONFIG = { voters: MEMBERS, votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false }

const TICK_MS = 20

type Mail = { readonly group: GroupId; readonly message: RaftMessage }

/** A server that hosts every group: no state machine, only cores and the log. */
class Host {
  readonly id: MemberId
  readonly process: SimProcess
  readonly counts: Counts = { writes: 0, datasyncs: 0, bytes: 0 }
  readonly cores = new Map<GroupId, Raft>()
  readonly committed = new Map<GroupId, number>()
  log: WriteAheadLog | undefined
  private readonly send: (to: MemberId, mail: readonly Mail[]) => void
  private world: World
  private isScheduled = false

  constructor(simulation: Simulation, id: MemberId, send: (to: MemberId, mail: readonly Mail[]) => void) {
    this.id = id
    this.send = send
    this.process = simulation.process(`s${id}`)
    this.world = this.process.world
  }

  start(): void {
    this.world = this.process.world
    this.cores.clear()
    this.isScheduled = false
    // What the last life had not sent yet is lost with it.
    this.outbox = new Map()
    const options = { directory: 'log', segmentBytes: 256 * 1024, markerDelayMs: 50, fullRetryMs: 100, onFull() {} }
    openLog(counting(this.world, this.counts), options, (opened) => {
      assert.ok(opened.ok)
      this.log = opened.value
      const known = new Map(opened.value.recovered.map((one) => [one.group, one]))
      const fresh = GROUPS.filter((group) => !known.has(group))
      const base = { index: logIndex(0), term: term(0), config: encodeConfig(CONFIG) }
      this.log.append(
        fresh.map((group) => ({ group, base })),
        () => {
          for (const group of GROUPS) this.begin(group, known.get(group))
          this.later()
          this.tick()
        },
      )
    })
  }

  private begin(group: GroupId, known: RecoveredGroup | undefined): void {
    const start: RaftStart = {
      hardState: known?.hardState ?? { term: term(0), vote: undefined, commit: logIndex(0) },
      snapshot: { index: logIndex(0), term: term(0), config: CONFIG },
      configEntries: known?.configEntries ?? [],
      termRuns: known?.termRuns ?? [],
      lastIndex: known?.lastIndex ?? logIndex(0),
      applied: logIndex(0),
    }
    const options = {
      id: this.id,
      electionTimeoutMs: 1000,
      heartbeatIntervalMs: 100,
      preVote: true,
      checkQuorum: true,
      lease: undefined,
      maxAppendBytes: 1 << 20,
      maxInflightMessages: 64,
      maxInflightBytes: 1 << 24,
      maxUncommittedBytes: 1 << 24,
      maxTailBytes: 1 << 24,
      random: () => this.world.random.fraction(),
    }
    this.cores.set(group, createRaft(options, start, this.now))
  }

  private get now(): number {
    return this.world.clock.monotonicMs()
  }

  /** Every so often the cores that have a deadline behind them are told. */
  private tick(): void {
    this.world.clock.setTimer(TICK_MS, () => {
      for (const core of this.cores.values()) if (core.nextDeadline() <= this.now) core.step({ type: 'tick' }, this.now)
      this.later()
      this.tick()
    })
  }

  receive(mail: readonly Mail[]): void {
    if (!this.process.running) return
    for (const { group, message } of mail) this.cores.get(group)?.step({ type: 'message', message }, this.now)
    this.later()
  }

  /** 'ok', or why not. */
  propose(group: GroupId, data: string): string {
    const result = this.cores.get(group)?.step({ type: 'propose', data: [utf8(data)] }, this.now)
    this.later()
    if (result === undefined) return 'down'
    return result.ok ? 'ok' : result.error.code
  }

  leads(group: GroupId): boolean {
    return this.process.running && this.cores.get(group)?.status().role === 'leader'
  }

  /** At the end of the turn, all duties of all cores. */
  private later(): void {
    if (this.isScheduled) return
    this.isScheduled = true
    this.world.endOfTurn(() => {
      this.isScheduled = false
      this.drain()
    })
  }

  private drain(): void {
    const mail = new Map<MemberId, Mail[]>()
    const post = (group: GroupId, messages: readonly RaftMessage[]): void => {
      for (const message of messages) {
        const box = mail.get(message.to) ?? []
        box.push({ group, message })
        mail.set(message.to, box)
      }
    }
    for (const [group, core] of this.cores) {
      for (let ready = core.ready(); ready !== undefined; ready = core.ready()) {
        const { number, entries, hardState, messages, messagesAfterPersist, committed, entriesWanted } = ready
        post(group, messages)
        for (const wanted of entriesWanted) this.readFor(group, core, wanted)
        if (committed !== undefined) {
          this.committed.set(group, committed.to)
          core.step({ type: 'applied', index: committed.to }, this.now)
        }
        const write: LogWrite = {
          group,
          ...(entries.length > 0 ? { entries } : {}),
          ...(hardState === undefined ? {} : { hardState }),
        }
        const { term: inTerm, lastIndex } = core.status()
        const last = entries.at(-1) ?? { term: inTerm, index: lastIndex }
        this.log?.append(entries.length > 0 || hardState !== undefined ? [write] : [], () => {
          core.step({ type: 'persisted', ready: number, term: last.term, index: last.index }, this.now)
          const after = new Map<MemberId, Mail[]>()
          for (const message of messagesAfterPersist)
            after.set(message.to, [...(after.get(message.to) ?? []), { group, message }])
          for (const [to, letters] of after) this.gather(to, letters)
          this.later()
        })
      }
    }
    for (const [to, letters] of mail) this.gather(to, letters)
  }

  /** What a leader restarted with is in the log only. */
  private readFor(group: GroupId, core: Raft, wanted: Ready['entriesWanted'][number]): void {
    const { to, from, through, maxBytes } = wanted
    this.log?.read(group, from, through, maxBytes, (read) => {
      core.step({ type: 'entriesRead', to, from, entries: read.ok ? read.value : undefined }, this.now)
      this.later()
    })
  }

  private outbox = new Map<MemberId, Mail[]>()

  /** What one turn has for one server travels together. */
  private gather(to: MemberId, letters: readonly Mail[]): void {
    if (this.outbox.size === 0) {
      this.world.endOfTurn(() => {
        const { outbox } = this
        this.outbox = new Map()
        for (const [other, all] of outbox) this.send(other, all)
      })
    }
    this.outbox.set(to, [...(this.outbox.get(to) ?? []), ...letters])
  }
}

function cluster(seed: string): { readonly simulation: Simulation; readonly hosts: readonly Host[] } {
  const simulation = createSimulation({ seed })
  const hosts: Host[] = []
  const send = (to: MemberId, mail: readonly Mail[]): void => {
    simulation.at(simulation.nowMs + 0.3, () => {
      const host = hosts.find((one) => one.id === to)
      host?.process.world.endOfTurn(() => host.receive(mail))
    })
  }
  for (const id of MEMBERS) hosts.push(new Host(simulation, id, send))
  for (const host of hosts) host.start()
  return { simulation, hosts }
}

function until(simulation: Simulation, condition: () => boolean, withinMs = 20_000): void {
  assert.equal(simulation.run({ until: condition, untilMs: simulation.nowMs + withinMs }), 'until')
}

function leaderOf(hosts: readonly Host[], group: GroupId): Host | undefined {
  return hosts.find((host) => host.leads(group))
}

test('64 groups on 3 servers: one write and one fdatasync on each server for what all of them do in a turn', () => {
  const { simulation, hosts } = cluster('64 groups')
  until(simulation, () => GROUPS.every((group) => leaderOf(hosts, group) !== undefined))
  // One server leads them all, so that one turn has work for each.
  const [first] = hosts
  assert.ok(first !== undefined)
  for (const group of GROUPS) {
    const leader = leaderOf(hosts, group)
    if (leader !== first) leader?.cores.get(group)?.step({ type: 'transferLeadership', to: first.id }, simulation.nowMs)
  }
  until(simulation, () => GROUPS.every((group) => first.leads(group)))
  simulation.run({ untilMs: simulation.nowMs + 500 })

  const before = hosts.map((host) => ({ ...host.counts, entries: host.log?.stats().entries ?? 0 }))
  const commits = GROUPS.map((group) => first.committed.get(group) ?? 0)
  for (const group of GROUPS) assert.equal(first.propose(group, `value of ${group}`), 'ok')
  until(simulation, () =>
    GROUPS.every((group, i) => hosts.every((host) => (host.committed.get(group) ?? 0) > (commits[i] ?? 0))),
  )
  hosts.forEach((host, i) => {
    const was = before[i]
    assert.ok(was !== undefined)
    assert.equal((host.log?.stats().entries ?? 0) - was.entries, 64, 'one entry of each group')
    const writes = host.counts.writes - was.writes
    assert.equal(host.counts.datasyncs - was.datasyncs, writes, 'one fdatasync for each write')
    // One batch for the entries, at most one more for the commit indexes that follow, and one marker.
    assert.ok(writes <= 3, `${writes} writes on server ${host.id} for 64 groups`)
  })
  assert.deepEqual(simulation.findings, [])
})

test('64 groups on 3 servers, power losses: what was committed stays, in every group', () => {
  for (let seed = 0; seed < 3; seed++) {
    const { simulation, hosts } = cluster(`losses ${seed}`)
    let proposed = 0
    for (let round = 0; round < 5; round++) {
      until(simulation, () => GROUPS.every((group) => leaderOf(hosts, group) !== undefined))
      for (const group of GROUPS) if (leaderOf(hosts, group)?.propose(group, `${round}.${group}`) === 'ok') proposed++
      simulation.run({ untilMs: simulation.nowMs + 0.2 + ((seed + round) % 5) * 0.7 })
      const victim = hosts[(seed + round) % 3]
      victim?.process.crash({ silent: false })
      simulation.run({ untilMs: simulation.nowMs + 50 })
      victim?.process.restart()
      victim?.start()
    }
    assert.ok(proposed > 100)
    const highest = GROUPS.map((group) => Math.max(...hosts.map((host) => host.committed.get(group) ?? 0)))
    until(simulation, () =>
      GROUPS.every((group, i) => hosts.every((host) => (host.committed.get(group) ?? 0) >= (highest[i] ?? 0))),
    )
    simulation.run({ untilMs: simulation.nowMs + 300 })
    GROUPS.forEach((group, i) => {
      const contents = hosts.map((host) => {
        assert.ok(host.log !== undefined)
        return readAllOf(simulation, host.log, group, 1, highest[i] ?? 0)
      })
      assert.deepEqual(contents[1], contents[0])
      assert.deepEqual(contents[2], contents[0])
    })
    assert.deepEqual(simulation.findings, [])
  }
})
