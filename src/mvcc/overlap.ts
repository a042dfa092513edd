/**
 * etcd's rule that a transaction changes no key twice: no two puts of one key, no put of a key that the transaction also
 * deletes, except in branches of which only one runs. Kept exactly, with its order of checks and its two gaps: a nested
 * put is compared with deletes of later siblings not at all, and a delete without upper bound ("\0") with nothing.
 * Source: etcd 3.4 `checkIntervals` in `etcdserver/api/v3rpc/key.go`.
 */
import type { Failure } from '../base/index.ts'
import { concatBytes, failure, toHex } from '../base/index.ts'
import type { RequestOp, TxnRequest } from '../wire/index.ts'
import type { Deletions } from './deletions.ts'
import { createDeletions } from './deletions.ts'

const ZERO = new Uint8Array(1)

/** Keys put, by their hex. */
type Changes = { readonly puts: Map<string, Uint8Array>; readonly deletions: Deletions }

/** The first change of a key that another one of the transaction changes too. */
export function checkIntervals(request: TxnRequest): Failure | undefined {
  for (const branch of [request.success, request.failure]) {
    const changes = collect(branch)
    if ('code' in changes) return changes
  }
  return undefined
}

function collect(ops: readonly RequestOp[]): Changes | Failure {
  const puts = new Map<string, Uint8Array>()
  const deletions = createDeletions()
  for (const op of ops) {
    if (op.type !== 'deleteRange') continue
    const { key, rangeEnd } = op.deleteRange
    deletions.add({ start: key, end: rangeEnd.length === 0 ? concatBytes([key, ZERO]) : rangeEnd })
  }
  for (const op of ops) {
    if (op.type !== 'txn') continue
    const problem = collectNested(op.txn, puts, deletions)
    if (problem !== undefined) return problem
  }
  for (const op of ops) {
    if (op.type !== 'put') continue
    const hex = toHex(op.put.key)
    if (puts.has(hex) || deletions.has(op.put.key)) return duplicate(op.put.key)
    puts.set(hex, op.put.key)
  }
  return { puts, deletions }
}

function collectNested(request: TxnRequest, puts: Map<string, Uint8Array>, deletions: Deletions): Failure | undefined {
  const then = collect(request.success)
  if ('code' in then) return then
  const otherwise = collect(request.failure)
  if ('code' in otherwise) return otherwise
  for (const [hex, key] of then.puts) {
    if (puts.has(hex) || deletions.has(key)) return duplicate(key)
    puts.set(hex, key)
  }
  for (const [hex, key] of otherwise.puts) {
    // A key of the other branch may come again: only one of the two runs.
    if ((puts.has(hex) && !then.puts.has(hex)) || deletions.has(key)) return duplicate(key)
    puts.set(hex, key)
  }
  for (const deletion of then.deletions.all()) deletions.add(deletion)
  for (const deletion of otherwise.deletions.all()) deletions.add(deletion)
  return undefined
}

function duplicate(key: Uint8Array): Failure {
  const shown = toHex(key.length > 32 ? key.subarray(0, 32) : key)
  return failure('invalid-request', `the transaction changes key 0x${shown} twice`, { etcd: 'ErrDuplicateKey' })
}
