/**
 * The clock over performance.now and setTimeout. Node.js rounds delays down to whole milliseconds, fires up to a
 * millisecond early by performance.now, and cannot wait longer than 2^31-1 ms at a time; a timer here never fires
 * early and waits as long as it is told.
 */
import type { Clock } from '../index.ts'
import type { Turns } from './turns.ts'

const LONGEST_WAIT_MS = 2 ** 31 - 1

export function createClock(turns: Turns): Clock {
  return {
    monotonicMs: () => performance.now(),
    wallMs: () => Date.now(),
    setTimer(delayMs, callback) {
      const dueMs = performance.now() + Math.max(0, delayMs)
      let timeout: NodeJS.Timeout | undefined
      let immediate: NodeJS.Immediate | undefined
      let forget = (): void => {}

      function waitFor(ms: number): void {
        timeout = setTimeout(wait, Math.min(Math.ceil(ms), LONGEST_WAIT_MS))
      }
      function wait(): void {
        const restMs = dueMs - performance.now()
        if (restMs > 0) return waitFor(restMs)
        forget()
        turns.enter(callback, undefined)
      }
      function cancel(): void {
        clearTimeout(timeout)
        clearImmediate(immediate)
        forget()
      }
      if (turns.stopped) return { cancel }
      forget = turns.onStop(cancel)
      // Even where it is due by now: the callback has a turn of its own.
      if (delayMs > 0) waitFor(delayMs)
      else immediate = setImmediate(wait)
      return { cancel }
    },
  }
}
