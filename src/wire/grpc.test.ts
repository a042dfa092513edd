import assert from 'node:assert/strict'
import { test } from 'node:test'
import { concatBytes, failure, utf8 } from '../base/index.ts'
import { createGrpcClient } from './grpc-client.ts'
import { prefixed } from './grpc-message.ts'
import { createGrpcServer } from './grpc-server.ts'
import type { GrpcLimits } from './grpc-types.ts'
import { LIMITS, pair } from './grpc.testkit.ts'
import type { Header } from './hpack.ts'
import { FLAG, FRAME } from './http2-constants.ts'
import { be32, data, describe, frame, head, headers, hello, request, rst } from './http2.testkit.ts'
import { settings, settingsAck, windowUpdate } from './http2.testkit.ts'

const NO_METADATA = new Map<string, string>()
const PATH = '/etcdserverpb.KV/Put'

test('a unary call: metadata, timeout, message, answer', () => {
  const p = pair({ onHalfClose: (id) => p.server.respond(id, [utf8('an'), utf8('swer')]) })
  const id = p.client.open(PATH, new Map([['skein-space', 'x']]), 2500) as number
  p.client.sendMessage(id, utf8('question'), true)
  p.exchange()
  assert.deepEqual(p.served, [`call 1 ${PATH} 2500`, 'message 1 8', 'half 1'])
  assert.deepEqual([...(p.metadata.get(1) ?? [])], [['skein-space', 'x']])
  assert.deepEqual(p.heard, ['message 1 6', 'end 1 0  answered'])
  assert.deepEqual([p.client.openCalls, p.server.openCalls], [0, 0])
})

test('a unary call needs five frames in all: two there, three back', () => {
  const p = pair({ onHalfClose: (id) => p.server.respond(id, [utf8('answer')]) })
  p.exchange()
  const id = p.client.open(PATH, NO_METADATA, undefined) as number
  p.client.sendMessage(id, utf8('question'), true)
  const there = p.client.takeOutput() as Uint8Array
  assert.deepEqual(
    describe(there).map((line) => line.split(' ').slice(0, 2).join(' ')),
    ['headers 1', 'data 1'],
  )
  p.server.receive(there, 0)
  assert.deepEqual(describe(p.server.takeOutput()), [
    'headers 1 :status=200 content-type=application/grpc',
    'data 1 11',
    'headers 1 end grpc-status=0',
  ])
})

test('an error: code, message in any language, metadata', () => {
  const message = 'etcdserver: "schlüssel" 100% 日本 \n\t~'
  const p = pair({
    onHalfClose: (id) => p.server.finish(id, { code: 9, message, metadata: new Map([['skein-code', 'not-leader']]) }),
  })
  const id = p.client.open(PATH, NO_METADATA, undefined) as number
  p.client.sendMessage(id, utf8('x'), true)
  p.exchange()
  assert.deepEqual(p.heard, [`end 1 9 ${message} answered`])
  assert.equal(p.trailers.get(1)?.get('skein-code'), 'not-leader')
})

test('both sides stream, in turns, and end when they like', () => {
  const p = pair({
    onMessage: (id, message) => void p.server.sendMessage(id, concatBytes([message, message])),
    onHalfClose: (id) => p.server.finish(id, { code: 0, message: '' }),
  })
  const id = p.client.open('/etcdserverpb.Watch/Watch', NO_METADATA, undefined) as number
  for (let i = 1; i <= 3; i++) {
    p.client.sendMessage(id, new Uint8Array(i))
    p.exchange()
  }
  assert.deepEqual(p.heard, ['message 1 2', 'message 1 4', 'message 1 6'])
  p.client.halfClose(id)
  p.exchange()
  assert.equal(p.heard.at(-1), 'end 1 0  answered')
})

test('a server that streams: messages of all sizes, larger than any window', () => {
  const sizes = [0, 1, 16_379, 16_380, 70_000, 500_000, 3]
  const p = pair({
    onHalfClose(id) {
      for (const size of sizes) p.server.sendMessage(id, new Uint8Array(size))
      p.server.finish(id, { code: 0, message: '' })
    },
  })
  const id = p.client.open(PATH, NO_METADATA, undefined) as number
  p.client.sendMessage(id, new Uint8Array(0), true)
  p.exchange()
  assert.deepEqual(p.heard, [...sizes.map((size) => `message 1 ${size}`), 'end 1 0  answered'])
})

