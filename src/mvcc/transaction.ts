/**
 * A transaction, as etcd runs it: first all conditions, of the nested transactions too, are decided on the state before
 * it; then everything that could be refused is looked for on the branches that will run; then they run.
 * Source: etcd 3.4 `applierV3backend.Txn` in `etcdserver/apply.go`.
 */
import type { Failure, Result } from '../base/index.ts'
import { err, failure, ok } from '../base/index.ts'
import type { Compare, EncodedResponseOp, PutRequest, RangeRequest, RequestOp, TxnRequest } from '../wire/index.ts'
import { encodeTxnBody, withHeader } from '../wire/index.ts'
import { holds, holdsForNothing } from './compare.ts'
import type { RevisionView } from './range-cursor.ts'
import { revisionCompacted, revisionInFuture } from './revisions.ts'
import { storedKeyValue } from './stored.ts'
import { keyNotFound } from './write.ts'
import type { Write } from './write.ts'

/** Which leases exist. */
export type Leases = { readonly has: (id: bigint) => boolean }

/** A transaction with its conditions decided. `nested` are those of its operations that are transactions, in order. */
type Decided = { readonly succeeded: boolean; readonly ops: readonly RequestOp[]; readonly nested: readonly Decided[] }

/** Returns the response's body. After a failure the write must be undone. */
export function runTransaction(
  write: Write,
  request: TxnRequest,
  store: RevisionView,
  leases: Leases,
): Result<Uint8Array> {
  const decided = decide(write, request)
  if (!decided.ok) return decided
  const problem =
    findProblem(decided.value, (op) => (op.type === 'put' ? checkPut(write, op.put, leases) : undefined)) ??
    findProblem(decided.value, (op) => (op.type === 'range' ? checkRange(op.range, store) : undefined))
  return problem === undefined ? run(write, decided.value) : err(problem)
}

function decide(write: Write, request: TxnRequest): Result<Decided> {
  let succeeded = true
  for (const compare of request.compare) {
    const held = compareHolds(write, compare)
    if (!held.ok) return held
    succeeded = held.value
    if (!succeeded) break
  }
  const ops = succeeded ? request.success : request.failure
  const nested: Decided[] = []
  for (const op of ops) {
    if (op.type !== 'txn') continue
    const inner = decide(write, op.txn)
    if (!inner.ok) return inner
    nested.push(inner.value)
  }
  return ok({ succeeded, ops, nested })
}

function compareHolds(write: Write, compare: Compare): Result<boolean> {
  let found = false
  let all = true
  const problem = write.visitEarlier(compare.key, compare.rangeEnd, (stored) => {
    found = true
    all = holds(compare, storedKeyValue(stored))
    return all
  })
  if (problem !== undefined) return err(problem)
  return ok(found ? all : holdsForNothing(compare))
}

function findProblem(decided: Decided, check: (op: RequestOp) => Failure | undefined): Failure | undefined {
  let next = 0
  for (const op of decided.ops) {
    const problem = op.type === 'txn' ? findProblem(decided.nested[next++] as Decided, check) : check(op)
    if (problem !== undefined) return problem
  }
  return undefined
}

function checkPut(write: Write, request: PutRequest, leases: Leases): Failure | undefined {
  if ((request.ignoreValue || request.ignoreLease) && write.earlier(request.key) === undefined) return keyNotFound()
  return checkLease(request, leases)
}

export function checkLease(request: PutRequest, leases: Leases): Failure | undefined {
  if (request.lease === 0n || leases.has(request.lease)) return undefined
  return failure('lease-not-found', `there is no lease ${request.lease}`, { etcd: 'ErrLeaseNotFound' })
}

/** As etcd's, which here takes a negative revision for a compacted one. */
function checkRange(request: RangeRequest, store: RevisionView): Failure | undefined {
  if (request.revision === 0) return undefined
  if (request.revision > store.revision) return revisionInFuture(request.revision, store.revision)
  if (request.revision >= store.compactedRevision) return undefined
  return revisionCompacted(request.revision, store.compactedRevision)
}

function run(write: Write, decided: Decided): Result<Uint8Array> {
  const responses: EncodedResponseOp[] = []
  let next = 0
  for (const op of decided.ops) {
    const body = runOp(write, op, () => decided.nested[next++] as Decided)
    if (!body.ok) return body
    if (op.type === 'none') continue
    // Inside a transaction a header holds nothing but the revision, and a nested transaction's not even that.
    const revision = op.type === 'txn' ? 0 : write.revision
    const header = { clusterId: 0n, memberId: 0n, revision, raftTerm: 0 }
    responses.push({ kind: op.type, response: withHeader(header, body.value) })
  }
  return ok(encodeTxnBody(decided.succeeded, responses))
}

function runOp(write: Write, op: RequestOp, nested: () => Decided): Result<Uint8Array> {
  switch (op.type) {
    case 'range':
      return write.range(op.range)
    case 'put':
      return write.put(op.put)
    case 'deleteRange':
      return write.deleteRange(op.deleteRange)
    case 'txn':
      return run(write, nested())
    case 'none':
      return err(failure('invalid-request', 'an operation holds no request', { etcd: 'ErrKeyNotFound' }))
    default:
      return op satisfies never
  }
}
