import assert from 'node:assert/strict'
import { test } from 'node:test'
import { crc32 } from 'node:zlib'
import type { Failure } from '../base/index.ts'
import { SECTOR_BYTES } from '../world/index.ts'
import { type Files, FilesWorld, stateOf } from './files.testkit.ts'
import { BATCH_HEADER_BYTES, decodeBatchHeader, encodeSegmentHeader, writeBatchHeader } from './format.ts'
import type { LogWrite, WriteAheadLog } from './index.ts'
import { base, entries, entry, G1, G2, hardState } from './log.testkit.ts'

const FIRST = '0000000000000001.log'
const SECOND = '0000000000000002.log'
const THIRD = '0000000000000003.log'

/** Room for two batches. */
const SEGMENT_BYTES = 4 * SECTOR_BYTES

const WRITES: readonly (readonly LogWrite[])[] = [
  [{ group: G1, base: base(0, 0), hardState: hardState(1, 9, 0) }],
  [{ group: G1, entries: entries(1, 4, 1) }],
  [
    { group: G2, base: base(5, 1), entries: entries(6, 7, 2) },
    { group: G1, entries: entries(3, 5, 2), hardState: hardState(2, 0, 2) },
  ],
  [{ group: G1, entries: entries(6, 6, 2, 5000) }],
  [{ group: G1, entries: entries(7, 8, 2) }],
  [{ group: G2, entries: [{ ...entry(8, 2, 'c'), type: 'config' }], hardState: hardState(2, 3, 7) }],
]

type Made = { readonly files: Files; readonly states: readonly string[] }

/** A log after the first `count` writes of WRITES, and the states after each. With `marker`, one ends it. */
function make(count: number, { marker = false, segmentBytes = 1024 * 1024 } = {}): Made {
  const world = new FilesWorld()
  const log = opened(world, segmentBytes)
  const states = ['']
  for (const writes of WRITES.slice(0, count)) {
    world.settle<void>((done) => log.append(writes, done))
    states.push(stateOf(world.files))
  }
  if (marker) world.tick()
  return { files: new Map(world.files), states }
}

function opened(world: FilesWorld, segmentBytes = 1024 * 1024): WriteAheadLog {
  const result = world.open({ segmentBytes })
  assert.ok(result.ok, result.ok ? '' : result.error.message)
  return result.value
}

/** Offsets of the sound batches of a segment. */
function batchesOf(file: Uint8Array): number[] {
  const offsets: number[] = []
  for (let at = SECTOR_BYTES; at < file.length; at += SECTOR_BYTES)
    if (decodeBatchHeader(file, at, undefined, crc32) !== undefined) offsets.push(at)
  return offsets
}

function get(files: Files, name: string): Uint8Array {
  const file = files.get(name)
  assert.ok(file !== undefined, name)
  return file
}

/** The files with bytes of one of them changed. */
function damage(
  files: Files,
  name: string,
  at: number,
  change: (byte: number) => number = (byte) => byte ^ 0x40,
): Files {
  const bytes = get(files, name).slice()
  bytes[at] = change(bytes[at] ?? 0)
  return new Map([...files, [name, bytes]])
}

function refusal(files: Files): Failure {
  const result = new FilesWorld(files).open()
  assert.ok(!result.ok, 'must be refused')
  return result.error
}

function assertDamaged(files: Files, file: string, offset: number): void {
  const error = refusal(files)
  assert.equal(error.code, 'log-damaged', error.message)
  assert.deepEqual(error.details, { file: `log/${file}`, offset })
  assert.match(error.message, new RegExp(`${file} at offset ${offset}`))
}

test('damage of the last batch, without a marker, is a torn tail: it is cut, and the log goes on', () => {
  const { files, states } = make(6)
  const last = batchesOf(get(files, FIRST)).at(-1) ?? 0
  for (const at of [0, 5, 9, 17, 25, 33, 37, BATCH_HEADER_BYTES, BATCH_HEADER_BYTES + 12]) {
    const world = new FilesWorld(damage(files, FIRST, last + at))
    const log = opened(world)
    assert.equal(world.describe(log), states[5])
    world.settle<void>((done) => log.append(WRITES[5] ?? [], done))
    assert.equal(stateOf(world.files), states[6])
  }
})

test('with the marker after it, the same damage is refused with file and offset', () => {
  const { files, states } = make(6, { marker: true })
  const offsets = batchesOf(get(files, FIRST))
  const last = offsets.at(-2) ?? 0
  for (const at of [0, 5, 9, 17, 25, 33, 37, BATCH_HEADER_BYTES, BATCH_HEADER_BYTES + 12])
    assertDamaged(damage(files, FIRST, last + at), FIRST, last)
  // The marker itself may go.
  assert.equal(stateOf(damage(files, FIRST, (offsets.at(-1) ?? 0) + 20)), states[6])
})

