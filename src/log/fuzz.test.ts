/**
 * Every byte of a small log is flipped, the log is cut at every length, and random damage of many kinds is done to it. Recovery gives
 * the whole of what is known to be synced or refuses, naming file and offset; never wrong data, never an exception.
 * SKEIN_LOG_FUZZ=N does N times the random damage.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { utf8 } from '../base/index.ts'
import { SECTOR_BYTES } from '../world/index.ts'
import { type Files, FilesWorld, stateOf } from './files.testkit.ts'
import type { LogEntry, LogWrite } from './index.ts'
import { base, entries, entry, G1, G2, hardState } from './log.testkit.ts'

const config: LogEntry = { ...entry(8, 2, 'members'), type: 'config' }

/** Two groups, rewrites, a snapshot, a removal; every append is one batch. */
const WRITES: readonly (readonly LogWrite[])[] = [
  [{ group: G1, base: base(0, 0), hardState: hardState(1, 9, 0) }],
  [
    { group: G1, entries: entries(1, 4, 1) },
    { group: G2, base: base(0, 0) },
  ],
  [
    { group: G2, entries: entries(1, 3, 1) },
    { group: G1, entries: entries(3, 5, 2), hardState: hardState(2, 0, 2) },
  ],
  [{ group: G1, entries: entries(6, 7, 2), hardState: hardState(2, 0, 4) }],
  [{ group: G1, entries: [config], hardState: hardState(2, 3, 7) }],
  [{ group: G2, base: base(20, 3), entries: entries(21, 22, 3), hardState: hardState(3, 4, 20) }],
  [{ group: G1, entries: entries(7, 9, 4), hardState: hardState(4, 1, 6) }],
  [{ group: G2, entries: entries(22, 23, 4) }],
]

type Made = {
  readonly files: Files
  /** The states after each append, and after the compaction in the midst of them. */
  readonly states: readonly string[]
}

const SEGMENT_BYTES = 6 * SECTOR_BYTES

function make(marker: boolean): Made {
  const world = new FilesWorld()
  const opened = world.open({ segmentBytes: SEGMENT_BYTES })
  assert.ok(opened.ok)
  const log = opened.value
  const states: string[] = [stateOf(world.files)]
  WRITES.forEach((writes, i) => {
    if (i === 4) {
      log.compact(G1, base(2, 1))
      world.tick()
      states.push(stateOf(world.files))
    }
    world.settle<void>((done) => log.append(writes, done))
    states.push(stateOf(world.files))
  })
  if (marker) world.tick()
  return { files: new Map(world.files), states }
}

/** The state that recovery found, or undefined where it refused as it should. */
function outcome(files: Files): string | undefined {
  const world = new FilesWorld(files)
  const result = world.open({ segmentBytes: SEGMENT_BYTES })
  if (!result.ok) {
    assert.equal(result.error.code, 'log-damaged', result.error.message)
    const { file, offset } = result.error.details ?? {}
    assert.ok(typeof file === 'string' && /^log\/\d{16}\.log$/.test(file), `names a file: ${String(file)}`)
    assert.ok(
      typeof offset === 'number' && Number.isInteger(offset / SECTOR_BYTES),
      `names an offset: ${String(offset)}`,
    )
    return undefined
  }
  const state = world.describe(result.value)
  // It can be used: what it says next is what it says after a restart.
  assert.equal(stateOf(world.files), state)
  return state
}

function flipped(files: Files, name: string, at: number, mask: number): Files {
  const bytes = (files.get(name) ?? new Uint8Array(0)).slice()
  bytes[at] = (bytes[at] ?? 0) ^ mask
  return new Map([...files, [name, bytes]])
}

test('the log under test has several segments, and is sound', () => {
  const { files, states } = make(true)
  assert.equal(files.size, 3)
  assert.equal(outcome(files), states.at(-1))
})

for (const marker of [true, false]) {
  test(`every byte flipped, ${marker ? 'with' : 'without'} a marker at the end`, () => {
    const { files, states } = make(marker)
    const whole = states.at(-1)
    const allowed = new Set(marker ? [undefined, whole] : [undefined, whole, states.at(-2)])
    const seen = new Map<string | undefined, number>()
    for (const [name, bytes] of files) {
      for (let at = 0; at < bytes.length; at++) {
        // Most bytes are zeros that say nothing: of a run of them, the ends and some between.
        const isDull = bytes[at] === 0 && bytes[at - 1] === 0 && bytes[at + 1] === 0 && at % 61 !== 0
        if (isDull) continue
        const found = outcome(flipped(files, name, at, 1 << (at % 8)))
        assert.ok(allowed.has(found), `${name} byte ${at}: ${found}`)
        seen.set(found, (seen.get(found) ?? 0) + 1)
      }
    }
    assert.equal(seen.size, allowed.size, 'each outcome is met')
  })
}

