/**
 * Notices that this server has known no leader for some election timeouts: those who would rather go elsewhere than wait
 * are told, once for each such time.
 */
import type { MemberId } from '../base/index.ts'
import type { Timer, World } from '../world/index.ts'

/** In election timeouts, as etcd counts them. */
const GRACE = 3

export interface Leaderless {
  changed(leader: MemberId | undefined): void
  /** Returns a function that ends it. */
  on(lost: () => void): () => void
  close(): void
}

export function createLeaderless(world: World, electionTimeoutMs: number): Leaderless {
  const listeners = new Set<() => void>()
  let timer: Timer | undefined
  return {
    changed(leader) {
      if (leader !== undefined) {
        timer?.cancel()
        timer = undefined
        return
      }
      timer ??= world.clock.setTimer(electionTimeoutMs * GRACE, () => {
        timer = undefined
        for (const lost of Array.from(listeners)) lost()
      })
    },
    on(lost) {
      // A function of its own, so that the same one may be given twice.
      const listener = (): void => lost()
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    close() {
      timer?.cancel()
      listeners.clear()
    },
  }
}
