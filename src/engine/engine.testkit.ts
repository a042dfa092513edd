/**
 * The suite that every engine passes: the contract in `types.ts`, one test per sentence of it. What the engines differ in
 * (how time passes, what a crash is) is a `Bench`.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type GroupId, groupId, logIndex, type Result, text, toHex, utf8 } from '../base/index.ts'
import type { Engine, EngineCursor, EngineOptions, EngineReader } from './types.ts'

export type Bench = {
  /** Opens the engine on what is there. */
  open(overrides?: Partial<EngineOptions>): Promise<Result<Engine>>
  /** The engine is gone; the next `open` finds what a crash leaves. */
  crash(): Promise<void>
  /** Runs until `start`'s callback is called. */
  wait<T>(start: (done: (value: T) => void) => void): Promise<T>
  /** Lets time pass, and what happens in it. */
  pass(ms: number): Promise<void>
  /** Overwrites part of the engine's file while it is closed. Returns the file's name. */
  damage(): Promise<string>
  end(): Promise<void>
}

export const G1: GroupId = groupId(1)
export const G2: GroupId = groupId(2)
const LOWEST = new Uint8Array(0)
const HIGHEST = new Uint8Array(40).fill(255)

export async function opened(bench: Bench, overrides?: Partial<EngineOptions>): Promise<Engine> {
  const engine = await bench.open(overrides)
  assert.ok(engine.ok, engine.ok ? '' : engine.error.message)
  return engine.value
}

export async function settled<T>(bench: Bench, start: (done: (result: Result<T>) => void) => void): Promise<T> {
  const result = await bench.wait<Result<T>>(start)
  assert.ok(result.ok, result.ok ? '' : result.error.message)
  return result.value
}

export const checkpoint = (bench: Bench, engine: Engine): Promise<void> =>
  settled<void>(bench, (done) => engine.checkpoint(done))

export const close = (bench: Bench, engine: Engine): Promise<void> => settled<void>(bench, (done) => engine.close(done))

/** Puts `key: value` pairs; undefined removes. */
export function apply(
  engine: Engine,
  index: number,
  pairs: Readonly<Record<string, string | undefined>>,
  group: GroupId = G1,
): void {
  engine.applyBatch(group, logIndex(index), (writer) => {
    for (const [key, value] of Object.entries(pairs)) {
      if (value === undefined) writer.remove(utf8(key))
      else writer.put(utf8(key), utf8(value))
    }
  })
}

function shown(cursor: EngineCursor): string {
  return `${text(cursor.key)}=${text(cursor.value)}`
}

/** All pairs of [start, end), as text. */
export function list(
  reader: EngineReader,
  start: Uint8Array = LOWEST,
  end: Uint8Array = HIGHEST,
  options?: { readonly reverse?: boolean },
): string {
  const cursor = reader.scan(start, end, options)
  const pairs: string[] = []
  while (cursor.next()) pairs.push(shown(cursor))
  cursor.close()
  return pairs.join(' ')
}

const value = (reader: EngineReader, key: string): string | undefined => {
  const bytes = reader.get(utf8(key))
  return bytes === undefined ? undefined : text(bytes)
}

