/** Leadership transfer (dissertation 3.10): stop taking proposals, bring the target up, have it campaign at once. */
import type { MemberId, Result } from '../base/index.ts'
import { err, failure, ok } from '../base/index.ts'
import type { Core } from './core.ts'
import { send } from './core.ts'
import type { Progress } from './progress.ts'
import { notLeader } from './proposals.ts'

export function startTransfer(core: Core, to: MemberId): Result<undefined> {
  if (core.role !== 'leader') return err(notLeader(core))
  if (to === core.id) return ok(undefined)
  const peer = core.progress.get(to)
  if (peer === undefined || !core.log.config.voters.includes(to)) {
    return err(failure('invalid-request', `member ${to.toString(16)} is no voter of this group`))
  }
  if (core.transfer !== undefined && core.transfer.to !== to) {
    return err(failure('transfer-in-progress', `leadership is being handed to ${core.transfer.to.toString(16)}`))
  }
  core.transfer ??= { to, deadline: core.now + core.options.electionTimeoutMs, sent: false }
  continueTransfer(core, peer)
  return ok(undefined)
}

/** Invites the target to campaign once it has the whole log. The invitation may arrive late: no lease from then on. */
export function continueTransfer(core: Core, peer: Progress): void {
  const { transfer } = core
  if (transfer?.to !== peer.id || transfer.sent || peer.match !== core.log.lastIndex) return
  transfer.sent = true
  core.leaseVoid = true
  send(core, peer.id, { type: 'timeoutNow' })
}

/** A target that does not take over in time is given up, and proposals are taken again. */
export function expireTransfer(core: Core): void {
  if (core.transfer !== undefined && core.now >= core.transfer.deadline) core.transfer = undefined
}
