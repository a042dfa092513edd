/** etcd's codec against protobufjs with etcd's own .proto, and against bytes that are no messages. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Method } from '../../test/etcd-proto.ts'
import { etcdService, toPlain } from '../../test/etcd-proto.ts'
import type { Result } from '../base/index.ts'
import { concatBytes, EMPTY, fromHex, utf8 } from '../base/index.ts'
import * as wire from './index.ts'
import type { Compare, KeyValue, RequestOp, ResponseOp, TxnRequest, TxnResponse } from './index.ts'

const RUNS = Number(process.env['SKEIN_FUZZ_RUNS'] ?? 150)
const bytes = fc.uint8Array({ maxLength: 300 })
const short = fc.uint8Array({ maxLength: 6 })
const int64 = fc.oneof(fc.maxSafeInteger(), fc.nat({ max: 300 }))
const uint64 = fc.oneof(fc.maxSafeNat(), fc.nat({ max: 300 }))
const bigInt64 = fc.oneof(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), fc.constant(0n))
const bigUint64 = fc.oneof(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), fc.constant(0n))
const bool = fc.boolean()
const anEnum = fc.integer({ min: 0, max: 4 })
const string = fc.string({ unit: 'grapheme', maxLength: 20 })
const list = <T>(of: fc.Arbitrary<T>): fc.Arbitrary<T[]> => fc.array(of, { maxLength: 4 })

const header = fc.record({ clusterId: bigUint64, memberId: bigUint64, revision: int64, raftTerm: uint64 })
const maybeHeader = fc.record({ header }, { requiredKeys: [] })
const withHeaderField = <T extends object>(of: fc.Arbitrary<T>): fc.Arbitrary<T> =>
  fc.tuple(of, maybeHeader).map(([message, maybe]) => Object.assign(message, maybe))
const keyValue: fc.Arbitrary<KeyValue> = fc.record({
  key: short,
  createRevision: int64,
  modRevision: int64,
  version: int64,
  value: bytes,
  lease: bigInt64,
})
const rangeRequest = fc.record({
  key: short,
  rangeEnd: short,
  limit: int64,
  revision: int64,
  sortOrder: anEnum,
  sortTarget: anEnum,
  serializable: bool,
  keysOnly: bool,
  countOnly: bool,
  minModRevision: int64,
  maxModRevision: int64,
  minCreateRevision: int64,
  maxCreateRevision: int64,
})
const rangeResponse = withHeaderField(fc.record({ kvs: list(keyValue), more: bool, count: int64 }))
const putRequest = fc.record({
  key: short,
  value: bytes,
  lease: bigInt64,
  prevKv: bool,
  ignoreValue: bool,
  ignoreLease: bool,
})
const putResponse = withHeaderField(fc.record({ prevKv: keyValue }, { requiredKeys: [] }))
const deleteRangeRequest = fc.record({ key: short, rangeEnd: short, prevKv: bool })
const deleteRangeResponse = withHeaderField(fc.record({ deleted: int64, prevKvs: list(keyValue) }))
const operand: fc.Arbitrary<Compare['operand']> = fc.oneof(
  fc.constant(undefined),
  fc.record({ type: fc.constantFrom('version', 'create', 'mod'), revision: int64 }),
  fc.record({ type: fc.constant('value' as const), value: bytes }),
  fc.record({ type: fc.constant('lease' as const), lease: bigInt64 }),
)
const compare: fc.Arbitrary<Compare> = fc.record({
  result: anEnum,
  target: anEnum,
  key: short,
  rangeEnd: short,
  operand,
})
const { txn: txnRequest } = fc.letrec<{ txn: TxnRequest; op: RequestOp }>((tie) => ({
  txn: fc.record({ compare: list(compare), success: list(tie('op')), failure: list(tie('op')) }),
  op: fc.oneof(
    { maxDepth: 3 },
    fc.record({ type: fc.constant('none' as const) }),
    fc.record({ type: fc.constant('range' as const), range: rangeRequest }),
    fc.record({ type: fc.constant('put' as const), put: putRequest }),
    fc.record({ type: fc.constant('deleteRange' as const), deleteRange: deleteRangeRequest }),
    fc.record({ type: fc.constant('txn' as const), txn: tie('txn') }),
  ),
}))
const { txn: txnResponse } = fc.letrec<{ txn: TxnResponse; op: ResponseOp }>((tie) => ({
  txn: withHeaderField(fc.record({ succeeded: bool, responses: list(tie('op')) })),
  op: fc.oneof(
    { maxDepth: 3 },
    fc.record({ type: fc.constant('range' as const), range: rangeResponse }),
    fc.record({ type: fc.constant('put' as const), put: putResponse }),
    fc.record({ type: fc.constant('deleteRange' as const), deleteRange: deleteRangeResponse }),
    fc.record({ type: fc.constant('txn' as const), txn: tie('txn') }),
  ),
}))
const member = fc.record({
  id: bigUint64,
  name: string,
  peerUrls: list(string),
  clientUrls: list(string),
  isLearner: bool,
})
const watchCreate = fc.record({
  key: short,
  rangeEnd: short,
  startRevision: int64,
  progressNotify: bool,
  filters: list(fc.integer({ min: 0, max: 1 })),
  prevKv: bool,
  watchId: int64,
  fragment: bool,
})
const watchRequest = fc.oneof(
  fc.record({ type: fc.constant('create' as const), create: watchCreate }),
  fc.record({ type: fc.constant('cancel' as const), cancel: fc.record({ watchId: int64 }) }),
  fc.constant({ type: 'progress' as const }),
  fc.constant({ type: 'none' as const }),
)
const watchedEvent = fc.record(
  { type: fc.integer({ min: 0, max: 1 }), kv: keyValue, prevKv: keyValue },
  { requiredKeys: ['type'] },
)
const watchResponse = withHeaderField(
  fc.record({
    watchId: int64,
    created: bool,
    canceled: bool,
    compactRevision: int64,
    cancelReason: string,
    fragment: bool,
    events: list(watchedEvent),
  }),
)
const headerOnly = withHeaderField(fc.record({}))

type Codec<T> = {
  readonly name: string
  readonly arbitrary: fc.Arbitrary<T>
  readonly encode: (message: T) => Uint8Array
  readonly decode: (bytes: Uint8Array) => Result<T>
  readonly oracle: { readonly write: (plain: object) => Buffer; readonly read: (bytes: Buffer) => object }
}

const kv = etcdService('KV')
const watch = etcdService('Watch')
const cluster = etcdService('Cluster')
const maintenance = etcdService('Maintenance')
const asRequest = (method: Method | undefined): Codec<never>['oracle'] => {
  assert.ok(method)
  return { write: method.requestSerialize as never, read: method.requestDeserialize }
}
const asResponse = (method: Method | undefined): Codec<never>['oracle'] => {
  assert.ok(method)
  return { write: method.responseSerialize as never, read: method.responseDeserialize }
}
function codec<T>(
  name: string,
  oracle: Codec<T>['oracle'],
  arbitrary: fc.Arbitrary<T>,
  encode: Codec<T>['encode'],
  decode: Codec<T>['decode'],
): Codec<object> {
  return { name, oracle, arbitrary, encode, decode } as unknown as Codec<object>
}

const CODECS: readonly Codec<object>[] = [
  codec('RangeRequest', asRequest(kv['Range']), rangeRequest, wire.encodeRangeRequest, wire.decodeRangeRequest),
  codec('RangeResponse', asResponse(kv['Range']), rangeResponse, wire.encodeRangeResponse, wire.decodeRangeResponse),
  codec('PutRequest', asRequest(kv['Put']), putRequest, wire.encodePutRequest, wire.decodePutRequest),
  codec('PutResponse', asResponse(kv['Put']), putResponse, wire.encodePutResponse, wire.decodePutResponse),
  codec(
    'DeleteRangeRequest',
    asRequest(kv['DeleteRange']),
    deleteRangeRequest,
    wire.encodeDeleteRangeRequest,
    wire.decodeDeleteRangeRequest,
  ),
  codec(
    'DeleteRangeResponse',
    asResponse(kv['DeleteRange']),
    deleteRangeResponse,
    wire.encodeDeleteRangeResponse,
    wire.decodeDeleteRangeResponse,
  ),
  codec('TxnRequest', asRequest(kv['Txn']), txnRequest, wire.encodeTxnRequest, wire.decodeTxnRequest),
  codec('TxnResponse', asResponse(kv['Txn']), txnResponse, wire.encodeTxnResponse, wire.decodeTxnResponse),
  codec(
    'CompactionRequest',
    asRequest(kv['Compact']),
    fc.record({ revision: int64, physical: bool }),
    wire.encodeCompactionRequest,
    wire.decodeCompactionRequest,
  ),
  codec(
    'CompactionResponse',
    asResponse(kv['Compact']),
    headerOnly,
    wire.encodeCompactionResponse,
    wire.decodeCompactionResponse,
  ),
  codec('WatchRequest', asRequest(watch['Watch']), watchRequest, wire.encodeWatchRequest, wire.decodeWatchRequest),
  codec('WatchResponse', asResponse(watch['Watch']), watchResponse, wire.encodeWatchResponse, wire.decodeWatchResponse),
  codec(
    'MemberListRequest',
    asRequest(cluster['MemberList']),
    fc.record({}),
    wire.encodeMemberListRequest,
    wire.decodeMemberListRequest,
  ),
  codec(
    'MemberListResponse',
    asResponse(cluster['MemberList']),
    withHeaderField(fc.record({ members: list(member) })),
    wire.encodeMemberListResponse,
    wire.decodeMemberListResponse,
  ),
  codec(
    'StatusRequest',
    asRequest(maintenance['Status']),
    fc.record({}),
    wire.encodeStatusRequest,
    wire.decodeStatusRequest,
  ),
  codec(
    'StatusResponse',
    asResponse(maintenance['Status']),
    withHeaderField(
      fc.record({
        version: string,
        dbSize: int64,
        leader: bigUint64,
        raftIndex: uint64,
        raftTerm: uint64,
        raftAppliedIndex: uint64,
        errors: list(string),
        dbSizeInUse: int64,
        isLearner: bool,
      }),
    ),
    wire.encodeStatusResponse,
    wire.decodeStatusResponse,
  ),
  codec(
    'MoveLeaderRequest',
    asRequest(maintenance['MoveLeader']),
    fc.record({ targetId: bigUint64 }),
    wire.encodeMoveLeaderRequest,
    wire.decodeMoveLeaderRequest,
  ),
  codec(
    'MoveLeaderResponse',
    asResponse(maintenance['MoveLeader']),
    headerOnly,
    wire.encodeMoveLeaderResponse,
    wire.decodeMoveLeaderResponse,
  ),
]

/** deepEqual that takes views and copies of bytes for the same. */
function same(actual: unknown, expected: unknown): void {
  assert.deepEqual(plainBytes(actual), plainBytes(expected))
}
function plainBytes(value: unknown): unknown {
  if (value instanceof Uint8Array) return `0x${Buffer.from(value).toString('hex')}`
  if (Array.isArray(value)) return value.map(plainBytes)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, plainBytes(part)]))
}

