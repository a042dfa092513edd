/**
 * Any bytes, however cut: nothing throws, nothing grows beyond its bound, and neither events nor output depend on the cuts.
 * SKEIN_FUZZ_RUNS sets how many runs each property gets (default 300).
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { concatBytes, toHex } from '../base/index.ts'
import { createGrpcClient } from './grpc-client.ts'
import { createGrpcServer } from './grpc-server.ts'
import type { GrpcLimits } from './grpc-types.ts'
import type { Header } from './hpack.ts'
import { FLAG, FRAME, SETTING } from './http2-constants.ts'
import { be32, data, frame, GET, head, headers, hello, ping, request, rst } from './http2.testkit.ts'
import { settings, settingsAck, windowUpdate } from './http2.testkit.ts'

const RUNS = Number(process.env['SKEIN_FUZZ_RUNS'] ?? 300)

const LIMITS: GrpcLimits = {
  maxMessageBytes: 5000,
  maxConcurrentCalls: 4,
  maxHeaderListBytes: 2000,
  callWindowBytes: 20_000,
  connectionWindowBytes: 70_000,
  maxOutputBytes: 200_000,
  maxPartialBytes: 12_000,
}

const GRPC: readonly Header[] = [
  [':method', 'POST'],
  [':scheme', 'http'],
  [':path', '/a.B/C'],
  ['te', 'trailers'],
  ['content-type', 'application/grpc'],
]
const RESPONSE: readonly Header[] = [
  [':status', '200'],
  ['content-type', 'application/grpc'],
]

const id = fc.constantFrom(1, 3, 5, 7, 9, 11, 0, 2, 13)
const flags = fc.nat({ max: 255 })
const field: fc.Arbitrary<Header> = fc.tuple(
  fc.constantFrom(
    'grpc-timeout',
    'grpc-encoding',
    'grpc-status',
    'grpc-message',
    'x',
    'content-length',
    'te',
    'X',
    ':path',
  ),
  fc.oneof(fc.constantFrom('0', '1S', 'gzip', 'trailers', '/'), fc.string({ maxLength: 10 })),
)
const list = fc
  .tuple(fc.constantFrom(GRPC, GET, RESPONSE, []), fc.array(field, { maxLength: 2 }))
  .map(([base, more]) => base.concat(more))
const message = fc
  .tuple(fc.uint8Array({ maxLength: 40 }), fc.integer({ min: -2, max: 2 }), fc.constantFrom(0, 0, 0, 1))
  .map(([bytes, off, compressed]) =>
    [compressed as number].concat(be32(Math.max(0, bytes.length + off)), Array.from(bytes)),
  )

const anyFrame: fc.Arbitrary<Uint8Array> = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(id, list, fc.constantFrom(4, 5, 5, 0, 1)).map(([s, l, f]) => headers(s, l, f)) },
  { weight: 5, arbitrary: fc.tuple(id, message, fc.boolean()).map(([s, m, e]) => data(s, m, e)) },
  { weight: 1, arbitrary: fc.tuple(id, fc.nat({ max: 16_384 })).map(([s, n]) => data(s, new Uint8Array(n))) },
  { weight: 2, arbitrary: fc.tuple(id, fc.nat({ max: 13 })).map(([s, c]) => rst(s, c)) },
  {
    weight: 2,
    arbitrary: fc.tuple(id, fc.constantFrom(0, 1, 5, 70_000, 2 ** 31 - 1)).map(([s, n]) => windowUpdate(s, n)),
  },
  {
    weight: 2,
    arbitrary: fc
      .tuple(fc.constantFrom(...Object.values(SETTING), 99), fc.constantFrom(0, 1, 2, 10, 16_384, 65_535, 2 ** 31))
      .map(([s, v]) => settings([s, v])),
  },
  { weight: 1, arbitrary: fc.constantFrom(ping(), ping(FLAG.ack), settingsAck(), frame(0x99, 0, 0, [1])) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(id, fc.uint8Array({ maxLength: 30 }), fc.constantFrom(0, 4))
      .map(([s, b, f]) => frame(FRAME.continuation, f, s, b)),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(id, fc.constantFrom(0, 1)).map(([s, c]) => frame(FRAME.goaway, 0, 0, [...be32(s), ...be32(c)])),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.nat({ max: 10 }), flags, id, fc.uint8Array({ maxLength: 30 }))
      .map(([t, f, s, b]) => frame(t, f, s, b)),
  },
)

const mutation = fc.tuple(fc.nat(), fc.nat({ max: 255 }))

/** Frames after a greeting, some with bytes changed, or just bytes. */
function streamAfter(greeting: Uint8Array): fc.Arbitrary<Uint8Array> {
  const frames = fc.array(anyFrame, { minLength: 1, maxLength: 25 }).map((all) => concatBytes([greeting, ...all]))
  const mutated = fc.tuple(frames, fc.array(mutation, { minLength: 1, maxLength: 3 })).map(([bytes, changes]) => {
    const copy = bytes.slice()
    for (const [at, value] of changes) copy[at % copy.length] = value
    return copy
  })
  const noise = fc.uint8Array({ maxLength: 200 }).map((bytes) => concatBytes([greeting, bytes]))
  return fc.oneof({ weight: 4, arbitrary: frames }, { weight: 3, arbitrary: mutated }, { weight: 1, arbitrary: noise })
}

