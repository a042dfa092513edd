import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SkeinError, text, utf8 } from '../base/index.ts'
import { COMPARE_RESULT, COMPARE_TARGET } from '../wire/index.ts'
import { parseTxn } from './txn-input.ts'

const refusal = (input: string): string => {
  try {
    parseTxn(input)
  } catch (error) {
    assert.ok(error instanceof SkeinError && error.code === 'usage')
    return error.message
  }
  return assert.fail(`understood: ${input}`)
}

test('every target and every sign of a compare', () => {
  const { compare } = parseTxn(
    ['value("a") = "x"', 'mod("a") > "5"', 'create(a) < 7', 'version("a") != "0"', 'lease("a") = "12"'].join('\n'),
  )
  const rangeEnd = new Uint8Array()
  const key = utf8('a')
  const { equal, greater, less, notEqual } = COMPARE_RESULT
  const { value, mod, create, version, lease } = COMPARE_TARGET
  assert.deepEqual(compare, [
    { key, rangeEnd, result: equal, target: value, operand: { type: 'value', value: utf8('x') } },
    { key, rangeEnd, result: greater, target: mod, operand: { type: 'mod', revision: 5 } },
    { key, rangeEnd, result: less, target: create, operand: { type: 'create', revision: 7 } },
    { key, rangeEnd, result: notEqual, target: version, operand: { type: 'version', revision: 0 } },
    { key, rangeEnd, result: equal, target: lease, operand: { type: 'lease', lease: 12n } },
  ])
})

test('three parts, each of which may be empty; quoted words may hold spaces', () => {
  const all = parseTxn('value("a") = "x y"\n\nput "a b" "c \\"d\\""\nget a b\n\ndel a --prefix\n')
  assert.equal(all.compare.length, 1)
  const [put, get] = all.success
  assert.ok(put?.type === 'put' && text(put.put.key) === 'a b' && text(put.put.value) === 'c "d"')
  assert.ok(get?.type === 'range' && text(get.range.key) === 'a' && text(get.range.rangeEnd) === 'b')
  const [del] = all.failure
  assert.ok(del?.type === 'deleteRange' && text(del.deleteRange.rangeEnd) === 'b')
  const unconditional = parseTxn('\nput a 1')
  assert.deepEqual([unconditional.compare.length, unconditional.success.length], [0, 1])
  assert.deepEqual(parseTxn('').success, [])
})

test('what is no transaction is refused with the line', () => {
  assert.match(refusal('balance = 5'), /"balance = 5" is no compare; an example: value/)
  assert.match(refusal('size("a") = "5"'), /size cannot be compared; value, version, create, mod and lease can/)
  assert.match(refusal('mod("a") = "x"'), /mod is compared with a number, not "x"/)
  assert.match(refusal('\nput a'), /"put a" has no value/)
  assert.match(refusal('\nfetch a'), /"fetch a" is no operation/)
  assert.match(refusal('\nget a b c'), /"get a b c" is no operation/)
  assert.match(refusal('\nget a --limit=3'), /is no operation/)
  assert.match(refusal('\n\n\nput a 1'), /has three parts, and there is more: put a 1/)
  assert.match(refusal('value("a) = "b\\x"'), /is no compare|is not a quoted text/)
})
