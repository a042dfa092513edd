import assert from 'node:assert/strict'
import { test } from 'node:test'
import { concatBytes } from '../base/index.ts'
import { encodeHeaders } from './hpack-encode.ts'
import type { Header } from './hpack.ts'
import { ERROR, FLAG, FRAME, PREFACE, SETTING } from './http2-constants.ts'
import { client, LIMITS, server } from './http2-sides.testkit.ts'
import { be32, data, describe, frame, GET, head, headers, hello, ping, request } from './http2.testkit.ts'
import { settings, settingsAck, windowUpdate } from './http2.testkit.ts'

const CONNECTION = (code: string, last = 0): string => `goaway last=${last} ${code}`
const OPEN = FLAG.endHeaders
const WHOLE = FLAG.endHeaders | FLAG.endStream
const plus = (...more: readonly Header[]): Header[] => [...GET, ...more]
const long = (count: number): Uint8Array => new Uint8Array(count)
const block = encodeHeaders(GET)

test('RFC 9113 3.4: the greeting of both sides', () => {
  assert.deepEqual(server().output(), ['settings', 'windowUpdate 0 65537'])
  const greeting = client().connection.takeOutput() as Uint8Array
  assert.deepEqual(greeting.subarray(0, PREFACE.length), PREFACE)
  assert.deepEqual(describe(greeting), ['settings', 'windowUpdate 0 65537'])
})

test('RFC 9113 3.4: a wrong preface, or another first frame than SETTINGS', () => {
  for (const first of [
    new TextEncoder().encode('GET / HTTP/1.1\r\n'),
    concatBytes([PREFACE, ping()]),
    concatBytes([PREFACE, settingsAck()]),
    concatBytes([PREFACE, request(1)]),
  ]) {
    const { connection, output } = server()
    connection.receive(first, 0)
    assert.equal(output().at(-1), CONNECTION('protocol'))
    assert.equal(connection.failed?.code, 'protocol-error')
    // And it is deaf from then on.
    connection.receive(hello(), 0)
    assert.deepEqual(output(), [])
  }
})

test('RFC 9113 5.1: half closed (remote): DATA and HEADERS reset the stream', () => {
  for (const extra of [data(1, [1]), request(1)]) {
    const { connection, output, events } = server('x'.repeat(70_000))
    connection.receive(hello(), 0)
    connection.receive(request(1), 0)
    output()
    connection.receive(extra, 0)
    assert.deepEqual(output(), ['rstStream 1 streamClosed'])
    assert.equal(events.at(-1), `reset 1 ${ERROR.streamClosed}`)
    assert.equal(connection.failed, undefined)
    assert.equal(connection.sender.queuedBytes, 0)
  }
})

test('RFC 9113 5.1: what was on its way to a stream that we reset is ignored, but counted and decoded', () => {
  const { connection, output } = server()
  connection.receive(hello(), 0)
  connection.receive(concatBytes([head(1), data(1, [1])]), 0)
  const stream = connection.streams.get(1)
  assert.ok(stream)
  connection.cancel(stream, ERROR.cancel)
  connection.receive(data(1, long(16_384)), 0)
  // Adds an entry to the table, which a later stream refers to.
  const added = [0x40, 1, 0x61, 1, 0x62]
  connection.receive(frame(FRAME.headers, WHOLE, 1, added), 0)
  connection.receive(frame(FRAME.headers, WHOLE, 3, [...block, 0xbe]), 0)
  assert.deepEqual(output().slice(-2), ['rstStream 1 cancel', 'headers 3 end :status=200'])
  connection.receive(data(1, [1]), 0)
  assert.deepEqual(output(), [CONNECTION('streamClosed', 3)])
})

test('RFC 9113 5.2: the windows that we give are renewed at half, and enforced', () => {
  const { connection, output } = server()
  connection.receive(hello(), 0)
  connection.receive(head(1), 0)
  output()
  for (let i = 0; i < 2; i++) connection.receive(data(1, long(16_384)), 0)
  assert.deepEqual(output(), ['windowUpdate 1 32768'])
  for (let i = 0; i < 2; i++) connection.receive(data(1, long(16_384)), 0)
  assert.deepEqual(output(), ['windowUpdate 0 65536', 'windowUpdate 1 32768'])
  const stream = connection.streams.get(1)
  assert.ok(stream)
  connection.pause(stream)
  for (let i = 0; i < 3; i++) connection.receive(data(1, long(16_384)), 0)
  assert.deepEqual(output(), [])
  connection.resume(stream)
  assert.deepEqual(output(), ['windowUpdate 1 49152'])
  connection.pause(stream)
  for (let i = 0; i < 4; i++) connection.receive(data(1, long(16_384)), 0)
  assert.deepEqual(
    output().filter((line) => !line.startsWith('windowUpdate 0')),
    ['rstStream 1 flowControl'],
  )
})

