import assert from 'node:assert/strict'
import { test } from 'node:test'
import { groupId, type LogIndex, logIndex, type Result, utf8 } from '../base/index.ts'
import { SECTOR_BYTES } from '../world/index.ts'
import type { LogEntry, LogWrite } from './index.ts'
import {
  base,
  type Counts,
  counting,
  entries,
  entry,
  G1,
  G2,
  hardState,
  readAll,
  recoveredOf,
  Rig,
} from './log.testkit.ts'

function started(seed: string, options: ConstructorParameters<typeof Rig>[1] = {}): Rig {
  const rig = new Rig(seed, options)
  rig.open()
  rig.append([{ group: G1, base: base(0, 0), hardState: hardState(1, 0, 0) }])
  return rig
}

test('what was acknowledged is there after power loss, whole', () => {
  for (let seed = 0; seed < 30; seed++) {
    const rig = started(`loss ${seed}`)
    rig.append([{ group: G1, entries: entries(1, 5, 1), hardState: hardState(1, 7, 3) }])
    rig.append([
      { group: G1, entries: entries(4, 6, 2) },
      { group: G2, base: base(10, 4) },
    ])
    rig.crash()
    const log = rig.open()
    const one = recoveredOf(log, G1)
    assert.deepEqual(one.hardState, hardState(1, 7, 3))
    assert.deepEqual(one.base, base(0, 0))
    assert.equal(one.lastIndex, 6)
    assert.deepEqual(one.termRuns, [
      { term: 1, firstIndex: 1 },
      { term: 2, firstIndex: 4 },
    ])
    assert.deepEqual(rig.entriesOf(one), [...entries(1, 3, 1), ...entries(4, 6, 2)])
    assert.deepEqual(recoveredOf(log, G2).base, base(10, 4))
    assert.deepEqual(rig.simulation.findings, [])
  }
})

test('an append that was not acknowledged is there whole or not at all', () => {
  const outcomes = new Set<number>()
  for (let seed = 0; seed < 60; seed++) {
    const rig = started(`whole ${seed}`)
    const big = entries(1, 3, 1, 9000)
    rig.log.append(
      [
        { group: G1, entries: big },
        { group: G2, base: base(0, 0), entries: big },
      ],
      () => {},
    )
    rig.rest(0.1)
    rig.crash()
    const log = rig.open()
    const one = recoveredOf(log, G1)
    outcomes.add(one.lastIndex)
    assert.equal(log.recovered.length, one.lastIndex === 0 ? 1 : 2)
    if (one.lastIndex > 0) assert.deepEqual(rig.entriesOf(one), big)
  }
  assert.deepEqual(outcomes, new Set([0, 3]))
})

test('64 groups that append in one turn share one write and one fdatasync', () => {
  const rig = new Rig('groups')
  const counts: Counts = { writes: 0, datasyncs: 0, bytes: 0 }
  const log = rig.open(counting(rig.machine.world, counts))
  const groups = Array.from({ length: 64 }, (_, i) => groupId(i + 1))
  const order: number[] = []
  rig.settle<void>((done) =>
    log.append(
      groups.map((group) => ({ group, base: base(0, 0) })),
      done,
    ),
  )
  const before = { ...counts }
  const stats = log.stats()
  rig.settle<void>((done) => {
    for (const group of groups) {
      log.append([{ group, entries: entries(1, 3, 1), hardState: hardState(1, 2, 1) }], () => {
        if (order.push(group) === 64) done()
      })
    }
  })
  assert.equal(counts.writes - before.writes, 1)
  assert.equal(counts.datasyncs - before.datasyncs, 1)
  assert.equal(log.stats().batches - stats.batches, 1)
  assert.equal(log.stats().syncs - stats.syncs, 1)
  assert.equal(log.stats().entries - stats.entries, 192)
  assert.deepEqual(order, groups.slice(), 'in the order of the calls')
})

