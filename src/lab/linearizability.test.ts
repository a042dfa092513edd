import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Answer, type Call, checkLinearizable, checkRevisions, type Operation } from './index.ts'

const operation = (
  invoked: number,
  completed: number,
  call: Call,
  answer: Partial<Answer> | undefined,
  key = 'k',
): Operation => ({
  client: 'c',
  key,
  call,
  invoked,
  completed: answer === undefined ? Number.POSITIVE_INFINITY : completed,
  outcome: answer === undefined ? { type: 'unknown' } : { type: 'answered', answer: { revision: 0, ...answer } },
})
const put = (value: string): Call => ({ type: 'put', value })
const get: Call = { type: 'get' }

test('a read may not go back behind what an earlier read saw', () => {
  const stale = [
    operation(0, 1, put('a'), {}),
    operation(2, 7, put('b'), {}),
    operation(3, 4, get, { value: 'b' }),
    operation(5, 6, get, { value: 'a' }),
  ]
  const verdict = checkLinearizable(stale)
  assert.equal(verdict.verdict, 'no')
  assert.ok(verdict.verdict === 'no' && verdict.at === stale[3])
  assert.equal(checkLinearizable(stale.slice(0, 3)).verdict, 'yes')
})

test('a write of unknown outcome may take effect at any time, or never', () => {
  const late = [
    operation(0, 0, put('a'), undefined),
    operation(1, 2, get, { value: undefined }),
    operation(3, 4, get, { value: 'a' }),
  ]
  assert.equal(checkLinearizable(late).verdict, 'yes')
  const once = [...late, operation(5, 6, put('b'), {}), operation(7, 8, get, { value: 'a' })]
  assert.equal(checkLinearizable(once).verdict, 'no')
})

test('what was answered must have taken effect, and a refused compare must not', () => {
  assert.equal(
    checkLinearizable([operation(0, 1, put('a'), {}), operation(2, 3, get, { value: undefined })]).verdict,
    'no',
  )
  const cas: Call = { type: 'compareAndSet', expected: undefined, value: 'x' }
  assert.equal(
    checkLinearizable([operation(0, 1, cas, { changed: true }), operation(2, 3, cas, { changed: true })]).verdict,
    'no',
  )
  assert.equal(
    checkLinearizable([operation(0, 1, cas, { changed: true }), operation(2, 3, cas, { changed: false })]).verdict,
    'yes',
  )
  assert.equal(checkLinearizable([operation(0, 1, { type: 'delete' }, { changed: true })]).verdict, 'no')
})

/** Every order that agrees with real time is tried: the definition itself, for histories of a few operations. */
function byDefinition(operations: readonly Operation[]): boolean {
  const search = (left: readonly Operation[], state: string | undefined): boolean => {
    if (left.every((candidate) => candidate.outcome.type === 'unknown')) return true
    return left.some((next) => {
      if (left.some((other) => other !== next && other.completed < next.invoked)) return false
      const after = apply(state, next)
      return (
        after !== undefined &&
        search(
          left.filter((other) => other !== next),
          after.state,
        )
      )
    })
  }
  const apply = (state: string | undefined, next: Operation): { state: string | undefined } | undefined => {
    const answer = next.outcome.type === 'answered' ? next.outcome.answer : undefined
    const { call } = next
    if (call.type === 'get') return answer === undefined || answer.value === state ? { state } : undefined
    if (call.type === 'put') return { state: call.value }
    const changes = call.type === 'delete' ? state !== undefined : state === call.expected
    if (answer !== undefined && answer.changed !== changes) return undefined
    if (call.type === 'delete') return { state: undefined }
    return { state: changes ? call.value : state }
  }
  return search(operations, undefined)
}

test('on random small histories the verdict is that of the definition, both ways', () => {
  const value = fc.constantFrom('a', 'b', 'c')
  const maybe = fc.option(value, { nil: undefined })
  const call: fc.Arbitrary<Call> = fc.oneof(
    fc.constant<Call>({ type: 'get' }),
    value.map(put),
    fc.constant<Call>({ type: 'delete' }),
    fc.record({ type: fc.constant('compareAndSet' as const), expected: maybe, value }),
  )
  const raw = fc.record({
    call,
    start: fc.nat(20),
    length: fc.integer({ min: 1, max: 8 }),
    value: maybe,
    changed: fc.boolean(),
    known: fc.integer({ min: 0, max: 5 }),
  })
  const tally = { yes: 0, no: 0 }
  fc.assert(
    fc.property(fc.array(raw, { minLength: 1, maxLength: 7 }), (drawn) => {
      const operations = drawn.map((one, i) =>
        operation(
          one.start + i / 100,
          one.start + one.length + i / 100 + 0.005,
          one.call,
          one.known === 0 ? undefined : { value: one.value, changed: one.changed },
        ),
      )
      const expected = byDefinition(operations.map((one) => (one.call.type === 'put' ? { ...one } : one)))
      const { verdict } = checkLinearizable(
        operations.map((one) => (one.call.type === 'put' ? withoutChanged(one) : one)),
      )
      assert.equal(verdict, expected ? 'yes' : 'no')
      tally[expected ? 'yes' : 'no']++
    }),
    { numRuns: 3000 },
  )
  assert.ok(tally.yes > 100 && tally.no > 100, `one-sided: ${JSON.stringify(tally)}`)
})

/** A put says nothing of having changed anything. */
function withoutChanged(one: Operation): Operation {
  if (one.outcome.type !== 'answered') return one
  return { ...one, outcome: { type: 'answered', answer: { revision: 0 } } }
}

test('revisions: one of each write, forwards in time', () => {
  const good = [
    operation(0, 1, put('a'), { revision: 2 }),
    operation(2, 3, get, { value: 'a', modRevision: 2, revision: 2 }),
  ]
  assert.deepEqual(checkRevisions(good), [])
  assert.equal(checkRevisions([...good, operation(4, 5, put('b'), { revision: 2 })]).length, 1)
  assert.equal(checkRevisions([...good, operation(4, 5, get, { value: 'a', modRevision: 3, revision: 3 })]).length, 1)
  assert.equal(checkRevisions([...good, operation(4, 5, get, { value: undefined, revision: 1 })]).length, 1)
})
