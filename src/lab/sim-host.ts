/**
 * One life of a simulated process, from its start to its crash: the entry into its code. Each call is a turn, after
 * which the callbacks of `endOfTurn` run; an exception ends the life as a finding.
 */
import { asViolation, invariant, type InvariantViolation } from '../base/index.ts'
import type { Scheduler } from './sim-scheduler.ts'
import type { Trace, Traced } from './trace.ts'

/** Rounds of `endOfTurn` within one turn before it counts as an endless loop. */
const MOST_ROUNDS = 10_000

/** What the parts of the simulated world share. */
export interface SimCore {
  readonly scheduler: Scheduler
  readonly trace: Trace
  /** Told before a turn of a process whose code may await: time must not pass before its continuations have run. */
  mayAwait(): void
  /** Whether the process's machine answers at all, be it with a refusal. */
  isReachable(process: Traced): boolean
}

export interface SimHost {
  readonly process: Traced
  readonly alive: boolean
  enter<T>(callback: (value: T) => void, value: T): void
  readonly endOfTurn: (callback: () => void) => void
  readonly fail: (violation: InvariantViolation) => void
  /** Ends the life: nothing is delivered any more. */
  die(): void
}

export function createHost(
  core: SimCore,
  process: Traced,
  callbacksOnly: boolean,
  onFail: (violation: InvariantViolation) => void,
): SimHost {
  let alive = true
  let depth = 0
  let waiting: (() => void)[] = []
  let scheduled = false

  function fail(violation: InvariantViolation): void {
    if (!alive) return
    alive = false
    waiting = []
    onFail(violation)
  }

  function guarded<T>(callback: (value: T) => void, value: T): void {
    try {
      callback(value)
    } catch (thrown) {
      fail(asViolation(thrown))
    }
  }

  function drain(): void {
    for (let round = 0; waiting.length > 0; round++) {
      if (round === MOST_ROUNDS) {
        guarded(() => invariant(false, 'turn-ends', `${MOST_ROUNDS} rounds of endOfTurn`), undefined)
        return
      }
      const batch = waiting
      waiting = []
      for (const callback of batch) if (alive) guarded(callback, undefined)
    }
  }

  function enter<T>(callback: (value: T) => void, value: T): void {
    if (!alive) return
    if (!callbacksOnly) core.mayAwait()
    depth++
    guarded(callback, value)
    if (depth === 1) drain()
    depth--
  }

  return {
    process,
    get alive() {
      return alive
    },
    enter,
    endOfTurn(callback) {
      if (!alive) return
      waiting.push(callback)
      // Asked for outside of any turn (a scenario's code): the end of turn is an event of its own.
      if (depth > 0 || scheduled) return
      scheduled = true
      core.scheduler.at(core.scheduler.nowMs, () => {
        scheduled = false
        if (!alive) return
        core.trace.add(core.scheduler.nowMs, 'turn', process, 0, 0, 0)
        enter(() => {}, undefined)
      })
    },
    fail,
    die() {
      alive = false
      waiting = []
    },
  }
}
