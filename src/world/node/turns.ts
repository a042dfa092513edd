/**
 * Turns: the one entry from Node.js's event loop into the code of a server. Every callback of this world goes through
 * `enter`, so that an exception ends at `fail` with a name, and nothing is delivered after the world has stopped.
 * `endOfTurn` uses one immediate for any number of callbacks: the check phase comes after all I/O callbacks that were
 * already waiting.
 */
import { asViolation, type InvariantViolation } from '../../base/index.ts'

/**
 * What a turn's end asks for is done at once, without a round of the event loop, for this long: handing a message from
 * replica to link to socket takes three ends. Work that is sliced takes longer and lets the loop look at its inputs.
 */
const ROUNDS_MS = 1

export interface Turns {
  readonly stopped: boolean
  /** Runs `callback(value)` as (part of) a turn, unless the world has stopped. */
  enter<T>(callback: (value: T) => void, value: T): void
  /** `enter` in a turn of its own, after the caller's returns. */
  later<T>(callback: (value: T) => void, value: T): void
  readonly endOfTurn: (callback: () => void) => void
  readonly fail: (violation: InvariantViolation) => void
  /** Ends delivery and runs what `onStop` registered. Idempotent. */
  readonly stop: () => void
  /** Registers a clean-up for `stop`; the returned function forgets it. */
  onStop(cleanUp: () => void): () => void
}

export function createTurns(onFail: (violation: InvariantViolation) => void): Turns {
  let stopped = false
  let waiting: (() => void)[] = []
  /** An immediate for `drain` is due, or it runs. */
  let scheduled = false
  const cleanUps = new Set<() => void>()

  function stop(): void {
    if (stopped) return
    stopped = true
    waiting = []
    for (const cleanUp of cleanUps) cleanUp()
    cleanUps.clear()
  }

  function fail(violation: InvariantViolation): void {
    if (stopped) return
    stop()
    onFail(violation)
  }

  function enter<T>(callback: (value: T) => void, value: T): void {
    if (stopped) return
    try {
      callback(value)
    } catch (thrown) {
      fail(asViolation(thrown))
    }
  }

  function drain(): void {
    const began = performance.now()
    for (;;) {
      const batch = waiting
      waiting = []
      for (const callback of batch) enter(callback, undefined)
      if (waiting.length === 0) {
        scheduled = false
        return
      }
      if (performance.now() - began < ROUNDS_MS) continue
      setImmediate(drain)
      return
    }
  }

  return {
    get stopped() {
      return stopped
    },
    enter,
    later: (callback, value) => void setImmediate(() => enter(callback, value)),
    endOfTurn(callback) {
      if (stopped) return
      waiting.push(callback)
      if (scheduled) return
      scheduled = true
      setImmediate(drain)
    },
    fail,
    stop,
    onStop(cleanUp) {
      cleanUps.add(cleanUp)
      return () => void cleanUps.delete(cleanUp)
    },
  }
}