function decoded<T>(result: Result<T>): T {
  if (!result.ok) throw new Error(result.error.message)
  return result.value
}

for (const { name, arbitrary, encode, decode, oracle } of CODECS) {
  test(`${name}: protobufjs reads what we write, and we read what it writes`, () => {
    fc.assert(
      fc.property(arbitrary, (message) => {
        const ours = encode(message)
        const theirs = oracle.write(toPlain(message))
        same(oracle.read(Buffer.from(ours)), oracle.read(theirs))
        same(decoded(decode(theirs)), message)
        same(decoded(decode(ours)), message)
      }),
      { numRuns: RUNS },
    )
  })

  test(`${name}: random and damaged bytes decode or fail, and never throw`, () => {
    const damaged = fc
      .tuple(arbitrary, fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { maxLength: 4 }), fc.nat())
      .map(([message, changes, cut]) => {
        const whole = encode(message)
        for (const [at, value] of changes) if (whole.length > 0) whole[at % whole.length] = value
        return whole.subarray(0, cut % (whole.length + 8))
      })
    fc.assert(
      fc.property(fc.oneof(bytes, damaged), (input) => {
        const result = decode(input)
        if (result.ok) same(decoded(decode(encode(result.value))), result.value)
        else assert.ok(result.error.code === 'protocol-error' || result.error.code === 'invalid-request')
      }),
      { numRuns: RUNS },
    )
  })
}