test('a client that streams more than any window, and the server answers early', () => {
  const p = pair({
    onMessage(id, message) {
      if (message.length === 200_000) p.server.finish(id, { code: 3, message: 'enough' })
    },
  })
  const id = p.client.open(PATH, NO_METADATA, undefined) as number
  p.client.sendMessage(id, new Uint8Array(100_000))
  p.client.sendMessage(id, new Uint8Array(200_000))
  p.client.sendMessage(id, new Uint8Array(300_000))
  p.exchange()
  assert.deepEqual(p.served, [`call 1 ${PATH} undefined`, 'message 1 100000', 'message 1 200000'])
  assert.deepEqual(p.heard, ['end 1 3 enough answered'])
  assert.deepEqual([p.client.openCalls, p.server.openCalls], [0, 0])
  assert.deepEqual([p.client.failed, p.server.failed], [undefined, undefined])
})

test('back-pressure, server to client: a client that pauses a call stops what is sent on it, and nothing else', () => {
  let sent = 0
  const p = pair({
    onHalfClose(id) {
      if (id === 3) p.server.respond(id, [utf8('other')])
      else while (p.server.sendMessage(id, new Uint8Array(10_000))) sent++
    },
    onWritable(id) {
      while (p.server.sendMessage(id, new Uint8Array(10_000)) && sent < 100) sent++
      if (sent >= 100) p.server.finish(id, { code: 0, message: '' })
    },
  })
  const id = p.client.open(PATH, NO_METADATA, undefined) as number
  p.client.pause(id)
  p.client.sendMessage(id, utf8('x'), true)
  p.exchange()
  const paused = sent
  assert.ok(paused >= 5 && paused <= 8, `a window of 64 KiB took ${paused} messages`)
  p.client.sendMessage(p.client.open(PATH, NO_METADATA, undefined) as number, utf8('x'), true)
  p.exchange()
  assert.equal(p.heard.at(-1), 'end 3 0  answered')
  assert.equal(sent, paused)
  p.client.resume(id)
  p.exchange()
  assert.ok(sent >= 100)
  assert.equal(p.heard.at(-1), 'end 1 0  answered')
})

test('back-pressure, client to server: a service that pauses a call', () => {
  const p = pair({ onCall: ({ id }) => p.server.pause(id) })
  const id = p.client.open(PATH, NO_METADATA, undefined) as number
  let sent = 0
  while (p.client.sendMessage(id, new Uint8Array(10_000))) sent++
  p.exchange()
  assert.equal(p.served.filter((event) => event === 'message 1 10000').length, 6)
  assert.ok(!p.heard.includes('writable 1'))
  p.server.resume(id)
  p.exchange()
  assert.ok(p.heard.includes('writable 1'))
  assert.equal(p.served.filter((event) => event === 'message 1 10000').length, sent + 1)
})

test('the client cancels: the server hears it once, and what it still says is ignored', () => {
  const p = pair()
  const id = p.client.open(PATH, NO_METADATA, undefined) as number
  p.client.sendMessage(id, utf8('x'))
  p.exchange()
  p.client.cancel(id)
  p.exchange()
  p.server.respond(id, [utf8('late')])
  p.server.finish(id, { code: 0, message: '' })
  p.exchange()
  assert.deepEqual(p.served.slice(2), ['cancel 1'])
  assert.deepEqual(p.heard, [])
})

test('the connection ends: every open call hears so, once', () => {
  const p = pair()
  for (let i = 0; i < 3; i++) p.client.open(PATH, NO_METADATA, undefined)
  p.exchange()
  p.server.closed()
  p.client.closed(failure('connection-lost', 'gone'))
  assert.deepEqual(p.served.slice(3), ['cancel 1', 'cancel 3', 'cancel 5'])
  assert.deepEqual(
    p.heard,
    [1, 3, 5].map((id) => `end ${id} 14 gone unknown`),
  )
})

