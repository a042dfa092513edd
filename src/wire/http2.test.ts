import assert from 'node:assert/strict'
import { test } from 'node:test'
import { concatBytes } from '../base/index.ts'
import { encodeHeaders } from './hpack-encode.ts'
import type { Header } from './hpack.ts'
import { ERROR, FLAG, FRAME, PREFACE, SETTING } from './http2-constants.ts'
import type { Http2Limits } from './http2-control.ts'
import { Http2Connection } from './http2.ts'
import { be32, data, describe, frame, GET, head, headers, hello, ping, POST, request } from './http2.testkit.ts'
import { rst, settings, settingsAck, windowUpdate } from './http2.testkit.ts'

const LIMITS: Http2Limits = {
  maxConcurrentStreams: 10,
  maxHeaderListBytes: 8192,
  streamWindowBytes: 65_535,
  connectionWindowBytes: 131_072,
  maxOutputBytes: 1 << 20,
}
const OK: Uint8Array = encodeHeaders([[':status', '200']])

type Side = { readonly connection: Http2Connection; readonly events: string[]; output(): string[] }

/** A server that answers every request, once it is whole, with status 200 and `answer`. */
function server(answer = '', limits: Http2Limits = LIMITS): Side {
  const events: string[] = []
  const respond = (stream: Parameters<Http2Connection['cancel']>[0]): void => {
    connection.sender.headers(stream, OK, answer === '')
    if (answer !== '') connection.sender.data(stream, new TextEncoder().encode(answer), true)
  }
  const connection = new Http2Connection('server', limits, {
    onHead(stream, block, ends) {
      events.push(`head ${stream.id}${ends ? ' end' : ''} ${block.headers.length}`)
      if (ends) respond(stream)
    },
    onTrailers(stream, block) {
      events.push(`trailers ${stream.id} ${block.headers.length}`)
      respond(stream)
    },
    onData(stream, _bytes, start, end, ends) {
      events.push(`data ${stream.id} ${end - start}${ends ? ' end' : ''}`)
      if (ends) respond(stream)
    },
    onHeadTooLarge(stream) {
      events.push(`too large ${stream.id}`)
      connection.cancel(stream, ERROR.enhanceYourCalm)
    },
    onReset: (stream, code) => void events.push(`reset ${stream.id} ${code}`),
    onDrained: (stream) => void events.push(`drained ${stream.id}`),
    onGoaway: () => void events.push('goaway'),
    onPong: () => void events.push('pong'),
  })
  return { connection, events, output: () => describe(connection.takeOutput()) }
}

function client(): Side {
  const events: string[] = []
  const connection = new Http2Connection('client', LIMITS, {
    onHead: (stream, block, ends) =>
      void events.push(`head ${stream.id}${ends ? ' end' : ''} ${block.headers[0]?.[1] ?? ''}`),
    onTrailers: (stream) => void events.push(`trailers ${stream.id}`),
    onData: (stream, _bytes, start, end, ends) =>
      void events.push(`data ${stream.id} ${end - start}${ends ? ' end' : ''}`),
    onHeadTooLarge: (stream) => void events.push(`too large ${stream.id}`),
    onReset: (stream, code, notProcessed) =>
      void events.push(`reset ${stream.id} ${code}${notProcessed ? ' not processed' : ''}`),
    onDrained: (stream) => void events.push(`drained ${stream.id}`),
    onGoaway: () => void events.push('goaway'),
    onPong: () => void events.push('pong'),
  })
  return { connection, events, output: () => describe(connection.takeOutput()) }
}

/** What a server sends to these frames, after the greeting. */
function answers(...frames: readonly Uint8Array[]): string[] {
  const { connection, output } = server()
  connection.receive(hello(), 0)
  output()
  for (const one of frames) connection.receive(one, 0)
  return output()
}

const CONNECTION = (code: string, last = 0): string => `goaway last=${last} ${code}`
const OPEN = FLAG.endHeaders
const WHOLE = FLAG.endHeaders | FLAG.endStream
const without = (name: string): Header[] => GET.filter(([key]) => key !== name)
const plus = (...more: readonly Header[]): Header[] => [...GET, ...more]
const long = (count: number): Uint8Array => new Uint8Array(count)
const block = encodeHeaders(GET)

