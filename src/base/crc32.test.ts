import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { concatBytes, crc32, utf8 } from './index.ts'

test('crc32 gives the check value of the CRC catalogue', () => {
  assert.equal(crc32(utf8('123456789')), 0xcbf43926)
  assert.equal(crc32(new Uint8Array(0)), 0)
})

test('crc32 continues from a seed: the checksum of a whole is that of its parts in order', () => {
  const bytes = fc.uint8Array({ maxLength: 64 })
  fc.assert(fc.property(bytes, bytes, (a, b) => assert.equal(crc32(b, crc32(a)), crc32(concatBytes([a, b])))))
})
