/** Leadership transfers that were asked for here and wait for the other member to lead. */
import type { Failure, MemberId, Result } from '../base/index.ts'
import { err, failure, ok } from '../base/index.ts'

export interface Transfers {
  add(to: MemberId, deadlineMs: number, done: (result: Result<void>) => void): void
  /** Done where it is the one that was to lead; refused where it is a third. */
  leaderIs(self: MemberId, leader: MemberId | undefined): void
  /** No deadline is earlier. */
  readonly nextDeadline: number
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
    leaderIs(self, leader) {
      settle((transfer) => transfer.to === leader, ok())
      if (leader === undefined || leader === self || waiting.length === 0) return
      const message = `member ${leader.toString(16)} leads now, which is not the one that was to take over`
      settle(() => true, err(failure('not-leader', message, { leader })))
    },
    get nextDeadline() {
      return waiting.reduce((next, { deadlineMs }) => Math.min(next, deadlineMs), Number.POSITIVE_INFINITY)
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
