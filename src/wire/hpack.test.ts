import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { encodeHeaders } from './hpack-encode.ts'
import { decodeHuffman } from './hpack-huffman.ts'
import { HUFFMAN_LENGTHS, STATIC_TABLE } from './hpack-tables.ts'
import type { Header } from './hpack.ts'
import { CompressionError, HpackDecoder } from './hpack.ts'

function bytes(hex: string): Uint8Array {
  return Uint8Array.from(Buffer.from(hex.replaceAll(' ', ''), 'hex'))
}

function decode(decoder: HpackDecoder, hex: string): string[] {
  const block = bytes(hex)
  return decoder.decode(block, 0, block.length).headers.map(([name, value]) => `${name}: ${value}`)
}

const LARGE = 1 << 20

/** RFC 7541 appendix C: a table size, and blocks in the order of one connection. */
const VECTORS: Readonly<Record<string, { readonly table: number; readonly blocks: readonly [string, string[]][] }>> = {
  'C.2.1 literal with indexing': {
    table: 4096,
    blocks: [['400a6375 73746f6d 2d6b6579 0d637573 746f6d2d 68656164 6572', ['custom-key: custom-header']]],
  },
  'C.2.2 literal without indexing': {
    table: 4096,
    blocks: [['040c2f73 616d706c 652f7061 7468', [':path: /sample/path']]],
  },
  'C.2.3 literal never indexed': {
    table: 4096,
    blocks: [['10087061 7373776f 72640673 65637265 74', ['password: secret']]],
  },
  'C.2.4 indexed': { table: 4096, blocks: [['82', [':method: GET']]] },
  'C.3 requests without Huffman': {
    table: 4096,
    blocks: [
      [
        '82868441 0f777777 2e657861 6d706c65 2e636f6d',
        [':method: GET', ':scheme: http', ':path: /', ':authority: www.example.com'],
      ],
      [
        '828684be 58086e6f 2d636163 6865',
        [':method: GET', ':scheme: http', ':path: /', ':authority: www.example.com', 'cache-control: no-cache'],
      ],
      [
        '828785bf 400a6375 73746f6d 2d6b6579 0c637573 746f6d2d 76616c75 65',
        [
          ':method: GET',
          ':scheme: https',
          ':path: /index.html',
          ':authority: www.example.com',
          'custom-key: custom-value',
        ],
      ],
    ],
  },
  'C.4 requests with Huffman': {
    table: 4096,
    blocks: [
      [
        '82868441 8cf1e3c2 e5f23a6b a0ab90f4 ff',
        [':method: GET', ':scheme: http', ':path: /', ':authority: www.example.com'],
      ],
      [
        '828684be 5886a8eb 10649cbf',
        [':method: GET', ':scheme: http', ':path: /', ':authority: www.example.com', 'cache-control: no-cache'],
      ],
      [
        '828785bf 408825a8 49e95ba9 7d7f8925 a849e95b b8e8b4bf',
        [
          ':method: GET',
          ':scheme: https',
          ':path: /index.html',
          ':authority: www.example.com',
          'custom-key: custom-value',
        ],
      ],
    ],
  },
  'C.5 responses without Huffman, with eviction': {
    table: 256,
    blocks: [
      [
        '48033330 32580770 72697661 7465611d 4d6f6e2c 20323120 4f637420 32303133 2032303a 31333a32 3120474d 546e1768 74747073 3a2f2f77 77772e65 78616d70 6c652e63 6f6d',
        [
          ':status: 302',
          'cache-control: private',
          'date: Mon, 21 Oct 2013 20:13:21 GMT',
          'location: https://www.example.com',
        ],
      ],
      [
        '48033330 37c1c0bf',
        [
          ':status: 307',
          'cache-control: private',
          'date: Mon, 21 Oct 2013 20:13:21 GMT',
          'location: https://www.example.com',
        ],
      ],
      [
        '88c1611d 4d6f6e2c 20323120 4f637420 32303133 2032303a 31333a32 3220474d 54c05a04 677a6970 7738666f 6f3d4153 444a4b48 514b425a 584f5157 454f5049 55415851 57454f49 553b206d 61782d61 67653d33 3630303b 20766572 73696f6e 3d31',
        [
          ':status: 200',
          'cache-control: private',
          'date: Mon, 21 Oct 2013 20:13:22 GMT',
          'location: https://www.example.com',
          'content-encoding: gzip',
          'set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1',
        ],
      ],
    ],
  },
  'C.6 responses with Huffman, with eviction': {
    table: 256,
    blocks: [
      [
        '48826402 5885aec3 771a4b61 96d07abe 941054d4 44a82005 95040b81 66e082a6 2d1bff6e 919d29ad 171863c7 8f0b97c8 e9ae82ae 43d3',
        [
          ':status: 302',
          'cache-control: private',
          'date: Mon, 21 Oct 2013 20:13:21 GMT',
          'location: https://www.example.com',
        ],
      ],
      [
        '4883640e ffc1c0bf',
        [
          ':status: 307',
          'cache-control: private',
          'date: Mon, 21 Oct 2013 20:13:21 GMT',
          'location: https://www.example.com',
        ],
      ],
      [
        '88c16196 d07abe94 1054d444 a8200595 040b8166 e084a62d 1bffc05a 839bd9ab 77ad94e7 821dd7f2 e6c7b335 dfdfcd5b 3960d5af 27087f36 72c1ab27 0fb5291f 95873160 65c003ed 4ee5b106 3d5007',
        [
          ':status: 200',
          'cache-control: private',
          'date: Mon, 21 Oct 2013 20:13:22 GMT',
          'location: https://www.example.com',
          'content-encoding: gzip',
          'set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1',
        ],
      ],
    ],
  },
}

