/** The leader's handlers: what followers answer. */
import type { LogIndex } from '../base/index.ts'
import { invariant, logIndex } from '../base/index.ts'
import { maybeCommit } from './commit.ts'
import type { Core, MessageOf } from './core.ts'
import type { Progress } from './progress.ts'
import { advance, becomeProbe, becomeReplicate } from './progress.ts'
import { confirmReads } from './reads.ts'
import { sendCheck } from './replication.ts'
import { continueTransfer } from './transfer.ts'

export function onAppendReply(core: Core, from: MessageOf<'appendReply'>): void {
  const peer = core.progress.get(from.from)
  if (core.role !== 'leader' || peer === undefined) return
  peer.recentActive = true
  if (from.rejected) onRejection(core, peer, from)
  else onAcceptance(core, peer, from.index)
}

function onRejection(core: Core, peer: Progress, from: MessageOf<'appendReply'>): void {
  if (peer.state === 'replicate') {
    // Not after what is known to match, and not before what was sent: such a refusal is stale.
    if (from.index > peer.match && from.index < peer.next) becomeProbe(peer)
    return
  }
  // In probe exactly one append is out: an answer to any other is stale.
  if (peer.state === 'snapshot' || from.index !== peer.next - 1) return
  // The hint is the follower's last entry that can agree; terms that we lack there are skipped whole (Raft 5.3).
  const agreed = core.log.lastAtOrBelow(from.hintIndex, from.hintTerm)
  peer.next = logIndex(Math.max(peer.match + 1, Math.min(from.index, agreed + 1)))
  peer.probeSent = false
}

function onAcceptance(core: Core, peer: Progress, index: LogIndex): void {
  const { log } = core
  invariant(index <= log.lastIndex, 'match-within-log', () => `member ${peer.id} says ${index}, last ${log.lastIndex}`)
  const advanced = advance(peer, index)
  peer.movedAt = core.now
  if (peer.state === 'probe') {
    if (advanced || index === peer.match) becomeReplicate(peer)
  } else if (peer.state === 'snapshot' && peer.match >= log.base.index) {
    // It has caught up with the log, by whatever way: the snapshot need not be waited for.
    becomeReplicate(peer)
  }
  if (advanced && peer.match > core.commit) maybeCommit(core)
  continueTransfer(core, peer)
}

export function onHeartbeatReply(core: Core, from: MessageOf<'heartbeatReply'>): void {
  const peer = core.progress.get(from.from)
  if (core.role !== 'leader' || peer === undefined || core.reads === undefined) return
  peer.recentActive = true
  // A disk is slower than a heartbeat, and reads bring heartbeats by the hundred: what was sent is given time.
  if (core.now - peer.movedAt >= core.options.heartbeatIntervalMs) askAfter(core, peer)
  core.reads.ack(from.from, from.round)
  confirmReads(core)
}

/** The follower lives, and has not answered an append for a whole interval: was it lost? */
function askAfter(core: Core, peer: Progress): void {
  if (peer.state === 'probe') peer.probeSent = false
  else if (peer.state === 'replicate' && peer.inflight.length > 0) {
    peer.movedAt = core.now
    sendCheck(core, peer)
  }
}
