import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Result, text, utf8 } from '../base/index.ts'
import { type DiskFile, SECTOR_BYTES } from '../world/index.ts'
import { createSimulation, type SimProcess, type Simulation } from './index.ts'
import { SimInode } from './sim-inode.ts'

type Bench = { readonly simulation: Simulation; readonly a: SimProcess }

function bench(seed: string | number): Bench {
  const simulation = createSimulation({ seed })
  return { simulation, a: simulation.process('a') }
}

function settle<T>({ simulation }: Bench, start: (done: (result: Result<T>) => void) => void): T {
  let result: Result<T> | undefined
  start((got) => {
    result = got
  })
  simulation.run({ until: () => result !== undefined })
  assert.ok(result !== undefined && result.ok)
  return result.value
}

/** A file whose name and content so far are durable. */
function durableFile(b: Bench, content: Uint8Array): DiskFile {
  const { disk } = b.a.world
  const file = settle<DiskFile>(b, (done) => disk.open('f', { create: true }, done))
  settle<void>(b, (done) => file.write(0, [content], done))
  settle<void>(b, (done) => file.datasync(done))
  settle<void>(b, (done) => disk.syncDirectory('', done))
  return file
}

function sectors(fill: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(fill.length * SECTOR_BYTES)
  fill.forEach((value, i) => bytes.fill(value, i * SECTOR_BYTES, (i + 1) * SECTOR_BYTES))
  return bytes
}

test('what was synced survives every crash', () => {
  for (let seed = 0; seed < 50; seed++) {
    const b = bench(seed)
    durableFile(b, sectors([1, 2, 3]))
    b.a.crash()
    assert.deepEqual(b.a.disk.peek('f'), sectors([1, 2, 3]))
  }
})

test('unsynced sectors survive in any combination: torn, lost and reordered', () => {
  const outcomes = new Set<string>()
  for (let seed = 0; seed < 300; seed++) {
    const b = bench(seed)
    const file = durableFile(b, sectors([1, 1]))
    settle<void>(b, (done) => file.write(0, [sectors([2, 2, 2])], done))
    settle<void>(b, (done) => file.write(0, [sectors([3])], done))
    b.a.crash()
    const left = b.a.disk.peek('f')
    assert.ok(left !== undefined)
    assert.ok(left.length === 2 * SECTOR_BYTES || left.length === 3 * SECTOR_BYTES)
    const seen: number[] = []
    for (let at = 0; at < left.length; at += SECTOR_BYTES) {
      const sector = left.subarray(at, at + SECTOR_BYTES)
      assert.ok(sector.every((byte) => byte === sector[0]))
      seen.push(sector[0] ?? -1)
    }
    outcomes.add(seen.join(''))
  }
  for (const expected of ['11', '322', '12', '21', '32', '112', '120', '310', '110'])
    assert.ok(outcomes.has(expected), expected)
  for (const outcome of outcomes) assert.match(outcome, /^[123][12][02]?$/)
})

test('a process that dies leaves every write with the system', () => {
  const b = bench('kill')
  const file = durableFile(b, sectors([1]))
  settle<void>(b, (done) => file.write(0, [sectors([2, 2])], done))
  b.a.crash({ keepWrites: true })
  assert.deepEqual(b.a.disk.peek('f'), sectors([2, 2]))
  // Power loss afterwards may still take them.
  const outcomes = new Set<number | undefined>()
  for (let seed = 0; seed < 30; seed++) {
    const c = bench(seed)
    const own = durableFile(c, sectors([1]))
    settle<void>(c, (done) => own.write(0, [sectors([2])], done))
    c.a.crash({ keepWrites: true })
    c.a.restart()
    c.a.crash()
    outcomes.add(c.a.disk.peek('f')?.[0])
  }
  assert.deepEqual(outcomes, new Set([1, 2]))
})

test('a write or sync in flight at the crash may or may not have happened, and nobody is told', () => {
  const outcomes = new Set<number | undefined>()
  for (let seed = 0; seed < 40; seed++) {
    const b = bench(seed)
    const file = durableFile(b, sectors([1]))
    settle<void>(b, (done) => file.write(0, [sectors([2])], done))
    file.datasync(() => assert.fail('told the dead'))
    b.a.crash()
    b.simulation.run()
    outcomes.add(b.a.disk.peek('f')?.[0])
  }
  assert.deepEqual(outcomes, new Set([1, 2]))
})

test('names that were not synced may vanish or come back; replace is atomic', () => {
  const outcomes = new Set<string>()
  for (let seed = 0; seed < 60; seed++) {
    const b = bench(seed)
    const { disk } = b.a.world
    durableFile(b, utf8('old'))
    settle<void>(b, (done) => disk.replace('r', [utf8('one')], done))
    const fresh = settle<DiskFile>(b, (done) => disk.open('new', { create: true }, done))
    settle<void>(b, (done) => fresh.write(0, [utf8('x')], done))
    settle<void>(b, (done) => fresh.datasync(done))
    settle<void>(b, (done) => disk.remove('f', done))
    disk.replace('r', [utf8('two')], () => {})
    b.a.crash()
    const shown = ['f', 'new', 'r'].map((name) => {
      const content = b.a.disk.peek(name)
      return content === undefined ? '-' : text(content)
    })
    outcomes.add(shown.join(' '))
  }
  const expected = ['-', 'old'].flatMap((f) => ['-', 'x'].flatMap((n) => ['one', 'two'].map((r) => `${f} ${n} ${r}`)))
  assert.deepEqual([...outcomes].sort(), expected.sort())
})