test('damage of any earlier batch is refused with file and offset', () => {
  const { files } = make(6)
  for (const offset of batchesOf(get(files, FIRST)).slice(0, -1)) {
    assertDamaged(damage(files, FIRST, offset + 2), FIRST, offset)
    assertDamaged(damage(files, FIRST, offset + 33), FIRST, offset)
  }
})

test('a torn batch bears witness: damage before it is refused although nothing sound follows', () => {
  const { files } = make(6)
  const [damagedAt = 0, tornAt = 0] = batchesOf(get(files, FIRST)).slice(-2)
  const torn = damage(files, FIRST, tornAt + BATCH_HEADER_BYTES + 1)
  assertDamaged(damage(torn, FIRST, damagedAt + BATCH_HEADER_BYTES + 1), FIRST, damagedAt)
})

test('damage in an older segment is refused, wherever it is', () => {
  const { files, states } = make(6, { segmentBytes: SEGMENT_BYTES })
  assert.deepEqual([...files.keys()], [FIRST, SECOND, THIRD])
  assert.equal(stateOf(files), states[6])
  for (const name of [FIRST, SECOND]) {
    assertDamaged(damage(files, name, 17), name, 0)
    for (const offset of batchesOf(get(files, name))) assertDamaged(damage(files, name, offset + 34), name, offset)
    // Cut off in the middle, or gone.
    const offset = batchesOf(get(files, name)).at(-1) ?? 0
    assertDamaged(new Map([...files, [name, get(files, name).slice(0, offset + 50)]]), name, offset)
  }
  assertDamaged(new Map([...files].filter(([name]) => name !== SECOND)), SECOND, 0)
  assertDamaged(new Map([...files].filter(([name]) => name !== FIRST)), SECOND, 0)
})

test('damage of the last segment, where something sound follows, is refused', () => {
  const { files } = make(6, { segmentBytes: SEGMENT_BYTES, marker: true })
  const name = [...files.keys()].at(-1) ?? ''
  const offsets = batchesOf(get(files, name))
  assert.ok(offsets.length > 1)
  assertDamaged(damage(files, name, 17), name, 0)
  // The first batch of the segment: the chain ends in the segment before.
  const error = refusal(damage(files, name, (offsets[0] ?? 0) + 34))
  assert.equal(error.code, 'log-damaged')
})

test('an interrupted rotation is undone, whatever was written of the new segment', () => {
  const { files, states } = make(6, { segmentBytes: SEGMENT_BYTES })
  const older = new Map([...files].filter(([name]) => name !== THIRD))
  const third = get(files, THIRD)
  // Only as far as the first batch: what follows it was acknowledged.
  const [, second = third.length] = batchesOf(third)
  const fresh = third.slice(0, second)
  const before = stateOf(older)
  const torn: readonly Uint8Array[] = [
    new Uint8Array(0),
    new Uint8Array(third.length),
    fresh.slice(0, 100),
    fresh.slice(0, SECTOR_BYTES),
    fresh.slice(0, SECTOR_BYTES + 60),
    (() => {
      const bytes = fresh.slice()
      bytes.fill(0, 0, SECTOR_BYTES)
      return bytes
    })(),
    (() => {
      const bytes = fresh.slice()
      bytes.fill(0, SECTOR_BYTES)
      return bytes
    })(),
  ]
  for (const content of torn) {
    const world = new FilesWorld(new Map([...older, [THIRD, content]]))
    const log = opened(world, SEGMENT_BYTES)
    assert.equal(world.describe(log), before)
    assert.equal(world.files.has(THIRD), false)
    const at = states.indexOf(before)
    for (const writes of WRITES.slice(at)) world.settle<void>((done) => log.append(writes, done))
    assert.equal(stateOf(world.files), states[6])
  }
  // Whole, it stays.
  assert.equal(stateOf(new Map([...older, [THIRD, fresh]])), before)
})