test('RFC 9113 5.2: padding counts against the windows', () => {
  const { connection, output } = server()
  connection.receive(hello(), 0)
  connection.receive(head(1), 0)
  output()
  for (let i = 0; i < 129; i++) connection.receive(frame(FRAME.data, FLAG.padded, 1, [254, 1, ...long(254)]), 0)
  assert.deepEqual(output(), ['windowUpdate 1 32768'])
})

test('RFC 9113 6.9: the connection window is renewed by what comes, over all streams, also by what is dropped', () => {
  const { connection, output } = server('', { ...LIMITS, connectionWindowBytes: 65_535, streamWindowBytes: 20_000 })
  connection.receive(hello(), 0)
  output()
  let renewed = 0
  for (let i = 0; i < 40; i++) {
    const id = 2 * i + 1
    // The second frame overruns the stream's window: the stream is reset, and the third is dropped.
    connection.receive(concatBytes([head(id), ...[0, 1, 2].map(() => data(id, long(16_384)))]), 0)
    for (const line of output()) renewed += Number(/^windowUpdate 0 (\d+)$/.exec(line)?.[1] ?? 0)
  }
  assert.equal(connection.failed, undefined)
  const received = 40 * 3 * 16_384
  assert.ok(renewed > received - 65_535 && renewed <= received, `${renewed} of ${received} bytes were given back`)
})

test('RFC 9113 6.9.2: a lowered initial window may make a window negative, and DATA waits', () => {
  const { connection, output } = server('x'.repeat(10))
  connection.receive(hello(), 0)
  output()
  connection.receive(settings([SETTING.initialWindowSize, 3]), 0)
  connection.receive(request(1), 0)
  assert.deepEqual(output(), ['settings ack', 'headers 1 :status=200', 'data 1 3'])
  connection.receive(settings([SETTING.initialWindowSize, 0]), 0)
  connection.receive(windowUpdate(1, 3), 0)
  assert.deepEqual(output(), ['settings ack'])
  connection.receive(windowUpdate(1, 2), 0)
  assert.deepEqual(output(), ['data 1 2'])
  connection.receive(settings([SETTING.initialWindowSize, 100]), 0)
  assert.deepEqual(output(), ['settings ack', 'data 1 5 end'])
  assert.equal(connection.streams.size, 0)
})

test('RFC 9113 6.9: the connection window holds back DATA, which then takes turns by the frame', () => {
  const { connection, output } = server('x'.repeat(40_000))
  connection.receive(hello(), 0)
  output()
  connection.receive(settings([SETTING.initialWindowSize, 1 << 20]), 0)
  connection.receive(concatBytes([request(1), request(3), request(5)]), 0)
  const first = output().filter((line) => line.startsWith('data'))
  assert.deepEqual(first, ['data 1 16384', 'data 1 16384', 'data 1 7232 end', 'data 3 16384', 'data 3 9151'])
  connection.receive(windowUpdate(0, 1 << 20), 0)
  assert.deepEqual(output(), ['data 3 14465 end', 'data 5 16384', 'data 5 16384', 'data 5 7232 end'])
})

test('RFC 7541 4.2: a peer that lowers its table is told in the next block', () => {
  const { connection } = server()
  connection.receive(hello(), 0)
  connection.takeOutput()
  connection.receive(settings([SETTING.headerTableSize, 0]), 0)
  connection.receive(concatBytes([request(1), request(3)]), 0)
  const output = connection.takeOutput() as Uint8Array
  assert.deepEqual(describe(output), ['settings ack', 'headers 1 end :status=200', 'headers 3 end :status=200'])
  assert.deepEqual([...output.subarray(9, 20)].at(-2), 0x20)
})

