import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { compareBytes, concatBytes, fromHex, startsWith, strictText, toHex, utf8 } from './bytes.ts'

test('compareBytes agrees with Buffer.compare, on both sides of its native threshold', () => {
  const bytes = fc.uint8Array({ maxLength: 64, max: 3 })
  fc.assert(
    fc.property(bytes, bytes, bytes, (head, a, b) => {
      const left = concatBytes([head, a])
      const right = concatBytes([head, b])
      assert.equal(Math.sign(compareBytes(left, right)), Buffer.compare(left, right))
      assert.ok(startsWith(left, head))
    }),
  )
})

test('hex round-trips and refuses what is not hex', () => {
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => {
      assert.deepEqual(fromHex(toHex(bytes)), bytes)
    }),
  )
  assert.equal(fromHex('0'), undefined)
  assert.equal(fromHex('zz'), undefined)
})

test('strictText refuses malformed UTF-8', () => {
  assert.equal(strictText(utf8('größe')), 'größe')
  assert.equal(strictText(new Uint8Array([0xc3])), undefined)
})
