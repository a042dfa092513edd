/**
 * Random requests to the store, as fast-check arbitraries. Keys, values and leases are few, so that requests meet.
 * Revisions are drawn as distances, because what is near the store's revision is only known when the request is made:
 * `placed` puts the numbers in.
 */
import fc from 'fast-check'
import { utf8 } from '../src/base/index.ts'
import type { MvccOperation } from '../src/mvcc/index.ts'
import type { Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest } from '../src/wire/index.ts'
import { COMPARE_TARGET } from '../src/wire/index.ts'

export type Operation = MvccOperation | { readonly type: 'range'; readonly request: RangeRequest }

/** What revisions are drawn in relation to. */
export type Revisions = { readonly current: number; readonly compacted: number }

export const KNOWN_LEASE = 7n
const UNKNOWN_LEASE = 99n

// Not more than 12: from there on etcd's sort puts equal entries in an order of its own.
const KEYS: readonly Uint8Array[] = ['a', 'b', 'c', 'aa', 'ab', 'a\0', '\0', '\0\0'].map(utf8)
const HIGH = new Uint8Array([0xff])
const UNBOUNDED = new Uint8Array([0])

const key: fc.Arbitrary<Uint8Array> = fc.oneof(
  { weight: 30, arbitrary: fc.constantFrom(...KEYS) },
  { weight: 3, arbitrary: fc.constant(HIGH) },
  { weight: 1, arbitrary: fc.constant(utf8('')) },
)
const rangeEnd: fc.Arbitrary<Uint8Array> = fc.oneof(
  { weight: 4, arbitrary: fc.constant(utf8('')) },
  { weight: 4, arbitrary: fc.constant(UNBOUNDED) },
  { weight: 3, arbitrary: fc.constantFrom(...KEYS, HIGH, utf8('z')) },
)
const value = fc.constantFrom(...['', 'x', 'y', 'z', 'long'.repeat(20)].map(utf8))
const lease = fc.oneof(
  { weight: 12, arbitrary: fc.constant(0n) },
  { weight: 3, arbitrary: fc.constant(KNOWN_LEASE) },
  { weight: 1, arbitrary: fc.constant(UNKNOWN_LEASE) },
)
const rarely = fc.oneof({ weight: 6, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) })

const NEAR_CURRENT = 1_000
const NEAR_COMPACTED = 2_000
const SPREAD = 15
const drawnRevision: fc.Arbitrary<number> = fc.oneof(
  { weight: 1, arbitrary: fc.constantFrom(-1, -7, 1, Number.MAX_SAFE_INTEGER) },
  { weight: 4, arbitrary: fc.integer({ min: NEAR_CURRENT - SPREAD, max: NEAR_CURRENT + 1 }) },
  { weight: 1, arbitrary: fc.integer({ min: NEAR_COMPACTED - 1, max: NEAR_COMPACTED + 2 }) },
)
const maybeRevision = fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: drawnRevision })

const put: fc.Arbitrary<PutRequest> = fc.record({
  key,
  value,
  lease,
  prevKv: fc.boolean(),
  ignoreValue: rarely,
  ignoreLease: rarely,
})

const deleteRange: fc.Arbitrary<DeleteRangeRequest> = fc.record({ key, rangeEnd, prevKv: fc.boolean() })

const range: fc.Arbitrary<RangeRequest> = fc.record({
  key,
  rangeEnd,
  limit: fc.constantFrom(0, 0, 1, 2, 3, 5, 100, -1),
  revision: maybeRevision,
  sortOrder: fc.constantFrom(0, 0, 1, 2, 3),
  sortTarget: fc.constantFrom(0, 0, 1, 2, 3, 4),
  serializable: fc.boolean(),
  keysOnly: rarely,
  countOnly: rarely,
  minModRevision: maybeRevision,
  maxModRevision: maybeRevision,
  minCreateRevision: maybeRevision,
  maxCreateRevision: maybeRevision,
})

const operand: fc.Arbitrary<Compare['operand']> = fc.oneof(
  fc.record({ type: fc.constant('version' as const), revision: fc.integer({ min: 0, max: 3 }) }),
  fc.record({ type: fc.constantFrom('create' as const, 'mod' as const), revision: maybeRevision }),
  fc.record({ type: fc.constant('value' as const), value }),
  fc.record({ type: fc.constant('lease' as const), lease }),
  fc.constant(undefined),
)
const compare: fc.Arbitrary<Compare> = fc
  .record({
    result: fc.constantFrom(0, 1, 2, 3),
    target: fc.constantFrom(0, 1, 2, 3, 4),
    key,
    rangeEnd: fc.oneof({ weight: 3, arbitrary: fc.constant(utf8('')) }, { weight: 1, arbitrary: rangeEnd }),
    operand,
    odd: rarely,
  })
  // Mostly the operand belongs to the target, as clients send it.
  .map(({ odd, result, target, key, rangeEnd, operand }) => {
    const fitting = odd || operand === undefined ? target : COMPARE_TARGET[operand.type]
    return { result, target: fitting, key, rangeEnd, operand }
  })

const leaf: fc.Arbitrary<RequestOp> = fc.oneof(
  { weight: 10, arbitrary: put.map((drawn) => ({ type: 'put' as const, put: drawn })) },
  { weight: 6, arbitrary: range.map((drawn) => ({ type: 'range' as const, range: drawn })) },
  { weight: 4, arbitrary: deleteRange.map((drawn) => ({ type: 'deleteRange' as const, deleteRange: drawn })) },
)
const none: fc.Arbitrary<RequestOp> = fc.constant({ type: 'none' as const })

