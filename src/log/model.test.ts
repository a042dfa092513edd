/**
 * Random lives of a log on a simulated disk, against a plain model: appends, rewrites, snapshots, removals, compactions, reads, power
 * losses and kills at any moment, a disk that fills up and empties, failing writes and syncs. What was acknowledged is recovered;
 * what is recovered is a state that was asked for, whole appends in their order; and it stays.
 * SKEIN_LOG_MODEL=N does N times as many runs.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { groupId, type GroupId, logIndex, type Result } from '../base/index.ts'
import type { LogEntry, LogHardState, LogWrite, RecoveredGroup } from './index.ts'
import { base, entries, hardState, Rig } from './log.testkit.ts'

type ModelGroup = {
  readonly made: number
  readonly hardState: LogHardState
  readonly entries: readonly LogEntry[]
  /** Where its base may be: where it was made, and where it was compacted to since. */
  readonly bases: readonly number[]
}
type State = ReadonlyMap<GroupId, ModelGroup>

const NO_VOTE = hardState(0, 0, 0)

class Model {
  /** The state after each call since the last recovery, the recovered one first. */
  states: State[] = [new Map()]
  acknowledged = 0
  readonly terms = new Map<GroupId, number>()

  get now(): State {
    return this.states.at(-1) ?? new Map()
  }

  lastOf(group: GroupId): number | undefined {
    const found = this.now.get(group)
    return found === undefined ? undefined : (found.entries.at(-1)?.index ?? found.made)
  }

  write(writes: readonly LogWrite[]): void {
    const next = new Map(this.now)
    for (const { group, base: from, entries: added, hardState: hard } of writes) {
      const was = next.get(group)
      let now: ModelGroup = was ?? { made: 0, hardState: NO_VOTE, entries: [], bases: [] }
      if (from !== undefined) now = { ...now, made: from.index, entries: [], bases: [from.index] }
      if (added !== undefined && added.length > 0) {
        const first = added[0]?.index ?? 0
        now = { ...now, entries: [...now.entries.filter((one) => one.index < first), ...added] }
      }
      if (hard !== undefined) now = { ...now, hardState: hard }
      next.set(group, now)
    }
    this.states.push(next)
  }

  remove(group: GroupId): void {
    const next = new Map(this.now)
    next.delete(group)
    this.states.push(next)
  }

  /** Asked for, and never acknowledged: in force in any state that has the group as it is now. */
  compact(group: GroupId, index: number): void {
    const now = this.now.get(group)
    if (now === undefined) return
    this.states = this.states.map((state) => {
      const was = state.get(group)
      return was === undefined || was.bases[0] !== now.bases[0]
        ? state
        : new Map([...state, [group, { ...was, bases: [...was.bases, index] }]])
    })
  }

  /** Takes what was recovered for the truth, if it may be. */
  recover(groups: readonly RecoveredGroup[], read: (group: RecoveredGroup) => LogEntry[]): void {
    const found = groups.map((group) => ({ group, has: read(group) }))
    let why = ''
    for (let i = this.states.length - 1; i >= this.acknowledged; i--) {
      const wrong = differs(this.states[i] as State, found)
      if (wrong === undefined) {
        const next = new Map<GroupId, ModelGroup>()
        for (const { group, has } of found) {
          const { index } = group.base
          next.set(group.group, { made: index, hardState: group.hardState, entries: has, bases: [index] })
        }
        this.states = [next]
        this.acknowledged = 0
        return
      }
      why += `\nnot call ${i}: ${wrong}`
    }
    assert.fail(`recovered is none of calls ${this.acknowledged} to ${this.states.length - 1}:${why}`)
  }
}

