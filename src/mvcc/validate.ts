/**
 * What etcd refuses before it proposes, with the same rules in the same order; `details.etcd` names etcd's error. Beyond
 * etcd: keys above MAX_KEY_BYTES cannot be put, and a transaction has at most MAX_TOTAL_TXN_OPS operations in all.
 * Source: etcd 3.4 `etcdserver/api/v3rpc/key.go`.
 */
import type { Failure, Result } from '../base/index.ts'
import { err, failure, ok } from '../base/index.ts'
import type {
  CompactionRequest,
  DeleteRangeRequest,
  PutRequest,
  RangeRequest,
  RequestOp,
  TxnRequest,
} from '../wire/index.ts'
import { checkIntervals } from './overlap.ts'
import { escapedLength, keyFits, MAX_KEY_BYTES } from './keys.ts'
import { MAX_TOTAL_TXN_OPS, MAX_TXN_OPS } from './limits.ts'

export type TxnLimits = { readonly maxTxnOps: number; readonly maxTotalTxnOps: number }
const LIMITS: TxnLimits = { maxTxnOps: MAX_TXN_OPS, maxTotalTxnOps: MAX_TOTAL_TXN_OPS }

/** Failures: invalid-request (ErrEmptyKey). */
export function validateRange(request: RangeRequest): Result<void> {
  return result(checkKey(request.key))
}

/** Failures: invalid-request (ErrEmptyKey, ErrValueProvided, ErrLeaseProvided, or a key that is too long). */
export function validatePut(request: PutRequest): Result<void> {
  return result(checkPut(request))
}

/** Failures: invalid-request (ErrEmptyKey). */
export function validateDeleteRange(request: DeleteRangeRequest): Result<void> {
  return result(checkKey(request.key))
}

/** etcd checks nothing here: what cannot be compacted is refused when it is applied. */
export function validateCompact(_request: CompactionRequest): Result<void> {
  return ok()
}

/** Failures: invalid-request (those of the operations, ErrTooManyOps, ErrDuplicateKey, ErrKeyNotFound for an empty one). */
export function validateTxn(request: TxnRequest, limits: TxnLimits = LIMITS): Result<void> {
  const budget = { left: limits.maxTotalTxnOps }
  return result(checkTxn(request, limits.maxTxnOps, budget) ?? checkIntervals(request))
}

function result(problem: Failure | undefined): Result<void> {
  return problem === undefined ? ok() : err(problem)
}

function checkKey(key: Uint8Array): Failure | undefined {
  return key.length === 0 ? failure('invalid-request', 'the key is empty', { etcd: 'ErrEmptyKey' }) : undefined
}

function checkPut(request: PutRequest): Failure | undefined {
  if (request.key.length === 0) return checkKey(request.key)
  if (request.ignoreValue && request.value.length > 0) {
    return failure('invalid-request', 'ignore_value is set and a value is given', { etcd: 'ErrValueProvided' })
  }
  if (request.ignoreLease && request.lease !== 0n) {
    return failure('invalid-request', 'ignore_lease is set and a lease is given', { etcd: 'ErrLeaseProvided' })
  }
  return checkKeyLength(request.key)
}

/** Keys that the store cannot hold. */
export function checkKeyLength(key: Uint8Array): Failure | undefined {
  if (keyFits(key)) return undefined
  const text = `the key has ${escapedLength(key)} bytes (zero bytes count twice), the limit is ${MAX_KEY_BYTES}`
  return failure('invalid-request', text, { limit: MAX_KEY_BYTES })
}

function checkTxn(request: TxnRequest, maxOps: number, budget: { left: number }): Failure | undefined {
  const ops = Math.max(request.compare.length, request.success.length, request.failure.length)
  budget.left -= request.compare.length + request.success.length + request.failure.length
  if (ops > maxOps || budget.left < 0) {
    const text =
      ops > maxOps ? `${ops} operations where ${maxOps} are left` : 'too many operations in nested transactions'
    return failure('invalid-request', text, { etcd: 'ErrTooManyOps' })
  }
  for (const compare of request.compare) {
    if (compare.key.length === 0) return checkKey(compare.key)
  }
  for (const op of request.success) {
    const problem = checkOp(op, maxOps - ops, budget)
    if (problem !== undefined) return problem
  }
  for (const op of request.failure) {
    const problem = checkOp(op, maxOps - ops, budget)
    if (problem !== undefined) return problem
  }
  return undefined
}

function checkOp(op: RequestOp, maxOps: number, budget: { left: number }): Failure | undefined {
  switch (op.type) {
    case 'range':
      return checkKey(op.range.key)
    case 'put':
      return checkPut(op.put)
    case 'deleteRange':
      return checkKey(op.deleteRange.key)
    case 'txn':
      return checkTxn(op.txn, maxOps, budget)
    case 'none':
      // etcd's own choice of error for an operation without a request.
      return failure('invalid-request', 'an operation holds no request', { etcd: 'ErrKeyNotFound' })
    default:
      return op satisfies never
  }
}