test('messages beyond the limit are refused by either side', () => {
  const p = pair(
    { onHalfClose: (id) => p.server.respond(id, [new Uint8Array(2000)]) },
    {
      server: { maxMessageBytes: 1000 },
      client: { maxMessageBytes: 1500 },
    },
  )
  p.client.sendMessage(p.client.open(PATH, NO_METADATA, undefined) as number, new Uint8Array(1001), true)
  p.exchange()
  assert.deepEqual(p.heard, ['end 1 8 grpc: received message larger than max (1001 vs. 1000) answered'])
  assert.deepEqual(p.served.slice(1), ['cancel 1'])
  p.client.sendMessage(p.client.open(PATH, NO_METADATA, undefined) as number, new Uint8Array(1000), true)
  p.exchange()
  assert.equal(p.heard.at(-1), 'end 3 8 grpc: received message larger than max (2000 vs. 1500) unknown')
})

test('messages that never end are bounded over all calls of a connection', () => {
  const server = createGrpcServer(
    { ...LIMITS, maxPartialBytes: 320_000 },
    {
      onCall() {},
      onMessage() {},
      onHalfClose() {},
      onCancel: (id) => void cancelled.push(id),
      onWritable() {},
      onHttp() {},
    },
  )
  const cancelled: number[] = []
  server.receive(hello(), 0)
  for (const id of [1, 3, 5, 7]) {
    // The last thousand bytes of each are missing.
    server.receive(head(id, GRPC), 0)
    server.receive(data(id, [0, ...be32(100_000)]), 0)
    for (let i = 0; i < 9; i++) server.receive(data(id, new Uint8Array(11_000)), 0)
  }
  assert.deepEqual(cancelled, [7])
  assert.ok(
    describe(server.takeOutput()).some(
      (line) => line.startsWith('headers 7 end :status=200') && line.includes('grpc-status=8'),
    ),
  )
  // Room is given back when a message is whole.
  server.receive(data(1, new Uint8Array(1000)), 0)
  server.receive(head(9, GRPC), 0)
  server.receive(data(9, [0, ...be32(90_000)]), 0)
  for (let i = 0; i < 8; i++) server.receive(data(9, new Uint8Array(11_000)), 0)
  assert.deepEqual(cancelled, [7])
})

test('answers that a client leaves lying are bounded: further ones fail', () => {
  const p = pair(
    { onHalfClose: (id) => p.server.respond(id, [new Uint8Array(60_000)]) },
    {
      server: { maxOutputBytes: 200_000 },
    },
  )
  p.exchange()
  p.server.hold()
  for (let i = 0; i < 5; i++)
    p.client.sendMessage(p.client.open(PATH, NO_METADATA, undefined) as number, utf8('x'), true)
  p.exchange()
  assert.deepEqual(p.heard, [
    'end 7 8 grpc: the client does not read what it has been sent answered',
    'end 9 8 grpc: the client does not read what it has been sent answered',
  ])
  p.server.release()
  p.exchange()
  assert.equal(p.heard.filter((event) => event.endsWith(' 0  answered')).length, 3)
})

// What reaches a server that is not as our client says it

const GRPC: readonly Header[] = [
  [':method', 'POST'],
  [':scheme', 'http'],
  [':path', PATH],
  ['te', 'trailers'],
  ['content-type', 'application/grpc'],
]
const but = (name: string, value: string): Header[] => GRPC.map((field) => (field[0] === name ? [name, value] : field))
const plus = (...more: Header[]): Header[] => [...GRPC, ...more]

type Asked = { readonly output: string[]; readonly events: string[] }

function ask(frames: readonly Uint8Array[], limits: Partial<GrpcLimits> = {}): Asked {
  const events: string[] = []
  const server = createGrpcServer(
    { ...LIMITS, ...limits },
    {
      onCall: ({ timeoutMs, metadata }) => void events.push(`call ${timeoutMs} ${JSON.stringify([...metadata])}`),
      onMessage: (_id, message) => void events.push(`message ${message.length}`),
      onHalfClose(id) {
        events.push('half')
        server.respond(id, [])
      },
      onCancel: () => void events.push('cancel'),
      onWritable() {},
      onHttp({ id, method, path }) {
        events.push(`http ${method} ${path}`)
        server.respondHttp(id, { status: 200, contentType: 'text/plain', body: utf8('hello') })
      },
    },
  )
  server.receive(hello(), 0)
  server.takeOutput()
  for (const one of frames) server.receive(one, 0)
  return { output: describe(server.takeOutput()), events }
}

