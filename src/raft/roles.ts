/** Following: stepping down, and hearing a leader. What only a leader has is dropped here. */
import type { MemberId, Term } from '../base/index.ts'
import { invariant } from '../base/index.ts'
import type { Core } from './core.ts'
import { drawElectionDeadline } from './core.ts'
import { refuseAll, refuseForwarded } from './reads.ts'

/** A newer term clears the vote. Within a term nobody leads after having followed, so this is also how terms end. */
export function becomeFollower(core: Core, term: Term, leader: MemberId | undefined): void {
  const wasLeader = core.role === 'leader'
  const drained = wasLeader ? (core.reads?.drain() ?? []) : []
  if (wasLeader) leaveLeadership(core)
  if (core.role !== 'follower' || core.leader !== leader || term > core.term) core.changed = true
  // Only a leader's word, a granted vote or the loss of another role starts the wait anew (Raft 5.2): a candidate that
  // cannot win must not keep those that could from trying.
  if (core.role !== 'follower' || leader !== undefined) drawElectionDeadline(core)
  if (core.leader !== leader) refuseForwarded(core)
  if (term > core.term) {
    core.term = term
    core.vote = undefined
  }
  core.role = 'follower'
  core.leader = leader
  core.votes.clear()
  refuseAll(core, drained)
}

function leaveLeadership(core: Core): void {
  core.reads = undefined
  core.progress.clear()
  core.transfer = undefined
  core.uncommitted = []
  core.uncommittedBytes = 0
  core.entriesWanted = []
}

/** An append, heartbeat or snapshot of this term: its sender leads. */
export function hearLeader(core: Core, from: MemberId): void {
  invariant(core.role !== 'leader', 'one-leader-per-term', () => `term ${core.term}: ${core.id} and ${from}`)
  core.lastLeaderWord = core.now
  if (core.role !== 'follower' || core.leader !== from) becomeFollower(core, core.term, from)
  else drawElectionDeadline(core)
}