function transactions(depth: number): fc.Arbitrary<TxnRequest> {
  const op: fc.Arbitrary<RequestOp> =
    depth === 0
      ? leaf
      : fc.oneof(
          { weight: 60, arbitrary: leaf },
          { weight: 15, arbitrary: transactions(depth - 1).map((txn) => ({ type: 'txn' as const, txn })) },
          { weight: 1, arbitrary: none },
        )
  const ops = fc.array(op, { maxLength: 3 })
  return fc.record({ compare: fc.array(compare, { maxLength: 2 }), success: ops, failure: ops })
}

/** Around etcd's limit of 128, at the top and nested. */
const wide: fc.Arbitrary<TxnRequest> = fc
  .record({ width: fc.integer({ min: 126, max: 129 }), where: fc.integer({ min: 0, max: 3 }), op: leaf, compare })
  .map(({ width, where, op, compare: condition }) => {
    const many = Array.from({ length: width }, () => op)
    if (where === 0) return { compare: Array.from({ length: width }, () => condition), success: [], failure: [] }
    if (where === 1) return { compare: [], success: many, failure: [] }
    if (where === 2) return { compare: [condition], success: [], failure: many }
    return { compare: [], success: [{ type: 'txn', txn: { compare: [], success: many, failure: [] } }], failure: [] }
  })

export const rangeRead: fc.Arbitrary<Operation & { readonly type: 'range' }> = range.map((request) => ({
  type: 'range' as const,
  request,
}))

const anyTxn = fc.oneof({ weight: 40, arbitrary: transactions(2) }, { weight: 1, arbitrary: wide })

const operations = (txn: fc.Arbitrary<TxnRequest>): fc.Arbitrary<Operation> =>
  fc.oneof(
    { weight: 8, arbitrary: put.map((request) => ({ type: 'put' as const, request })) },
    { weight: 8, arbitrary: rangeRead },
    { weight: 3, arbitrary: deleteRange.map((request) => ({ type: 'deleteRange' as const, request })) },
    { weight: 8, arbitrary: txn.map((request) => ({ type: 'txn' as const, request })) },
    {
      weight: 2,
      arbitrary: fc
        .record({ revision: fc.oneof({ weight: 6, arbitrary: drawnRevision }, fc.constant(0)), physical: rarely })
        .map((request) => ({ type: 'compact' as const, request })),
    },
  )

/** Any request that the store can be asked. */
export const operation: fc.Arbitrary<Operation> = operations(anyTxn)

/** Any request that etcd survives. */
export const etcdOperation: fc.Arbitrary<Operation> = operations(anyTxn.map(tamed))

/**
 * Without what makes etcd panic: a transaction that deletes a key, unseen by its check for overlaps (without upper
 * bound, or in a nested transaction), and then puts it with ignore_value or ignore_lease.
 */
function tamed(request: TxnRequest): TxnRequest {
  return deletes(request) ? withoutIgnore(request) : request
}

function deletes(request: TxnRequest): boolean {
  return [...request.success, ...request.failure].some(
    (op) => op.type === 'deleteRange' || (op.type === 'txn' && deletes(op.txn)),
  )
}

function withoutIgnore(request: TxnRequest): TxnRequest {
  const tame = (op: RequestOp): RequestOp => {
    if (op.type === 'txn') return { type: 'txn', txn: withoutIgnore(op.txn) }
    return op.type === 'put' ? { type: 'put', put: { ...op.put, ignoreValue: false, ignoreLease: false } } : op
  }
  return { ...request, success: request.success.map(tame), failure: request.failure.map(tame) }
}

/** The operation with its drawn revisions put in relation to the store's. */
export function placed(operation: Operation, at: Revisions): Operation {
  switch (operation.type) {
    case 'range':
      return { type: 'range', request: placedRange(operation.request, at) }
    case 'compact':
      return {
        type: 'compact',
        request: { ...operation.request, revision: placedRevision(operation.request.revision, at) },
      }
    case 'txn':
      return { type: 'txn', request: placedTxn(operation.request, at) }
    case 'put':
    case 'deleteRange':
      return operation
    default:
      return operation satisfies never
  }
}

function placedRevision(drawn: number, at: Revisions): number {
  if (drawn >= NEAR_CURRENT - SPREAD && drawn <= NEAR_CURRENT + 1) return Math.max(0, at.current + drawn - NEAR_CURRENT)
  if (drawn >= NEAR_COMPACTED - 1 && drawn <= NEAR_COMPACTED + 2) return at.compacted + drawn - NEAR_COMPACTED
  return drawn
}

function placedRange(request: RangeRequest, at: Revisions): RangeRequest {
  return {
    ...request,
    revision: placedRevision(request.revision, at),
    minModRevision: placedRevision(request.minModRevision, at),
    maxModRevision: placedRevision(request.maxModRevision, at),
    minCreateRevision: placedRevision(request.minCreateRevision, at),
    maxCreateRevision: placedRevision(request.maxCreateRevision, at),
  }
}

function placedTxn(request: TxnRequest, at: Revisions): TxnRequest {
  const place = (op: RequestOp): RequestOp => {
    if (op.type === 'range') return { type: 'range', range: placedRange(op.range, at) }
    return op.type === 'txn' ? { type: 'txn', txn: placedTxn(op.txn, at) } : op
  }
  return {
    compare: request.compare.map((condition) => {
      const drawn = condition.operand
      if (drawn?.type !== 'create' && drawn?.type !== 'mod') return condition
      return { ...condition, operand: { ...drawn, revision: placedRevision(drawn.revision, at) } }
    }),
    success: request.success.map(place),
    failure: request.failure.map(place),
  }
}
