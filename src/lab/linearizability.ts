/**
 * Is there one order of all operations that agrees with real time and with a sequential store? Searched per key (the
 * property is local: Herlihy and Wing 1990, theorem 1), by the algorithm of Wing and Gong (1993) with the memoisation of
 * Lowe (2017): a set of operations done and the value after them is never looked at twice.
 *
 * Promises: (1) `yes` and `no` are proofs; (2) a search beyond `maxSteps` ends as `unknown`; (3) a `no` comes with a
 * prefix of the key's history that is as short as the search can tell.
 */
import type { Call, Operation } from './history.ts'

export type Verdict =
  | { readonly verdict: 'yes' }
  | { readonly verdict: 'unknown'; readonly key: string; readonly why: string }
  /** No order explains the operations up to the completion of `at`; `operations` are those, by invocation. */
  | { readonly verdict: 'no'; readonly key: string; readonly at: Operation; readonly operations: readonly Operation[] }

export type CheckOptions = {
  /** Of the search of one key; 10 million when left out. */
  readonly maxSteps?: number
}

/** A key's value; undefined where it does not exist. */
type State = string | undefined

export function checkLinearizable(operations: readonly Operation[], options: CheckOptions = {}): Verdict {
  const byKey = new Map<string, Operation[]>()
  for (const operation of operations) {
    const list = byKey.get(operation.key)
    if (list === undefined) byKey.set(operation.key, [operation])
    else list.push(operation)
  }
  let undecided: Verdict | undefined
  for (const [key, list] of byKey) {
    const verdict = checkKey(key, list, options.maxSteps ?? 10_000_000)
    if (verdict.verdict === 'no') return verdict
    if (verdict.verdict === 'unknown') undecided = verdict
  }
  return undecided ?? { verdict: 'yes' }
}

/** An invocation or a completion in a list from which pairs are taken out and put back. */
type Entry = {
  readonly id: number
  readonly operation: Operation
  /** Of an invocation: its completion; undefined where it has none, or for a completion. */
  completion: Entry | undefined
  readonly isCompletion: boolean
  before: Entry | undefined
  after: Entry | undefined
}

function checkKey(key: string, operations: readonly Operation[], maxSteps: number): Verdict {
  const head = link(operations)
  const seen = new Map<string, Set<string>>()
  const done = createBits(operations.length)
  const taken: { readonly entry: Entry; readonly state: State }[] = []
  let state: State
  let entry = head.after
  /** The completion that stopped the search furthest on. */
  let furthest: Entry | undefined
  for (let steps = 0; entry !== undefined; steps++) {
    if (steps > maxSteps) {
      return { verdict: 'unknown', key, why: `no answer within ${maxSteps} steps over ${operations.length} operations` }
    }
    if (!entry.isCompletion) {
      const next = step(state, entry.operation)
      if (next !== undefined) {
        done.set(entry.id)
        if (isNew(seen, done.text(), next.state)) {
          taken.push({ entry, state })
          state = next.state
          takeOut(entry)
          entry = head.after
          continue
        }
        done.clear(entry.id)
      }
      entry = entry.after
      continue
    }
    if (furthest === undefined || entry.operation.completed > furthest.operation.completed) furthest = entry
    const last = taken.pop()
    if (last === undefined) return refuted(key, operations, furthest.operation)
    state = last.state
    done.clear(last.entry.id)
    putBack(last.entry)
    entry = last.entry.after
  }
  return { verdict: 'yes' }
}

function refuted(key: string, operations: readonly Operation[], at: Operation): Verdict {
  return { verdict: 'no', key, at, operations: operations.filter((operation) => operation.invoked < at.completed) }
}

/** The state after an operation, or undefined where its answer does not fit. */
function step(state: State, operation: Operation): { readonly state: State } | undefined {
  const { call, outcome } = operation
  const answer = outcome.type === 'answered' ? outcome.answer : undefined
  const next = after(state, call)
  if (answer === undefined) return { state: next.state }
  if (call.type === 'get') return answer.value === state ? { state } : undefined
  if (answer.changed !== undefined && answer.changed !== next.changed) return undefined
  return { state: next.state }
}

function after(state: State, call: Call): { readonly state: State; readonly changed: boolean } {
  switch (call.type) {
    case 'get':
      return { state, changed: false }
    case 'put':
      return { state: call.value, changed: true }
    case 'delete':
      return { state: undefined, changed: state !== undefined }
    case 'compareAndSet':
      return call.expected === state ? { state: call.value, changed: true } : { state, changed: false }
    default:
      return call satisfies never
  }
}

function isNew(seen: Map<string, Set<string>>, done: string, state: State): boolean {
  const mark = state === undefined ? '' : `=${state}`
  const states = seen.get(done)
  if (states === undefined) {
    seen.set(done, new Set([mark]))
    return true
  }
  if (states.has(mark)) return false
  states.add(mark)
  return true
}

/** The list of invocations and completions in their order, behind an empty head. What has no completion never blocks. */
function link(operations: readonly Operation[]): Entry {
  const entries: { readonly at: number; readonly entry: Entry }[] = []
  for (const [id, operation] of operations.entries()) {
    const make = (isCompletion: boolean): Entry => ({
      id,
      operation,
      completion: undefined,
      isCompletion,
      before: undefined,
      after: undefined,
    })
    const invocation = make(false)
    entries.push({ at: operation.invoked, entry: invocation })
    if (operation.outcome.type !== 'answered') continue
    invocation.completion = make(true)
    entries.push({ at: operation.completed, entry: invocation.completion })
  }
  entries.sort((a, b) => a.at - b.at)
  const [first] = operations
  const head: Entry = {
    id: -1,
    operation: first as Operation,
    completion: undefined,
    isCompletion: false,
    before: undefined,
    after: undefined,
  }
  let last = head
  for (const { entry } of entries) {
    last.after = entry
    entry.before = last
    last = entry
  }
  return head
}

function unlink(entry: Entry): void {
  if (entry.before !== undefined) entry.before.after = entry.after
  if (entry.after !== undefined) entry.after.before = entry.before
}

function relink(entry: Entry): void {
  if (entry.before !== undefined) entry.before.after = entry
  if (entry.after !== undefined) entry.after.before = entry
}

function takeOut(invocation: Entry): void {
  unlink(invocation)
  if (invocation.completion !== undefined) unlink(invocation.completion)
}

/** The exact reverse of `takeOut`, in reverse order: the links that the two kept lead back to their places. */
function putBack(invocation: Entry): void {
  if (invocation.completion !== undefined) relink(invocation.completion)
  relink(invocation)
}

type Bits = { set(at: number): void; clear(at: number): void; text(): string }

function createBits(size: number): Bits {
  const words = new Uint16Array(Math.ceil(size / 16))
  const flip = (at: number): void => {
    words[at >> 4] = (words[at >> 4] as number) ^ (1 << (at & 15))
  }
  return {
    set: flip,
    clear: flip,
    text() {
      let text = ''
      for (const word of words) text += String.fromCharCode(word)
      return text
    },
  }
}
