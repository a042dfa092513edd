import assert from 'node:assert/strict'
import { test } from 'node:test'
import { base, entries, G1, hardState, readAll, recoveredOf, Rig } from './log.testkit.ts'

const SEGMENT_BYTES = 64 * 1024

/** A log with as much room on its disk as it takes now, and `more`. */
function nearlyFull(seed: string, more: number, before = 5): Rig {
  const rig = new Rig(seed, { segmentBytes: SEGMENT_BYTES })
  rig.open()
  rig.append([{ group: G1, base: base(0, 0), hardState: hardState(1, 0, 0) }])
  for (let index = 1; index <= before; index++) rig.append([{ group: G1, entries: entries(index, index, 1, 3000) }])
  rig.machine.disk.capacityBytes = rig.log.stats().sizeBytes + more
  return rig
}

/** Appends one entry after another until the disk is full; returns the last that was acknowledged. */
function fill(rig: Rig, from: number): { acknowledged: number; asked: number } {
  const state = { acknowledged: from - 1, asked: from - 1 }
  const more = (): void => {
    state.asked++
    const index = state.asked
    rig.log.append([{ group: G1, entries: entries(index, index, 1, 3000) }], () => {
      state.acknowledged = index
      more()
    })
  }
  more()
  rig.simulation.run({ until: () => rig.log.stats().full, untilMs: rig.simulation.nowMs + 10_000 })
  assert.ok(rig.log.stats().full)
  return state
}

test('a full disk holds the batch and tells; with space it goes on, in order', () => {
  for (const more of [0, 1, 4095, 4096, 50_000, 100_000]) {
    const rig = nearlyFull(`holds ${more}`, more)
    const state = fill(rig, 6)
    assert.deepEqual(rig.fullness, [true])
    const held = state.asked
    rig.rest(5000)
    assert.equal(state.acknowledged, held - 1, 'nothing is acknowledged while there is no space')
    assert.deepEqual(rig.fullness, [true], 'told once')
    assert.deepEqual(readAll(rig, G1, 1, held - 1, 10_000), entries(1, held - 1, 1, 3000))
    rig.machine.disk.capacityBytes = Infinity
    rig.simulation.run({ until: () => state.acknowledged >= held + 20, untilMs: rig.simulation.nowMs + 1000 })
    assert.deepEqual(rig.fullness, [true, false])
    rig.crash()
    const group = recoveredOf(rig.open(), G1)
    assert.ok(group.lastIndex >= held + 20)
    assert.deepEqual(rig.entriesOf(group, 10_000), entries(1, group.lastIndex, 1, 3000))
    assert.deepEqual(rig.simulation.findings, [])
  }
})

test('power loss while the disk is full takes nothing that was acknowledged', () => {
  for (let seed = 0; seed < 40; seed++) {
    const rig = nearlyFull(`loss ${seed}`, seed * 3001)
    const { acknowledged } = fill(rig, 6)
    rig.rest(seed * 13)
    rig.crash(seed % 4 === 0)
    const group = recoveredOf(rig.open(), G1)
    assert.ok(group.lastIndex >= acknowledged, `seed ${seed}`)
    assert.deepEqual(rig.entriesOf(group, 10_000), entries(1, group.lastIndex, 1, 3000))
  }
})

test('while the disk is full, compaction makes space, and the log goes on by itself', () => {
  for (let more = 0; more < 160_000; more += 7919) {
    const rig = nearlyFull(`frees ${more}`, more, 60)
    const state = fill(rig, 61)
    const held = state.asked
    rig.rest(300)
    rig.log.compact(G1, base(20, 1))
    rig.log.compact(G1, base(40, 1))
    rig.simulation.run({ until: () => state.acknowledged >= held + 3, untilMs: rig.simulation.nowMs + 5000 })
    assert.ok(state.acknowledged >= held + 3, `${more}: ${state.acknowledged} of ${held}`)
    assert.ok(rig.fullness.includes(false))
    rig.crash()
    const group = recoveredOf(rig.open(), G1)
    assert.equal(group.base.index, 40)
    assert.deepEqual(rig.entriesOf(group, 10_000), entries(41, group.lastIndex, 1, 3000))
    assert.deepEqual(rig.simulation.findings, [])
  }
})

test('a compaction asked for before its entries are durable does not overtake them on a full disk', () => {
  const rig = nearlyFull('overtake', 0)
  const { acknowledged, asked } = fill(rig, 6)
  assert.equal(asked, acknowledged + 1)
  rig.log.compact(G1, base(asked, 1))
  rig.rest(1000)
  rig.machine.disk.capacityBytes = Infinity
  rig.rest(1000)
  rig.crash()
  const group = recoveredOf(rig.open(), G1)
  assert.equal(group.base.index, asked)
  assert.ok(group.lastIndex >= asked)
})

test('on a full disk a compaction does not overtake a rewrite of what it drops', () => {
  const rig = nearlyFull('overtake a rewrite', 0)
  const { acknowledged } = fill(rig, 6)
  rig.log.append([{ group: G1, entries: entries(acknowledged, acknowledged + 3, 2) }], () => {})
  rig.log.compact(G1, base(acknowledged, 2))
  rig.rest(1000)
  rig.machine.disk.capacityBytes = Infinity
  rig.rest(1000)
  assert.deepEqual(rig.simulation.findings, [])
  rig.crash()
  assert.equal(recoveredOf(rig.open(), G1).base.index, acknowledged)
})

test('a log on a full disk closes at once; what was held was promised to nobody', () => {
  const rig = nearlyFull('close', 0)
  const { acknowledged } = fill(rig, 6)
  rig.close()
  rig.machine.disk.capacityBytes = Infinity
  const group = recoveredOf(rig.open(), G1)
  assert.ok(group.lastIndex >= acknowledged)
  assert.deepEqual(rig.entriesOf(group, 10_000), entries(1, group.lastIndex, 1, 3000))
})

test('a disk that is full from the start is told, and the log begins when there is space', () => {
  const rig = new Rig('start')
  rig.machine.disk.capacityBytes = 0
  rig.open()
  let done = false
  rig.log.append([{ group: G1, base: base(0, 0) }], () => {
    done = true
  })
  rig.rest(1000)
  assert.deepEqual([rig.fullness, done], [[true], false])
  assert.deepEqual(rig.files(), [], 'a segment that could not be begun is gone')
  rig.machine.disk.capacityBytes = Infinity
  rig.rest(1000)
  assert.deepEqual([rig.fullness, done], [[true, false], true])
})

test('an open refused for a full disk writes nothing but what is there', () => {
  const rig = nearlyFull('open', 0)
  rig.crash()
  rig.machine.disk.capacityBytes = 0
  const group = recoveredOf(rig.open(), G1)
  assert.equal(group.lastIndex, 5)
})