test('what comes while a sync is in flight shares the next one', () => {
  const rig = started('group commit')
  const counts: Counts = { writes: 0, datasyncs: 0, bytes: 0 }
  rig.close()
  const log = rig.open(counting(rig.machine.world, counts))
  const before = { ...counts }
  let done = 0
  for (let i = 1; i <= 100; i++) {
    rig.simulation.at(rig.simulation.nowMs + i * 0.05, () =>
      log.append([{ group: G1, entries: entries(i, i, 1) }], () => void done++),
    )
  }
  rig.simulation.run({ until: () => done === 100, untilMs: rig.simulation.nowMs + 1000 })
  assert.equal(done, 100)
  const syncs = counts.datasyncs - before.datasyncs
  assert.ok(syncs < 50, `${syncs} syncs for 100 appends`)
  assert.equal(counts.writes - before.writes, syncs, 'one write for each sync')
})

test('nothing is acknowledged before its fdatasync has ended', () => {
  const rig = started('ack')
  const events: string[] = []
  rig.machine.disk.fault = (operation) => {
    if (operation === 'datasync') events.push('sync begins')
    return undefined
  }
  rig.settle<void>((done) => {
    rig.log.append([{ group: G1, entries: entries(1, 1, 1) }], () => {
      events.push('done')
      done()
    })
  })
  assert.deepEqual(events, ['sync begins', 'done'])
  // And power loss right at the acknowledgement takes nothing.
  rig.crash()
  assert.equal(recoveredOf(rig.open(), G1).lastIndex, 1)
})

test('a failed fdatasync ends the server and is not retried', () => {
  const rig = started('sync fails')
  let syncs = 0
  rig.machine.disk.fault = (operation) => {
    if (operation !== 'datasync') return undefined
    syncs++
    return 'disk-failed'
  }
  let acknowledged = false
  rig.log.append([{ group: G1, entries: entries(1, 1, 1) }], () => {
    acknowledged = true
  })
  rig.rest(10_000)
  assert.deepEqual(
    rig.simulation.findings.map(({ violation }) => violation.invariant),
    ['log-sync-failed'],
  )
  assert.equal(syncs, 1)
  assert.equal(acknowledged, false)
})

test('a failed write ends the server', () => {
  const rig = started('write fails')
  rig.machine.disk.fault = (operation) => (operation === 'write' ? 'disk-failed' : undefined)
  rig.log.append([{ group: G1, entries: entries(1, 1, 1) }], () => assert.fail())
  rig.rest(1000)
  assert.deepEqual(
    rig.simulation.findings.map(({ violation }) => violation.invariant),
    ['log-write-failed'],
  )
})

test('after a failed sync, what the system still shows is made durable before it counts', () => {
  // The process dies of the failed sync; the machine lives on, and reads find the batch. Then power is lost.
  for (let seed = 0; seed < 40; seed++) {
    const rig = started(`phantom ${seed}`)
    rig.rest(1000)
    rig.machine.disk.fault = (operation) => (operation === 'datasync' ? 'disk-failed' : undefined)
    rig.log.append([{ group: G1, entries: entries(1, 3, 1) }], () => {})
    rig.rest(1000)
    assert.equal(rig.machine.running, false)
    rig.machine.disk.fault = undefined
    rig.machine.restart()
    const said = recoveredOf(rig.open(), G1).lastIndex
    rig.crash()
    assert.ok(recoveredOf(rig.open(), G1).lastIndex >= said, `seed ${seed}`)
  }
})

test('what recovery reports survives the next power loss, after every kind of death', () => {
  const outcomes = new Set<string>()
  for (let seed = 0; seed < 80; seed++) {
    const rig = started(`twice ${seed}`, { segmentBytes: 16 * 1024 })
    let next = 1
    const more = (): void => {
      rig.log.append([{ group: G1, entries: entries(next, next + 2, 1, 1000) }], more)
      next += 3
    }
    more()
    rig.rest(2 + (seed % 20) * 0.7)
    rig.crash(true)
    const said = recoveredOf(rig.open(), G1).lastIndex
    rig.crash()
    const left = recoveredOf(rig.open(), G1).lastIndex
    assert.ok(left >= said, `seed ${seed}: ${left} of ${said}`)
    outcomes.add(said > 0 ? 'some' : 'none')
  }
  assert.ok(outcomes.has('some'))
})