for (const [name, { table, blocks }] of Object.entries(VECTORS)) {
  test(`RFC 7541 ${name}`, () => {
    const decoder = new HpackDecoder(table, LARGE)
    for (const [hex, headers] of blocks) assert.deepEqual(decode(decoder, hex), headers)
  })
}

/** Blocks that end the connection, by section. */
const WRONG: Readonly<Record<string, string>> = {
  '5.1 an integer that is cut off': '82ff',
  '5.1 an integer that never ends': '82ffffffffffffff7f',
  '5.1 an integer above any table': 'ffffffff0f',
  '5.2 a string that is cut off': '400a6375',
  '5.2 a string that is missing': '40',
  '5.2 a value that is missing': '400161',
  '5.2 Huffman padding of zeros': '400161 8118',
  '5.2 Huffman padding of eight bits': '400161 81ff',
  '5.2 Huffman with EOS in it': '400161 84ffffffff',
  '6.1 index 0': '80',
  '6.1 an index behind the tables': 'be',
  '6.2 a name behind the tables': '7f80 0161',
  '6.3 a table size above the limit': '3fe21f',
  '4.2 a table size after a header': '8220',
}
for (const [name, hex] of Object.entries(WRONG)) {
  test(`RFC 7541 ${name}: a compression error`, () => {
    assert.throws(() => decode(new HpackDecoder(4096, LARGE), hex), CompressionError)
  })
}

test('RFC 7541 4.2, 6.3: table sizes at the start of a block empty and refill the table', () => {
  const decoder = new HpackDecoder(4096, LARGE)
  decode(decoder, '40016101 62')
  assert.deepEqual(decode(decoder, 'be'), ['a: b'])
  assert.deepEqual(decode(decoder, '20 3fe11f 82'), [':method: GET'])
  assert.throws(() => decode(decoder, 'be'), CompressionError)
})

test('RFC 7541 4.4: an entry larger than the table empties it', () => {
  const decoder = new HpackDecoder(64, LARGE)
  decode(decoder, '40016101 62')
  assert.deepEqual(decode(decoder, `40016125${'62'.repeat(0x25)}`), [`a: ${'b'.repeat(0x25)}`])
  assert.throws(() => decode(decoder, 'be'), CompressionError)
})

test('RFC 7541 4.4: a name may come from the entry that its own insertion evicts', () => {
  const decoder = new HpackDecoder(40, LARGE)
  decode(decoder, '40 0161 0162')
  assert.deepEqual(decode(decoder, '7e 0163'), ['a: c'])
  assert.deepEqual(decode(decoder, 'be'), ['a: c'])
})

test('a list that is too large is not kept, and leaves the table in step', () => {
  const decoder = new HpackDecoder(4096, 100)
  const block = bytes(`40016132${'62'.repeat(50)} be be`)
  const decoded = decoder.decode(block, 0, block.length)
  assert.equal(decoded.isTooLarge, true)
  assert.deepEqual(decoded.headers, [])
  assert.deepEqual(decode(decoder, 'be'), [`a: ${'b'.repeat(50)}`])
})

test('a bomb of references costs no memory: 16 KiB of them to one large entry', () => {
  const decoder = new HpackDecoder(4096, 65_536)
  const bomb = new Uint8Array(16_000).fill(0xbe)
  const entry = bytes(`40 0161 7f8116${'62'.repeat(2816 + 0x80)}`)
  decoder.decode(entry, 0, entry.length)
  const decoded = decoder.decode(bomb, 0, bomb.length)
  assert.equal(decoded.isTooLarge, true)
  assert.deepEqual(decoded.headers, [])
})