test('cut at every length: the prefix that is left, or a refusal', () => {
  const { files, states } = make(true)
  const names = [...files.keys()]
  for (const name of names) {
    const bytes = files.get(name) ?? new Uint8Array(0)
    let reached = 0
    for (let length = 0; length < bytes.length; length++) {
      const isDull = bytes[length - 1] === 0 && bytes[length] === 0 && length % 61 !== 0 && length % SECTOR_BYTES > 1
      if (isDull) continue
      const found = outcome(new Map([...files, [name, bytes.slice(0, length)]]))
      if (name !== names.at(-1)) {
        // A later segment bears witness: nothing but padding may be missing.
        assert.ok(found === undefined || found === states.at(-1), `${name} cut at ${length}`)
        continue
      }
      // Only the end is gone: always a prefix, and longer with more bytes.
      const index = states.lastIndexOf(found ?? 'refused')
      assert.ok(index >= reached, `${name} cut at ${length}: ${found}`)
      reached = index
    }
    if (name === names.at(-1)) assert.equal(reached, states.length - 1)
  }
})

test('random damage of many kinds: a state that the log once had, or a refusal', () => {
  const { files, states } = make(true)
  const known = new Set([undefined, ...states])
  const names = [...files.keys()]
  const place = fc.record({ file: fc.nat(names.length - 1), at: fc.nat(7 * SECTOR_BYTES), length: fc.nat(6000) })
  const damage = fc.oneof(
    fc.record({ type: fc.constant('zero' as const), place }),
    fc.record({ type: fc.constant('noise' as const), place, byte: fc.nat(255) }),
    fc.record({ type: fc.constant('sectorFrom' as const), place, from: place }),
    fc.record({ type: fc.constant('cut' as const), place }),
    fc.record({ type: fc.constant('grow' as const), place }),
    fc.record({ type: fc.constant('remove' as const), place }),
    fc.record({ type: fc.constant('asAnother' as const), place, from: place }),
  )
  const runs = 800 * Number(process.env['SKEIN_LOG_FUZZ'] ?? 1)
  let sound = 0
  fc.assert(
    fc.property(fc.array(damage, { minLength: 1, maxLength: 3 }), (damages) => {
      const broken: Files = new Map(files)
      for (const one of damages) {
        const name = names[one.place.file] ?? ''
        const bytes = (broken.get(name) ?? new Uint8Array(0)).slice()
        const { at, length } = one.place
        if (one.type === 'zero') bytes.fill(0, at, at + length)
        else if (one.type === 'noise')
          for (let i = at; i < at + length && i < bytes.length; i++) bytes[i] = (i * 7 + one.byte) & 255
        else if (one.type === 'sectorFrom') {
          const from = broken.get(names[one.from.file] ?? '') ?? new Uint8Array(0)
          const sector = Math.floor(one.from.at / SECTOR_BYTES) * SECTOR_BYTES
          const to = Math.floor(at / SECTOR_BYTES) * SECTOR_BYTES
          if (to + SECTOR_BYTES <= bytes.length) bytes.set(from.subarray(sector, sector + SECTOR_BYTES), to)
        }
        if (one.type === 'remove') broken.delete(name)
        else if (one.type === 'cut') broken.set(name, bytes.slice(0, at))
        else if (one.type === 'grow') broken.set(name, new Uint8Array([...bytes, ...new Uint8Array(length), 1]))
        else if (one.type === 'asAnother') broken.set(name, broken.get(names[one.from.file] ?? '') ?? bytes)
        else broken.set(name, bytes)
      }
      const found = outcome(broken)
      assert.ok(known.has(found), found)
      if (found !== undefined) sound++
    }),
    { numRuns: runs },
  )
  assert.ok(sound > runs / 50, `${sound} of ${runs} recovered`)
})

test('bytes that were never a log: refused or empty, never an exception', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 3 * SECTOR_BYTES }), fc.integer({ min: 1, max: 3 }), (bytes, number) => {
      const found = outcome(new Map([[`${number}`.padStart(16, '0') + '.log', bytes]]))
      assert.ok(found === undefined || found === '')
    }),
    { numRuns: 300 },
  )
  assert.equal(outcome(new Map([['0000000000000001.log', utf8('hello')]])), '')
})