const cuts = fc.oneof(
  fc.constant<number[]>([]),
  fc.constant([1]),
  fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 10 }),
)

/** In pieces of these sizes, again and again; whole without any. */
function* pieces(bytes: Uint8Array, sizes: readonly number[]): Generator<Uint8Array> {
  if (sizes.length === 0) {
    yield bytes
    return
  }
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = sizes[i % sizes.length] as number
    yield bytes.slice(at, at + size)
    at += size
  }
}

type Machine = {
  receive(bytes: Uint8Array, nowMs: number): void
  takeOutput(): Uint8Array | undefined
  readonly openCalls: number
}

type Outcome = { readonly events: readonly string[]; readonly output: string; readonly failed: string | undefined }

function outputOf(machine: Machine): string {
  let all = ''
  for (let piece = machine.takeOutput(); piece !== undefined; piece = machine.takeOutput()) {
    assert.ok(piece.length <= LIMITS.maxOutputBytes + 20_000)
    all += toHex(piece)
  }
  return all
}

/** A server that answers unary calls to half of its streams and echoes messages on the others. */
function runServer(bytes: Uint8Array, sizes: readonly number[]): Outcome {
  const events: string[] = []
  const server = createGrpcServer(LIMITS, {
    onCall: ({ id: call, path, timeoutMs }) => void events.push(`call ${call} ${path} ${timeoutMs}`),
    onMessage(call, received) {
      events.push(`message ${call} ${toHex(received)}`)
      if (call % 4 === 1) server.sendMessage(call, received)
      if (received.length === 7) server.finish(call, { code: 5, message: 'seven' })
    },
    onHalfClose(call) {
      events.push(`half ${call}`)
      server.respond(call, [new Uint8Array((call % 50) * 1000)])
    },
    onCancel: (call) => void events.push(`cancel ${call}`),
    onWritable: (call) => void events.push(`writable ${call}`),
    onHttp({ id: call, method, path }) {
      events.push(`http ${call} ${method} ${path}`)
      server.respondHttp(call, { status: 200, contentType: 'text/plain', body: new Uint8Array(3) })
    },
  })
  for (const piece of pieces(bytes, sizes)) {
    server.receive(piece, 0)
    assert.ok(server.openCalls <= LIMITS.maxConcurrentCalls)
  }
  const output = outputOf(server)
  const failed = server.failed?.message
  server.closed()
  assert.equal(server.openCalls, 0)
  return { events, output, failed }
}

function runClient(bytes: Uint8Array, sizes: readonly number[]): Outcome {
  const events: string[] = []
  const client = createGrpcClient(LIMITS, {
    onMessage: (call, received) => void events.push(`message ${call} ${toHex(received)}`),
    onEnd: (call, status, outcome) => void events.push(`end ${call} ${status.code} ${status.message} ${outcome}`),
    onWritable: (call) => void events.push(`writable ${call}`),
    onClosing: (reason) => void events.push(`closing ${reason?.message}`),
  })
  for (let i = 0; i < 5; i++) {
    const call = client.open('/a.B/C', new Map([['k', 'v']]), 1000) as number
    client.sendMessage(call, new Uint8Array(i * 5000), i % 2 === 0)
  }
  for (const piece of pieces(bytes, sizes)) client.receive(piece, 0)
  const output = outputOf(client)
  const failed = client.failed?.message
  client.closed(undefined)
  assert.equal(client.openCalls, 0)
  // Each call ends once.
  for (const call of [1, 3, 5, 7, 9])
    assert.equal(events.filter((event) => event.startsWith(`end ${call} `)).length, 1, `ends of ${call}`)
  return { events, output, failed }
}

test('server: any frames and bytes, cut anywhere', () => {
  fc.assert(
    fc.property(streamAfter(hello()), cuts, (bytes, sizes) => {
      assert.deepEqual(runServer(bytes, sizes), runServer(bytes, []))
    }),
    { numRuns: RUNS, includeErrorInReport: true },
  )
})

test('server: any bytes instead of a greeting', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), cuts, (bytes, sizes) => {
      assert.deepEqual(runServer(bytes, sizes), runServer(bytes, []))
    }),
    { numRuns: RUNS, includeErrorInReport: true },
  )
})

test('client: any frames and bytes, cut anywhere', () => {
  fc.assert(
    fc.property(streamAfter(concatBytes([settings(), settingsAck()])), cuts, (bytes, sizes) => {
      assert.deepEqual(runClient(bytes, sizes), runClient(bytes, []))
    }),
    { numRuns: RUNS, includeErrorInReport: true },
  )
})

test('server: whole calls cut at every place say the same', () => {
  const bytes = concatBytes([
    hello(),
    head(1, GRPC),
    data(1, [0, 0, 0, 0, 3, 1, 2, 3], true),
    request(3),
    head(5, GRPC),
    data(5, [0, 0, 0, 0, 7]),
    data(5, [1, 2, 3, 4, 5, 6, 7, 0]),
    ping(),
  ])
  const whole = runServer(bytes, [])
  assert.equal(whole.failed, undefined)
  assert.ok(whole.events.length > 5)
  for (let at = 1; at < bytes.length; at++) assert.deepEqual(runServer(bytes, [at, bytes.length]), whole)
})
