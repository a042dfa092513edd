/** Leadership transfers that were asked for here and wait for the other member to lead. */
import type { Failure, MemberId, Result } from '../base/index.ts'
import { err, failure, ok } from '../base/index.ts'

export interface Transfers {
  add(to: MemberId, deadlineMs: number, done: (result: Result<void>) => void): void
  leaderIs(leader: MemberId | undefined): void
  expire(nowMs: number): void
  failAll(error: Failure): void
}

export function createTransfers(): Transfers {
  let waiting: { to: MemberId; deadlineMs: number; done: (result: Result<void>) => void }[] = []
  const settle = (which: (transfer: (typeof waiting)[number]) => boolean, result: Result<void>): void => {
    const settled = waiting.filter(which)
    waiting = waiting.filter((transfer) => !which(transfer))
    for (const transfer of settled) transfer.done(result)
  }
  return {
    add(to, deadlineMs, done) {
      waiting.push({ to, deadlineMs, done })
    },
    leaderIs(leader) {
      settle((transfer) => transfer.to === leader, ok())
    },
    expire(nowMs) {
      settle(
        (transfer) => transfer.deadlineMs <= nowMs,
        err(
          failure('timed-out', 'the other member did not take over in time; this one may still lead', {
            etcd: 'ErrTimeoutLeaderTransfer',
          }),
        ),
      )
    },
    failAll(error) {
      settle(() => true, err(error))
    },
  }
}
