import assert from 'node:assert/strict'
import { test } from 'node:test'
import { utf8 } from '../base/index.ts'
import { recognise } from '../wire/index.ts'
import { MAGIC, recognisePeer } from './recognise.ts'

test('a member is recognised by its magic bytes, as early as can be', () => {
  for (let size = 0; size < MAGIC.length; size++) assert.equal(recognisePeer(MAGIC.subarray(0, size)), 'need-more')
  assert.equal(recognisePeer(MAGIC), 'yes')
  assert.equal(recognisePeer(Uint8Array.of(...MAGIC, 1, 2)), 'yes')
  for (let at = 0; at < MAGIC.length; at++) {
    const other = MAGIC.slice()
    other[at] = (other[at] as number) ^ 1
    assert.equal(recognisePeer(other.subarray(0, at + 1)), 'no', `byte ${at}`)
  }
})

test('no client is taken for a member, nor a member for a client', () => {
  for (const client of ['PRI * HTTP/2.0\r\n', 'GET / HTTP/1.1\r\n', '*1\r\n$4\r\nPING', '\u0016\u0003\u0001']) {
    assert.equal(recognisePeer(utf8(client)), 'no')
  }
  for (let size = 1; size <= MAGIC.length; size++) assert.equal(recognise(MAGIC.subarray(0, size)), 'unknown')
})
