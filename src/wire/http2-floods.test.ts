import assert from 'node:assert/strict'
import { test } from 'node:test'
import { concatBytes } from '../base/index.ts'
import { encodeHeaders } from './hpack-encode.ts'
import { ERROR, FLAG, FRAME, SETTING } from './http2-constants.ts'
import { client, LIMITS, server } from './http2-sides.testkit.ts'
import { data, frame, GET, head, headers, hello, ping, request, rst, settings, windowUpdate } from './http2.testkit.ts'

const block = encodeHeaders(GET)

/** What an attacker repeats for ever, by round. `before` comes once, after the greeting. */
type Flood = { readonly before?: readonly Uint8Array[]; readonly round: (i: number) => Uint8Array }
const FLOODS: Readonly<Record<string, Flood>> = {
  'rapid reset (CVE-2023-44487)': { round: (i) => concatBytes([request(2 * i + 1), rst(2 * i + 1, ERROR.cancel)]) },
  'rapid reset of requests that are not whole': {
    round: (i) => concatBytes([head(2 * i + 1), rst(2 * i + 1, ERROR.cancel)]),
  },
  'resets that the server is made to send: window updates of 0 (CVE-2025-8671)': {
    round: (i) => concatBytes([head(2 * i + 1), windowUpdate(2 * i + 1, 0)]),
  },
  'resets that the server is made to send: malformed heads': { round: (i) => request(2 * i + 1, GET.slice(1)) },
  'streams beyond the limit': { round: (i) => head(2 * i + 1) },
  'SETTINGS (CVE-2019-9515)': { round: () => settings([SETTING.maxFrameSize, 20_000]) },
  'PING (CVE-2019-9512)': { round: () => ping() },
  'answers to PINGs that nobody sent': { round: () => ping(FLAG.ack) },
  'PRIORITY (CVE-2019-9513)': { round: (i) => frame(FRAME.priority, 0, 2 * i + 1, [0, 0, 0, 0, 9]) },
  'empty DATA (CVE-2019-9518)': { before: [head(1)], round: () => data(1, []) },
  'DATA that is all padding': { before: [head(1)], round: () => frame(FRAME.data, FLAG.padded, 1, [2, 0, 0]) },
  'empty CONTINUATIONs (CVE-2024-27316)': {
    before: [frame(FRAME.headers, FLAG.endStream, 1, block)],
    round: () => frame(FRAME.continuation, 0, 1, []),
  },
  'CONTINUATIONs without end': {
    before: [frame(FRAME.headers, FLAG.endStream, 1, block)],
    round: () => frame(FRAME.continuation, 0, 1, new Uint8Array(1000)),
  },
  'WINDOW_UPDATEs of a byte, connection': { round: () => windowUpdate(0, 1) },
  'window games: a byte at a time (CVE-2019-9511)': {
    before: [settings([SETTING.initialWindowSize, 0]), request(1)],
    round: () => windowUpdate(1, 1),
  },
  'window games: SETTINGS that open and close every stream': {
    before: [settings([SETTING.initialWindowSize, 0]), ...Array.from({ length: 10 }, (_, i) => request(2 * i + 1))],
    round: (i) => settings([SETTING.initialWindowSize, i % 2]),
  },
  'frames of unknown types': { round: () => frame(0x42, 0, 0, [1, 2, 3]) },
  GOAWAY: { round: () => frame(FRAME.goaway, 0, 0, new Uint8Array(8)) },
  'DATA to a stream that is reset': {
    before: [head(1), windowUpdate(1, 0)],
    round: () => data(1, [1]),
  },
}

const MOST_ROUNDS = 30_000