/** Runs `body` on a bench of its own, and then in states that differ only below the contract's surface. */
export function engineSuite(kind: string, makeBench: () => Promise<Bench>): void {
  const on = (name: string, body: (bench: Bench) => Promise<void>): void => {
    test(`${kind}: ${name}`, async () => {
      const bench = await makeBench()
      try {
        await body(bench)
      } finally {
        await bench.end()
      }
    })
  }

  on('a batch is visible at once, to its own writer too', async (bench) => {
    const engine = await opened(bench)
    engine.applyBatch(G1, logIndex(1), (writer) => {
      writer.put(utf8('a'), utf8('1'))
      assert.equal(value(engine, 'a'), '1')
      writer.put(utf8('b'), utf8('2'))
      assert.equal(list(engine), 'a=1 b=2')
      writer.remove(utf8('a'))
      assert.equal(list(engine), 'b=2')
    })
    assert.equal(value(engine, 'a'), undefined)
    assert.equal(value(engine, 'b'), '2')
    await checkpoint(bench, engine)
    apply(engine, 2, { b: undefined, c: '' })
    assert.equal(list(engine), 'c=')
    assert.equal(engine.get(utf8('c'))?.length, 0)
  })

  on('each group has its applied index, given as a number or asked for after the writes', async (bench) => {
    const engine = await opened(bench)
    assert.equal(engine.appliedIndex(G1), 0)
    assert.equal(engine.durableIndex(G1), 0)
    apply(engine, 7, {})
    let wrote = false
    engine.applyBatch(
      G2,
      () => logIndex(wrote ? 3 : 0),
      () => {
        wrote = true
      },
    )
    assert.equal(engine.appliedIndex(G1), 7)
    assert.equal(engine.appliedIndex(G2), 3)
    assert.throws(() => apply(engine, 6, {}), /applied-never-back/)
  })

  on('durableIndex moves when a checkpoint completes, and not before', async (bench) => {
    const engine = await opened(bench, { checkpointDelayMs: 60_000 })
    apply(engine, 5, { a: '1' })
    apply(engine, 9, { b: '1' }, G2)
    assert.equal(engine.durableIndex(G1), 0)
    let atOnce = true
    const durable = await bench.wait<Result<void>>((done) => {
      engine.checkpoint((result) => {
        assert.ok(!atOnce, 'checkpoint must not call back before it returns')
        done(result)
      })
      atOnce = false
      apply(engine, 6, { a: '2' })
    })
    assert.ok(durable.ok)
    assert.equal(engine.durableIndex(G1), 5)
    assert.equal(engine.durableIndex(G2), 9)
    assert.equal(engine.appliedIndex(G1), 6)
    await bench.crash()
    const after = await opened(bench)
    assert.equal(list(after), 'a=1 b=1')
    assert.equal(after.appliedIndex(G1), 5)
    assert.equal(after.durableIndex(G1), 5)
    assert.equal(after.appliedIndex(G2), 9)
  })

  on('without a checkpoint a crash takes everything back to the last one', async (bench) => {
    const engine = await opened(bench, { checkpointDelayMs: 60_000 })
    apply(engine, 1, { a: '1', b: '1' })
    await checkpoint(bench, engine)
    apply(engine, 2, { a: '2', b: undefined, c: '2' })
    await bench.crash()
    const after = await opened(bench)
    assert.equal(list(after), 'a=1 b=1')
    assert.equal(after.appliedIndex(G1), 1)
  })

  on('several callers share a checkpoint, and one with nothing to do calls back too', async (bench) => {
    const engine = await opened(bench)
    await checkpoint(bench, engine)
    apply(engine, 1, { a: '1' })
    await Promise.all([checkpoint(bench, engine), checkpoint(bench, engine), checkpoint(bench, engine)])
    assert.equal(engine.durableIndex(G1), 1)
    await checkpoint(bench, engine)
  })

  on('checkpoints come by themselves, after the delay or at the size', async (bench) => {
    let durable = 0
    const onDurable = (): void => void durable++
    const engine = await opened(bench, { checkpointDelayMs: 20, onDurable })
    apply(engine, 1, { a: '1' })
    await bench.wait<void>((done) => waitUntil(bench, () => durable === 1, done))
    assert.equal(engine.durableIndex(G1), 1)
    await close(bench, engine)
    const again = await opened(bench, { checkpointDelayMs: 3_600_000, checkpointBytes: 10_000, onDurable })
    apply(again, 2, { a: 'x'.repeat(20_000) })
    await bench.wait<void>((done) => waitUntil(bench, () => again.durableIndex(G1) === 2, done))
    assert.equal(again.stats().checkpoints, 1)
  })

  on('over the limit of the overlay there is pressure until a checkpoint relieves it', async (bench) => {
    const said: boolean[] = []
    const engine = await opened(bench, {
      checkpointBytes: 20_000,
      maxOverlayBytes: 50_000,
      onPressure: (under) => said.push(under),
    })
    for (let index = 1; !engine.underPressure; index++) {
      apply(engine, index, { [`k${index}`]: 'x'.repeat(1000) })
      assert.ok(index < 1000)
    }
    assert.deepEqual(said, [true])
    assert.ok(engine.stats().overlayBytes > 50_000)
    await bench.wait<void>((done) => waitUntil(bench, () => !engine.underPressure, done))
    assert.deepEqual(said, [true, false])
    await checkpoint(bench, engine)
    assert.equal(engine.stats().overlayBytes, 0)
    assert.ok(engine.stats().diskBytes > 0)
  })

  on('scan keeps its bounds, in both directions, whatever is in memory and on disk', async (bench) => {
    const engine = await opened(bench, { checkpointDelayMs: 60_000 })
    apply(engine, 1, { a: '1', c: '1', e: '1', g: '1' })
    await checkpoint(bench, engine)
    apply(engine, 2, { b: '2', c: '2', e: undefined, f: '2' })
    const whole = 'a=1 b=2 c=2 f=2 g=1'
    assert.equal(list(engine), whole)
    const reversed = { reverse: true }
    assert.equal(list(engine, LOWEST, HIGHEST, reversed), whole.split(' ').reverse().join(' '))
    assert.equal(list(engine, utf8('b'), utf8('g')), 'b=2 c=2 f=2')
    assert.equal(list(engine, utf8('b'), utf8('g'), reversed), 'f=2 c=2 b=2')
    assert.equal(list(engine, utf8('d'), utf8('f')), '')
    assert.equal(list(engine, utf8('d'), utf8('f'), reversed), '')
    assert.equal(list(engine, utf8('g'), utf8('a')), '')
  })

  on('seek finds the first pair at or after the key, within the bounds', async (bench) => {
    const engine = await opened(bench, { checkpointDelayMs: 60_000 })
    apply(engine, 1, { b: '1', d: '1', f: '1', h: '1' })
    await checkpoint(bench, engine)
    apply(engine, 2, { d: undefined, e: '2' })
    const forward = engine.scan(utf8('b'), utf8('h'))
    const seek = (cursor: EngineCursor, key: string): string => (cursor.seek(utf8(key)) ? shown(cursor) : '-')
    assert.equal(seek(forward, 'c'), 'e=2')
    assert.equal(seek(forward, 'e'), 'e=2')
    assert.ok(forward.next())
    assert.equal(shown(forward), 'f=1')
    assert.equal(seek(forward, 'a'), 'b=1')
    assert.equal(seek(forward, 'g'), '-')
    assert.equal(seek(forward, 'b'), 'b=1')
    forward.close()
    assert.ok(!forward.next())
    const backward = engine.scan(utf8('b'), utf8('h'), { reverse: true })
    assert.equal(seek(backward, 'd'), 'b=1')
    assert.equal(seek(backward, 'z'), 'f=1')
    assert.ok(backward.next())
    assert.equal(shown(backward), 'e=2')
    assert.equal(seek(backward, 'e'), 'e=2')
    assert.equal(seek(backward, 'a'), '-')
    backward.close()
  })

  on('a cursor stays valid across turns, batches and checkpoints, and sees the state at each step', async (bench) => {
    for (const reverse of [false, true]) {
      const engine = await opened(bench, { checkpointDelayMs: 60_000 })
      const index = engine.appliedIndex(G1)
      apply(engine, index + 1, { a: '1', b: '1', c: '1', d: '1', e: '1' })
      const cursor = engine.scan(LOWEST, HIGHEST, { reverse })
      assert.ok(cursor.next())
      const seen = [shown(cursor)]
      const steps = [
        () => checkpoint(bench, engine),
        async () => apply(engine, index + 2, { b: undefined, c: '2', d: undefined }),
        () => checkpoint(bench, engine),
        async () => apply(engine, index + 3, { c5: '3', a: '3', e: '3' }),
        () => bench.pass(5),
      ]
      for (const step of steps) {
        await step()
        if (cursor.next()) seen.push(shown(cursor))
      }
      cursor.close()
      assert.deepEqual(seen, reverse ? ['e=1', 'd=1', 'c=2', 'a=1'] : ['a=1', 'b=1', 'c=2', 'e=1'])
      assert.equal(list(engine), 'a=3 c=2 c5=3 e=3')
      apply(engine, index + 4, { c5: undefined })
      await close(bench, engine)
    }
  })

  on('the bytes that a read returns are the reader’s to keep', async (bench) => {
    const engine = await opened(bench)
    apply(engine, 1, { a: 'first', b: 'other', c: 'x'.repeat(100_000) })
    await checkpoint(bench, engine)
    const kept = [engine.get(utf8('a')), engine.get(utf8('b')), engine.get(utf8('c'))]
    const cursor = engine.scan(LOWEST, HIGHEST)
    const pairs: string[] = []
    const keptPairs: Uint8Array[] = []
    while (cursor.next()) {
      pairs.push(text(cursor.key))
      keptPairs.push(cursor.value)
    }
    cursor.close()
    apply(engine, 2, { a: 'y'.repeat(7), b: undefined, c: 'z'.repeat(50_000) })
    await checkpoint(bench, engine)
    list(engine)
    engine.get(utf8('c'))
    await close(bench, engine)
    for (const values of [kept, keptPairs])
      assert.deepEqual(
        values.map((bytes) => bytes && text(bytes)),
        ['first', 'other', 'x'.repeat(100_000)],
      )
    assert.deepEqual(pairs, ['a', 'b', 'c'])
  })

  on('keys up to the limit are held, longer and empty ones are a broken invariant', async (bench) => {
    const engine = await opened(bench)
    const longest = new Uint8Array(engine.maxKeyBytes).fill(200)
    const big = new Uint8Array(1_500_000).map((_, i) => i & 255)
    engine.applyBatch(G1, logIndex(1), (writer) => {
      writer.put(longest, utf8('long'))
      writer.put(new Uint8Array([0]), utf8('zero'))
      writer.put(utf8('big'), big)
    })
    await checkpoint(bench, engine)
    assert.equal(text(engine.get(longest) ?? LOWEST), 'long')
    assert.equal(text(engine.get(new Uint8Array([0])) ?? LOWEST), 'zero')
    assert.equal(toHex(engine.get(utf8('big')) ?? LOWEST) === toHex(big), true)
    for (const wrong of [new Uint8Array(engine.maxKeyBytes + 1), LOWEST]) {
      const put = (): void => engine.applyBatch(G1, logIndex(2), (writer) => writer.put(wrong, LOWEST))
      assert.throws(put, /engine-key-size/)
    }
  })

  on('a snapshot shows one moment, whatever is written, checkpointed and restored meanwhile', async (bench) => {
    const engine = await opened(bench, { checkpointDelayMs: 60_000 })
    apply(engine, 1, { a: '1', b: '1' })
    await checkpoint(bench, engine)
    apply(engine, 2, { b: '2', c: '2' })
    const snapshot = engine.openSnapshot()
    assert.ok(snapshot.ok)
    const { reader } = snapshot.value
    const sliced = reader.scan(LOWEST, HIGHEST)
    assert.ok(sliced.next())
    const check = (): void => {
      assert.equal(list(reader), 'a=1 b=2 c=2')
      assert.equal(list(reader, LOWEST, HIGHEST, { reverse: true }), 'c=2 b=2 a=1')
      assert.equal(value(reader, 'b'), '2')
      assert.equal(value(reader, 'd'), undefined)
      assert.equal(snapshot.value.appliedIndex(G1), 2)
    }
    apply(engine, 3, { a: undefined, b: '3', d: '3' })
    check()
    await checkpoint(bench, engine)
    check()
    apply(engine, 4, { c: undefined })
    await checkpoint(bench, engine)
    check()
    await restore(bench, engine, 'a', 'z', { q: '9' }, 9)
    for (let index = 10; index < 30; index++) {
      apply(engine, index, { [`r${index}`]: 'x'.repeat(5000) })
      await checkpoint(bench, engine)
    }
    check()
    const rest = [shown(sliced)]
    while (sliced.next()) rest.push(shown(sliced))
    sliced.close()
    assert.equal(rest.join(' '), 'a=1 b=2 c=2')
    snapshot.value.close()
    snapshot.value.close()
  })

  on('the number of open snapshots is bounded', async (bench) => {
    const engine = await opened(bench)
    apply(engine, 1, { a: '1' })
    const open: (() => void)[] = []
    for (;;) {
      const snapshot = engine.openSnapshot()
      if (!snapshot.ok) {
        assert.equal(snapshot.error.code, 'too-many-requests')
        break
      }
      open.push(() => snapshot.value.close())
      assert.ok(open.length < 100)
    }
    assert.ok(open.length >= 2)
    open.pop()?.()
    assert.ok(engine.openSnapshot().ok)
    // Closing with snapshots open must not fail.
    await close(bench, engine)
    for (const end of open) end()
  })

  on('a restore replaces exactly its interval, and moves its group’s indexes', async (bench) => {
    const engine = await opened(bench, { checkpointDelayMs: 60_000 })
    apply(engine, 1, { a: '1', b: '1', c: '1', d: '1' })
    await checkpoint(bench, engine)
    apply(engine, 2, { b5: '2', d: '2', e: '2' })
    apply(engine, 4, { z: '4' }, G2)
    await restore(bench, engine, 'b', 'd', { b1: 'r', c: 'r' }, 20)
    const expected = 'a=1 b1=r c=r d=2 e=2 z=4'
    assert.equal(list(engine), expected)
    assert.equal(value(engine, 'b'), undefined)
    assert.equal(engine.appliedIndex(G1), 20)
    assert.equal(engine.durableIndex(G1), 20)
    assert.equal(engine.appliedIndex(G2), 4)
    await bench.crash()
    const after = await opened(bench)
    assert.equal(list(after), expected)
    assert.equal(list(after, LOWEST, HIGHEST, { reverse: true }), expected.split(' ').reverse().join(' '))
    assert.equal(after.appliedIndex(G1), 20)
    apply(after, 21, { b: '5', c: undefined, c1: '5' })
    await checkpoint(bench, after)
    assert.equal(list(after), 'a=1 b=5 b1=r c1=5 d=2 e=2 z=4')
    assert.equal(list(after, utf8('b'), utf8('d')), 'b=5 b1=r c1=5')
    await restore(bench, after, 'a', 'c', {}, 22)
    await restore(bench, after, 'c', 'zz', { d: '7' }, 23)
    assert.equal(list(after), 'd=7')
    // Longer than one step of whatever cleans up behind a restore.
    await bench.pass(50)
    await checkpoint(bench, after)
    await close(bench, after)
    assert.equal(list(await opened(bench)), 'd=7')
  })

  on('batches of other groups go on while a restore is staged and swapped in', async (bench) => {
    const engine = await opened(bench, { checkpointDelayMs: 1 })
    apply(engine, 1, { a: '1', b: '1', y: '1' })
    const staged = engine.openRestore(G1, utf8('a'), utf8('c'))
    staged.add(utf8('a'), utf8('r'))
    apply(engine, 1, { y: '2' }, G2)
    await checkpoint(bench, engine)
    assert.equal(list(engine), 'a=1 b=1 y=2')
    await settled<void>(bench, (done) => {
      staged.commit(logIndex(8), (result) => {
        assert.equal(list(engine), 'a=r y=2 z=3')
        done(result)
      })
      apply(engine, 2, { z: '3' }, G2)
      // Not yet durable, not yet to be seen: its readers know nothing of it.
      assert.equal(list(engine), 'a=1 b=1 y=2 z=3')
      assert.equal(engine.appliedIndex(G1), 1)
    })
    apply(engine, 3, { y: '4' }, G2)
    await checkpoint(bench, engine)
    assert.equal(engine.appliedIndex(G1), 8)
    await bench.crash()
    const after = await opened(bench)
    assert.equal(list(after), 'a=r y=4 z=3')
    assert.equal(after.appliedIndex(G1), 8)
    assert.equal(after.durableIndex(G1), 8)
    assert.equal(after.appliedIndex(G2), 3)
  })

  on('an aborted restore leaves no trace, and a large one asks to wait', async (bench) => {
    const engine = await opened(bench)
    apply(engine, 1, { a: '1', m: '1' })
    const dropped = engine.openRestore(G1, LOWEST, HIGHEST)
    for (let i = 0; i < 100; i++) dropped.add(utf8(`b${String(i).padStart(3, '0')}`), utf8('dropped'))
    dropped.abort()
    dropped.abort()
    await bench.pass(5)
    assert.equal(list(engine), 'a=1 m=1')
    const large = engine.openRestore(G1, LOWEST, HIGHEST)
    let waits = 0
    for (let i = 0; i < 400; i++) {
      if (large.add(utf8(`k${String(i).padStart(6, '0')}`), new Uint8Array(10_000).fill(i))) continue
      waits++
      await bench.wait<void>((done) => large.onDrain(done))
    }
    await settled<void>(bench, (done) => large.commit(logIndex(5), done))
    const cursor = engine.scan(LOWEST, HIGHEST)
    let count = 0
    while (cursor.next()) assert.equal(cursor.value[9999], count++ & 255)
    cursor.close()
    assert.equal(count, 400)
    assert.ok(kind === 'memory' || waits > 0, 'never asked to wait')
  })

  on('what was checkpointed is found after close and open', async (bench) => {
    for (let round = 1; round <= 3; round++) {
      const engine = await opened(bench)
      assert.equal(engine.appliedIndex(G1), round - 1)
      apply(engine, round, { [`k${round}`]: `${round}` })
      await checkpoint(bench, engine)
      await close(bench, engine)
    }
    assert.equal(list(await opened(bench)), 'k1=1 k2=2 k3=3')
  })

  on('a close waits for the checkpoint under way', async (bench) => {
    const engine = await opened(bench)
    apply(engine, 1, { a: '1' })
    const durable = checkpoint(bench, engine)
    await close(bench, engine)
    await durable
    const again = await opened(bench)
    assert.equal(list(again), 'a=1')
    assert.equal(again.appliedIndex(G1), 1)
  })

  on('a damaged file is refused with a failure that names it', async (bench) => {
    const engine = await opened(bench)
    apply(engine, 1, { a: 'x'.repeat(10_000) })
    await checkpoint(bench, engine)
    await close(bench, engine)
    const file = await bench.damage()
    const result = await bench.open()
    assert.ok(!result.ok)
    assert.equal(result.error.code, 'engine-damaged')
    assert.match(result.error.message, new RegExp(file))
  })
}

/** Looks once a millisecond of the bench's time. */
function waitUntil(bench: Bench, condition: () => boolean, done: () => void): void {
  const look = async (): Promise<void> => {
    for (let i = 0; !condition(); i++) {
      assert.ok(i < 20_000, 'waited in vain')
      await bench.pass(1)
    }
    done()
  }
  void look()
}

export async function restore(
  bench: Bench,
  engine: Engine,
  start: string,
  end: string,
  pairs: Readonly<Record<string, string>>,
  index: number,
): Promise<void> {
  const staged = engine.openRestore(G1, utf8(start), utf8(end))
  for (const [key, content] of Object.entries(pairs)) staged.add(utf8(key), utf8(content))
  await settled<void>(bench, (done) => staged.commit(logIndex(index), done))
}