const REFUSALS: readonly (readonly [name: string, frames: readonly Uint8Array[], first: string])[] = [
  [
    'a content-type that is not gRPC, by POST: left to the owner',
    [request(1, but('content-type', 'application/json'))],
    'headers 1 :status=200 content-type=text/plain content-length=5',
  ],
  [
    'a content-type that only begins like gRPC',
    [request(1, but('content-type', 'application/grpcx'))],
    'headers 1 :status=200 content-type=text/plain content-length=5',
  ],
  [
    'gRPC by GET',
    [request(1, but(':method', 'GET'))],
    'headers 1 :status=405 content-type=text/plain content-length=29 allow=POST',
  ],
  [
    'an encoding that is not known',
    [head(1, plus(['grpc-encoding', 'gzip']))],
    'headers 1 end :status=200 content-type=application/grpc grpc-status=12 grpc-accept-encoding=identity grpc-message=grpc: Decompressor is not installed for grpc-encoding "gzip"',
  ],
  [
    'a message that is marked as compressed',
    [head(1), head(3, GRPC), data(3, [1, 0, 0, 0, 0], true)].slice(1),
    'headers 3 end :status=200 content-type=application/grpc grpc-status=13 grpc-message=grpc: a message is marked as compressed, but the call names no encoding',
  ],
  [
    'a timeout that is malformed',
    [head(1, plus(['grpc-timeout', '5 seconds']))],
    'headers 1 end :status=200 content-type=application/grpc grpc-status=13 grpc-message=grpc: malformed grpc-timeout: 5 seconds',
  ],
  [
    'a timeout of nine digits',
    [head(1, plus(['grpc-timeout', '123456789S']))],
    'headers 1 end :status=200 content-type=application/grpc grpc-status=13 grpc-message=grpc: malformed grpc-timeout: 123456789S',
  ],
  [
    'a body that ends in the middle of a message',
    [head(1, GRPC), data(1, [0, 0, 0, 0, 3, 1], true)],
    'headers 1 end :status=200 content-type=application/grpc grpc-status=13 grpc-message=grpc: the body ends in the middle of a message',
  ],
  [
    'a head that is too large',
    [frame(FRAME.headers, FLAG.endHeaders | FLAG.endStream, 1, bigHead())],
    'headers 1 :status=431 content-type=text/plain content-length=29',
  ],
]

function bigHead(): Uint8Array {
  // 300 references to an entry of 100 bytes.
  const entry = [0x40, 1, 0x61, 67, ...new Uint8Array(67).fill(0x62)]
  return Uint8Array.from([...entry, ...new Uint8Array(300).fill(0xbe)])
}

for (const [name, frames, first] of REFUSALS) {
  test(`a server answers: ${name}`, () => {
    assert.equal(ask(frames).output[0], first)
  })
}

test('an answer before the request is whole ends with RST_STREAM(NO_ERROR)', () => {
  const { output } = ask([head(1, plus(['grpc-encoding', 'gzip']))])
  assert.equal(output.at(-1), 'rstStream 1 none')
  const later = ask([
    head(1, plus(['grpc-encoding', 'gzip'])),
    data(1, [0, 0, 0, 0, 0], true),
    request(3, but('content-type', 'x')),
  ])
  assert.equal(later.output.at(-1), 'data 3 5 end')
})

test('also where the answer must wait for a window', () => {
  const server = createGrpcServer(LIMITS, {
    onCall: ({ id }) => server.respond(id, [new Uint8Array(100)]),
    onMessage() {},
    onHalfClose() {},
    onCancel() {},
    onWritable() {},
    onHttp() {},
  })
  server.receive(hello(), 0)
  server.receive(settings([4, 50]), 0)
  server.receive(head(1, GRPC), 0)
  server.takeOutput()
  server.receive(windowUpdate(1, 100), 0)
  assert.deepEqual(describe(server.takeOutput()), ['data 1 55', 'headers 1 end grpc-status=0', 'rstStream 1 none'])
  assert.equal(server.openCalls, 0)
})

