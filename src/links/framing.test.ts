import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { test, type TestContext } from 'node:test'
import fc from 'fast-check'
import { concatBytes, utf8 } from '../base/index.ts'
import { createFrameReader, createRecordWriter, type FrameReader, RECORD_BYTES, RECORD_HEAD_BYTES } from './framing.ts'
import { createTagger } from './secrets.ts'

const KEY = new Uint8Array(32).fill(3)
const MAX_FRAME_BYTES = 1_048_576
const tagger = createTagger(KEY, undefined)

const writerOf = (): ReturnType<typeof createRecordWriter> => createRecordWriter(tagger)
const readerOf = (maxFrameBytes = MAX_FRAME_BYTES): FrameReader => createFrameReader(tagger, maxFrameBytes)

/** Everything that can be read of the chunks; copies, so that shared memory would show. */
function read(reader: FrameReader, chunks: Iterable<Uint8Array>): Uint8Array[] {
  const frames: Uint8Array[] = []
  for (const chunk of chunks) {
    reader.push(chunk)
    for (let frame = reader.next(); frame !== undefined; frame = reader.next()) frames.push(frame.slice())
  }
  return frames
}

/** Cuts at the sizes given, over and over. */
function* cut(bytes: Uint8Array, sizes: readonly number[]): Generator<Uint8Array> {
  let at = 0
  for (let i = 0; at < bytes.length; i++) {
    const size = sizes[i % sizes.length] ?? 1
    yield bytes.slice(at, at + size)
    at += size
  }
}

const someFrame = fc.oneof(
  fc.uint8Array({ maxLength: 40 }),
  fc.integer({ min: 0, max: 3 * RECORD_BYTES }).map((size) => new Uint8Array(size).map((_, i) => i * 7 + size)),
)

test('frames come out as they went in, however they are grouped, split into parts and cut into chunks', () => {
  fc.assert(
    fc.property(
      fc.array(fc.array(someFrame, { minLength: 1, maxLength: 6 }), { minLength: 1, maxLength: 4 }),
      fc.array(fc.oneof(fc.integer({ min: 1, max: 50 }), fc.integer({ min: 1, max: 100_000 })), {
        minLength: 1,
        maxLength: 5,
      }),
      fc.array(fc.nat(10), { minLength: 1, maxLength: 5 }),
      (writes, sizes, parts) => {
        const writer = writerOf()
        const stream: Uint8Array[] = []
        for (const [i, frames] of writes.entries()) {
          stream.push(writer.frames(frames.map((frame, j) => split(frame, parts[(i + j) % parts.length] ?? 1))))
          if (i % 2 === 0) stream.push(writer.beat())
        }
        const reader = readerOf()
        assert.deepEqual(read(reader, cut(concatBytes(stream), sizes)), writes.flat())
        assert.equal(reader.failure, undefined)
      },
    ),
    { numRuns: 60 },
  )
})

function split(frame: Uint8Array, parts: number): Uint8Array[] {
  const size = Math.max(1, Math.ceil(frame.length / Math.max(1, parts)))
  return [...cut(frame, [size])]
}

test('the layout: length, tag, then frames with their lengths; the tag as another library makes it', () => {
  const writer = writerOf()
  writer.beat()
  const out = writer.frames([[utf8('ab'), utf8('c')], []])
  const body = Uint8Array.of(0, 0, 0, 3, 97, 98, 99, 0, 0, 0, 0)
  const sequence = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 1)
  const length = Uint8Array.of(0, 0, 0, body.length)
  const tag = createHmac('sha256', KEY).update(sequence).update(length).update(body).digest().subarray(0, 16)
  assert.deepEqual(out, concatBytes([length, tag, body]))
})

test('the HMAC of the world and the plain one make the same tags', () => {
  const native = createTagger(
    KEY,
    (key, parts) => new Uint8Array(createHmac('sha256', key).update(concatBytes(parts)).digest()),
  )
  for (const [sequence, size] of [
    [0, 0],
    [1, 1],
    [2 ** 32 + 5, 1000],
    [2 ** 52, 65_536],
  ] as const) {
    const body = new Uint8Array(size).fill(size)
    assert.deepEqual(native(sequence, body), tagger(sequence, body))
  }
})

/** Three records: two frames, a beat, a frame. */
function small(): { stream: Uint8Array; records: Uint8Array[]; frames: Uint8Array[] } {
  const writer = writerOf()
  const frames = [utf8('first'), utf8('second, longer'), utf8('third')]
  const records = [
    writer.frames(frames.slice(0, 2).map((frame) => [frame])),
    writer.beat(),
    writer.frames(frames.slice(2).map((frame) => [frame])),
  ]
  return { stream: concatBytes(records), records, frames }
}

