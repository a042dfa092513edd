/**
 * The store's meaning in its simplest form: for every revision the whole list of pairs. Written from etcd's
 * documentation and `etcdserver/apply.go`, with none of the store's code, to be compared with it.
 */
import { compareBytes, equalBytes, toHex } from '../src/base/index.ts'
import type {
  Compare,
  DeleteRangeRequest,
  KeyValue,
  PutRequest,
  RangeRequest,
  RangeResponse,
  RequestOp,
  ResponseOp,
  TxnRequest,
  TxnResponse,
} from '../src/wire/index.ts'
import type { Operation } from './mvcc-operations.testkit.ts'

/** An error's name, or the response without its header and the store's revision for it. */
export type ModelAnswer = { readonly error: string } | { readonly response: object; readonly revision: number }

type State = readonly KeyValue[]
type Interval = { readonly key: Uint8Array; readonly rangeEnd: Uint8Array }

/** What ends an operation without a trace. */
class Refused extends Error {}

export class Model {
  /** By revision. */
  readonly states: State[] = [[], []]
  compacted = -1
  readonly #leases: ReadonlySet<bigint>

  constructor(leases: ReadonlySet<bigint>) {
    this.#leases = leases
  }

  get revision(): number {
    return this.states.length - 1
  }

  execute(operation: Operation): ModelAnswer {
    try {
      return this.#execute(operation)
    } catch (error) {
      if (error instanceof Refused) return { error: error.message }
      throw error
    }
  }

  /** A range of the state that was newest at `revision`. */
  rangeAt(request: RangeRequest, revision: number): RangeResponse {
    const main = request.revision > 0 ? request.revision : revision
    return rangeOf(request, this.states[main] as State)
  }

  #execute(operation: Operation): ModelAnswer {
    switch (operation.type) {
      case 'range':
        checkKey(operation.request)
        this.#checkRevision(operation.request.revision > 0 ? operation.request.revision : this.revision)
        return { response: this.rangeAt(operation.request, this.revision), revision: this.revision }
      case 'compact':
        if (operation.request.revision <= this.compacted) throw new Refused('ErrCompacted')
        if (operation.request.revision > this.revision) throw new Refused('ErrFutureRev')
        this.compacted = operation.request.revision
        return { response: {}, revision: this.revision }
      case 'put':
        checkPut(operation.request)
        this.#checkLease(operation.request)
        return this.#write((draft) => draft.put(operation.request))
      case 'deleteRange':
        checkKey(operation.request)
        return this.#write((draft) => draft.deleteRange(operation.request))
      case 'txn':
        checkTxn(operation.request, 128)
        changesOf(operation.request.success)
        changesOf(operation.request.failure)
        this.#checkBranches(operation.request)
        return this.#write((draft) => draft.txn(operation.request))
      default:
        return operation satisfies never
    }
  }

  #write(change: (draft: Draft) => object): ModelAnswer {
    const draft = new Draft(this.states)
    const response = change(draft)
    if (draft.changed) this.states.push(draft.state)
    return { response, revision: this.revision }
  }

  #checkRevision(revision: number): void {
    if (revision > this.revision) throw new Refused('ErrFutureRev')
    if (revision < this.compacted) throw new Refused('ErrCompacted')
  }

  #checkLease({ lease }: PutRequest): void {
    if (lease !== 0n && !this.#leases.has(lease)) throw new Refused('ErrLeaseNotFound')
  }

  /** What is refused before anything runs: first all puts, then all ranges, of the branches that will run. */
  #checkBranches(request: TxnRequest): void {
    const ops = chosen(request, this.states.at(-1) as State)
    for (const op of ops) {
      if (op.type !== 'put') continue
      const missing = select(this.states.at(-1) as State, { key: op.put.key, rangeEnd: new Uint8Array(0) }).length === 0
      if (missing && (op.put.ignoreValue || op.put.ignoreLease)) throw new Refused('ErrKeyNotFound')
      this.#checkLease(op.put)
    }
    for (const op of ops) if (op.type === 'range' && op.range.revision !== 0) this.#checkRevision(op.range.revision)
  }
}

/** A revision in the making. */
class Draft {
  state: State
  changed = false
  readonly #states: readonly State[]

  constructor(states: readonly State[]) {
    this.#states = states
    this.state = states.at(-1) as State
  }

