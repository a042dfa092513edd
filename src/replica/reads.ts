/**
 * Linearizable reads (Raft section 8; dissertation 6.4): all reads of a turn share one ReadIndex request; once the core
 * confirms an index, they wait until the state has applied it. A request that the core refuses, or that gets no answer
 * (its message was lost), is asked again under a new context: reading twice is harmless.
 *
 * Promises: (1) every read is answered exactly once, at the latest at its deadline; (2) a read is never released by a
 * context that was asked for before the read came; (3) bounded: the caller's limit, and two contexts outstanding.
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
  /** A context for all reads that have none yet. */
  ask(nowMs: number): number
  /** The core's answer for a context. */
  confirmed(context: number, index: LogIndex): void
  refused(context: number): void
  /** Releases what `applied` covers. */
  applied(index: LogIndex): void
  /** Contexts older than this are asked for again; reads past their deadline fail. Returns the next time to look. */
  expire(nowMs: number, retryAfterMs: number): number
  failAll(error: Failure): void
}

const OK: Result<void> = ok()

export function createReads(maxReads: number): Reads {
  let fresh: Waiting[] = []
  const asked = new Map<number, Asked>()
  let confirmedReads: { index: LogIndex; reads: Waiting[] }[] = []
  let size = 0
  let nextContext = 1
  let appliedIndex = 0

  const release = (reads: readonly Waiting[], result: Result<void>): void => {
    size -= reads.length
    for (const read of reads) read.done(result)
  }

  const again = (context: number): void => {
    const group = asked.get(context)
    if (group === undefined) return
    asked.delete(context)
    fresh = group.reads.concat(fresh)
  }

  return {
    get size() {
      return size
    },
    add(read) {
      if (size >= maxReads)
        return failure('too-many-requests', `${size} reads wait at this server, the limit is ${maxReads}`)
      size++
      fresh.push(read)
      return undefined
    },
    get wantsContext() {
      return fresh.length > 0 && asked.size < MAX_CONTEXTS
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
      if (index <= appliedIndex) release(group.reads, OK)
      else confirmedReads.push({ index, reads: group.reads })
    },
    refused: again,
    applied(index) {
      appliedIndex = index
      if (confirmedReads.length === 0) return
      const ready = confirmedReads.filter((group) => group.index <= index)
      if (ready.length === 0) return
      confirmedReads = confirmedReads.filter((group) => group.index > index)
      for (const group of ready) release(group.reads, OK)
    },
    expire(nowMs, retryAfterMs) {
      let next = Number.POSITIVE_INFINITY
      const late: Waiting[] = []
      const keep = (read: Waiting): boolean => {
        if (read.deadlineMs <= nowMs) {
          late.push(read)
          return false
        }
        if (read.deadlineMs < next) next = read.deadlineMs
        return true
      }
      for (const [context, group] of asked) {
        if (nowMs - group.askedMs >= retryAfterMs) again(context)
        else next = Math.min(next, group.askedMs + retryAfterMs)
      }
      fresh = fresh.filter(keep)
      for (const [context, group] of asked)
        asked.set(context, { askedMs: group.askedMs, reads: group.reads.filter(keep) })
      confirmedReads = confirmedReads.map((group) => ({ index: group.index, reads: group.reads.filter(keep) }))
      release(
        late,
        err(
          failure(
            'no-leader',
            'no leader confirmed the read before its deadline: a linearizable read needs a majority of servers',
          ),
        ),
      )
      return next
    },
    failAll(error) {
      const all = [
        ...fresh,
        ...[...asked.values()].flatMap((group) => group.reads),
        ...confirmedReads.flatMap((group) => group.reads),
      ]
      fresh = []
      asked.clear()
      confirmedReads = []
      release(all, err(error))
    },
  }
}