function differs(
  state: State,
  found: readonly { readonly group: RecoveredGroup; readonly has: readonly LogEntry[] }[],
): string | undefined {
  if (state.size !== found.length) return `${found.length} groups of ${state.size}`
  for (const { group, has } of found) {
    const wanted = state.get(group.group)
    if (wanted === undefined) return `group ${group.group} is not there`
    if (!wanted.bases.includes(group.base.index)) return `base ${group.base.index} of ${wanted.bases.join()}`
    const rest = wanted.entries.filter((one) => one.index > group.base.index)
    if (text(rest) !== text(has)) return `group ${group.group} has ${text(has)}, not ${text(rest)}`
    const [a, b] = [group.hardState, wanted.hardState]
    if (a.term !== b.term || a.vote !== b.vote || a.commit !== b.commit) return `group ${group.group}'s hard state`
    const terms = has.filter((one, i) => one.term !== has[i - 1]?.term)
    if (
      JSON.stringify(terms.map((one) => [one.term, one.index])) !==
      JSON.stringify(group.termRuns.map((run) => [run.term, run.firstIndex]))
    )
      return `group ${group.group}'s terms`
    if (group.lastIndex !== (has.at(-1)?.index ?? group.base.index)) return `group ${group.group}'s end`
  }
  return undefined
}

function text(list: readonly LogEntry[]): string {
  return list.map(({ index, term, data }) => `${index}.${term}:${data.length}`).join(' ')
}

const group = fc.integer({ min: 1, max: 4 })
const action = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      type: fc.constant('append' as const),
      group,
      count: fc.integer({ min: 1, max: 4 }),
      size: fc.constantFrom(0, 0, 50, 900, 6000),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      type: fc.constant('rewrite' as const),
      group,
      back: fc.integer({ min: 1, max: 12 }),
      count: fc.integer({ min: 1, max: 4 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('vote' as const), group }) },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constant('snapshot' as const), group, ahead: fc.integer({ min: 1, max: 5 }) }),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('remove' as const), group }) },
  {
    weight: 4,
    arbitrary: fc.record({ type: fc.constant('compact' as const), group, keep: fc.integer({ min: 0, max: 6 }) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      type: fc.constant('read' as const),
      group,
      back: fc.nat(20),
      maxBytes: fc.constantFrom(0, 500, 1e6),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({ type: fc.constant('wait' as const), ms: fc.constantFrom(0.05, 0.5, 1, 3, 10, 80) }),
  },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('crash' as const), keepWrites: fc.boolean() }) },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constant('crashAtOpen' as const), ms: fc.constantFrom(0.05, 0.2, 0.5, 1, 2, 4) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constant('capacity' as const), more: fc.constantFrom(0, 5000, 30_000, Infinity) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant('fault' as const),
      operation: fc.constantFrom('write' as const, 'datasync' as const, 'sync-directory' as const, 'remove' as const),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ type: 'close' as const }) },
)

type Action = typeof action extends fc.Arbitrary<infer T> ? T : never

class Life {
  readonly rig: Rig
  readonly model = new Model()
  acknowledgedInAll = 0

  constructor(seed: number) {
    this.rig = new Rig(seed, { segmentBytes: 24 * 1024, markerDelayMs: 20, fullRetryMs: 5 })
    this.reopen()
  }

  /** Opens it, and sees to it that it holds what it should. */
  reopen(): void {
    const { rig, model } = this
    if (!rig.machine.running) rig.machine.restart()
    const opened = rig.tryOpen()
    if (!opened.ok) {
      // Only where the disk has no space for what is there already; it is not there for good.
      assert.equal(opened.error.code, 'disk-full', opened.error.message)
      rig.machine.disk.capacityBytes = Infinity
      rig.open()
    }
    model.recover(rig.log.recovered, (recovered) => rig.entriesOf(recovered, 3000))
  }

  append(writes: readonly LogWrite[]): void {
    this.model.write(writes)
    this.rig.log.append(writes, this.acknowledge())
  }

  acknowledge(): () => void {
    const { model } = this
    const call = model.states.length - 1
    return () => {
      assert.equal(model.acknowledged, call - 1, 'in the order of the calls')
      model.acknowledged = call
      this.acknowledgedInAll++
    }
  }

  termOf(id: GroupId): number {
    return this.model.terms.get(id) ?? 1
  }

  newTerm(id: GroupId): number {
    const next = this.termOf(id) + 1
    this.model.terms.set(id, next)
    return next
  }