function rangeBody(encoded: readonly Uint8Array[], more: boolean, count: number): Uint8Array {
  const body = new wire.RangeBody()
  for (const pair of encoded) body.add(pair, 0, pair.length)
  return body.finish(more, count)
}

test('a watch response put together from encoded events is the one that is encoded whole', () => {
  const event = fc.record({ type: fc.integer({ min: 0, max: 1 }), kv: keyValue, prevKv: fc.option(keyValue) })
  fc.assert(
    fc.property(watchResponse, header, fc.array(event, { maxLength: 4 }), (head, ofHeader, events) => {
      const fields = events.map(({ type, kv, prevKv }) =>
        wire.encodeEventField(
          type === 1,
          wire.encodeKeyValue(kv),
          prevKv === null ? undefined : wire.encodeKeyValue(prevKv),
        ),
      )
      const whole = wire.encodeWatchResponse({
        ...head,
        header: ofHeader,
        events: events.map(({ prevKv, ...rest }) => (prevKv === null ? rest : { ...rest, prevKv })),
      })
      same(concatBytes([wire.encodeHeaderField(ofHeader), wire.encodeWatchHead(head), ...fields]), whole)
    }),
    { numRuns: RUNS },
  )
})

test('an encoded pair can be taken apart by its layout, and listed without its value', () => {
  const written = keyValue.filter((pair) => pair.createRevision >= 0 && pair.modRevision >= 0 && pair.version >= 0)
  fc.assert(
    fc.property(written, fc.nat({ max: 20 }), fc.nat({ max: 3_000 }), (pair, lead, padding) => {
      const long = { ...pair, value: concatBytes([pair.value, new Uint8Array(padding)]) }
      const bytes = wire.encodeKeyValue(long, lead)
      same(bytes.subarray(lead), wire.encodeKeyValue(long))
      const layout = wire.layoutOfKeyValue(bytes, lead)
      same(bytes.slice(layout.keyFrom, layout.keyEnd), long.key)
      same(bytes.slice(layout.valueFrom, layout.valueEnd), long.value)
      const { createRevision, modRevision, version } = layout
      same([createRevision, modRevision, version], [long.createRevision, long.modRevision, long.version])
      const body = new wire.RangeBody()
      body.add(bytes, lead, bytes.length, layout.valueFieldFrom, layout.valueEnd)
      body.add(bytes, lead, bytes.length)
      same(
        body.finish(false, 2),
        wire.encodeRangeResponse({ kvs: [{ ...long, value: EMPTY }, long], more: false, count: 2 }),
      )
    }),
    { numRuns: RUNS },
  )
})

