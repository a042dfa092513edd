/**
 * Proposals of this server that wait for their answer. Each has a sequence number; the entry that carries it is
 * recognised when it is applied here, whoever led when it was appended. Until then the proposal is sent again whenever
 * the leader changes or its connection was lost: the replicated window (window.ts) applies it once however often it is
 * in the log.
 *
 * Promises: (1) every proposal is answered exactly once; (2) a refusal is only passed on as a refusal where no other
 * attempt can still take effect, else the proposal is tried again until its deadline; (3) sequences in use span less
 * than WINDOW_SIZE; (4) whoever refuses is asked again only after a pause, so that two servers that disagree about the
 * leader do not keep each other busy.
 */
import type { Failure, Result } from '../base/index.ts'
import { err, failure } from '../base/index.ts'
import { WINDOW_SIZE } from './window.ts'
import type { Applied } from './types.ts'

export type Pending = {
  readonly sequence: number
  readonly command: Uint8Array
  readonly deadlineMs: number
  readonly done: (result: Result<Applied>) => void
  /** Attempts that were not refused for certain: while there is one, the proposal may take effect. */
  open: number
  /** True until it is handed to the present leader. */
  waiting: boolean
}

export interface Proposals {
  readonly size: number
  /** Every sequence below this one has been answered. */
  readonly completedBelow: number
  /** Undefined where there is no room: nothing was kept. */
  admit(sizeBytes: number): Failure | undefined
  nextSequence(): number
  add(sequence: number, command: Uint8Array, deadlineMs: number, done: Pending['done']): void
  /** Those not yet handed to the present leader and not paused, oldest first. */
  waiting(): readonly Pending[]
  /** It was handed to the present leader. */
  handed(entry: Pending): void
  /** It could not be handed over, or not yet: again after the pause. */
  pause(entry: Pending): void
  /** The pause is over. */
  resume(): void
  readonly hasPaused: boolean
  /** The leader has changed, or may have lost what it was sent: all wait again. */
  rewind(): void
  /** The entry with this sequence was applied. */
  complete(sequence: number, result: Result<Applied>): void
  /** One attempt will have no effect. `lasting`: asking again would be no use. */
  refused(sequence: number, error: Failure, lasting: boolean): void
  sequences(): readonly number[]
  /** No deadline is earlier. */
  readonly nextDeadline: number
  /** Answers those whose deadline has passed. */
  expire(nowMs: number): void
  /** Refuses those of which no attempt is open. */
  failUnsent(error: Failure): void
  failAll(error: Failure): void
}

export function createProposals(limits: { readonly maxPending: number; readonly maxBytes: number }): Proposals {
  const pending = new Map<number, Pending>()
  let next = 1
  /** Every sequence below it has been answered. */
  let lowest = 1
  let sizeBytes = 0
  let unsent: Pending[] = []
  let paused: Pending[] = []
  /** A lower bound: the entry that it came from may have been answered. */
  let nextDeadline = Number.POSITIVE_INFINITY

  const remove = (entry: Pending): void => {
    pending.delete(entry.sequence)
    sizeBytes -= entry.command.length
  }

  const oldest = (): number => {
    while (lowest < next && !pending.has(lowest)) lowest++
    return lowest
  }

  return {
    get size() {
      return pending.size
    },
    get completedBelow() {
      return oldest()
    },
    admit(commandBytes) {
      if (pending.size >= limits.maxPending || next - oldest() >= WINDOW_SIZE - 1) {
        return failure(
          'too-many-requests',
          `${pending.size} writes of this server wait for agreement, the limit is ${limits.maxPending}`,
        )
      }
      if (pending.size > 0 && sizeBytes + commandBytes > limits.maxBytes) {
        return failure(
          'too-many-requests',
          `${sizeBytes} bytes of writes wait for agreement, the limit is ${limits.maxBytes}`,
        )
      }
      return undefined
    },
    nextSequence() {
      return next++
    },
    add(sequence, command, deadlineMs, done) {
      const entry: Pending = { sequence, command, deadlineMs, done, open: 0, waiting: true }
      pending.set(sequence, entry)
      sizeBytes += command.length
      if (deadlineMs < nextDeadline) nextDeadline = deadlineMs
      unsent.push(entry)
    },
    waiting() {
      if (unsent.length === 0) return unsent
      const found = unsent.filter((entry) => entry.waiting && pending.has(entry.sequence))
      unsent = []
      return found
    },
    handed(entry) {
      entry.open++
      entry.waiting = false
    },
    pause(entry) {
      if (pending.has(entry.sequence)) paused.push(entry)
    },
    resume() {
      if (paused.length === 0) return
      unsent = [...paused, ...unsent].sort((a, b) => a.sequence - b.sequence)
      paused = []
    },
    get hasPaused() {
      return paused.length > 0
    },
    rewind() {
      for (const entry of pending.values()) entry.waiting = true
      unsent = [...pending.values()]
      paused = []
    },
    complete(sequence, result) {
      const entry = pending.get(sequence)
      if (entry === undefined) return
      remove(entry)
      entry.done(result)
    },
    refused(sequence, error, lasting) {
      const entry = pending.get(sequence)
      if (entry === undefined || entry.open === 0) return
      entry.open--
      if (lasting && entry.open === 0) {
        remove(entry)
        entry.done(err(error))
      } else if (!entry.waiting) {
        entry.waiting = true
        paused.push(entry)
      }
    },
    sequences: () => [...pending.keys()],
    get nextDeadline() {
      return pending.size === 0 ? Number.POSITIVE_INFINITY : nextDeadline
    },
    expire(nowMs) {
      if (nowMs < nextDeadline) return
      nextDeadline = Number.POSITIVE_INFINITY
      const late: Pending[] = []
      for (const entry of pending.values()) {
        if (entry.deadlineMs <= nowMs) late.push(entry)
        else if (entry.deadlineMs < nextDeadline) nextDeadline = entry.deadlineMs
      }
      for (const entry of late) remove(entry)
      for (const entry of late) entry.done(err(expired(entry)))
    },
    failUnsent(error) {
      const all = [...pending.values()].filter((entry) => entry.open === 0)
      for (const entry of all) remove(entry)
      for (const entry of all) entry.done(err(error))
    },
    failAll(error) {
      const all = [...pending.values()]
      pending.clear()
      unsent = []
      paused = []
      sizeBytes = 0
      for (const entry of all) {
        entry.done(
          err(
            entry.open === 0
              ? error
              : failure('outcome-unknown', `${error.message}; the write had been sent to a leader and may take effect`),
          ),
        )
      }
    },
  }
}

/** A proposal that nobody has taken certainly has no effect; any other may still take effect. */
function expired(entry: Pending): Failure {
  if (entry.open === 0) {
    return failure('no-leader', 'no leader took the write before the deadline; it has no effect')
  }
  return failure('timed-out', 'the write was not agreed before the deadline; whether it takes effect is unknown')
}
