import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { utf8 } from '../base/index.ts'
import { PREFACE } from './http2-constants.ts'
import { recognise } from './recognise.ts'

test('what first bytes say, and from which byte on', () => {
  for (const [bytes, what, needed] of [
    [PREFACE, 'http2', 24],
    [utf8('GET / HTTP/1.1\r\n'), 'http1', 4],
    [utf8('PROPFIND /'), 'http1', 9],
    [utf8('PRIX '), 'http1', 5],
    [utf8('PRI * HTTP/2.1\r\n'), 'unknown', 14],
    [utf8('PRI / HTTP/1.1\r\n'), 'unknown', 5],
    [utf8('get / HTTP/1.1\r\n'), 'unknown', 1],
    [utf8(' GET'), 'unknown', 1],
    [utf8('ABCDEFGHIJKLMNOPQ'), 'unknown', 17],
    [Uint8Array.of(0x16, 3, 1, 2, 0), 'tls', 2],
    [Uint8Array.of(0x16, 4), 'unknown', 2],
    [Uint8Array.of(0), 'unknown', 1],
  ] as const) {
    for (let length = 0; length < needed; length++) {
      assert.equal(recognise(bytes.slice(0, length)), 'need-more', `${what} after ${length}`)
    }
    for (let length = needed; length <= bytes.length; length++) {
      assert.equal(recognise(bytes.slice(0, length)), what, `${what} after ${length}`)
    }
  }
})

test('a verdict never changes with more bytes, and comes within 24', () => {
  const bytes = fc.oneof(
    fc.uint8Array({ minLength: 24, maxLength: 40 }),
    fc
      .tuple(fc.nat({ max: 24 }), fc.uint8Array({ minLength: 24, maxLength: 24 }))
      .map(([keep, more]) => Uint8Array.from([...PREFACE.subarray(0, keep), ...more])),
    fc.stringMatching(/^[A-Z ]{24}$/).map(utf8),
  )
  fc.assert(
    fc.property(bytes, (all) => {
      let verdict: string = 'need-more'
      for (let length = 0; length <= all.length; length++) {
        const now = recognise(all.subarray(0, length))
        if (verdict !== 'need-more') assert.equal(now, verdict)
        verdict = now
      }
      assert.notEqual(verdict, 'need-more')
    }),
  )
})