test('RFC 9113 6.8: a drain announces itself, takes what is on its way, and then names the last', () => {
  const { connection, output } = server()
  connection.receive(hello(), 0)
  connection.receive(head(1), 0)
  output()
  connection.drain()
  const drained = connection.takeOutput() as Uint8Array
  assert.deepEqual(describe(drained), ['goaway last=2147483647 none', 'ping'])
  connection.receive(head(3), 0)
  const pong = drained.slice(-17)
  pong[4] = FLAG.ack
  connection.receive(pong, 0)
  assert.deepEqual(output(), ['goaway last=3 none'])
  connection.receive(head(5), 0)
  assert.deepEqual(output(), ['rstStream 5 refusedStream'])
  connection.receive(data(5, [1], true), 0)
  assert.equal(connection.isDrained, false)
  connection.receive(data(1, [1], true), 0)
  connection.receive(data(3, [1], true), 0)
  assert.deepEqual(output(), ['headers 1 end :status=200', 'headers 3 end :status=200'])
  assert.equal(connection.isDrained, true)
  assert.equal(connection.failed, undefined)
})

test('a head that is too large is a matter of its stream alone', () => {
  const { connection, output, events } = server()
  connection.receive(hello(), 0)
  output()
  connection.receive(request(1, plus(['a', 'x'.repeat(9000)])), 0)
  assert.deepEqual(events, ['too large 1'])
  connection.receive(request(3), 0)
  assert.deepEqual(output(), ['rstStream 1 enhanceYourCalm', 'headers 3 end :status=200'])
})

test('client: interim responses, body and trailers; then nothing is left', () => {
  const { connection, events, output } = client()
  output()
  connection.receive(concatBytes([settings(), settingsAck()]), 0)
  const stream = connection.open(block)
  assert.ok(stream)
  connection.sender.end(stream, null)
  assert.deepEqual(output(), [
    'settings ack',
    'headers 1 :method=GET :scheme=http :path=/ :authority=a',
    'data 1 0 end',
  ])
  connection.receive(headers(1, [[':status', '103']], OPEN), 0)
  connection.receive(headers(1, [[':status', '200']], OPEN), 0)
  connection.receive(data(1, [1, 2]), 0)
  connection.receive(headers(1, [['a', 'b']], WHOLE), 0)
  assert.deepEqual(events, ['head 1 200', 'data 1 2', 'trailers 1'])
  assert.equal(connection.streams.size, 0)
  assert.deepEqual(output(), [])
})

test('client: GOAWAY says which requests were not processed; no more are opened', () => {
  const { connection, events } = client()
  connection.receive(concatBytes([settings(), settingsAck()]), 0)
  for (let i = 0; i < 3; i++) connection.open(block)
  connection.receive(frame(FRAME.goaway, 0, 0, [...be32(3), ...be32(0)]), 0)
  assert.deepEqual(events, [`reset 5 ${ERROR.refusedStream} not processed`, 'goaway'])
  assert.equal(connection.open(block), undefined)
  connection.receive(headers(3, [[':status', '200']], WHOLE), 0)
  assert.equal(events.at(-1), 'head 3 end 200')
})

test('client: the server bounds how many are open; before it has said so, a hundred', () => {
  const { connection } = client()
  let opened = 0
  while (connection.open(block) !== undefined) opened++
  assert.equal(opened, 100)
  const other = client().connection
  other.receive(settings([SETTING.maxConcurrentStreams, 2]), 0)
  assert.deepEqual([other.open(block)?.id, other.open(block)?.id, other.open(block)], [1, 3, undefined])
})

test('while the byte stream is full, bodies wait and control frames do not', () => {
  const { connection, output } = server('hello')
  connection.receive(hello(), 0)
  output()
  connection.sender.hold()
  connection.receive(concatBytes([request(1), ping()]), 0)
  assert.deepEqual(output(), ['headers 1 :status=200', 'ping ack'])
  connection.sender.release()
  assert.deepEqual(output(), ['data 1 5 end'])
})

test('what is large leaves in pieces of bounded size', () => {
  const { connection } = server('x'.repeat(5 << 20), { ...LIMITS, maxOutputBytes: 64 << 20 })
  connection.receive(hello(), 0)
  connection.receive(settings([SETTING.initialWindowSize, 2 ** 30]), 0)
  connection.receive(windowUpdate(0, 2 ** 30), 0)
  connection.receive(request(1), 0)
  let total = 0
  for (let piece = connection.takeOutput(); piece !== undefined; piece = connection.takeOutput()) {
    assert.ok(piece.length < (1 << 20) + 20_000, String(piece.length))
    total += piece.length
  }
  assert.ok(total > 5 << 20)
  assert.equal(connection.streams.size, 0)
})