test('an idle log writes one marker, and then keeps still', () => {
  const rig = started('marker')
  rig.append([{ group: G1, entries: entries(1, 1, 1) }])
  const before = rig.log.stats()
  rig.rest(49)
  assert.equal(rig.log.stats().batches, before.batches)
  rig.rest(100)
  assert.equal(rig.log.stats().batches, before.batches + 1)
  rig.rest(10_000)
  assert.equal(rig.log.stats().batches, before.batches + 1)
  rig.close()
  rig.open()
  rig.rest(10_000)
  assert.equal(rig.log.stats().batches, 0, 'nor does opening it again')
})

test('entries are read in any portions, with at least one whatever its size', () => {
  const rig = started('reads', { segmentBytes: 32 * 1024 })
  const all: LogEntry[] = []
  for (let index = 1; index <= 60; index += 3) {
    const three = [entry(index, 1), entry(index + 1, 1, new Uint8Array(5000).fill(index)), entry(index + 2, 1)]
    all.push(...three)
    rig.append([{ group: G1, entries: three }, ...(index === 1 ? [{ group: G2, base: base(0, 0) }] : [])])
    rig.append([{ group: G2, entries: entries((index + 2) / 3, (index + 2) / 3, 1, 200) }])
  }
  for (const maxBytes of [0, 1, 5000, 12_000, 1e9])
    assert.deepEqual(readAll(rig, G1, 1, 60, maxBytes), all, `${maxBytes}`)
  const whole = rig.must<readonly LogEntry[]>((done) => rig.log.read(G1, logIndex(7), logIndex(40), 1e9, done))
  assert.deepEqual(whole, all.slice(6, 40), 'in one go, over segments')
  const limited = rig.must<readonly LogEntry[]>((done) => rig.log.read(G1, logIndex(2), logIndex(60), 5100, done))
  const beyond = limited.slice(1).reduce((sum, one) => sum + one.data.length, 0)
  assert.ok(beyond <= 5100)
  assert.equal(limited.length, 6, 'and the next would be too much')
})

test('reading what is compacted, cut or unknown says so', () => {
  const rig = started('compacted')
  rig.append([{ group: G1, entries: entries(1, 10, 1) }])
  rig.log.compact(G1, base(4, 1))
  rig.rest(200)
  const codes: string[] = []
  for (const [group, from] of [
    [G1, 4],
    [G1, 11],
    [G2, 1],
  ] as const) {
    const result = rig.settle<Result<readonly LogEntry[]>>((done) =>
      rig.log.read(group, logIndex(from), logIndex(20), 1000, done),
    )
    codes.push(result.ok ? 'ok' : result.error.code)
  }
  assert.deepEqual(codes, ['compacted', 'compacted', 'compacted'])
  assert.deepEqual(readAll(rig, G1, 5, 10), entries(5, 10, 1))
})