  get #revision(): number {
    return this.#states.length - (this.changed ? 0 : 1)
  }

  put(request: PutRequest): { readonly prevKv?: KeyValue } {
    const [old] = select(this.state, { key: request.key, rangeEnd: new Uint8Array(0) })
    if (old === undefined && (request.ignoreValue || request.ignoreLease)) throw new Refused('ErrKeyNotFound')
    const main = this.#states.length
    const pair: KeyValue = {
      key: request.key,
      createRevision: old?.createRevision ?? main,
      modRevision: main,
      version: (old?.version ?? 0) + 1,
      value: request.ignoreValue && old !== undefined ? old.value : request.value,
      lease: request.ignoreLease && old !== undefined ? old.lease : request.lease,
    }
    this.state = [...this.state.filter((other) => other !== old), pair].sort((a, b) => compareBytes(a.key, b.key))
    this.changed = true
    return request.prevKv && old !== undefined ? { prevKv: old } : {}
  }

  deleteRange(request: DeleteRangeRequest): { readonly deleted: number; readonly prevKvs: readonly KeyValue[] } {
    const gone = select(this.state, request)
    this.state = this.state.filter((pair) => !gone.includes(pair))
    if (gone.length > 0) this.changed = true
    return { deleted: gone.length, prevKvs: request.prevKv ? gone : [] }
  }

  /** Conditions, nested ones too, are about the state before the transaction. */
  txn(request: TxnRequest): TxnResponse {
    const before = this.#states.at(-1) as State
    const succeeded = request.compare.every((condition) => holds(condition, before))
    const responses: ResponseOp[] = []
    for (const op of succeeded ? request.success : request.failure) {
      if (op.type === 'range') responses.push({ type: 'range', range: this.#range(op.range) })
      if (op.type === 'put') {
        const answer = this.put(op.put)
        responses.push({ type: 'put', put: { header: headerOf(this.#revision), ...answer } })
      }
      if (op.type === 'deleteRange') {
        const answer = this.deleteRange(op.deleteRange)
        responses.push({ type: 'deleteRange', deleteRange: { header: headerOf(this.#revision), ...answer } })
      }
      if (op.type === 'txn') responses.push({ type: 'txn', txn: { header: headerOf(0), ...this.txn(op.txn) } })
    }
    return { succeeded, responses }
  }

  #range(request: RangeRequest): RangeResponse {
    const state = request.revision > 0 ? (this.#states[request.revision] as State) : this.state
    return { header: headerOf(this.#revision), ...rangeOf(request, state) }
  }
}

const headerOf = (
  revision: number,
): { readonly clusterId: bigint; readonly memberId: bigint; readonly revision: number; readonly raftTerm: number } => ({
  clusterId: 0n,
  memberId: 0n,
  revision,
  raftTerm: 0,
})

function select(state: State, { key, rangeEnd }: Interval): readonly KeyValue[] {
  if (rangeEnd.length === 0) return state.filter((pair) => equalBytes(pair.key, key))
  const unbounded = rangeEnd.length === 1 && rangeEnd[0] === 0
  return state.filter((pair) => compareBytes(pair.key, key) >= 0 && (unbounded || compareBytes(pair.key, rangeEnd) < 0))
}

function rangeOf(request: RangeRequest, state: State): RangeResponse {
  const all = select(state, request)
  if (request.countOnly) return { kvs: [], more: false, count: all.length }
  const { minModRevision, maxModRevision, minCreateRevision, maxCreateRevision } = request
  const filtered = [minModRevision, maxModRevision, minCreateRevision, maxCreateRevision].some((bound) => bound !== 0)
  // Without order and filters no more than one pair beyond the limit is looked at.
  const fetched = request.limit > 0 && request.sortOrder === 0 && !filtered ? all.slice(0, request.limit + 1) : all
  const pairs = fetched.filter(
    (pair) =>
      (minModRevision === 0 || pair.modRevision >= minModRevision) &&
      (maxModRevision === 0 || pair.modRevision <= maxModRevision) &&
      (minCreateRevision === 0 || pair.createRevision >= minCreateRevision) &&
      (maxCreateRevision === 0 || pair.createRevision <= maxCreateRevision),
  )
  const order = [
    (a: KeyValue, b: KeyValue) => compareBytes(a.key, b.key),
    (a: KeyValue, b: KeyValue) => a.version - b.version,
    (a: KeyValue, b: KeyValue) => a.createRevision - b.createRevision,
    (a: KeyValue, b: KeyValue) => a.modRevision - b.modRevision,
    (a: KeyValue, b: KeyValue) => compareBytes(a.value, b.value),
  ][request.sortTarget] as (a: KeyValue, b: KeyValue) => number
  if (request.sortOrder < 2) pairs.sort(order)
  if (request.sortOrder === 2) pairs.sort((a, b) => order(b, a))
  const kvs = request.limit > 0 ? pairs.slice(0, request.limit) : pairs
  const value = new Uint8Array(0)
  return {
    kvs: request.keysOnly ? kvs.map((pair) => Object.assign({}, pair, { value })) : kvs,
    more: kvs.length < pairs.length,
    count: all.length,
  }
}

function holds(condition: Compare, state: State): boolean {
  const pairs = select(state, condition)
  const VALUE = 3
  if (pairs.length > 0) return pairs.every((pair) => holdsFor(condition, pair))
  const none = new Uint8Array(0)
  const absent = { key: none, createRevision: 0, modRevision: 0, version: 0, value: none, lease: 0n }
  return condition.target !== VALUE && holdsFor(condition, absent)
}

function holdsFor({ target, result, operand }: Compare, pair: KeyValue): boolean {
  const names = ['version', 'create', 'mod', 'value', 'lease']
  const fits = operand !== undefined && operand.type === names[target]
  const number = fits && 'revision' in operand ? operand.revision : 0
  const lease = fits && operand.type === 'lease' ? operand.lease : 0n
  const value = fits && operand.type === 'value' ? operand.value : new Uint8Array(0)
  const order = [
    pair.version - number,
    pair.createRevision - number,
    pair.modRevision - number,
    compareBytes(pair.value, value),
    Number(pair.lease - lease),
  ][target] as number
  return [order === 0, order > 0, order < 0, order !== 0][result] as boolean
}

/** The operations of the branches that run, nested ones in place. */
function chosen(request: TxnRequest, state: State): readonly RequestOp[] {
  const succeeded = request.compare.every((condition) => holds(condition, state))
  const ops = succeeded ? request.success : request.failure
  return ops.flatMap((op) => (op.type === 'txn' ? chosen(op.txn, state) : [op]))
}

function checkKey({ key }: { readonly key: Uint8Array }): void {
  if (key.length === 0) throw new Refused('ErrEmptyKey')
}

function checkPut(request: PutRequest): void {
  checkKey(request)
  if (request.ignoreValue && request.value.length > 0) throw new Refused('ErrValueProvided')
  if (request.ignoreLease && request.lease !== 0n) throw new Refused('ErrLeaseProvided')
}

function checkTxn(request: TxnRequest, left: number): void {
  const widest = Math.max(request.compare.length, request.success.length, request.failure.length)
  if (widest > left) throw new Refused('ErrTooManyOps')
  for (const condition of request.compare) checkKey(condition)
  for (const op of [...request.success, ...request.failure]) {
    if (op.type === 'none') throw new Refused('ErrKeyNotFound')
    if (op.type === 'txn') checkTxn(op.txn, left - widest)
    if (op.type === 'put') checkPut(op.put)
    if (op.type === 'range') checkKey(op.range)
    if (op.type === 'deleteRange') checkKey(op.deleteRange)
  }
}

type Changes = { readonly puts: ReadonlySet<string>; readonly deletions: readonly Interval[] }

/** etcd's `checkIntervals`: what a branch puts and deletes, or a refusal where it changes a key twice. */
function changesOf(ops: readonly RequestOp[]): Changes {
  const puts = new Set<string>()
  const deletions: Interval[] = ops.flatMap((op) => (op.type === 'deleteRange' ? [op.deleteRange] : []))
  const add = (key: string, mayRepeat: ReadonlySet<string>): void => {
    const repeated = puts.has(key) && !mayRepeat.has(key)
    if (repeated || deletions.some((deletion) => covers(deletion, key))) throw new Refused('ErrDuplicateKey')
    puts.add(key)
  }
  for (const op of ops) {
    if (op.type !== 'txn') continue
    const then = changesOf(op.txn.success)
    const otherwise = changesOf(op.txn.failure)
    for (const key of then.puts) add(key, new Set())
    for (const key of otherwise.puts) add(key, then.puts)
    deletions.push(...then.deletions, ...otherwise.deletions)
  }
  for (const op of ops) if (op.type === 'put') add(toHex(op.put.key), new Set())
  return { puts, deletions }
}

/** Here "\0" is no missing bound, but the smallest key: etcd's own oversight. */
function covers({ key, rangeEnd }: Interval, hex: string): boolean {
  const start = toHex(key)
  return rangeEnd.length === 0 ? hex === start : hex >= start && hex < toHex(rangeEnd)
}