test('plain HTTP is answered when its request is whole, or has become too large to wait for', () => {
  const post = but('content-type', 'text/plain')
  const [begin, some, last] = [head(1, post), data(1, [1, 2, 3]), data(1, [4], true)]
  assert.deepEqual(ask([begin, some]), { output: [], events: [] })
  assert.equal(ask([begin, some, last]).output.at(-1), 'data 1 5 end')
  assert.equal(ask([begin, headers(1, [['a', 'b']], 5)]).output.at(-1), 'data 1 5 end')
  const large = [begin, data(1, new Uint8Array(16_384)), data(1, new Uint8Array(16_384)), data(1, [1], true)]
  assert.deepEqual(ask(large).output.slice(-2), ['data 1 5 end', 'rstStream 1 none'])
})

test('metadata: duplicates are joined, what the transport uses is left out; timeouts in every unit', () => {
  const { events } = ask([
    head(1, plus(['a', '1'], ['user-agent', 'x'], ['a', '2'], ['b-bin', 'AAE'], ['grpc-accept-encoding', 'gzip'])),
    ...['1H', '2M', '3S', '4m', '5u', '6n', '0S'].map((value, i) => head(2 * i + 3, plus(['grpc-timeout', value]))),
  ])
  assert.deepEqual(events, [
    'call undefined [["a","1,2"],["b-bin","AAE"]]',
    ...[3_600_000, 120_000, 3000, 4, 0.005, 0.000006, 0].map((ms) => `call ${ms} []`),
  ])
})

test('HEAD over HTTP/2 has the length and not the body', () => {
  const { output } = ask([
    request(1, [
      [':method', 'HEAD'],
      [':scheme', 'http'],
      [':path', '/health'],
    ]),
  ])
  assert.deepEqual(output, ['headers 1 end :status=200 content-type=text/plain content-length=5'])
})

test('trailers of a request end it', () => {
  const { events } = ask([head(1, GRPC), data(1, [0, 0, 0, 0, 1, 9]), headers(1, [['a', 'b']], 5)])
  assert.deepEqual(events, ['call undefined []', 'message 1', 'half'])
})

// What reaches a client that is not as our server says it

function hear(frames: readonly Uint8Array[]): string[] {
  const heard: string[] = []
  const client = createGrpcClient(LIMITS, {
    onMessage: (id, message) => void heard.push(`message ${id} ${message.length}`),
    onEnd: (id, { code, message }, outcome) => void heard.push(`end ${id} ${code} ${message} ${outcome}`),
    onWritable() {},
    onClosing: (reason) => void heard.push(`closing ${reason?.message ?? 'in order'}`),
  })
  client.receive(concatBytes([settings(), settingsAck()]), 0)
  client.sendMessage(client.open(PATH, NO_METADATA, undefined) as number, utf8('x'), true)
  for (const one of frames) client.receive(one, 0)
  return heard
}

const HEAD_OK: readonly Header[] = [
  [':status', '200'],
  ['content-type', 'application/grpc+proto'],
]
const http = (status: string, ends: boolean, ...more: Header[]): Uint8Array =>
  headers(1, [[':status', status], ...more], ends ? 5 : 4)
const trailers = (...fields: Header[]): Uint8Array => headers(1, fields, 5)
const foreign = (status: number, code: number): string =>
  `end 1 ${code} the server answered with HTTP status ${status} and no grpc-status answered`