test('rewritten entries are never read back, neither live nor after a restart', () => {
  const rig = started('rewrites')
  const cuts = [20, 15, 18, 3, 10, 1, 9]
  let expected: LogEntry[] = []
  cuts.forEach((cut, i) => {
    const through = cut + 8
    const fresh = entries(cut, through, i + 2)
    expected = [...expected.slice(0, cut - 1), ...fresh]
    if (i === 0) {
      rig.append([{ group: G1, entries: entries(1, 19, 1) }])
      expected = [...entries(1, 19, 1), ...fresh]
    }
    rig.append([{ group: G1, entries: fresh }])
    assert.deepEqual(readAll(rig, G1, 1, through), expected)
  })
  // Twice in one append, and twice in one batch.
  rig.log.append(
    [
      { group: G1, entries: entries(5, 30, 20) },
      { group: G1, entries: entries(8, 9, 21) },
    ],
    () => {},
  )
  rig.append([{ group: G1, entries: entries(9, 12, 22) }])
  expected = [...expected.slice(0, 4), ...entries(5, 7, 20), ...entries(8, 8, 21), ...entries(9, 12, 22)]
  assert.deepEqual(readAll(rig, G1, 1, 12), expected)
  rig.crash()
  rig.open()
  assert.deepEqual(rig.entriesOf(recoveredOf(rig.log, G1)), expected)
})

test('a read that a rewrite overtakes returns one history', () => {
  let overtaken = 0
  for (let seed = 0; seed < 60; seed++) {
    const rig = started(`overtaken ${seed}`, { segmentBytes: 16 * 1024 })
    for (let i = 0; i < 20; i++) rig.append([{ group: G1, entries: entries(i * 3 + 1, i * 3 + 3, 1, 1500) }])
    let got: Result<readonly LogEntry[]> | undefined
    let isDone = false
    let isWithin = false
    rig.log.append([{ group: G1, entries: entries(2, 60, 2, 100) }], () => {
      isDone = true
    })
    rig.rest(seed * 0.15)
    isWithin = !isDone
    rig.log.read(G1, logIndex(1), logIndex(60), 1e9, (result) => {
      got = result
      if (isDone && isWithin) overtaken++
    })
    rig.simulation.run({ until: () => got !== undefined, untilMs: rig.simulation.nowMs + 1000 })
    assert.ok(got?.ok)
    const old = entries(1, 60, 1, 1500)
    const fresh = [...entries(1, 1, 1, 1500), ...entries(2, 60, 2, 100)]
    assert.deepEqual(got.value, got.value[1]?.term === 1 ? old : fresh)
  }
  assert.ok(overtaken > 3, `${overtaken} reads were overtaken`)
})

test('config entries and a snapshot that replaces everything are recovered', () => {
  const rig = started('config')
  const config: LogEntry = { ...entry(2, 1, 'members'), type: 'config' }
  rig.append([{ group: G1, entries: [entry(1, 1), config, entry(3, 1)] }])
  rig.crash()
  assert.deepEqual(recoveredOf(rig.open(), G1).configEntries, [config])
  rig.append([{ group: G1, base: base(50, 3), entries: entries(51, 52, 3), hardState: hardState(3, 0, 50) }])
  rig.crash()
  const group = recoveredOf(rig.open(), G1)
  assert.deepEqual([group.base, group.lastIndex, group.configEntries], [base(50, 3), 52, []])
  assert.deepEqual(group.termRuns, [{ term: 3, firstIndex: 51 }])
  assert.deepEqual(rig.entriesOf(group), entries(51, 52, 3))
})

test('a removed group is gone, and may be made anew, all in order', () => {
  const rig = started('removed')
  const order: string[] = []
  rig.append([{ group: G1, entries: entries(1, 3, 1) }])
  rig.log.append([{ group: G1, entries: entries(4, 4, 1) }], () => order.push('append'))
  rig.log.compact(G1, base(4, 1))
  rig.log.removeGroup(G1, () => order.push('remove'))
  rig.settle<void>((done) =>
    rig.log.append([{ group: G1, base: base(7, 2) }], () => {
      order.push('make')
      done()
    }),
  )
  assert.deepEqual(order, ['append', 'remove', 'make'])
  rig.crash()
  assert.deepEqual(recoveredOf(rig.open(), G1).base, base(7, 2))
  rig.settle<void>((done) => rig.log.removeGroup(G1, done))
  rig.crash()
  assert.deepEqual(rig.open().recovered, [])
})

