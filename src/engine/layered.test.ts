import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Result } from '../base/index.ts'
import { logIndex, utf8 } from '../base/index.ts'
import { createSimulation } from '../lab/index.ts'
import { layeredBench } from './bench.testkit.ts'
import { openMemoryEngine } from './index.ts'
import type { Engine } from './types.ts'
import { apply, type Bench, checkpoint, close, G1, G2, list, opened, settled } from './engine.testkit.ts'
import { createTestDisk, type TestDisk } from './store.testkit.ts'

async function on(body: (bench: Bench, disk: TestDisk) => Promise<void>): Promise<void> {
  const disk = createTestDisk('layered')
  const bench = await layeredBench('layered', disk)
  await body(bench, disk)
  await bench.end()
}

const asked = (bench: Bench, start: (done: (result: Result<void>) => void) => void): Promise<Result<void>> =>
  bench.wait<Result<void>>(start)

test('a full disk: checkpoints fail and are tried again, reads go on, nothing is lost or reordered', () =>
  on(async (bench, disk) => {
    const said: boolean[] = []
    const engine = await opened(bench, {
      checkpointBytes: 100_000,
      maxOverlayBytes: 300_000,
      onPressure: (under) => said.push(under),
    })
    apply(engine, 1, { a: '1' })
    await checkpoint(bench, engine)
    disk.full = true
    apply(engine, 2, { a: '2' })
    const refused = await asked(bench, (done) => engine.checkpoint(done))
    assert.ok(!refused.ok)
    assert.equal(refused.error.code, 'disk-full')
    assert.equal(refused.error.retryable, true)
    for (let index = 3; !engine.underPressure; index++) {
      apply(engine, index, { [`k${index % 7}`]: 'x'.repeat(20_000 + index) })
      await bench.pass(1)
    }
    const { length } = list(engine)
    await bench.pass(5000)
    assert.equal(engine.durableIndex(G1), 1)
    assert.equal(list(engine).length, length)
    assert.deepEqual(said, [true])
    const again = await asked(bench, (done) => engine.checkpoint(done))
    assert.ok(!again.ok)
    disk.full = false
    await bench.pass(2000)
    assert.deepEqual(said, [true, false])
    await checkpoint(bench, engine)
    assert.equal(engine.durableIndex(G1), engine.appliedIndex(G1))
    await bench.crash()
    assert.equal(list(await opened(bench)).length, length)
  }))

test('a full disk: a restore waits for space, and an engine can be closed', () =>
  on(async (bench, disk) => {
    const engine = await opened(bench)
    apply(engine, 1, { a: '1' })
    const staged = engine.openRestore(G1, utf8('a'), utf8('z'))
    staged.add(utf8('b'), utf8('restored'))
    disk.full = true
    let swapped = false
    staged.commit(logIndex(7), (result) => {
      assert.ok(result.ok)
      swapped = true
    })
    await bench.pass(3000)
    assert.equal(swapped, false)
    assert.equal(list(engine), 'a=1')
    disk.full = false
    await bench.pass(3000)
    assert.equal(swapped, true)
    assert.equal(list(engine), 'b=restored')
    disk.full = true
    apply(engine, 8, { c: '8' })
    const last = await asked(bench, (done) => engine.checkpoint(done))
    assert.ok(!last.ok)
    await close(bench, engine)
    disk.full = false
    assert.equal(list(await opened(bench)), 'b=restored')
  }))

test('a disk that fails in the middle of a large checkpoint keeps a prefix of its batches', () =>
  on(async (bench, disk) => {
    const engine = await opened(bench, { checkpointBytes: 100_000_000, checkpointDelayMs: 100_000 })
    // More segments than are under way at once.
    for (let index = 1; index <= 120; index++) {
      engine.applyBatch(G1, logIndex(index), (writer) => {
        for (let i = 0; i < 500; i++) writer.put(utf8(`k${i}`), utf8(`${index}`))
      })
    }
    engine.checkpoint(() => {})
    disk.commitMs = 10
    await bench.pass(25)
    disk.full = true
    await bench.pass(100)
    const durable = engine.durableIndex(G1)
    assert.ok(durable > 0 && durable < 120, `${durable}`)
    await bench.crash()
    disk.full = false
    const after = await opened(bench)
    const found = after.appliedIndex(G1)
    assert.ok(found >= durable)
    const cursor = after.scan(utf8('k'), utf8('l'))
    for (let i = 0; i < 500; i++) {
      assert.ok(cursor.next())
      assert.deepEqual(cursor.value, utf8(`${found}`))
    }
    cursor.close()
  }))