test('every flipped bit is found out: what came before stands, nothing false comes', () => {
  const { stream, frames } = small()
  for (let bit = 0; bit < stream.length * 8; bit++) {
    const bytes = stream.slice()
    bytes[bit >> 3] = (bytes[bit >> 3] as number) ^ (1 << (bit & 7))
    const reader = readerOf()
    const got = read(reader, [bytes])
    assert.deepEqual(got, frames.slice(0, got.length), `bit ${bit}`)
    assert.ok(got.length < frames.length, `bit ${bit}`)
    // A length that grew makes it wait for bytes that never come: that is silence, not data.
    const isLength = [0, 1, 2].some((record) => {
      const begin = small()
        .records.slice(0, record)
        .reduce((sum, { length }) => sum + length, 0)
      return bit >> 3 >= begin && bit >> 3 < begin + 4
    })
    if (!isLength) assert.equal(reader.failure?.code, 'protocol-error', `bit ${bit}`)
  }
})

test('records that are dropped, repeated, swapped, or of another session or direction are found out', () => {
  const { records } = small()
  const [one, two, three] = records as [Uint8Array, Uint8Array, Uint8Array]
  const wrong = [[two], [three], [one, three], [one, one], [one, two, two], [two, one], [one, two, one]]
  for (const order of wrong) {
    const reader = readerOf()
    read(reader, order)
    assert.equal(reader.failure?.code, 'protocol-error')
    // And it stays broken.
    assert.deepEqual(read(reader, records), [])
  }
  const other = createFrameReader(createTagger(new Uint8Array(32).fill(4), undefined), MAX_FRAME_BYTES)
  assert.deepEqual(read(other, records), [])
  assert.equal(other.failure?.code, 'protocol-error')
})

test('lengths beyond the bounds are refused before anything is kept for them', () => {
  const record = readerOf()
  read(record, [Uint8Array.of(0, 1, 0, 1), new Uint8Array(16)])
  assert.match(record.failure?.message ?? '', /record of 65537 bytes/)

  const whole = writerOf().frames([[new Uint8Array(100)]])
  const frame = readerOf(99)
  assert.deepEqual(read(frame, [whole]), [])
  assert.match(frame.failure?.message ?? '', /frame of 100 bytes/)
  assert.equal(read(readerOf(100), [whole]).length, 1)
})

test('hostile bytes never throw and never make a frame', () => {
  const { stream } = small()
  fc.assert(
    fc.property(
      fc.nat(stream.length),
      fc.uint8Array({ minLength: 1, maxLength: 300 }),
      fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 3 }),
      (keep, junk, sizes) => {
        const bytes = concatBytes([stream.subarray(0, keep), junk])
        if (stream.subarray(0, bytes.length).every((byte, i) => byte === bytes[i])) return
        const clean = read(readerOf(), [stream.subarray(0, keep)])
        const got = read(readerOf(), cut(bytes, sizes))
        // Junk may happen to complete the record it follows.
        assert.ok(got.length <= 3 && got.length >= clean.length)
        assert.deepEqual(got.slice(0, clean.length), clean)
      },
    ),
    { numRuns: 500 },
  )
})

/** How many bytes `Uint8Array.set` copies while `run` runs. */
function copiedBytes(t: TestContext, run: () => void): number {
  const { mock } = t.mock.method(Uint8Array.prototype, 'set')
  run()
  mock.restore()
  return mock.calls.reduce((sum, { arguments: [from] }) => sum + from.length, 0)
}

test('copying is linear: a big frame in small chunks twice at most, small frames in one chunk hardly at all', (t) => {
  const bigBytes = 4 * 1_048_576
  const big = writerOf().frames([[new Uint8Array(bigBytes)]])
  const chunks = [...cut(big, [1000])]
  const reader = readerOf(bigBytes)
  let frames = 0
  const ofBig = copiedBytes(t, () => {
    for (const chunk of chunks) {
      reader.push(chunk)
      while (reader.next() !== undefined) frames++
    }
  })
  assert.equal(frames, 1)
  // What the hash copies of each record's ends is not the reader's doing.
  const records = Math.ceil(bigBytes / RECORD_BYTES) + 1
  assert.ok(ofBig <= 2 * big.length + records * 128, `${ofBig} of ${big.length}`)

  const many = writerOf().frames(Array.from({ length: 500 }, () => [new Uint8Array(100)]))
  const second = readerOf()
  let count = 0
  const ofMany = copiedBytes(t, () => {
    second.push(many)
    while (second.next() !== undefined) count++
  })
  assert.equal(count, 500)
  assert.ok(ofMany <= 500 * 4 + RECORD_HEAD_BYTES + 256, `${ofMany}`)
})