test('responses put together from encoded pairs are those that the codec writes', () => {
  const canonical = (response: object): object => ({ ...response, header: undefined })
  fc.assert(
    fc.property(list(keyValue), bool, fc.nat(), header, (kvs, more, count, head) => {
      const encoded = kvs.map((pair) => wire.encodeKeyValue(pair))
      const range = rangeBody(encoded, more, count)
      same(range, wire.encodeRangeResponse({ kvs, more, count }))
      const deletion = wire.encodeDeleteRangeBody(count, encoded)
      same(deletion, wire.encodeDeleteRangeResponse({ deleted: count, prevKvs: kvs }))
      const [first] = kvs
      const put = wire.encodePutBody(encoded[0])
      same(put, wire.encodePutResponse(first === undefined ? {} : { prevKv: first }))
      const txn = wire.encodeTxnBody(more, [
        { kind: 'range', response: wire.withHeader(head, range) },
        { kind: 'put', response: put },
        { kind: 'deleteRange', response: deletion },
      ])
      const asMessage: TxnResponse = {
        succeeded: more,
        responses: [
          { type: 'range', range: { header: head, kvs, more, count } },
          { type: 'put', put: first === undefined ? {} : { prevKv: first } },
          { type: 'deleteRange', deleteRange: { deleted: count, prevKvs: kvs } },
        ],
      }
      same(txn, wire.encodeTxnResponse(asMessage))
      same(canonical(decoded(wire.decodeTxnResponse(wire.withHeader(head, txn)))), canonical(asMessage))
    }),
    { numRuns: RUNS },
  )
})

const raw = (hex: string): Uint8Array => fromHex(hex.replaceAll(' ', '')) as Uint8Array

