import assert from 'node:assert/strict'
import { test } from 'node:test'
import { failure, ok } from '../base/index.ts'
import { createProposals } from './proposals.ts'

const ANSWER = ok({ body: new Uint8Array(0), revision: 2 })

function start(
  maxPending = 10,
  maxBytes = 1000,
): {
  proposals: ReturnType<typeof createProposals>
  seen: string[]
  add: (bytes?: number, deadlineMs?: number) => number
} {
  const proposals = createProposals({ maxPending, maxBytes })
  const seen: string[] = []
  const add = (bytes = 1, deadlineMs = 1000): number => {
    const sequence = proposals.nextSequence()
    proposals.add(sequence, new Uint8Array(bytes), deadlineMs, (result) =>
      seen.push(`${sequence} ${result.ok ? 'ok' : result.error.code}`),
    )
    return sequence
  }
  return { proposals, seen, add }
}

function send(proposals: ReturnType<typeof createProposals>): number[] {
  return proposals.waiting().map((entry) => {
    proposals.handed(entry)
    return entry.sequence
  })
}

test('a proposal waits once per leader, and is answered once', () => {
  const { proposals, seen, add } = start()
  const sequence = add()
  assert.deepEqual(send(proposals), [sequence])
  assert.deepEqual(send(proposals), [])
  proposals.rewind()
  assert.deepEqual(send(proposals), [sequence])
  proposals.complete(sequence, ANSWER)
  proposals.complete(sequence, ANSWER)
  assert.deepEqual(seen, ['1 ok'])
})

test('a refusal is passed on only where no other attempt can take effect', () => {
  const { proposals, seen, add } = start()
  const first = add()
  send(proposals)
  proposals.refused(first, failure('too-many-requests', 'test'), true)
  assert.deepEqual(seen, ['1 too-many-requests'])
  const second = add()
  send(proposals)
  proposals.rewind()
  send(proposals)
  proposals.refused(second, failure('too-many-requests', 'test'), true)
  assert.equal(proposals.size, 1)
  proposals.expire(2000)
  assert.deepEqual(seen, ['1 too-many-requests', '2 timed-out'])
})

test('refused by both leaders that were asked: certain, in whichever order the refusals come', () => {
  const { proposals, seen, add } = start()
  const sequence = add()
  send(proposals)
  proposals.rewind()
  send(proposals)
  proposals.refused(sequence, failure('not-leader', 'the first'), false)
  assert.deepEqual(seen, [])
  proposals.resume()
  send(proposals)
  proposals.refused(sequence, failure('disk-full', 'the second'), true)
  proposals.refused(sequence, failure('disk-full', 'the second, again'), true)
  assert.deepEqual(seen, ['1 disk-full'])
})

test('a member that refuses is asked again only after the pause, and then in order', () => {
  const { proposals, add } = start()
  const [first, second] = [add(), add()]
  assert.deepEqual(send(proposals), [first, second])
  proposals.refused(second, failure('not-leader', 'test'), false)
  proposals.refused(first, failure('not-leader', 'test'), false)
  assert.deepEqual(send(proposals), [])
  assert.equal(proposals.hasPaused, true)
  const third = add()
  proposals.resume()
  assert.equal(proposals.hasPaused, false)
  assert.deepEqual(send(proposals), [first, second, third])
})

test('what was never sent certainly has no effect; what was sent is unknown at its deadline', () => {
  const { proposals, seen, add } = start()
  add(1, 50)
  send(proposals)
  add(1, 50)
  proposals.expire(49)
  assert.equal(proposals.nextDeadline, 50)
  assert.deepEqual(seen, [])
  proposals.expire(50)
  assert.equal(proposals.nextDeadline, Number.POSITIVE_INFINITY)
  assert.deepEqual(seen, ['1 timed-out', '2 no-leader'])
})

test('closing tells sent from unsent', () => {
  const { proposals, seen, add } = start()
  add()
  send(proposals)
  add()
  proposals.failAll(failure('stopping', 'test'))
  assert.deepEqual(seen, ['1 outcome-unknown', '2 stopping'])
  assert.equal(proposals.size, 0)
})

test('admission is bounded by number and by bytes, and one proposal is always let in', () => {
  const { proposals, add } = start(2, 100)
  assert.equal(proposals.admit(5000), undefined)
  add(90)
  assert.equal(proposals.admit(11)?.code, 'too-many-requests')
  assert.equal(proposals.admit(10), undefined)
  add(10)
  assert.equal(proposals.admit(0)?.code, 'too-many-requests')
})

test('completedBelow is the lowest open sequence', () => {
  const { proposals, add } = start()
  const first = add()
  const second = add()
  assert.equal(proposals.completedBelow, first)
  proposals.complete(second, ANSWER)
  assert.equal(proposals.completedBelow, first)
  proposals.complete(first, ANSWER)
  assert.equal(proposals.completedBelow, second + 1)
})