  do(one: Action): void {
    const { rig, model } = this
    const id = 'group' in one ? groupId(one.group) : groupId(0)
    const last = model.lastOf(id)
    const now = model.now.get(id)
    const lowest = (now === undefined ? 0 : Math.max(...now.bases)) + 1
    switch (one.type) {
      case 'append': {
        const fresh = last === undefined ? [{ group: id, base: base(0, 0) }] : []
        const from = (last ?? 0) + 1
        const added = entries(from, from + one.count - 1, this.termOf(id), one.size)
        return this.append([...fresh, { group: id, entries: added }])
      }
      case 'rewrite': {
        if (last === undefined) return
        const from = Math.max(lowest, last + 1 - one.back)
        const added = entries(from, from + one.count - 1, this.newTerm(id), 40)
        return this.append([{ group: id, entries: added, hardState: hardState(this.termOf(id), 0, lowest - 1) }])
      }
      case 'vote':
        if (last !== undefined) this.append([{ group: id, hardState: hardState(this.newTerm(id), one.group, last) }])
        return
      case 'snapshot': {
        const at = (last ?? 0) + one.ahead
        return this.append([{ group: id, base: base(at, this.termOf(id)) }])
      }
      case 'remove':
        model.remove(id)
        return rig.log.removeGroup(id, this.acknowledge())
      case 'compact': {
        if (last === undefined || last - one.keep < lowest) return
        const index = last - one.keep
        const inTerm = now?.entries.find((entry) => entry.index === index)?.term ?? 1
        model.compact(id, index)
        return rig.log.compact(id, base(index, inTerm))
      }
      case 'read': {
        if (last === undefined || model.acknowledged !== model.states.length - 1 || last < lowest) return
        const from = Math.max(lowest, last - one.back)
        const result = rig.settle<Result<readonly LogEntry[]>>((done) =>
          rig.log.read(id, logIndex(from), logIndex(last), one.maxBytes, done),
        )
        assert.ok(result.ok, result.ok ? '' : result.error.message)
        const wanted = now?.entries.filter((entry) => entry.index >= from) ?? []
        assert.ok(result.value.length > 0)
        assert.deepEqual(result.value, wanted.slice(0, result.value.length))
        return
      }
      case 'wait':
        return rig.rest(one.ms)
      case 'crash':
        rig.crash(one.keepWrites)
        return this.reopen()
      case 'crashAtOpen':
        rig.crash()
        rig.begin()
        rig.rest(one.ms)
        rig.crash()
        return this.reopen()
      case 'capacity':
        rig.machine.disk.capacityBytes = rig.log.stats().sizeBytes + one.more
        return
      case 'fault': {
        rig.machine.disk.fault = (operation) => (operation === one.operation ? 'disk-failed' : undefined)
        rig.rest(30)
        rig.machine.disk.fault = undefined
        if (rig.machine.running) return
        return this.reopen()
      }
      case 'close':
        rig.close()
        return this.reopen()
      default:
        one satisfies never
    }
  }

  end(): void {
    const { rig } = this
    rig.machine.disk.capacityBytes = Infinity
    rig.rest(200)
    const { model } = this
    assert.equal(model.acknowledged, model.states.length - 1, 'with space, everything is acknowledged')
    assert.equal(rig.log.stats().waitingBytes, 0)
    rig.crash()
    this.reopen()
    for (const { violation } of rig.simulation.findings)
      assert.match(violation.invariant, /^log-(?:sync|write|segment|undo)-failed$/, violation.message)
  }
}

test('random lives of a log keep what was acknowledged, and nothing that was not asked for', () => {
  let acknowledged = 0
  fc.assert(
    fc.property(fc.nat(), fc.array(action, { minLength: 5, maxLength: 150, size: 'max' }), (seed, actions) => {
      const life = new Life(seed)
      for (const one of actions) life.do(one)
      life.end()
      acknowledged += life.acknowledgedInAll
    }),
    { numRuns: 60 * Number(process.env['SKEIN_LOG_MODEL'] ?? 1) },
  )
  assert.ok(acknowledged > 500, `${acknowledged} appends acknowledged`)
})