for (const [name, { before = [], round }] of Object.entries(FLOODS)) {
  test(`flood: ${name}: the peer is told to calm down, and nothing piles up`, () => {
    const { connection, output, events } = server('x'.repeat(60_000))
    connection.receive(hello(), 0)
    for (const one of before) connection.receive(one, 0)
    let rounds = 0
    let written = 0
    let last: string | undefined
    while (connection.failed === undefined && rounds < MOST_ROUNDS) {
      connection.receive(round(rounds), 0)
      rounds++
      assert.ok(connection.streams.size <= LIMITS.maxConcurrentStreams)
      assert.ok(connection.sender.queuedBytes <= 60_000 * LIMITS.maxConcurrentStreams)
      events.length = 0
      const lines = output()
      written += lines.length
      last = lines.at(-1) ?? last
    }
    assert.match(last ?? '', /goaway last=\d+ enhanceYourCalm/)
    assert.ok(rounds < 12_000, `after ${rounds} rounds`)
    // It is not made to work for more than it is sent.
    assert.ok(written <= 12 * rounds + 50, `${written} frames for ${rounds} rounds`)
  })
}

test('the same frames, as calls that are answered bring them along, go on for ever', () => {
  const { connection, output, events } = server('x'.repeat(100))
  connection.receive(hello(), 0)
  for (let i = 0; i < 20_000; i++) {
    const id = 2 * i + 1
    connection.receive(
      concatBytes([head(id), windowUpdate(id, 1000), data(id, [1]), data(id, []), data(id, [], true)]),
      0,
    )
    connection.receive(concatBytes([windowUpdate(0, 100), ping(), settings(), ping()]), 0)
    output()
    events.length = 0
  }
  assert.equal(connection.failed, undefined)
})

test('over time every frame is allowed: pings and resets at a modest rate', () => {
  const { connection, output } = server()
  connection.receive(hello(), 0)
  for (let i = 0; i < 20_000; i++) {
    const id = 2 * i + 1
    connection.receive(concatBytes([head(id), rst(id, ERROR.cancel), ping()]), i * 10)
    output()
  }
  assert.equal(connection.failed, undefined)
})

test('cancelling all that is open at once is no attack', () => {
  const { connection, output } = server('', { ...LIMITS, maxConcurrentStreams: 5000 })
  connection.receive(hello(), 0)
  for (let i = 0; i < 5000; i++) connection.receive(head(2 * i + 1), 0)
  for (let i = 0; i < 5000; i++) connection.receive(rst(2 * i + 1, ERROR.cancel), 0)
  output()
  assert.equal(connection.failed, undefined)
})

test('a peer that reads nothing of what it asks for is ended before the output grows beyond its bound', () => {
  const { connection } = server('', { ...LIMITS, maxOutputBytes: 10_000 })
  connection.receive(hello(), 0)
  for (let i = 0; i < 9000 && connection.failed === undefined; i++) connection.receive(ping(), 0)
  assert.equal(connection.failed?.details?.['code'], ERROR.enhanceYourCalm)
  assert.ok((connection.takeOutput()?.length ?? 0) < 10_200)
})

test('a header bomb: references to one large entry are not written out, the stream alone is refused', () => {
  const { connection, output, events } = server()
  connection.receive(hello(), 0)
  output()
  // An entry of 3000 bytes in the table, and then a block that names it 16,000 times: 48 MB of headers.
  const entry = [0x40, 1, 0x61, 0x7f, 0xb9, 0x16, ...new Uint8Array(3000).fill(0x62)]
  connection.receive(frame(FRAME.headers, FLAG.endHeaders | FLAG.endStream, 1, [...block, ...entry]), 0)
  const bomb = [...block, ...new Uint8Array(16_000).fill(0xbe)]
  for (let i = 1; i <= 100; i++)
    connection.receive(frame(FRAME.headers, FLAG.endHeaders | FLAG.endStream, 2 * i + 1, bomb), 0)
  assert.equal(events.filter((event) => event.startsWith('too large')).length, 100)
  assert.equal(connection.streams.size, 0)
})

test('client: a server that floods is left as well', () => {
  for (const round of [
    ping(),
    settings(),
    windowUpdate(0, 1),
    headers(1, [[':status', '103']], FLAG.endHeaders),
    frame(0x42, 0, 0, []),
  ]) {
    const { connection, output } = client()
    connection.receive(settings(), 0)
    connection.open(block)
    let last: string | undefined
    for (let i = 0; i < MOST_ROUNDS && connection.failed === undefined; i++) {
      connection.receive(round, 0)
      last = output().at(-1) ?? last
    }
    assert.equal(last, 'goaway last=0 enhanceYourCalm')
  }
})
