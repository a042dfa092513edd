/**
 * A process's clocks over virtual time: its own rate, its own offset. Timers count its own milliseconds and never fire
 * before its monotonic clock has reached them, whatever is done to the rate meanwhile.
 */
import type { Clock } from '../world/index.ts'
import type { SimCore, SimHost } from './sim-host.ts'
import type { SimEvent } from './sim-scheduler.ts'

/** 2026-01-01T00:00:00Z: what wall clocks show when a simulation begins. */
export const EPOCH_MS = 1_767_225_600_000

/** A machine's oscillator and calendar: they survive the process. */
export interface SimClockState {
  /** Local milliseconds per true millisecond. Monotonic time goes on from where it is. */
  setRate(rate: number): void
  /** Makes the wall clock jump by this much; the monotonic one never does. */
  jumpWall(byMs: number): void
  localMs(trueMs: number): number
  trueMs(localMs: number): number
  wallMs(trueMs: number): number
}

export function createClockState(core: SimCore): SimClockState {
  let rate = 1
  let trueBase = 0
  let localBase = 0
  let wallOffset = 0
  const localMs = (trueMs: number): number => localBase + (trueMs - trueBase) * rate
  return {
    setRate(next) {
      const nowMs = core.scheduler.nowMs
      localBase = localMs(nowMs)
      trueBase = nowMs
      rate = next
    },
    jumpWall(byMs) {
      wallOffset += byMs
    },
    localMs,
    trueMs: (local) => trueBase + (local - localBase) / rate,
    wallMs: (trueMs) => EPOCH_MS + wallOffset + localMs(trueMs),
  }
}

/** Added where rounding would let a timer fire a hair early. */
const HAIR_MS = 2 ** -20

export function createSimClock(core: SimCore, host: SimHost, state: SimClockState): Clock {
  const { scheduler, trace } = core
  let timers = 0
  return {
    monotonicMs: () => state.localMs(scheduler.nowMs),
    wallMs: () => state.wallMs(scheduler.nowMs),
    setTimer(delayMs, callback) {
      const id = ++timers
      const dueMs = state.localMs(scheduler.nowMs) + Math.max(0, delayMs)
      let event: SimEvent
      function due(): void {
        if (!host.alive) return
        if (state.localMs(scheduler.nowMs) < dueMs) {
          event = scheduler.at(Math.max(state.trueMs(dueMs), scheduler.nowMs + HAIR_MS), due)
          return
        }
        trace.add(scheduler.nowMs, 'timer', host.process, id, 0, 0)
        host.enter(callback, undefined)
      }
      event = scheduler.at(state.trueMs(dueMs), due)
      return { cancel: () => scheduler.cancel(event) }
    },
  }
}
