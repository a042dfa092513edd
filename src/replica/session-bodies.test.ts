import assert from 'node:assert/strict'
import { test } from 'node:test'
import { logIndex, spaceId, utf8 } from '../base/index.ts'
import { createSortedEngine } from '../../test/sorted-engine.ts'
import { RESULTS_PER_SESSION } from '../wire/index.ts'
import { earlierResult, MAX_RESULT_BYTES, MAX_SESSIONS, remember } from './sessions.ts'

const SPACE = spaceId(1)

function table(): {
  readonly engine: ReturnType<typeof createSortedEngine>
  readonly apply: (id: string, sequence: number, bodyBytes: number) => void
  readonly answer: (id: string, sequence: number) => number | string | undefined
} {
  const engine = createSortedEngine()
  let index = 0
  return {
    engine,
    apply(id, sequence, bodyBytes) {
      index++
      const applied = { body: new Uint8Array(bodyBytes), revision: index }
      remember(engine, engine.writer, SPACE, { id: utf8(id), sequence }, logIndex(index), applied)
    },
    answer(id, sequence) {
      const earlier = earlierResult(engine, SPACE, { id: utf8(id), sequence })
      return earlier?.ok === true ? earlier.value.body.length : earlier?.error.code
    },
  }
}

test('answers of every size come back as they were, and one that is too large as a fact', () => {
  const { apply, answer } = table()
  const sizes = [0, 1, 256, 257, MAX_RESULT_BYTES, MAX_RESULT_BYTES + 1]
  for (const [i, size] of sizes.entries()) apply('s', i + 1, size)
  assert.deepEqual(
    sizes.map((_, i) => answer('s', i + 1)),
    [0, 1, 256, 257, MAX_RESULT_BYTES, 'session-stale'],
  )
  assert.equal(answer('s', 7), undefined)
})

test('large answers of a session are written once each, and go when they fall out', () => {
  const { engine, apply, answer } = table()
  for (let sequence = 1; sequence <= 3 * RESULTS_PER_SESSION; sequence++) apply('s', sequence, 10_000)
  const sizes = engine.pairs.map(({ value }) => value.length)
  assert.equal(sizes.filter((size) => size === 10_000).length, RESULTS_PER_SESSION)
  assert.ok(sizes.every((size) => size === 10_000 || size < 1_000))
  assert.equal(answer('s', 2 * RESULTS_PER_SESSION), 'session-stale')
  assert.equal(answer('s', 2 * RESULTS_PER_SESSION + 1), 10_000)
})

test('a session that is forgotten leaves nothing behind but that', () => {
  const { engine, apply, answer } = table()
  apply('first', 1, 1_000)
  for (let i = 1; i < MAX_SESSIONS; i++) apply(`s${i}`, 1, 0)
  const before = engine.pairs.length
  assert.equal(answer('first', 1), 1_000)
  apply('one more', 1, 0)
  assert.equal(answer('first', 1), undefined)
  // Its session, its use and its body are gone; another session, its use, and what was forgotten have come.
  assert.equal(engine.pairs.length, before - 3 + 3)
})