test('what a full disk refused is committed later in the order it was applied in', () =>
  on(async (bench, disk) => {
    const engine = await opened(bench, { checkpointBytes: 100_000_000, checkpointDelayMs: 100_000 })
    for (let index = 1; index <= 120; index++) {
      engine.applyBatch(G1, logIndex(index), (writer) => {
        for (let i = 0; i < 500; i++) writer.put(utf8(`k${i}`), utf8(`${index}`))
      })
    }
    disk.full = true
    const refused = await asked(bench, (done) => engine.checkpoint(done))
    assert.ok(!refused.ok)
    disk.full = false
    await bench.pass(1000)
    assert.equal(engine.durableIndex(G1), 120)
    await bench.crash()
    const after = await opened(bench)
    assert.equal(after.appliedIndex(G1), 120)
    assert.ok(
      list(after)
        .split(' ')
        .every((pair) => pair.endsWith('=120')),
    )
  }))

test('commits are short, however much is checkpointed, restored or cleaned at once', () =>
  on(async (bench, disk) => {
    const engine = await opened(bench, { checkpointBytes: 1e9, maxOverlayBytes: 1e9, checkpointDelayMs: 100_000 })
    for (let index = 1; index <= 300; index++) {
      engine.applyBatch(G1, logIndex(index), (writer) => {
        for (let i = 0; i < 100; i++) writer.put(utf8(`k${index}-${i}`), utf8('v'))
      })
    }
    await checkpoint(bench, engine)
    apply(engine, 1, { m: '1' }, G2)
    const staged = engine.openRestore(G1, utf8('k'), utf8('l'))
    for (let i = 0; i < 20_000; i++) {
      if (!staged.add(utf8(`k${String(i).padStart(6, '0')}`), utf8('r'))) {
        await bench.wait<void>((done) => staged.onDrain(done))
      }
    }
    await settled<void>(bench, (done) => staged.commit(logIndex(301), done))
    await bench.pass(1000)
    assert.ok(disk.largestCommit <= 4300, `${disk.largestCommit} writes in one commit`)
    assert.equal(list(engine).split(' ').length, 20_001)
  }))

test('more restores than the store has slots fail cleanly, and slots come back', () =>
  on(async (bench) => {
    const engine = await opened(bench)
    apply(engine, 1, { a: '1' })
    const open = []
    let refused: Result<void> | undefined
    for (let i = 0; i < 20 && refused === undefined; i++) {
      const staged = engine.openRestore(G1, utf8('b'), utf8('c'))
      if (staged.add(utf8('b'), utf8('x')) && i >= 6)
        refused = await asked(bench, (done) => staged.commit(logIndex(9), done))
      else open.push(staged)
    }
    assert.ok(refused !== undefined && !refused.ok)
    assert.equal(refused.error.code, 'too-many-requests')
    for (const staged of open) staged.abort()
    await bench.pass(100)
    for (let round = 2; round < 40; round++) {
      const staged = engine.openRestore(G1, utf8('a'), utf8('d'))
      staged.add(utf8('b'), utf8(`${round}`))
      await settled<void>(bench, (done) => staged.commit(logIndex(round), done))
      assert.equal(list(engine), `b=${round}`)
      await bench.pass(20)
    }
  }))

test('memory: on a full disk checkpoints fail, and are tried again after a while, restores wait', () => {
  const simulation = createSimulation({ seed: 'memory-full' })
  const home = simulation.process('a')
  let engine: Engine | undefined
  const options = {
    directory: 'engine',
    checkpointBytes: 1000,
    checkpointDelayMs: 100,
    maxOverlayBytes: 100_000,
    onPressure: () => {},
    onDurable: () => {},
  }
  openMemoryEngine(home.world, options, (opened) => {
    assert.ok(opened.ok)
    engine = opened.value
  })
  simulation.run({ untilMs: 1000 })
  assert.ok(engine !== undefined)
  let attempts = 0
  home.disk.fault = (operation) => {
    if (operation !== 'replace') return undefined
    attempts++
    return 'disk-full'
  }
  apply(engine, 1, { a: 'x'.repeat(5000) })
  let refused: Result<void> | undefined
  engine.checkpoint((result) => (refused = result))
  const staged = engine.openRestore(G2, utf8('m'), utf8('n'))
  staged.add(utf8('m'), utf8('1'))
  let swapped: Result<void> | undefined
  staged.commit(logIndex(4), (result) => (swapped = result))
  simulation.run({ untilMs: 3000 })
  assert.ok(refused !== undefined && !refused.ok)
  assert.equal(swapped, undefined)
  assert.equal(engine.durableIndex(G2), 0)
  assert.ok(attempts > 2 && attempts < 30, `${attempts} attempts in two seconds`)
  home.disk.fault = undefined
  simulation.run({ untilMs: 5000 })
  assert.deepEqual(swapped, { ok: true, value: undefined })
  assert.equal(engine.durableIndex(G2), 4)
})