test('the only segment left is never taken for an interrupted rotation', () => {
  const world = new FilesWorld()
  const log = opened(world, SEGMENT_BYTES)
  for (const writes of WRITES) world.settle<void>((done) => log.append(writes, done))
  log.compact(G1, base(8, 2))
  log.compact(G2, base(8, 2))
  // Until a segment begins after the compaction, and is the only one.
  for (let i = 0; i < 8; i++) {
    world.settle<void>((done) => log.append([{ group: G1, hardState: hardState(2, 0, 8) }], done))
    world.run()
  }
  assert.equal(world.files.size, 1)
  const [[name = '', file] = []] = world.files
  assert.ok(file !== undefined && name !== FIRST)
  const alone: Files = new Map([[name, file.slice(0, 2 * SECTOR_BYTES)]])
  assert.match(stateOf(alone), /^1: 8\.2/)
  for (const at of [17, SECTOR_BYTES + 33]) assert.equal(refusal(damage(alone, name, at)).code, 'log-damaged')
  assert.equal(refusal(new Map([[name, new Uint8Array(0)]])).code, 'log-damaged')
})

test('the very first segment, unfinished, is an empty log', () => {
  const { files } = make(1)
  const whole = get(files, FIRST)
  for (const content of [new Uint8Array(0), whole.slice(0, 5000), new Uint8Array(9000)]) {
    const world = new FilesWorld(new Map([[FIRST, content]]))
    assert.deepEqual(opened(world).recovered, [])
  }
})

test('a newer format is refused as such; a damaged format is damage', () => {
  const { files } = make(6)
  const bytes = get(files, FIRST).slice()
  const view = new DataView(bytes.buffer)
  view.setUint32(12, 2, true)
  assertDamaged(new Map([[FIRST, bytes.slice()]]), FIRST, 0)
  view.setUint32(8, crc32(bytes.subarray(12, 32)), true)
  const error = refusal(new Map([[FIRST, bytes]]))
  assert.equal(error.code, 'data-newer')
  assert.deepEqual(error.details, { file: `log/${FIRST}`, format: 2 })
})

test('a sound batch that cannot be understood is refused, also at the end', () => {
  const { files } = make(6)
  const bytes = get(files, FIRST).slice()
  const last = batchesOf(bytes).at(-1) ?? 0
  const header = decodeBatchHeader(bytes, last, undefined, crc32)
  assert.ok(header !== undefined)
  const payloads: ((payload: Uint8Array) => void)[] = [
    (payload) => payload.fill(250, 0, 1),
    (payload) => payload.fill(255, 5, 9),
    (payload) => payload.fill(255, 9, 17),
    (payload) => payload.fill(255, 17, 21),
  ]
  for (const change of payloads) {
    const changed = bytes.slice()
    const batch = changed.subarray(last)
    change(batch.subarray(BATCH_HEADER_BYTES))
    writeBatchHeader(batch, bytes.subarray(last + 8, last + 16), header, crc32)
    assertDamaged(new Map([[FIRST, changed]]), FIRST, last)
  }
})

test('what earlier content of the same blocks left behind is not taken for a batch', () => {
  const { files, states } = make(4)
  // The same log in another life: only the salt differs. Its next batches lie right where ours end.
  const other = new FilesWorld(new Map(), 100)
  const log = opened(other)
  for (const writes of WRITES) other.settle<void>((done) => log.append(writes, done))
  const ours = get(files, FIRST).slice()
  const theirs = get(other.files, FIRST)
  const ends = batchesOf(theirs)[5] ?? 0
  assert.equal(batchesOf(ours).length, 5)
  ours.set(theirs.subarray(ends), ends)
  const stale: Files = new Map([[FIRST, ours]])
  assert.equal(stateOf(stale), states[4])
  // Nor does it bear witness against a torn tail.
  const last = batchesOf(get(files, FIRST)).at(-1) ?? 0
  assert.equal(stateOf(damage(stale, FIRST, last + BATCH_HEADER_BYTES + 3)), states[3])
})

test('a value that looks like a batch is not taken for one', () => {
  const { files, states } = make(4)
  const last = batchesOf(get(files, FIRST)).at(-1) ?? 0
  // A client's value, the size of the last entry there, that says in its second sector: batch 1000 is durable.
  const forged = new Uint8Array(SECTOR_BYTES)
  writeBatchHeader(forged, new Uint8Array(8).fill(77), { number: 1001, synced: 1000, payloadBytes: 0 }, crc32)
  const bytes = damage(files, FIRST, last + BATCH_HEADER_BYTES + 3)
  get(bytes, FIRST).set(forged, last + SECTOR_BYTES)
  assert.equal(stateOf(bytes), states[3])
})

test('a segment header of another number is damage', () => {
  const { files } = make(3)
  const bytes = get(files, FIRST).slice()
  bytes.set(encodeSegmentHeader(2, bytes.slice(24, 32), crc32).subarray(0, 32))
  assertDamaged(new Map([[FIRST, bytes]]), FIRST, 0)
})
