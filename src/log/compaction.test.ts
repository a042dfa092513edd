import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { groupId, logIndex, type Result } from '../base/index.ts'
import type { World } from '../world/index.ts'
import { openNodeWorld } from '../world/node/index.ts'
import { type LogEntry, openLog, type WriteAheadLog } from './index.ts'
import { base, type Counts, counting, entries, G1, G2, hardState, readAll, recoveredOf, Rig } from './log.testkit.ts'

const SEGMENT_BYTES = 32 * 1024

function started(seed: string): Rig {
  const rig = new Rig(seed, { segmentBytes: SEGMENT_BYTES })
  rig.open()
  rig.append([{ group: G1, base: base(0, 0), hardState: hardState(1, 5, 0) }])
  return rig
}

/** Appends to G1 one at a time and compacts all but the last `keep`. */
function load(rig: Rig, from: number, through: number, keep: number): void {
  for (let index = from; index <= through; index++) {
    rig.append([{ group: G1, entries: entries(index, index, 1, 3000) }])
    if (index % 5 === 0 && index > keep) rig.log.compact(G1, base(index - keep, 1))
  }
}

test('compaction gives space back under load', () => {
  const rig = started('load')
  let most = 0
  for (let at = 0; at < 400; at += 10) {
    load(rig, at + 1, at + 10, 10)
    most = Math.max(most, rig.log.stats().sizeBytes)
  }
  assert.ok(most < 6 * SEGMENT_BYTES, `${most} bytes at most`)
  assert.ok(rig.log.stats().segments <= 4)
  assert.deepEqual(readAll(rig, G1, 391, 400, 5000), entries(391, 400, 1, 3000))
  rig.crash()
  const group = recoveredOf(rig.open(), G1)
  assert.deepEqual(group.hardState, hardState(1, 5, 0), 'a hard state written long ago is carried on')
  assert.deepEqual(rig.entriesOf(group), entries(group.base.index + 1, group.lastIndex, 1, 3000))
})

test('an idle group does not pin old segments: its entries are written forward', () => {
  const rig = started('idle')
  const idle: LogEntry[] = [...entries(1, 3, 1), ...entries(4, 9, 2, 700)]
  idle[5] = { ...(idle[5] as LogEntry), type: 'config' }
  rig.append([{ group: G2, base: base(0, 0), entries: idle, hardState: hardState(2, 9, 4) }])
  rig.append([{ group: G2, entries: entries(10, 12, 3) }])
  let most = 0
  for (let at = 0; at < 400; at += 10) {
    load(rig, at + 1, at + 10, 10)
    most = Math.max(most, rig.log.stats().sizeBytes)
  }
  assert.ok(most < 8 * SEGMENT_BYTES, `${most} bytes at most`)
  assert.equal(rig.files()[0] === '0000000000000001.log', false, 'the first segment is gone')
  const all = [...idle, ...entries(10, 12, 3)]
  assert.deepEqual(readAll(rig, G2, 1, 12), all)
  rig.crash()
  const group = recoveredOf(rig.open(), G2)
  assert.deepEqual(rig.entriesOf(group), all)
  assert.deepEqual(group.hardState, hardState(2, 9, 4))
  assert.deepEqual(group.configEntries, [idle[5]])
  assert.deepEqual(group.termRuns, [
    { term: 1, firstIndex: 1 },
    { term: 2, firstIndex: 4 },
    { term: 3, firstIndex: 10 },
  ])
  // It wakes up, is cut, compacted, and written forward again.
  rig.append([{ group: G2, entries: entries(8, 14, 4) }])
  rig.log.compact(G2, base(5, 2))
  load(rig, 401, 600, 10)
  const rest = [...all.slice(5, 7), ...entries(8, 14, 4)]
  assert.deepEqual(readAll(rig, G2, 6, 14), rest)
  rig.crash()
  const again = recoveredOf(rig.open(), G2)
  assert.deepEqual(rig.entriesOf(again), rest)
  assert.equal(again.base.index, 5)
})

test('writing forward costs no more than what was appended', () => {
  const rig = started('amplification')
  // Half of the log is live and idle.
  rig.append([{ group: G2, base: base(0, 0) }])
  for (let index = 1; index <= 60; index++) rig.append([{ group: G2, entries: entries(index, index, 1, 3000) }])
  rig.close()
  const counts: Counts = { writes: 0, datasyncs: 0, bytes: 0 }
  rig.open(counting(rig.machine.world, counts))
  load(rig, 1, 400, 10)
  const after = rig.log.stats()
  // A segment of 8 sectors begins with two of its own.
  const appended = 400 * 4096 * (8 / 6)
  assert.ok(counts.bytes < 2 * appended, `${counts.bytes} bytes written for ${appended}`)
  assert.ok(after.sizeBytes < 2.5 * 61 * 4096 + 6 * SEGMENT_BYTES, `${after.sizeBytes}`)
  assert.deepEqual(readAll(rig, G2, 1, 60, 10_000), entries(1, 60, 1, 3000))
})

