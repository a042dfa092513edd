/**
 * Linearizable reads (Raft section 8; dissertation 6.4): all reads of a turn share one ReadIndex request; once the core
 * confirms an index, they wait until the state has applied it. A request that the core refuses, or that gets no answer
 * (its message was lost), is asked again under a new context: reading twice is harmless.
 *
 * Promises: (1) every read is answered exactly once, at the latest at its deadline; (2) a read is never released by a
 * context that was asked for before the read came; (3) bounded: the caller's limit, and two contexts outstanding; what is due is released in portions, so that thousands
 * of reads that become due together make no long turn.
 */
import type { LogIndex, Result } from '../base/index.ts'
import { err, failure, ok } from '../base/index.ts'
import type { Failure } from '../base/index.ts'

type Waiting = { readonly deadlineMs: number; readonly done: (result: Result<void>) => void }
type Asked = { readonly askedMs: number; readonly reads: Waiting[] }

/** More rounds at once save no time: the next one starts when one comes back. */
const MAX_CONTEXTS = 2

export interface Reads {
  readonly size: number
  add(read: Waiting): Failure | undefined
  /** True where `ask` would return a context. */
  readonly wantsContext: boolean
  /** Reads have no context, and none is outstanding whose answer would bring the next turn. */
  readonly isStranded: boolean
  /** A context for all reads that have none yet. */
  ask(nowMs: number): number
  /** The core's answer for a context. */
  confirmed(context: number, index: LogIndex): void
  refused(context: number): void
  /** What `applied` covers is due. */
  applied(index: LogIndex): void
  /** Answers up to `most` reads that are due; true where there are more. */
  release(most: number): boolean
  /** When `expire` has something to do at the earliest; no later than any deadline. */
  nextLook(retryAfterMs: number): number
  /** Contexts older than this are asked for again; reads past their deadline fail. */
  expire(nowMs: number, retryAfterMs: number): void
  /** Refuses those that nobody has confirmed: the others only wait for this server. */
  failUnconfirmed(error: Failure): void
  failAll(error: Failure): void
}

const OK: Result<void> = ok()

export function createReads(maxReads: number): Reads {
  let fresh: Waiting[] = []
  const asked = new Map<number, Asked>()
  let confirmedReads: { index: LogIndex; reads: Waiting[] }[] = []
  let due: Waiting[] = []
  let size = 0
  let nextContext = 1
  let appliedIndex = 0
  /** A lower bound: the read that it came from may have been answered. */
  let nextDeadline = Number.POSITIVE_INFINITY

  const answer = (reads: readonly Waiting[], result: Result<void>): void => {
    size -= reads.length
    for (const read of reads) read.done(result)
  }

  const again = (context: number): void => {
    const group = asked.get(context)
    if (group === undefined) return
    asked.delete(context)
    fresh = group.reads.concat(fresh)
  }

  const makeDue = (reads: readonly Waiting[]): void => {
    due = due.length === 0 ? [...reads] : due.concat(reads)
  }

  return {
    get size() {
      return size
    },
    add(read) {
      if (size >= maxReads)
        return failure('too-many-requests', `${size} reads wait at this server, the limit is ${maxReads}`)
      size++
      if (read.deadlineMs < nextDeadline) nextDeadline = read.deadlineMs
      fresh.push(read)
      return undefined
    },
    get wantsContext() {
      return fresh.length > 0 && asked.size < MAX_CONTEXTS
    },
    get isStranded() {
      return fresh.length > 0 && asked.size === 0
    },
    ask(nowMs) {
      const context = nextContext++
      asked.set(context, { askedMs: nowMs, reads: fresh })
      fresh = []
      return context
    },
    confirmed(context, index) {
      const group = asked.get(context)
      if (group === undefined) return
      asked.delete(context)
      if (index <= appliedIndex) makeDue(group.reads)
      else confirmedReads.push({ index, reads: group.reads })
    },
    refused: again,
    applied(index) {
      appliedIndex = index
      if (confirmedReads.length === 0) return
      const ready = confirmedReads.filter((group) => group.index <= index)
      if (ready.length === 0) return
      confirmedReads = confirmedReads.filter((group) => group.index > index)
      for (const group of ready) makeDue(group.reads)
    },
    release(most) {
      if (due.length === 0) return false
      const now = due.length <= most ? due : due.slice(0, most)
      due = due.length <= most ? [] : due.slice(most)
      answer(now, OK)
      return due.length > 0
    },
    nextLook(retryAfterMs) {
      let next = size === 0 ? Number.POSITIVE_INFINITY : nextDeadline
      for (const { askedMs } of asked.values()) next = Math.min(next, askedMs + retryAfterMs)
      return next
    },
    expire(nowMs, retryAfterMs) {
      for (const [context, { askedMs }] of asked) if (nowMs - askedMs >= retryAfterMs) again(context)
      if (nowMs < nextDeadline) return
      nextDeadline = Number.POSITIVE_INFINITY
      const split = (reads: readonly Waiting[], late: Waiting[]): Waiting[] =>
        reads.filter((read) => {
          if (read.deadlineMs > nowMs) nextDeadline = Math.min(nextDeadline, read.deadlineMs)
          else late.push(read)
          return read.deadlineMs > nowMs
        })
      const unconfirmed: Waiting[] = []
      const unapplied: Waiting[] = []
      fresh = split(fresh, unconfirmed)
      for (const [context, { askedMs, reads }] of asked)
        asked.set(context, { askedMs, reads: split(reads, unconfirmed) })
      confirmedReads = confirmedReads
        .map(({ index, reads }) => ({ index, reads: split(reads, unapplied) }))
        .filter(({ reads }) => reads.length > 0)
      answer(unconfirmed, err(failure('no-leader', NOT_CONFIRMED)))
      answer(unapplied, err(failure('timed-out', NOT_APPLIED)))
    },
    failUnconfirmed(error) {
      const all = [...fresh, ...[...asked.values()].flatMap((group) => group.reads)]
      fresh = []
      asked.clear()
      answer(all, err(error))
    },
    failAll(error) {
      const all = [
        ...due,
        ...fresh,
        ...[...asked.values()].flatMap((group) => group.reads),
        ...confirmedReads.flatMap((group) => group.reads),
      ]
      due = []
      fresh = []
      asked.clear()
      confirmedReads = []
      answer(all, err(error))
    },
  }
}

const NOT_CONFIRMED =
  'no leader confirmed the read before its deadline: a linearizable read needs a majority of servers'
const NOT_APPLIED =
  'the read is confirmed, but this server had not caught up with it before the deadline: ask another server'