/** In the style of h2spec: what is sent after the greeting, and the last thing that comes back. */
const CASES: readonly (readonly [name: string, sent: readonly Uint8Array[], last: string])[] = [
  // 4: frames
  ['4.1 a frame of an unknown type is ignored', [frame(0x16, 0, 0, [1]), ping()], 'ping ack'],
  ['4.1 unknown flags are ignored', [frame(FRAME.ping, 0x16, 0, long(8))], 'ping ack'],
  ['4.1 the reserved bit of a stream id is ignored', [frame(FRAME.ping, 0, 2 ** 31, long(8))], 'ping ack'],
  ['4.2 a DATA frame of the largest size', [head(1), data(1, long(16_384), true)], 'headers 1 end :status=200'],
  ['4.2 DATA larger than that', [head(1), data(1, long(16_385))], CONNECTION('frameSize', 1)],
  ['4.2 HEADERS larger than that', [frame(FRAME.headers, WHOLE, 1, long(16_385))], CONNECTION('frameSize')],
  ['4.3 a block that cannot be decoded', [frame(FRAME.headers, WHOLE, 1, [0x80])], CONNECTION('compression')],
  [
    '4.3 a block interrupted by PRIORITY',
    [frame(FRAME.headers, FLAG.endStream, 1, block), frame(2, 0, 1, long(5))],
    CONNECTION('protocol'),
  ],
  [
    '4.3 a block interrupted by another HEADERS',
    [frame(FRAME.headers, FLAG.endStream, 1, block), request(3)],
    CONNECTION('protocol'),
  ],
  [
    '5.5 a block interrupted by an unknown frame',
    [frame(FRAME.headers, FLAG.endStream, 1, block), frame(0x16, 0, 0, [])],
    CONNECTION('protocol'),
  ],
  // 5.1: stream states
  ['5.1 idle: DATA', [data(1, [1])], CONNECTION('protocol')],
  ['5.1 idle: RST_STREAM', [rst(1, 8)], CONNECTION('protocol')],
  ['5.1 idle: WINDOW_UPDATE', [windowUpdate(1, 100)], CONNECTION('protocol')],
  ['5.1 idle: CONTINUATION', [frame(FRAME.continuation, OPEN, 1, block)], CONNECTION('protocol')],
  [
    '5.1 idle: PRIORITY is fine',
    [frame(FRAME.priority, 0, 1, [0, 0, 0, 0, 9]), request(1)],
    'headers 1 end :status=200',
  ],
  ['5.1 closed after END_STREAM: DATA', [request(1), data(1, [1])], CONNECTION('streamClosed', 1)],
  ['5.1 closed after END_STREAM: HEADERS', [request(1), request(1)], CONNECTION('streamClosed', 1)],
  [
    '5.1 closed after END_STREAM: CONTINUATION',
    [request(1), frame(FRAME.continuation, OPEN, 1, block)],
    CONNECTION('protocol', 1),
  ],
  ['5.1 closed by RST_STREAM: DATA', [head(1), rst(1, 8), data(1, [1])], CONNECTION('streamClosed', 1)],
  ['5.1 closed by RST_STREAM: HEADERS', [head(1), rst(1, 8), request(1)], CONNECTION('streamClosed', 1)],
  [
    '5.1 closed: WINDOW_UPDATE, RST_STREAM and PRIORITY are fine',
    [request(1), windowUpdate(1, 9), rst(1, 8), frame(FRAME.priority, 0, 1, [0, 0, 0, 0, 9]), ping()],
    'ping ack',
  ],
  ['5.1.1 an even stream id', [request(2)], CONNECTION('protocol')],
  ['5.1.1 a smaller id than before, never opened', [request(5), request(3)], CONNECTION('protocol', 5)],
  ['5.1.1 stream 0: HEADERS', [request(0)], CONNECTION('protocol')],
  ['5.1.1 stream 0: DATA', [data(0, [1])], CONNECTION('protocol')],
  ['5.1.1 stream 0: RST_STREAM', [rst(0, 8)], CONNECTION('protocol')],
  ['5.1.1 stream 0: PRIORITY', [frame(FRAME.priority, 0, 0, long(5))], CONNECTION('protocol')],
  ['5.1.1 stream 0: CONTINUATION', [frame(FRAME.continuation, OPEN, 0, block)], CONNECTION('protocol')],
  [
    '5.1.2 more streams than allowed',
    Array.from({ length: 11 }, (_, i) => head(2 * i + 1)),
    'rstStream 21 refusedStream',
  ],
  [
    '5.3.1 (RFC 7540) a stream that depends on itself: HEADERS',
    [frame(FRAME.headers, WHOLE | FLAG.priority, 1, [0, 0, 0, 1, 9, ...block])],
    CONNECTION('protocol'),
  ],
  [
    '5.3.1 (RFC 7540) a stream that depends on itself: PRIORITY',
    [frame(FRAME.priority, 0, 1, [0, 0, 0, 1, 9])],
    CONNECTION('protocol'),
  ],
  // 6: the frames
  [
    '6.1 DATA with padding',
    [head(1), frame(FRAME.data, FLAG.padded | FLAG.endStream, 1, [3, 7, 7, 0, 0, 0])],
    'headers 1 end :status=200',
  ],
  [
    '6.1 padding as long as the payload',
    [head(1), frame(FRAME.data, FLAG.padded, 1, [3, 0, 0])],
    CONNECTION('protocol', 1),
  ],
  ['6.1 padded, and empty', [head(1), frame(FRAME.data, FLAG.padded, 1, [])], CONNECTION('protocol', 1)],
  [
    '6.2 HEADERS with padding and priority',
    [frame(FRAME.headers, WHOLE | FLAG.padded | FLAG.priority, 1, [2, 0, 0, 0, 0, 9, ...block, 0, 0])],
    'headers 1 end :status=200',
  ],
  [
    '6.2 padding as long as the payload',
    [frame(FRAME.headers, WHOLE | FLAG.padded, 1, [block.length + 1, ...block])],
    CONNECTION('protocol'),
  ],
  ['6.2 too short for its priority', [frame(FRAME.headers, WHOLE | FLAG.priority, 1, [0, 0])], CONNECTION('frameSize')],
  ['6.3 PRIORITY of another length', [frame(FRAME.priority, 0, 1, long(4))], CONNECTION('frameSize')],
  ['6.4 RST_STREAM of another length', [head(1), frame(FRAME.rstStream, 0, 1, long(3))], CONNECTION('frameSize', 1)],
  ['6.5 SETTINGS on a stream', [frame(FRAME.settings, 0, 1, [])], CONNECTION('protocol')],
  ['6.5 an acknowledgement with a payload', [frame(FRAME.settings, FLAG.ack, 0, long(6))], CONNECTION('frameSize')],
  ['6.5 SETTINGS of another length', [frame(FRAME.settings, 0, 0, long(5))], CONNECTION('frameSize')],
  ['6.5.2 ENABLE_PUSH of 2', [settings([SETTING.enablePush, 2])], CONNECTION('protocol')],
  ['6.5.2 a window above 2^31-1', [settings([SETTING.initialWindowSize, 2 ** 31])], CONNECTION('flowControl')],
  ['6.5.2 a frame size below 2^14', [settings([SETTING.maxFrameSize, 16_383])], CONNECTION('protocol')],
  ['6.5.2 a frame size above 2^24-1', [settings([SETTING.maxFrameSize, 2 ** 24])], CONNECTION('protocol')],
  ['6.5.2 unknown settings are ignored', [settings([0xff, 1])], 'settings ack'],
  ['6.5.3 SETTINGS are acknowledged', [settings([SETTING.maxFrameSize, 20_000])], 'settings ack'],
  [
    '6.6 PUSH_PROMISE from a client',
    [frame(FRAME.pushPromise, OPEN, 1, [0, 0, 0, 2, ...block])],
    CONNECTION('protocol'),
  ],
  ['6.7 PING is answered', [ping()], 'ping ack'],
  ['6.7 an answer is not answered', [settings(), ping(FLAG.ack)], 'settings ack'],
  ['6.7 PING on a stream', [frame(FRAME.ping, 0, 1, long(8))], CONNECTION('protocol')],
  ['6.7 PING of another length', [frame(FRAME.ping, 0, 0, long(6))], CONNECTION('frameSize')],
  ['6.8 GOAWAY on a stream', [frame(FRAME.goaway, 0, 1, long(8))], CONNECTION('protocol')],
  ['6.8 GOAWAY that is too short', [frame(FRAME.goaway, 0, 0, long(7))], CONNECTION('frameSize')],
  [
    '6.8 requests are still answered after GOAWAY',
    [head(1), frame(FRAME.goaway, 0, 0, long(8)), data(1, [1], true)],
    'headers 1 end :status=200',
  ],
  ['6.9 WINDOW_UPDATE of 0, connection', [windowUpdate(0, 0)], CONNECTION('protocol')],
  ['6.9 WINDOW_UPDATE of 0, stream', [head(1), windowUpdate(1, 0)], 'rstStream 1 protocol'],
  ['6.9 WINDOW_UPDATE of another length', [frame(FRAME.windowUpdate, 0, 0, long(3))], CONNECTION('frameSize')],
  ['6.9.1 the connection window overflows', [windowUpdate(0, 2 ** 31 - 1)], CONNECTION('flowControl')],
  ['6.9.1 a stream window overflows', [head(1), windowUpdate(1, 2 ** 31 - 1)], 'rstStream 1 flowControl'],
  [
    '6.9.2 a stream window overflows by SETTINGS',
    [head(1), windowUpdate(1, 2 ** 31 - 1 - 65_535), settings([SETTING.initialWindowSize, 65_536])],
    CONNECTION('flowControl', 1),
  ],
  [
    '6.10 CONTINUATIONs',
    [
      frame(FRAME.headers, FLAG.endStream, 1, block.subarray(0, 1)),
      frame(FRAME.continuation, 0, 1, block.subarray(1, 2)),
      frame(FRAME.continuation, 0, 1, []),
      frame(FRAME.continuation, OPEN, 1, block.subarray(2)),
    ],
    'headers 1 end :status=200',
  ],
  [
    '6.10 CONTINUATION on another stream',
    [frame(FRAME.headers, FLAG.endStream, 1, block), frame(FRAME.continuation, OPEN, 3, [])],
    CONNECTION('protocol'),
  ],
  [
    '6.10 CONTINUATION after DATA',
    [head(1), data(1, [1]), frame(FRAME.continuation, OPEN, 1, block)],
    CONNECTION('protocol', 1),
  ],
  // 8: requests
  ['8.1 trailers', [head(1), data(1, [1]), headers(1, [['a', 'b']], WHOLE)], 'headers 1 end :status=200'],
  ['8.1 trailers without END_STREAM', [head(1), data(1, [1]), headers(1, [['a', 'b']], OPEN)], 'rstStream 1 protocol'],
  ['8.1 a pseudo-header in trailers', [head(1), headers(1, [[':method', 'GET']], WHOLE)], 'rstStream 1 protocol'],
  [
    '8.1.1 content-length that is true',
    [head(1, [...POST, ['content-length', '3']]), data(1, [1]), data(1, [2, 3], true)],
    'headers 1 end :status=200',
  ],
  [
    '8.1.1 content-length that is more',
    [head(1, [...POST, ['content-length', '3']]), data(1, [1], true)],
    'rstStream 1 protocol',
  ],
  [
    '8.1.1 content-length that is less',
    [head(1, [...POST, ['content-length', '1']]), data(1, [1, 2])],
    'rstStream 1 protocol',
  ],
  ['8.1.1 content-length without a body', [request(1, [...POST, ['content-length', '1']])], 'rstStream 1 protocol'],
  [
    '8.1.1 content-length, and trailers too early',
    [head(1, [...POST, ['content-length', '2']]), data(1, [1]), headers(1, [], WHOLE)],
    'rstStream 1 protocol',
  ],
  ['8.1.1 content-length that is no number', [request(1, plus(['content-length', '+0']))], 'rstStream 1 protocol'],
  [
    '8.1.1 content-length, twice and different',
    [request(1, plus(['content-length', '0'], ['content-length', '1']))],
    'rstStream 1 protocol',
  ],
  ['8.2.1 an upper-case name', [request(1, plus(['X-Test', 'ok']))], 'rstStream 1 protocol'],
  ['8.2.1 an empty name', [request(1, plus(['', 'ok']))], 'rstStream 1 protocol'],
  ['8.2.1 a name with a space', [request(1, plus(['a b', 'ok']))], 'rstStream 1 protocol'],
  ['8.2.1 a name with a colon', [request(1, plus(['a:b', 'ok']))], 'rstStream 1 protocol'],
  ['8.2.1 a value with a line feed', [request(1, plus(['a', 'b\nc: d']))], 'rstStream 1 protocol'],
  ['8.2.1 a value with NUL', [request(1, plus(['a', 'b\0']))], 'rstStream 1 protocol'],
  ['8.2.1 a value that begins with a space', [request(1, plus(['a', ' b']))], 'rstStream 1 protocol'],
  [
    '8.2.1 a value with spaces inside, and an empty one',
    [request(1, plus(['a', 'b  c'], ['d', '']))],
    'headers 1 end :status=200',
  ],
  ['8.2.2 connection', [request(1, plus(['connection', 'keep-alive']))], 'rstStream 1 protocol'],
  ['8.2.2 transfer-encoding', [request(1, plus(['transfer-encoding', 'chunked']))], 'rstStream 1 protocol'],
  ['8.2.2 te other than trailers', [request(1, plus(['te', 'trailers, deflate']))], 'rstStream 1 protocol'],
  ['8.2.2 te: trailers', [request(1, plus(['te', 'trailers']))], 'headers 1 end :status=200'],
  ['8.3 an unknown pseudo-header', [request(1, [[':test', 'ok'], ...GET])], 'rstStream 1 protocol'],
  ['8.3 a pseudo-header of responses', [request(1, [[':status', '200'], ...GET])], 'rstStream 1 protocol'],
  ['8.3 a pseudo-header after a regular one', [request(1, [['a', 'b'], ...GET])], 'rstStream 1 protocol'],
  ['8.3.1 without :method', [request(1, without(':method'))], 'rstStream 1 protocol'],
  ['8.3.1 without :scheme', [request(1, without(':scheme'))], 'rstStream 1 protocol'],
  ['8.3.1 without :path', [request(1, without(':path'))], 'rstStream 1 protocol'],
  ['8.3.1 without :authority is fine', [request(1, without(':authority'))], 'headers 1 end :status=200'],
  ['8.3.1 an empty :path', [request(1, [...without(':path'), [':path', '']])], 'rstStream 1 protocol'],
  ['8.3.1 a :path that is none', [request(1, [...without(':path'), [':path', 'x']])], 'rstStream 1 protocol'],
  ['8.3.1 :path given twice', [request(1, [[':path', '/'], ...GET])], 'rstStream 1 protocol'],
  [
    '8.3.1 OPTIONS *',
    [
      request(1, [
        [':method', 'OPTIONS'],
        [':scheme', 'http'],
        [':path', '*'],
      ]),
    ],
    'headers 1 end :status=200',
  ],
  [
    '8.5 CONNECT',
    [
      request(1, [
        [':method', 'CONNECT'],
        [':authority', 'a:1'],
      ]),
    ],
    'headers 1 end :status=200',
  ],
  [
    '8.5 CONNECT with a path',
    [
      request(1, [
        [':method', 'CONNECT'],
        [':path', '/'],
        [':authority', 'a:1'],
      ]),
    ],
    'rstStream 1 protocol',
  ],
]

