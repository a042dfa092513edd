/**
 * Commits to a store, one after another and one a turn, so that no turn is long; several may be under way. When the disk is
 * full the refused ones wait and are tried again in the same order: nothing overtakes. Any other failure leaves unknown
 * what is on disk and breaks an invariant, which ends the server (DESIGN law 6).
 */
import type { Failure } from '../base/index.ts'
import { invariant } from '../base/index.ts'
import type { Timer, World } from '../world/index.ts'
import type { Store, StoreTransaction } from './store.ts'

export type Commit = {
  readonly write: (transaction: StoreTransaction) => void
  readonly done: () => void
}

export interface Committer {
  push(commit: Commit): void
  /** Commits not done yet. */
  readonly length: number
  /** Why the newest attempt failed; undefined while all is well. */
  readonly refusal: Failure | undefined
  /** Calls back when nothing is under way: all is committed, or the disk is full and what is left is given up. */
  end(done: () => void): void
}

/** In the store's hands at once: bounds what it must hold. */
const MAX_UNDER_WAY = 8
const FULL_RETRY_MS = 500
/** A library that has failed for good may not say so: after a refusal the next attempt must end within this time. */
const RETRY_LIMIT_MS = 120_000

export function createCommitter(world: World, store: Store, onRefused: (why: Failure) => void): Committer {
  let waiting: Commit[] = []
  const underWay: Commit[] = []
  let feeding = false
  /** Settled with a failure, in order, while others are still under way. */
  let refused: Commit[] = []
  let refusal: Failure | undefined
  let retry: Timer | undefined
  let limit: Timer | undefined
  let ended: (() => void) | undefined

  const pump = (): void => {
    if (feeding || refused.length > 0 || retry !== undefined) return
    if (waiting.length === 0 || underWay.length >= MAX_UNDER_WAY) return
    feeding = true
    world.endOfTurn(() => {
      feeding = false
      if (refused.length > 0) return
      const commit = waiting.shift()
      if (commit === undefined) return
      underWay.push(commit)
      store.commit(commit.write, (result) => settle(commit, result.ok ? undefined : result.error))
      pump()
    })
  }

  const settle = (commit: Commit, failed: Failure | undefined): void => {
    limit?.cancel()
    limit = undefined
    invariant(underWay.shift() === commit, 'commits-in-order')
    if (failed === undefined) {
      invariant(refused.length === 0, 'nothing-overtakes-a-refused-commit')
      refusal = undefined
      commit.done()
      if (ended !== undefined && underWay.length + waiting.length === 0) return ended()
      return pump()
    }
    invariant(failed.code === 'disk-full', 'engine-commits', failed.message)
    refusal = failed
    refused.push(commit)
    if (underWay.length > 0) return
    waiting = [...refused, ...waiting]
    refused = []
    world.diagnostics.log('error', 'checkpoint-failed', { code: failed.code, message: failed.message })
    onRefused(failed)
    if (ended !== undefined) {
      waiting = []
      return ended()
    }
    retry = world.clock.setTimer(FULL_RETRY_MS, again)
  }

  const again = (): void => {
    retry = undefined
    limit = world.clock.setTimer(RETRY_LIMIT_MS, () =>
      invariant(false, 'engine-commits', `no commit ended within ${RETRY_LIMIT_MS} ms of a full disk`),
    )
    pump()
  }

  return {
    push(commit) {
      waiting.push(commit)
      pump()
    },
    get length() {
      return waiting.length + underWay.length + refused.length
    },
    get refusal() {
      return refusal
    },
    end(done) {
      ended = done
      if (underWay.length + refused.length === 0 && (waiting.length === 0 || retry !== undefined)) {
        retry?.cancel()
        waiting = []
        ended()
      }
    },
  }
}
