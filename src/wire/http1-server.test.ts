import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { text, utf8 } from '../base/index.ts'
import { createHttp1Server } from './http1-server.ts'

type Heard = { readonly asked: string[]; readonly output: string; readonly finished: boolean; readonly failed: boolean }

function hear(bytes: Uint8Array, cut = bytes.length): Heard {
  const asked: string[] = []
  const server = createHttp1Server((method, path) => {
    asked.push(`${method} ${path}`)
    return { status: 200, contentType: 'text/plain', body: utf8(`<${path}>`) }
  })
  let output = ''
  for (let at = 0; at < bytes.length; at += cut) {
    server.receive(bytes.slice(at, at + cut))
    output += text(server.takeOutput() ?? new Uint8Array(0))
  }
  return { asked, output, finished: server.finished, failed: server.failed !== undefined }
}

const said = (request: string): Heard => hear(utf8(request))
const statusOf = (request: string): string | undefined => /^HTTP\/1\.1 (\d{3})/.exec(said(request).output)?.[1]

test('GET, with keep-alive and pipelining, cut anywhere', () => {
  const bytes = utf8(
    'GET /a?q=1 HTTP/1.1\r\nHost: x\r\n\r\n\r\nHEAD /b HTTP/1.1\r\nhost:x\r\n\r\nGET /c HTTP/1.1\r\nHOST: \t x \r\n\r\n',
  )
  const whole = hear(bytes)
  assert.deepEqual(whole.asked, ['GET /a', 'HEAD /b', 'GET /c'])
  assert.equal(whole.finished, false)
  assert.equal(
    whole.output,
    'HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 4\r\n\r\n</a>' +
      'HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 4\r\n\r\n' +
      'HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 4\r\n\r\n</c>',
  )
  for (let cut = 1; cut < 40; cut++) assert.deepEqual(hear(bytes, cut), whole, `pieces of ${cut}`)
})

test('when the connection ends: close, and HTTP/1.0 without keep-alive', () => {
  const host = 'host: x\r\n'
  for (const [request, ends] of [
    [`GET / HTTP/1.1\r\n${host}\r\n`, false],
    [`GET / HTTP/1.1\r\n${host}connection: Close\r\n\r\n`, true],
    [`GET / HTTP/1.1\r\n${host}connection: x , close\r\n\r\n`, true],
    [`GET / HTTP/1.1\r\n${host}connection: closed\r\n\r\n`, false],
    ['GET / HTTP/1.0\r\n\r\n', true],
    ['GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n', false],
  ] as const) {
    const { finished, output } = said(request)
    assert.equal(finished, ends, request)
    assert.equal(output.includes('connection: close'), ends, request)
  }
})

test('nothing is heard after the end', () => {
  const { asked } = said('GET /a HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\nGET /b HTTP/1.1\r\nhost: x\r\n\r\n')
  assert.deepEqual(asked, ['GET /a'])
})

const REFUSED: readonly (readonly [status: string, request: string])[] = [
  ['400', 'GET\r\n\r\n'],
  ['400', 'GET / \r\n\r\n'],
  ['400', 'GET  / HTTP/1.1\r\nhost: x\r\n\r\n'],
  ['400', 'GET /a b HTTP/1.1\r\nhost: x\r\n\r\n'],
  ['400', 'GET / HTTP/1.1\r\n\r\n'],
  ['400', 'GET / HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\n'],
  ['400', 'GET / HTTP/1.1\r\nhost : x\r\n\r\n'],
  ['400', 'GET / HTTP/1.1\r\nhost: x\r\n folded: y\r\n\r\n'],
  ['400', 'GET / HTTP/1.1\r\nhost: x\r\nno colon\r\n\r\n'],
  ['400', 'GET / HTTP/1.1\r\nhost: x\r\n: empty\r\n\r\n'],
  ['400', 'GET / HTTP/1.1\r\nhost: x\r\na: b\nc: d\r\n\r\n'],
  ['400', 'GET / HTTP/1.1\r\nhost: x\r\na: b\rc\r\n\r\n'],
  ['400', 'GET / HTTP/1.1\r\nhost: x\r\na: \0\r\n\r\n'],
  ['400', 'GET health HTTP/1.1\r\nhost: x\r\n\r\n'],
  ['413', 'POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello'],
  ['413', 'POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n'],
  ['413', 'GET / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n'],
  ['413', 'GET / HTTP/1.1\r\nhost: x\r\nTransfer-Encoding: identity\r\ncontent-length: 0\r\n\r\n'],
  ['400', 'GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\ncontent-length: 5\r\n\r\n'],
  ['414', `GET /${'x'.repeat(9000)} HTTP/1.1\r\nhost: x\r\n\r\n`],
  ['417', 'GET / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n\r\n'],
  ['431', `GET / HTTP/1.1\r\nhost: x\r\na: ${'x'.repeat(17_000)}`],
  ['505', 'GET / HTTP/2.0\r\nhost: x\r\n\r\n'],
  ['505', 'GET / HTTP/0.9\r\n\r\n'],
]
for (const [status, request] of REFUSED) {
  test(`${status} and the end: ${JSON.stringify(request.slice(0, 60))}`, () => {
    const heard = said(request)
    assert.equal(statusOf(request), status)
    assert.deepEqual([heard.asked, heard.finished, heard.failed], [[], true, true])
    assert.match(heard.output, /connection: close/)
  })
}

test('the absolute form, as proxies send it, means the same', () => {
  assert.deepEqual(said('GET http://x:1/health?a HTTP/1.1\r\nhost: x:1\r\n\r\n').asked, ['GET /health'])
  assert.deepEqual(said('GET http://x:1 HTTP/1.1\r\nhost: x:1\r\n\r\n').asked, ['GET /'])
})

test('a client that sends and never reads is bounded', () => {
  const server = createHttp1Server(() => ({ status: 200, contentType: 'text/plain', body: new Uint8Array(100_000) }))
  const request = utf8('GET / HTTP/1.1\r\nhost: x\r\n\r\n')
  for (let i = 0; i < 1000 && !server.finished; i++) server.receive(request)
  assert.equal(server.finished, true)
  assert.ok((server.takeOutput()?.length ?? 0) < 5 << 20)
})

test('any bytes: nothing throws, at most 16 KiB are waited for, and cuts do not matter', () => {
  const piece = fc.oneof(
    fc.constantFrom(
      'GET / HTTP/1.1\r\n',
      'host: x\r\n',
      '\r\n',
      'connection: close\r\n',
      'content-length: 0\r\n',
      '\r',
      '\n',
      'HEAD /',
    ),
    fc.string({ maxLength: 10 }),
  )
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 30 }), fc.integer({ min: 1, max: 20 }), (pieces, cut) => {
      const bytes = utf8(pieces.join(''))
      assert.deepEqual(hear(bytes, cut), hear(bytes))
    }),
    { numRuns: 300 },
  )
})