test('equal blocks are one object only while the table stays as it is', () => {
  const decoder = new HpackDecoder(4096, LARGE)
  const get = (hex: string): ReturnType<HpackDecoder['decode']> => decoder.decode(bytes(hex), 0, bytes(hex).length)
  get('40 0161 0162')
  const first = get('82be')
  assert.equal(get('82be'), first)
  get('40 0161 0163')
  assert.deepEqual(get('82be').headers, [
    [':method', 'GET'],
    ['a', 'c'],
  ])
})

/** The slowest decoder there is: bit by bit, by the lengths of the canonical code. */
function plainHuffman(input: Uint8Array): string | undefined {
  const codes = new Map<string, number>()
  let code = 0n
  let length = 0
  const order = HUFFMAN_LENGTHS.map((bits, symbol) => ({ bits, symbol })).sort(
    (a, b) => a.bits - b.bits || a.symbol - b.symbol,
  )
  for (const { bits, symbol } of order) {
    code <<= BigInt(bits - length)
    length = bits
    codes.set(code.toString(2).padStart(bits, '0'), symbol)
    code++
  }
  let text = ''
  let seen = ''
  for (const bit of [...input].map((byte) => byte.toString(2).padStart(8, '0')).join('')) {
    seen += bit
    const symbol = codes.get(seen)
    if (symbol === undefined) continue
    if (symbol === 256) return undefined
    text += String.fromCharCode(symbol)
    seen = ''
  }
  return seen.length <= 7 && !seen.includes('0') ? text : undefined
}

test('Huffman: four bits a step give what bit by bit gives, for any bytes', () => {
  const input = fc.uint8Array({ maxLength: 40 })
  fc.assert(
    fc.property(
      fc.oneof(
        input,
        input.map((b) => Uint8Array.from([...b, 0xff])),
      ),
      (raw) => {
        assert.equal(decodeHuffman(raw, 0, raw.length), plainHuffman(raw))
      },
    ),
    { numRuns: 300 },
  )
})

const name = fc.oneof(
  fc.constantFrom(...STATIC_TABLE.map(([known]) => known)),
  fc.stringMatching(/^[a-z][a-z0-9-]{0,20}$/),
)
const value = fc.oneof(
  fc.constantFrom(...STATIC_TABLE.map(([, known]) => known)),
  fc.stringMatching(/^[\x20-\xff]{0,200}$/),
)
const list: fc.Arbitrary<Header[]> = fc.array(fc.tuple(name, value), { maxLength: 20 })

test('what the encoder writes the decoder reads, whatever the table holds', () => {
  fc.assert(
    fc.property(fc.array(list, { maxLength: 5 }), (lists) => {
      const decoder = new HpackDecoder(4096, LARGE)
      decode(decoder, '40 0161 0162')
      for (const headers of lists) {
        const block = encodeHeaders(headers)
        assert.deepEqual(decoder.decode(block, 0, block.length).headers, headers)
      }
      assert.deepEqual(decode(decoder, 'be'), ['a: b'])
    }),
  )
})

test('RFC 7541 7.1.3: secrets are marked never to be indexed', () => {
  const [first] = encodeHeaders([['authorization', 'x']])
  assert.equal((first as number) & 0xf0, 0x10)
})

test('any bytes are decoded or refused with a CompressionError, and the cache changes nothing', () => {
  const block = fc.oneof(
    fc.uint8Array({ maxLength: 60 }),
    list.map(encodeHeaders),
    fc.constantFrom(...Object.values(VECTORS).flatMap(({ blocks }) => blocks.map(([hex]) => bytes(hex)))),
  )
  const outcome = (decoder: HpackDecoder, input: Uint8Array): unknown => {
    try {
      return decoder.decode(input, 0, input.length).headers
    } catch (error) {
      assert.ok(error instanceof CompressionError, String(error))
      return 'refused'
    }
  }
  fc.assert(
    fc.property(fc.array(block, { maxLength: 12 }), (blocks) => {
      const cached = new HpackDecoder(512, 4096)
      // Blocks too long to be kept mean the same: they begin with size updates that say what is so already.
      const plain = new HpackDecoder(512, 4096)
      const prefix = bytes('3fe103'.repeat(200))
      for (const input of blocks) {
        const one = outcome(cached, input)
        const long = new Uint8Array([...prefix, ...input])
        assert.deepEqual(outcome(plain, long), one)
        if (one === 'refused') return
        // Once more: a hit where nothing has changed.
        assert.deepEqual(outcome(cached, input), outcome(plain, long))
      }
    }),
    { numRuns: 300 },
  )
})