test('names are durable after syncDirectory', () => {
  for (let seed = 0; seed < 20; seed++) {
    const b = bench(seed)
    const { disk } = b.a.world
    settle<void>(b, (done) => disk.makeDirectory('d', done))
    settle<DiskFile>(b, (done) => disk.open('d/new', { create: true }, done))
    settle<void>(b, (done) => disk.syncDirectory('d', done))
    b.a.crash()
    assert.ok(b.a.disk.peek('d/new') !== undefined)
  }
})

test('locks, timers and callbacks of the dead are gone', () => {
  const b = bench('gone')
  settle<{ release(): void }>(b, (done) => b.a.world.disk.lock('', done))
  const dead = b.a.world
  dead.disk.list('', () => assert.fail('told the dead'))
  dead.clock.setTimer(1, () => assert.fail('told the dead'))
  dead.endOfTurn(() => assert.fail('told the dead'))
  b.a.crash()
  dead.disk.list('', () => assert.fail('told the dead'))
  const { disk } = b.a.restart()
  settle<{ release(): void }>(b, (done) => disk.lock('', done))
  b.simulation.run()
  assert.deepEqual(b.simulation.findings, [])
})

test('after a failed sync no later sync vouches for the data', () => {
  const outcomes = new Set<number | undefined>()
  for (let seed = 0; seed < 40; seed++) {
    const b = bench(seed)
    const file = durableFile(b, sectors([1]))
    settle<void>(b, (done) => file.write(0, [sectors([2])], done))
    b.a.disk.fault = (operation) => (operation === 'datasync' ? 'disk-failed' : undefined)
    let failed: Result<void> | undefined
    file.datasync((result) => {
      failed = result
    })
    b.simulation.run({ until: () => failed !== undefined })
    assert.ok(failed !== undefined && !failed.ok && failed.error.code === 'disk-failed')
    b.a.disk.fault = undefined
    settle<void>(b, (done) => file.datasync(done))
    b.a.crash()
    outcomes.add(b.a.disk.peek('f')?.[0])
  }
  assert.deepEqual(outcomes, new Set([1, 2]))
})

test('after a failed sync what is written again and synced is durable', () => {
  for (let seed = 0; seed < 40; seed++) {
    const b = bench(seed)
    const file = durableFile(b, sectors([1]))
    settle<void>(b, (done) => file.write(0, [sectors([2, 2])], done))
    b.a.disk.fault = (operation) => (operation === 'datasync' ? 'disk-failed' : undefined)
    let isOver = false
    file.datasync(() => {
      isOver = true
    })
    b.simulation.run({ until: () => isOver })
    b.a.disk.fault = undefined
    settle<void>(b, (done) => file.write(0, [sectors([3])], done))
    settle<void>(b, (done) => file.datasync(done))
    b.a.crash()
    assert.equal(b.a.disk.peek('f')?.[0], 3)
  }
})

test('a full disk refuses, and takes writes again when there is space', () => {
  const b = bench('full')
  const file = durableFile(b, sectors([1]))
  b.a.disk.capacityBytes = SECTOR_BYTES + 10
  let refused: Result<void> | undefined
  file.write(SECTOR_BYTES, [sectors([2])], (result) => {
    refused = result
  })
  b.simulation.run({ until: () => refused !== undefined })
  assert.ok(refused !== undefined && !refused.ok && refused.error.code === 'disk-full')
  assert.deepEqual(b.a.disk.peek('f')?.subarray(0, SECTOR_BYTES), sectors([1]))
  settle<void>(b, (done) => file.truncate(SECTOR_BYTES, done))
  settle<void>(b, (done) => file.write(SECTOR_BYTES, [new Uint8Array(10)], done))
})

test('an inode reads like a plain array, and a crash leaves each sector one of its versions since the sync', () => {
  const size = 4 * SECTOR_BYTES
  const offset = fc.integer({ min: 0, max: size })
  const step = fc.oneof(
    fc.record({
      type: fc.constant('write' as const),
      offset,
      length: fc.integer({ min: 0, max: 6000 }),
      fill: fc.integer({ min: 1, max: 255 }),
    }),
    fc.record({ type: fc.constant('truncate' as const), size: offset }),
    fc.record({ type: fc.constant('sync' as const) }),
  )
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 12 }),
      fc.array(fc.nat(1000), { minLength: 1, maxLength: 40 }),
      (steps, chance) => {
        const inode = new SimInode()
        let model = new Uint8Array(0)
        let versions: Uint8Array[] = [model]
        for (const one of steps) {
          if (one.type === 'sync') {
            inode.sync()
            versions = [model]
            continue
          }
          if (one.type === 'write') {
            inode.write(one.offset, [new Uint8Array(one.length).fill(one.fill)])
            if (one.length > 0) {
              const next = new Uint8Array(Math.max(model.length, one.offset + one.length))
              next.set(model)
              next.fill(one.fill, one.offset, one.offset + one.length)
              model = next
            }
          } else {
            inode.truncate(one.size)
            const next = new Uint8Array(one.size)
            next.set(model.subarray(0, one.size))
            model = next
          }
          versions.push(model)
          assert.deepEqual(inode.read(0, size * 2), model)
        }
        let draws = 0
        inode.crash({ next: (below) => (chance[draws++ % chance.length] ?? 0) % below })
        const left = inode.read(0, size * 2)
        assert.ok(
          versions.some((version) => version.length === left.length),
          'a size that it had',
        )
        for (let at = 0; at < left.length; at += SECTOR_BYTES) {
          const sector = left.subarray(at, at + SECTOR_BYTES)
          const isKnown = versions.some((version) => {
            const then = new Uint8Array(SECTOR_BYTES)
            then.set(version.subarray(at, at + SECTOR_BYTES))
            return sector.every((byte, i) => byte === then[i])
          })
          assert.ok(isKnown, `sector at ${at}`)
        }
        assert.ok(inode.isSynced)
      },
    ),
    { numRuns: 300 },
  )
})
