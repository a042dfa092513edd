import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { concatBytes, toHex } from '../base/index.ts'
import { decodeGrpcMessage, encodeGrpcMessage, formatTimeout, isMetadata, MessageReader } from './grpc-message.ts'
import { parseTimeout, prefixed } from './grpc-message.ts'

const RUNS = { numRuns: 200 }

test('messages come out as they went in, however the body is cut, and nothing is held afterwards', () => {
  const messages = fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 8 })
  const sizes = fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 10 })
  fc.assert(
    fc.property(messages, sizes, (all, cuts) => {
      const body = concatBytes(all.map(prefixed))
      const partial = { held: 0, limit: 10_000 }
      const reader = new MessageReader(1000, partial)
      const got: string[] = []
      for (let at = 0, i = 0; at < body.length; i++) {
        const end = Math.min(body.length, at + (cuts[i % cuts.length] as number))
        assert.equal(
          reader.push(body, at, end, (message) => got.push(toHex(message)) > 0),
          undefined,
        )
        at = end
      }
      assert.deepEqual(got, all.map(toHex))
      assert.equal(reader.isWhole, true)
      assert.equal(partial.held, 0)
    }),
    RUNS,
  )
})

test('memory is taken as bytes come, not as they are announced', () => {
  const partial = { held: 0, limit: 1 << 30 }
  const reader = new MessageReader(1 << 30, partial)
  reader.push(Uint8Array.of(0, 0x3f, 0xff, 0xff, 0xff, 1, 2, 3), 0, 8, () => true)
  assert.ok(partial.held <= 16, `${partial.held} bytes are held for 8`)
  for (let i = 0; i < 1000; i++) reader.push(new Uint8Array(100), 0, 100, () => true)
  assert.ok(partial.held <= 2 * 100_008, `${partial.held} bytes are held for 100008`)
  reader.release()
  assert.equal(partial.held, 0)
})

test('after its reader says stop, nothing more of a body is read', () => {
  const body = concatBytes([Uint8Array.of(1), Uint8Array.of(2)].map(prefixed))
  const reader = new MessageReader(10, { held: 0, limit: 100 })
  let count = 0
  reader.push(body, 0, body.length, () => {
    count++
    return false
  })
  assert.equal(count, 1)
})

test('grpc-message: any text there and back in printable ASCII', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (text) => {
      const encoded = encodeGrpcMessage(text)
      assert.match(encoded, /^[\x20-\x7e]*$/)
      assert.equal(decodeGrpcMessage(encoded), text)
    }),
    RUNS,
  )
})

test('grpc-message: what is malformed stays as it came', () => {
  for (const text of ['%', '%4', '%zz', 'a%', '100%', '%e4']) assert.equal(decodeGrpcMessage(text), text)
  assert.equal(encodeGrpcMessage('a%b\nä'), 'a%25b%0A%C3%A4')
})

test('grpc-timeout: eight digits at most, and never shorter than asked', () => {
  fc.assert(
    fc.property(fc.double({ min: 0, max: 1e10, noNaN: true }), (ms) => {
      const text = formatTimeout(ms)
      assert.match(text, /^\d{1,8}[mS]$/)
      assert.ok((parseTimeout(text) as number) >= ms)
    }),
    RUNS,
  )
  for (const wrong of ['', 'S', '1', '123456789m', '-1S', '1.5S', '1 S', '1s', 'S1']) {
    assert.equal(parseTimeout(wrong), undefined, wrong)
  }
})

test('metadata: what may be sent, and what would break a head or the protocol', () => {
  for (const [name, value] of [
    ['skein-space', 'x'],
    ['a_b.c-bin', 'AAE='],
    ['empty', ''],
    ['spaces', 'a  b'],
  ] as const)
    assert.equal(isMetadata(name, value), true, name)
  for (const [name, value] of [
    ['Upper', 'x'],
    ['', 'x'],
    [':path', '/'],
    ['grpc-timeout', '1S'],
    ['te', 'gzip'],
    ['content-type', 'x'],
    ['a', 'b\r\nc: d'],
    ['a', ' b'],
    ['a', 'ü'],
    ['a', '\0'],
  ] as const)
    assert.equal(isMetadata(name, value), false, `${name}: ${value}`)
})