test('crashes at any moment of writing forward and removing lose nothing', () => {
  let removedSome = 0
  for (let seed = 0; seed < 30; seed++) {
    const rig = started(`moving ${seed}`)
    const idle = entries(1, 20, 1, 900)
    rig.append([{ group: G2, base: base(0, 0), entries: idle }])
    let next = 1
    for (let life = 0; life < 3; life++) {
      const acknowledged = { last: next - 1 }
      const more = (): void => {
        const index = next++
        rig.log.append([{ group: G1, entries: entries(index, index, 1, 3000) }], () => {
          acknowledged.last = index
          if (index % 5 === 0) rig.log.compact(G1, base(index - 3, 1))
          more()
        })
      }
      more()
      rig.rest(40 + seed * 3)
      rig.crash(seed % 3 === 0)
      const log = rig.open()
      assert.deepEqual(rig.entriesOf(recoveredOf(log, G2)), idle, `seed ${seed}`)
      const one = recoveredOf(log, G1)
      assert.ok(one.lastIndex >= acknowledged.last, `seed ${seed}`)
      assert.deepEqual(rig.entriesOf(one, 20_000), entries(one.base.index + 1, one.lastIndex, 1, 3000))
      next = one.lastIndex + 1
    }
    if (rig.files()[0] !== '0000000000000001.log') removedSome++
    assert.deepEqual(rig.simulation.findings, [])
  }
  assert.ok(removedSome > 15, `${removedSome}`)
})

test('an idle group that is rewritten, compacted or removed while it is written forward keeps what it said last', () => {
  let whileMoving = 0
  for (let seed = 0; seed < 40; seed++) {
    const rig = started(`wakes ${seed}`)
    const idle = entries(1, 20, 1, 900)
    rig.append([{ group: G2, base: base(0, 0), entries: idle }])
    let from = 1
    while (rig.log.stats().segments < 5 && from < 200) {
      load(rig, from, from + 4, 10)
      from += 5
    }
    // Batches come one by one; between two of them, at any time, the group wakes.
    const index = { next: from }
    const more = (): void => {
      const at = index.next++
      rig.log.append([{ group: G1, entries: entries(at, at, 1, 3000) }], more)
      if (at % 5 === 0) rig.log.compact(G1, base(at - 10, 1))
    }
    more()
    rig.rest(5 + seed)
    const expected: LogEntry[] = []
    let lowest = 0
    if (seed % 3 === 0) {
      rig.log.append([{ group: G2, entries: entries(5, 8, 2) }], () => {})
      expected.push(...idle.slice(0, 4), ...entries(5, 8, 2))
    } else if (seed % 3 === 1) {
      rig.log.removeGroup(G2, () => {})
      rig.log.append([{ group: G2, base: base(0, 0), entries: entries(1, 2, 3) }], () => {})
      expected.push(...entries(1, 2, 3))
    } else {
      rig.log.compact(G2, base(12, 1))
      rig.log.append([{ group: G2, entries: entries(16, 17, 4) }], () => {})
      expected.push(...idle.slice(12, 15), ...entries(16, 17, 4))
      lowest = 12
    }
    if (rig.files()[0] === '0000000000000001.log') whileMoving++
    rig.rest(60 + seed)
    assert.deepEqual(rig.simulation.findings, [], `seed ${seed}`)
    assert.deepEqual(readAll(rig, G2, lowest + 1, lowest + expected.length), expected, `seed ${seed}`)
    rig.crash()
    assert.deepEqual(rig.entriesOf(recoveredOf(rig.open(), G2)), expected, `seed ${seed}`)
  }
  assert.ok(whileMoving > 5, `${whileMoving} woke before the first segment had gone`)
})

test('segments are removed one after another: a crash leaves no gap', () => {
  const gone = new Set<number>()
  for (let seed = 0; seed < 60; seed++) {
    const rig = started(`gap ${seed}`)
    for (let index = 1; index <= 60; index++) rig.append([{ group: G1, entries: entries(index, index, 1, 3000) }])
    const before = rig.files().length
    assert.ok(before > 6)
    rig.log.compact(G1, base(60, 1))
    rig.rest(51 + (seed % 12))
    rig.crash()
    const left = rig.files()
    gone.add(before - left.length)
    assert.deepEqual(
      left,
      left.map((_, i) => `${String(Number.parseInt(left[0] ?? '', 10) + i).padStart(16, '0')}.log`),
    )
    assert.equal(recoveredOf(rig.open(), G1).lastIndex, 60)
  }
  assert.ok(gone.size > 3, 'at many moments')
})

