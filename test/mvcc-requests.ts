/** Short ways to write requests to the store, and to read its answers, in tests. */
import type { Result } from '../src/base/index.ts'
import { EMPTY, spaceId, text, utf8 } from '../src/base/index.ts'
import type { EngineWriter } from '../src/engine/index.ts'
import type { Answered, MvccOperation, MvccStore } from '../src/mvcc/index.ts'
import {
  openStore,
  validateCompact,
  validateDeleteRange,
  validatePut,
  validateRange,
  validateTxn,
} from '../src/mvcc/index.ts'
import type {
  Compare,
  DeleteRangeRequest,
  DeleteRangeResponse,
  PutRequest,
  PutResponse,
  RangeRequest,
  RangeResponse,
  RequestOp,
  TxnRequest,
  TxnResponse,
} from '../src/wire/index.ts'
import {
  decodeDeleteRangeResponse,
  decodePutResponse,
  decodeRangeResponse,
  decodeTxnResponse,
} from '../src/wire/index.ts'
import type { Operation } from './mvcc-operations.testkit.ts'
import type { SortedEngine } from './sorted-engine.ts'
import { createSortedEngine } from './sorted-engine.ts'

export type Bytes = string | Uint8Array
export const bytes = (value: Bytes): Uint8Array => (typeof value === 'string' ? utf8(value) : value)

export function putRequest(key: Bytes, value: Bytes, options: Partial<PutRequest> = {}): PutRequest {
  return {
    key: bytes(key),
    value: bytes(value),
    lease: 0n,
    prevKv: false,
    ignoreValue: false,
    ignoreLease: false,
    ...options,
  }
}

export function rangeRequest(key: Bytes, rangeEnd: Bytes = EMPTY, options: Partial<RangeRequest> = {}): RangeRequest {
  return {
    key: bytes(key),
    rangeEnd: bytes(rangeEnd),
    limit: 0,
    revision: 0,
    sortOrder: 0,
    sortTarget: 0,
    serializable: false,
    keysOnly: false,
    countOnly: false,
    minModRevision: 0,
    maxModRevision: 0,
    minCreateRevision: 0,
    maxCreateRevision: 0,
    ...options,
  }
}

export function deleteRequest(key: Bytes, rangeEnd: Bytes = EMPTY, prevKv: boolean = false): DeleteRangeRequest {
  return { key: bytes(key), rangeEnd: bytes(rangeEnd), prevKv }
}

export const putOp = (...args: Parameters<typeof putRequest>): RequestOp => ({ type: 'put', put: putRequest(...args) })
export const rangeOp = (...args: Parameters<typeof rangeRequest>): RequestOp => ({
  type: 'range',
  range: rangeRequest(...args),
})
export const deleteOp = (...args: Parameters<typeof deleteRequest>): RequestOp => ({
  type: 'deleteRange',
  deleteRange: deleteRequest(...args),
})
export const txnOp = (txn: TxnRequest): RequestOp => ({ type: 'txn', txn })

export function txnRequest(
  compare: readonly Compare[],
  success: readonly RequestOp[],
  failure: readonly RequestOp[] = [],
): TxnRequest {
  return { compare, success, failure }
}

/** A store over a sorted array, with one method per request; a failure is its etcd error's name, else its code. */
export type TestStore = {
  readonly engine: SortedEngine
  readonly store: MvccStore
  readonly put: (...args: Parameters<typeof putRequest>) => PutResponse | string
  readonly range: (...args: Parameters<typeof rangeRequest>) => RangeResponse | string
  readonly deleteRange: (...args: Parameters<typeof deleteRequest>) => DeleteRangeResponse | string
  readonly txn: (...args: Parameters<typeof txnRequest>) => TxnResponse | string
  /** The revision that the answer carries. */
  readonly compact: (revision: number) => number | string
  readonly scrub: (maxVersions: number) => number
}

export function testStore(
  engine: SortedEngine = createSortedEngine(),
  leases: ReadonlySet<bigint> = new Set(),
): TestStore {
  const store = openStore(engine, spaceId(0), { leases })
  const told = <T>(
    result: Result<{ readonly body: Uint8Array }>,
    decode: (body: Uint8Array) => Result<T>,
  ): T | string => {
    if (!result.ok) return nameOf(result)
    const decoded = decode(result.value.body)
    if (!decoded.ok) throw new Error(decoded.error.message)
    return decoded.value
  }
  const apply = (operation: MvccOperation): ReturnType<MvccStore['apply']> => store.apply(operation, engine.writer)
  return {
    engine,
    store,
    put: (...args) => told(apply({ type: 'put', request: putRequest(...args) }), decodePutResponse),
    range: (...args) => told(readRange(store, rangeRequest(...args)), decodeRangeResponse),
    deleteRange: (...args) =>
      told(apply({ type: 'deleteRange', request: deleteRequest(...args) }), decodeDeleteRangeResponse),
    txn: (...args) => told(apply({ type: 'txn', request: txnRequest(...args) }), decodeTxnResponse),
    compact(revision) {
      const result = apply({ type: 'compact', request: { revision, physical: false } })
      return result.ok ? result.value.revision : nameOf(result)
    },
    scrub(maxVersions) {
      let steps = 1
      while (!store.scrub(maxVersions, engine.writer)) steps++
      return steps
    },
  }
}

/** Runs `write` with a writer, as the engine's applyBatch does. */
export type Batch = <T>(write: (writer: EngineWriter) => T) => T

/** What a server does with a decoded request: validates it, then applies or reads. */
export function execute(store: MvccStore, batch: Batch, operation: Operation, slice: number = 3): Result<Answered> {
  const valid = validated(operation)
  if (!valid.ok) return valid
  if (operation.type === 'range') return readRange(store, operation.request, slice)
  return batch((writer) => store.apply(operation, writer))
}

function validated(operation: Operation): Result<void> {
  switch (operation.type) {
    case 'range':
      return validateRange(operation.request)
    case 'put':
      return validatePut(operation.request)
    case 'deleteRange':
      return validateDeleteRange(operation.request)
    case 'txn':
      return validateTxn(operation.request)
    case 'compact':
      return validateCompact(operation.request)
    default:
      return operation satisfies never
  }
}

export function readRange(
  store: MvccStore,
  request: RangeRequest,
  slice: number = 3,
): ReturnType<ReturnType<MvccStore['range']>['result']> {
  const cursor = store.range(request)
  while (!cursor.step(slice));
  return cursor.result()
}

export function nameOf(result: Result<unknown>): string {
  if (result.ok) return 'ok'
  const named = result.error.details?.['etcd']
  return typeof named === 'string' ? named : result.error.code
}

/** `key=value` of each pair. */
export function shown(response: RangeResponse | string): string[] {
  if (typeof response === 'string') return [response]
  return response.kvs.map((kv) => `${text(kv.key)}=${text(kv.value)}`)
}
