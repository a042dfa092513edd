/**
 * What a peer may cost: frames that are cheap to send and buy nothing fill a bucket that leaks with time, and so do
 * streams that are given up; requests that were answered empty both a little. A full bucket means an attack.
 * Sources: CVE-2019-9511 to 9518 (dribble, ping, reset, settings, empty frames), CVE-2023-44487 (rapid reset),
 * CVE-2024-27316 (continuations, bounded by the connection itself), CVE-2025-8671 (resets that the peer provokes).
 */
import { ConnectionError, ERROR } from './http2-constants.ts'

/** Cheap frames at once, and per millisecond for ever. */
const FRAME_BURST = 10_000
const FRAMES_PER_MS = 10
/** A call that came to its end pays for this many: window updates, pings that measure, acknowledgements. */
const FRAMES_PER_ANSWER = 8
/** Streams given up at once (beside all that may be open), and per millisecond for ever. */
const RESET_BURST = 1_000
const RESETS_PER_MS = 0.2

export class FloodGuard {
  private readonly resetBurst: number
  private frames = 0
  private resets = 0
  private lastMs: number | undefined

  constructor(maxConcurrentStreams: number) {
    this.resetBurst = RESET_BURST + maxConcurrentStreams
  }

  tick(nowMs: number): void {
    const elapsedMs = nowMs - (this.lastMs ?? nowMs)
    this.lastMs = nowMs
    if (elapsedMs <= 0) return
    this.frames = Math.max(0, this.frames - elapsedMs * FRAMES_PER_MS)
    this.resets = Math.max(0, this.resets - elapsedMs * RESETS_PER_MS)
  }

  /** A frame that buys nothing; `cost` in frames, where one makes more work than its own. */
  frame(cost = 1): void {
    this.frames += cost
    if (this.frames > FRAME_BURST) throw new ConnectionError(ERROR.enhanceYourCalm, 'too many frames that buy nothing')
  }

  /** A stream that was given up before its end, by the peer or because of it. */
  reset(): void {
    this.resets++
    if (this.resets > this.resetBurst) throw new ConnectionError(ERROR.enhanceYourCalm, 'too many streams are reset')
  }

  /** A stream that both sides ended. */
  answered(): void {
    if (this.frames > 0) this.frames = Math.max(0, this.frames - FRAMES_PER_ANSWER)
    if (this.resets > 0) this.resets--
  }
}