test('entries are read while their segments are removed', () => {
  let refused = 0
  let read = 0
  for (let seed = 0; seed < 40; seed++) {
    const rig = started(`reads ${seed}`)
    for (let index = 1; index <= 40; index++) rig.append([{ group: G1, entries: entries(index, index, 1, 3000) }])
    const results: Result<readonly LogEntry[]>[] = []
    rig.log.compact(G1, base(30, 1))
    for (let at = 0; at < 30; at++) {
      rig.simulation.at(rig.simulation.nowMs + 48 + at * 0.3 + seed * 0.01, () =>
        rig.log.read(G1, logIndex((at % 30) + 1), logIndex(40), 1e9, (result) => void results.push(result)),
      )
    }
    rig.rest(200)
    assert.equal(results.length, 30)
    for (const result of results) {
      if (!result.ok) {
        assert.equal(result.error.code, 'compacted')
        refused++
        continue
      }
      read++
      const first = result.value[0]?.index ?? 0
      assert.deepEqual(result.value, entries(first, first + result.value.length - 1, 1, 3000))
    }
    assert.ok(rig.files().length <= 4)
    assert.deepEqual(rig.simulation.findings, [])
  }
  assert.ok(refused > 20 && read > 20, `${refused} refused, ${read} read`)
})

test('a segment that cannot be removed stays, and is removed later', () => {
  const rig = started('stays')
  rig.machine.disk.fault = (operation) => (operation === 'remove' ? 'disk-failed' : undefined)
  load(rig, 1, 40, 5)
  assert.ok(rig.files().length > 4)
  assert.ok(rig.logged.includes('log-segment-not-removed'))
  rig.machine.disk.fault = undefined
  load(rig, 41, 60, 5)
  rig.rest(100)
  assert.ok(rig.files().length <= 4)
})

test('on a real disk, 64 groups under load, one of them idle, stay within bounds', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'skein-log-'))
  const failures: string[] = []
  const open = (world: World): Promise<WriteAheadLog> =>
    new Promise((resolve, reject) => {
      const options = {
        directory: 'log',
        segmentBytes: 256 * 1024,
        markerDelayMs: 20,
        fullRetryMs: 50,
        onFull: () => {},
      }
      openLog(world, options, (result) => (result.ok ? resolve(result.value) : reject(new Error(result.error.message))))
    })
  const newWorld = (): ReturnType<typeof openNodeWorld> =>
    openNodeWorld({ directory, onFail: (violation) => void failures.push(violation.message) })
  try {
    const world = newWorld()
    const log = await open(world)
    const groups = Array.from({ length: 64 }, (_, i) => groupId(i + 1))
    const idle = groups[63] ?? G1
    await new Promise<void>((done) =>
      log.append(
        groups.map((group) => ({ group, base: base(0, 0), entries: entries(1, 5, 1, 100) })),
        done,
      ),
    )
    const before = log.stats()
    let most = 0
    for (let round = 1; round <= 150; round++) {
      const from = round * 5 + 1
      await new Promise<void>((done) => {
        let left = 63
        for (const group of groups) {
          if (group === idle) continue
          log.append([{ group, entries: entries(from, from + 4, 1, 100) }], () => {
            left--
            if (left === 0) done()
          })
          if (round % 4 === 0) log.compact(group, base(from - 1, 1))
        }
      })
      most = Math.max(most, log.stats().sizeBytes)
    }
    const after = log.stats()
    assert.ok(after.entries - before.entries === 150 * 63 * 5)
    assert.ok(after.batches - before.batches < 150 + 60, `${after.batches - before.batches} batches`)
    // Appended: more than 8 MB.
    assert.ok(most < 2.5e6, `${most} bytes at most`)
    await new Promise<void>((done) => log.close(done))
    const files = readdirSync(join(directory, 'log'))
    const sizeBytes = files.reduce((sum, file) => sum + statSync(join(directory, 'log', file)).size, 0)
    assert.ok(sizeBytes <= most, `${sizeBytes} on disk`)
    world.stop()
    const next = newWorld()
    const again = await open(next)
    assert.equal(again.recovered.length, 64)
    for (const { group, lastIndex, base: from } of again.recovered) {
      assert.equal(lastIndex, group === idle ? 5 : 755)
      const read = await new Promise<Result<readonly LogEntry[]>>((done) =>
        again.read(group, logIndex(from.index + 1), lastIndex, 1e9, done),
      )
      assert.deepEqual(read.ok && [...read.value], entries(from.index + 1, lastIndex, 1, 100))
    }
    await new Promise<void>((done) => again.close(done))
    next.stop()
    assert.deepEqual(failures, [])
  } finally {
    rmSync(directory, { recursive: true })
  }
})