const ANSWERS: readonly (readonly [name: string, frames: readonly Uint8Array[], heard: readonly string[]])[] = [
  [
    'trailers only',
    [http('200', true, ['content-type', 'application/grpc'], ['grpc-status', '5'], ['grpc-message', 'a%20b%zz'])],
    ['end 1 5 a b%zz answered'],
  ],
  ['a status that is no number', [http('200', true, ['grpc-status', 'x'])], ['end 1 2  answered']],
  ['400', [http('400', true)], [foreign(400, 13)]],
  ['401', [http('401', true)], [foreign(401, 16)]],
  ['403', [http('403', true)], [foreign(403, 7)]],
  ['404', [http('404', true)], [foreign(404, 12)]],
  ['429', [http('429', true)], [foreign(429, 14)]],
  ['502', [http('502', true)], [foreign(502, 14)]],
  ['503', [http('503', true)], [foreign(503, 14)]],
  ['504', [http('504', true)], [foreign(504, 14)]],
  ['500', [http('500', true)], [foreign(500, 2)]],
  [
    'a page of a proxy',
    [http('503', false, ['content-type', 'text/html']), data(1, [60], true)],
    ['end 1 14 the server answered with HTTP status 503 and content-type "text/html" and no grpc-status answered'],
  ],
  [
    '200 with another content-type',
    [http('200', false, ['content-type', 'text/html'])],
    ['end 1 2 the server answered with HTTP status 200 and content-type "text/html" and no grpc-status answered'],
  ],
  [
    'a body that ends without trailers',
    [headers(1, HEAD_OK, 4), data(1, prefixed(utf8('x')), true)],
    ['message 1 1', 'end 1 2 the server answered with HTTP status 200 and no grpc-status unknown'],
  ],
  [
    'a body that ends in the middle of a message',
    [headers(1, HEAD_OK, 4), data(1, [0, 0, 0, 0, 9, 1]), trailers(['grpc-status', '0'])],
    ['end 1 13 the answer ends in the middle of a message unknown'],
  ],
  [
    'a message marked as compressed',
    [headers(1, HEAD_OK, 4), data(1, [1, 0, 0, 0, 0])],
    ['end 1 13 grpc: a message is marked as compressed, but the call names no encoding unknown'],
  ],
  ['reset: refused', [rst(1, 7)], ['end 1 14 the stream was reset with HTTP/2 error 7 not-processed']],
  ['reset: cancel', [rst(1, 8)], ['end 1 1 the stream was reset with HTTP/2 error 8 unknown']],
  ['reset: calm down', [rst(1, 11)], ['end 1 8 the stream was reset with HTTP/2 error 11 unknown']],
  ['reset: not secure enough', [rst(1, 12)], ['end 1 7 the stream was reset with HTTP/2 error 12 unknown']],
  ['reset: internal', [rst(1, 2)], ['end 1 13 the stream was reset with HTTP/2 error 2 unknown']],
  [
    'GOAWAY before it',
    [frame(FRAME.goaway, 0, 0, new Uint8Array(8))],
    ['end 1 14 the stream was reset with HTTP/2 error 7 not-processed', 'closing in order'],
  ],
  ['a broken protocol', [data(3, [1])], ['closing HTTP/2: DATA on idle stream 3']],
]
for (const [name, frames, expected] of ANSWERS) {
  test(`a client hears: ${name}`, () => {
    assert.deepEqual(hear(frames), expected)
  })
}

test('pings of either side are answered', () => {
  const p = pair()
  const pongs: string[] = []
  p.client.ping(() => void pongs.push('client'))
  p.server.ping(() => void pongs.push('server'))
  p.exchange()
  assert.deepEqual(pongs.sort(), ['client', 'server'])
})

test('a drain: the client opens no more, what is open is answered, then the server is done', () => {
  const p = pair()
  const id = p.client.open(PATH, NO_METADATA, undefined) as number
  p.exchange()
  p.server.drain()
  p.exchange()
  assert.deepEqual(p.heard, ['closing in order', 'closing in order'])
  assert.equal(p.client.open(PATH, NO_METADATA, undefined), undefined)
  assert.equal(p.server.isDrained, false)
  p.server.respond(id, [utf8('x')])
  p.exchange()
  assert.equal(p.heard.at(-1), 'end 1 0  answered')
  assert.equal(p.server.isDrained, true)
})

test('ten thousand calls on one connection leave nothing behind', () => {
  const p = pair({ onHalfClose: (id) => p.server.respond(id, [utf8('answer')]) })
  for (let i = 0; i < 10_000; i++) {
    const id = p.client.open(PATH, NO_METADATA, 1000 + (i % 7)) as number
    p.client.sendMessage(id, utf8('question'), true)
    if (i % 50 === 0) p.exchange()
    p.served.length = 0
    p.metadata.clear()
    p.trailers.clear()
  }
  p.exchange()
  assert.equal(p.heard.filter((event) => event.endsWith(' 0  answered')).length, 10_000)
  assert.deepEqual(
    [p.client.openCalls, p.server.openCalls, p.client.failed, p.server.failed],
    [0, 0, undefined, undefined],
  )
})