test('the wire format: what is refused, and why', () => {
  const refused: readonly (readonly [string, RegExp])[] = [
    ['0a', /PutRequest.key: cut off/],
    ['0a 05 61', /a length beyond/],
    ['0a ff ff ff ff ff ff ff ff ff 01', /a length beyond/],
    ['08 01', /wire type 0 instead of 2/],
    ['1a 01 61', /PutRequest.lease: wire type 2/],
    ['18 ff ff ff ff ff ff ff ff ff 02', /more than 64 bits/],
    ['18 80 80 80 80 80 80 80 80 80 80 01', /more than 64 bits/],
    ['00 00', /field number 0/],
    ['7b 7c', /wire type 3 of unknown field 15/],
    ['7e', /wire type 6/],
    ['79 01 02', /cut off/],
    ['80 80 80 80 10 00', /field number/],
  ]
  for (const [hex, reason] of refused) {
    const result = wire.decodePutRequest(raw(hex))
    assert.ok(!result.ok, hex)
    assert.equal(result.error.code, 'protocol-error')
    assert.match(result.error.message, reason)
  }
})

test('the wire format: unknown fields of every wire type are skipped', () => {
  const unknown = raw('78 96 01  79 01 02 03 04 05 06 07 08  7a 02 aa bb  7d 01 02 03 04')
  const request = decoded(wire.decodePutRequest(concatBytes([unknown, raw('0a 01 61'), unknown])))
  same(request.key, utf8('a'))
})

test('the wire format: the last of a scalar wins, messages are merged, of a oneof the last counts', () => {
  same(decoded(wire.decodePutRequest(raw('0a 01 61 0a 01 62'))).key, utf8('b'))
  const merged = decoded(wire.decodePutResponse(raw('12 03 0a 01 61  12 02 20 05'))).prevKv
  same([merged?.key, merged?.version], [utf8('a'), 5])
  const txn = decoded(wire.decodeTxnRequest(raw('0a 07  20 05 3a 01 61 40 09')))
  same(txn.compare[0]?.operand, { type: 'lease', lease: 9n })
  // A put with a key, then one with a value: the same request. A range after it replaces it.
  const put = decoded(wire.decodeTxnRequest(raw('12 0a  12 03 0a 01 61  12 03 12 01 62'))).success[0]
  assert.ok(put?.type === 'put')
  same([put.put.key, put.put.value], [utf8('a'), utf8('b')])
  const range = decoded(wire.decodeTxnRequest(raw('12 0a  12 03 0a 01 61  0a 03 0a 01 62'))).success[0]
  assert.ok(range?.type === 'range')
  same(range.range.key, utf8('b'))
})

test('the wire format: numbers beyond 2^53 are an invalid request, ids may have all 64 bits', () => {
  const limit = wire.decodeRangeRequest(raw('18 80 80 80 80 80 80 80 10'))
  assert.ok(!limit.ok)
  assert.equal(limit.error.code, 'invalid-request')
  assert.match(limit.error.message, /RangeRequest.limit/)
  same(decoded(wire.decodeRangeRequest(raw('18 ff ff ff ff ff ff ff 0f'))).limit, Number.MAX_SAFE_INTEGER)
  same(decoded(wire.decodeRangeRequest(raw('18 ff ff ff ff ff ff ff ff ff 01'))).limit, -1)
  same(decoded(wire.decodePutRequest(raw('18 ff ff ff ff ff ff ff ff ff 01'))).lease, -1n)
  same(decoded(wire.decodeMoveLeaderRequest(raw('08 ff ff ff ff ff ff ff ff ff 01'))).targetId, 2n ** 64n - 1n)
})

test('the wire format: nesting is bounded', () => {
  const nested = (depth: number): Uint8Array => {
    let request: TxnRequest = { compare: [], success: [], failure: [] }
    for (let i = 0; i < depth; i++) request = { compare: [], success: [{ type: 'txn', txn: request }], failure: [] }
    return wire.encodeTxnRequest(request)
  }
  assert.ok(wire.decodeTxnRequest(nested(50)).ok)
  const deep = wire.decodeTxnRequest(nested(51))
  assert.ok(!deep.ok)
  assert.match(deep.error.message, /nested deeper than 100/)
})

test('bytes are views of the input, text must be UTF-8', () => {
  const input = raw('0a 01 61 12 02 62 63')
  const request = decoded(wire.decodePutRequest(input))
  assert.equal(request.value.buffer, input.buffer)
  assert.equal(decoded(wire.decodePutRequest(EMPTY)).key.length, 0)
  const status = wire.decodeStatusResponse(raw('12 01 ff'))
  assert.ok(!status.ok)
  assert.match(status.error.message, /UTF-8/)
})