for (const [name, sent, last] of CASES) {
  test(`RFC 9113 ${name}`, () => {
    assert.equal(answers(...sent).at(-1), last)
  })
}

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

test('RFC 9113 6.9: the connection window is enforced over all streams', () => {
  const { connection, output } = server('', { ...LIMITS, connectionWindowBytes: 65_535, streamWindowBytes: 1 << 20 })
  connection.receive(hello(), 0)
  output()
  // Never renewed: a frame at a time cannot overrun what is renewed at half, so the limit is approached from below.
  connection.receive(head(1), 0)
  for (let i = 0; i < 40; i++) connection.receive(data(1, long(16_384)), 0)
  assert.equal(connection.failed, undefined)
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

/** What a server may not do to a client with one open request. */
const CLIENT_CASES: readonly (readonly [name: string, sent: readonly Uint8Array[], last: string])[] = [
  ['8.1 DATA before the head', [data(1, [1])], 'rstStream 1 protocol'],
  ['8.1 an interim response that ends the stream', [headers(1, [[':status', '100']], WHOLE)], 'rstStream 1 protocol'],
  ['8.3.2 without :status', [headers(1, [['a', 'b']], WHOLE)], 'rstStream 1 protocol'],
  ['8.3.2 a :status that is none', [headers(1, [[':status', 'OK']], WHOLE)], 'rstStream 1 protocol'],
  [
    '8.3.2 a pseudo-header of requests',
    [
      headers(
        1,
        [
          [':status', '200'],
          [':path', '/'],
        ],
        WHOLE,
      ),
    ],
    'rstStream 1 protocol',
  ],
  ['8.6 status 101', [headers(1, [[':status', '101']], OPEN)], 'rstStream 1 protocol'],
  [
    '6.6 a push, which we have forbidden',
    [frame(FRAME.pushPromise, OPEN, 1, [0, 0, 0, 2, ...block])],
    CONNECTION('protocol'),
  ],
  ["5.1.1 a stream of the server's own", [headers(2, [[':status', '200']], WHOLE)], CONNECTION('protocol')],
  ['5.1 a stream that we never opened', [headers(3, [[':status', '200']], WHOLE)], CONNECTION('protocol')],
  ['6.5.2 ENABLE_PUSH of 1 from a server', [settings([SETTING.enablePush, 1])], CONNECTION('protocol')],
]
for (const [name, sent, last] of CLIENT_CASES) {
  test(`RFC 9113 ${name}`, () => {
    const { connection, output } = client()
    connection.receive(concatBytes([settings(), settingsAck()]), 0)
    connection.open(block)
    for (const one of sent) connection.receive(one, 0)
    assert.equal(output().at(-1), last)
  })
}

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
