import assert from 'node:assert/strict'
import { test } from 'node:test'
import { concatBytes } from '../base/index.ts'
import { encodeHeaders } from './hpack-encode.ts'
import type { Header } from './hpack.ts'
import { FLAG, FRAME, SETTING } from './http2-constants.ts'
import { client, server } from './http2-sides.testkit.ts'
import { data, frame, GET, head, headers, hello, ping, POST, request } from './http2.testkit.ts'
import { rst, settings, settingsAck, windowUpdate } from './http2.testkit.ts'

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
