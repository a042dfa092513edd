/**
 * Whether a client is still there. One that was silent for a while is asked; one that does not answer, or does not read
 * what it was sent, is given up after some patience. The timer is not moved for every byte that comes.
 */
import type { Clock, Timer } from '../world/index.ts'

export class KeepAlive {
  private readonly clock: Clock
  private readonly times: { readonly keepAliveMs: number; readonly patienceMs: number }
  private readonly owner: { ask(answered: () => void): void; giveUp(why: string): void }
  private timer: Timer | undefined
  private blockedTimer: Timer | undefined
  private lastHeardMs = 0
  private isAsked = false
  private isStopped = false

  constructor(
    clock: Clock,
    times: { readonly keepAliveMs: number; readonly patienceMs: number },
    owner: { ask(answered: () => void): void; giveUp(why: string): void },
  ) {
    this.clock = clock
    this.times = times
    this.owner = owner
  }

  /** Bytes came. */
  heard(): void {
    this.lastHeardMs = this.clock.monotonicMs()
    if (this.timer === undefined && !this.isStopped) this.arm(this.times.keepAliveMs)
  }

  /** The connection takes no more for now, and is not read from. */
  blocked(): void {
    this.blockedTimer = this.clock.setTimer(this.times.patienceMs, () => this.owner.giveUp('it does not read'))
  }

  unblocked(): void {
    this.blockedTimer?.cancel()
    this.blockedTimer = undefined
    // It was not read from meanwhile, and may have been speaking.
    this.heard()
  }

  stop(): void {
    this.isStopped = true
    this.timer?.cancel()
    this.blockedTimer?.cancel()
  }

  private arm(delayMs: number): void {
    this.timer = this.clock.setTimer(delayMs, () => this.check())
  }

  private check(): void {
    if (this.isStopped) return
    const silentMs = this.clock.monotonicMs() - this.lastHeardMs
    if (this.blockedTimer !== undefined || silentMs < this.times.keepAliveMs) {
      this.isAsked = false
      this.arm(Math.max(1, this.times.keepAliveMs - silentMs))
    } else if (this.isAsked) this.owner.giveUp('it does not answer')
    else {
      this.isAsked = true
      this.arm(this.times.patienceMs)
      this.owner.ask(() => {
        this.isAsked = false
      })
    }
  }
}
