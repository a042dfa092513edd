/**
 * Proposals of this server that wait for their answer. Each has a sequence number; the entry that carries it is
 * recognised when it is applied here, whoever led when it was appended. Until then the proposal is sent again whenever
 * the leader changes: the replicated window (window.ts) applies it once however often it is in the log.
 *
 * Promises: (1) every proposal is answered exactly once; (2) a refusal is only passed on as a refusal where no earlier
 * attempt can still take effect, else the proposal waits for its deadline; (3) sequences in use span less than
 * WINDOW_SIZE.
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
  /** How often it has been handed to a leader: after the first time a refusal proves nothing. */
  attempts: number
  /** False once handed to the present leader. */
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
  /** Those not yet handed to the present leader, oldest first. */
  waiting(): readonly Pending[]
  /** The leader has changed: all wait again. */
  rewind(): void
  /** The entry with this sequence was applied. */
  complete(sequence: number, result: Result<Applied>): void
  refused(sequence: number, error: Failure): void
  get(sequence: number): Pending | undefined
  sequences(): readonly number[]
  /** Answers those whose deadline has passed. Returns the next deadline, or Infinity. */
  expire(nowMs: number): number
  failAll(error: Failure): void
}

export function createProposals(limits: { readonly maxPending: number; readonly maxBytes: number }): Proposals {
  const pending = new Map<number, Pending>()
  let next = 1
  let sizeBytes = 0
  let unsent: Pending[] = []

  const remove = (entry: Pending): void => {
    pending.delete(entry.sequence)
    sizeBytes -= entry.command.length
  }

  const oldest = (): number => {
    // A Map keeps insertion order, and sequences are inserted ascending: its first key is the lowest.
    for (const sequence of pending.keys()) return sequence
    return next
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
      const entry: Pending = { sequence, command, deadlineMs, done, attempts: 0, waiting: true }
      pending.set(sequence, entry)
      sizeBytes += command.length
      unsent.push(entry)
    },
    waiting() {
      const found = unsent.filter((entry) => entry.waiting && pending.has(entry.sequence))
      unsent = found.slice()
      return found
    },
    rewind() {
      for (const entry of pending.values()) entry.waiting = true
      unsent = [...pending.values()]
    },
    complete(sequence, result) {
      const entry = pending.get(sequence)
      if (entry === undefined) return
      remove(entry)
      entry.done(result)
    },
    refused(sequence, error) {
      const entry = pending.get(sequence)
      if (entry === undefined) return
      if (entry.attempts > 1) return
      remove(entry)
      entry.done(err(error))
    },
    get: (sequence) => pending.get(sequence),
    sequences: () => [...pending.keys()],
    expire(nowMs) {
      let nextDeadline = Number.POSITIVE_INFINITY
      for (const entry of pending.values()) {
        if (entry.deadlineMs > nowMs) {
          if (entry.deadlineMs < nextDeadline) nextDeadline = entry.deadlineMs
          continue
        }
        remove(entry)
        entry.done(err(expired(entry)))
      }
      return nextDeadline
    },
    failAll(error) {
      const all = [...pending.values()]
      pending.clear()
      unsent = []
      sizeBytes = 0
      for (const entry of all) {
        entry.done(
          err(
            entry.attempts === 0
              ? error
              : failure('outcome-unknown', `${error.message}; the write had been sent to a leader and may take effect`),
          ),
        )
      }
    },
  }
}

/** A proposal that was never handed to anybody certainly has no effect; any other may still take effect. */
function expired(entry: Pending): Failure {
  if (entry.attempts === 0) {
    return failure('no-leader', 'no leader was found before the deadline; the write was not sent and has no effect')
  }
  return failure('timed-out', 'the write was not agreed before the deadline; whether it takes effect is unknown')
}
