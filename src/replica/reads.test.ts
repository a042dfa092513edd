import assert from 'node:assert/strict'
import { test } from 'node:test'
import { failure, logIndex } from '../base/index.ts'
import { createReads } from './reads.ts'

type Seen = { readonly name: string; readonly ok: boolean }

function start(maxReads = 100): {
  reads: ReturnType<typeof createReads>
  seen: Seen[]
  add: (name: string, deadlineMs?: number) => boolean
} {
  const reads = createReads(maxReads)
  const seen: Seen[] = []
  const add = (name: string, deadlineMs = 1000): boolean =>
    reads.add({ deadlineMs, done: (result) => seen.push({ name, ok: result.ok }) }) === undefined
  return { reads, seen, add }
}

test('all reads of a turn share one context and wait until its index is applied', () => {
  const { reads, seen, add } = start()
  add('a')
  add('b')
  const context = reads.ask(0)
  assert.equal(reads.wantsContext, false)
  reads.confirmed(context, logIndex(5))
  assert.deepEqual(seen, [])
  reads.applied(logIndex(4))
  assert.deepEqual(seen, [])
  reads.applied(logIndex(5))
  assert.equal(reads.release(10), false)
  assert.deepEqual(seen, [
    { name: 'a', ok: true },
    { name: 'b', ok: true },
  ])
  assert.equal(reads.size, 0)
})

test('a read is not released by a context that was asked before it came', () => {
  const { reads, seen, add } = start()
  reads.applied(logIndex(9))
  add('early')
  const context = reads.ask(0)
  add('late')
  reads.confirmed(context, logIndex(5))
  reads.release(10)
  assert.deepEqual(seen, [{ name: 'early', ok: true }])
  reads.confirmed(reads.ask(1), logIndex(9))
  reads.release(10)
  assert.deepEqual(seen.at(-1), { name: 'late', ok: true })
})

test('a refused or unanswered context is asked again; its late answer counts for nothing', () => {
  const { reads, seen, add } = start()
  reads.applied(logIndex(9))
  add('a')
  const refused = reads.ask(0)
  reads.refused(refused)
  assert.equal(reads.wantsContext, true)
  const lost = reads.ask(10)
  reads.expire(600, 500)
  assert.equal(reads.wantsContext, true)
  const last = reads.ask(600)
  reads.confirmed(lost, logIndex(1))
  reads.release(10)
  assert.deepEqual(seen, [])
  reads.confirmed(last, logIndex(1))
  reads.release(10)
  assert.deepEqual(seen, [{ name: 'a', ok: true }])
})

test('a deadline ends a read in every state, once', () => {
  const { reads, seen, add } = start()
  add('confirmed', 50)
  reads.confirmed(reads.ask(0), logIndex(7))
  add('asked', 50)
  reads.ask(0)
  add('fresh', 50)
  add('later', 200)
  assert.equal(reads.nextLook(500), 50)
  reads.expire(60, 500)
  assert.equal(reads.nextLook(500), 200)
  assert.deepEqual(seen.map((read) => read.name).sort(), ['asked', 'confirmed', 'fresh'])
  assert.equal(reads.size, 1)
  reads.applied(logIndex(7))
  reads.release(10)
  assert.equal(seen.length, 3)
})

test('what becomes due together is released in portions, oldest first', () => {
  const { reads, seen, add } = start()
  for (const name of ['a', 'b', 'c', 'd', 'e']) add(name)
  reads.confirmed(reads.ask(0), logIndex(3))
  reads.applied(logIndex(3))
  assert.equal(reads.release(2), true)
  assert.equal(reads.size, 3)
  add('late')
  assert.equal(reads.release(2), true)
  assert.equal(reads.release(2), false)
  assert.deepEqual(
    seen.map((read) => read.name),
    ['a', 'b', 'c', 'd', 'e'],
  )
  assert.equal(reads.size, 1)
})

test('beyond the limit a read is refused, and closing fails what is left', () => {
  const { reads, seen, add } = start(1)
  assert.equal(add('a'), true)
  assert.equal(add('b'), false)
  reads.failAll(failure('stopping', 'the test is over'))
  assert.deepEqual(seen, [{ name: 'a', ok: false }])
  assert.equal(add('c'), true)
})