test('what makes no sense is blamed on the caller and does not reach the disk', () => {
  const wrong: readonly (readonly [string, LogWrite])[] = [
    ['log-without-gaps', { group: G1, entries: entries(5, 5, 1) }],
    ['log-without-gaps', { group: G1, entries: [entry(4, 1), entry(6, 1)] }],
    ['log-without-gaps', { group: G1, entries: [entry(4, 3), entry(5, 2)] }],
    ['log-without-gaps', { group: G1, entries: entries(0, 2, 1) }],
    ['log-group-known', { group: G2, entries: entries(1, 1, 1) }],
    ['log-group-known', { group: G2, hardState: hardState(1, 0, 0) }],
  ]
  for (const [name, write] of wrong) {
    const rig = started('nonsense')
    rig.append([{ group: G1, entries: entries(1, 3, 1) }])
    assert.throws(() => rig.log.append([write], () => {}), { invariant: name })
    rig.crash()
    assert.equal(recoveredOf(rig.open(), G1).lastIndex, 3)
  }
  const rig = started('nonsense 2')
  assert.throws(() => rig.log.compact(G1, base(1, 1)), { invariant: 'log-compacts-what-it-has' })
})

test('close finishes what was asked for and marks it; nothing is held open afterwards', () => {
  const rig = started('close')
  let done = false
  rig.log.append([{ group: G1, entries: entries(1, 2, 1) }], () => {
    done = true
  })
  rig.log.compact(G1, base(1, 1))
  const { log } = rig
  rig.close()
  assert.ok(done)
  assert.throws(() => log.append([], () => {}), { invariant: 'log-open' })
  const read = rig.settle<Result<readonly LogEntry[]>>((tell) => log.read(G1, logIndex(2), logIndex(2), 1, tell))
  assert.equal(read.ok ? '' : read.error.code, 'stopping')
  const group = recoveredOf(rig.open(), G1)
  assert.deepEqual([group.base.index, group.lastIndex], [1, 2])
})

test('batches begin on sector boundaries, and a batch costs one sector at least', () => {
  const rig = started('sectors')
  const counts: Counts = { writes: 0, datasyncs: 0, bytes: 0 }
  rig.close()
  const offsets: number[] = []
  const { world } = rig.machine
  const watching = {
    ...world,
    disk: {
      ...world.disk,
      open: ((path, options, done) =>
        world.disk.open(path, options, (opened) => {
          if (!opened.ok) return done(opened)
          const file = opened.value
          done({
            ok: true,
            value: {
              ...file,
              write: (at, parts, then) => {
                offsets.push(at)
                file.write(at, parts, then)
              },
            },
          })
        })) satisfies typeof world.disk.open,
    },
  }
  rig.open(counting(watching, counts))
  for (let i = 1; i <= 5; i++) rig.append([{ group: G1, entries: entries(i, i, 1, i * 3000) }])
  for (const offset of offsets) assert.equal(offset % SECTOR_BYTES, 0)
  assert.equal(new Set(offsets).size, offsets.length)
})

test('a large append in one batch comes back', () => {
  const rig = started('large')
  const all: LogEntry[] = []
  for (let index = 1; index <= 30; index++) all.push(entry(index, 1, new Uint8Array(100_000).fill(index)))
  rig.append([{ group: G1, entries: all }])
  rig.crash()
  const group = recoveredOf(rig.open(), G1)
  assert.deepEqual(rig.entriesOf(group, 1e9), all)
  assert.equal(group.lastIndex, 30 as LogIndex)
})

test('files that are not segments are left alone', () => {
  const rig = started('strangers')
  rig.append([{ group: G1, entries: entries(1, 2, 1) }])
  rig.close()
  for (const name of ['notes.txt', '0000000000000001.log.tmp', '12.log', '0000000000000000.log'])
    rig.put(name, utf8('x'))
  const before = rig.files()
  assert.equal(recoveredOf(rig.open(), G1).lastIndex, 2)
  assert.deepEqual(rig.files(), before)
})
