/**
 * Elections: campaigning (with PreVote, dissertation 9.6), voting, winning, and the leader's check that a quorum still
 * hears it (CheckQuorum, 6.2).
 */
import { invariant, term as makeTerm } from '../base/index.ts'
import { appendData } from './commit.ts'
import { isVoter, membersOf } from './config.ts'
import type { Core, MessageOf } from './core.ts'
import { drawElectionDeadline, message, promise, snapshotPending } from './core.ts'
import { createLeaderReads } from './leader-reads.ts'
import { hasQuorum, tally } from './quorum.ts'
import { refuseForwarded } from './reads.ts'
import { beat, updatePeers } from './replication.ts'
import { becomeFollower } from './roles.ts'

const NO_OP = new Uint8Array(0)

/**
 * Voters campaign, also those that a change leaves out until it is committed: nobody else may have the log to win with.
 * Their own vote does not count then (dissertation 4.2.2).
 */
export function mayCampaign({ id, log, commit }: Core): boolean {
  return isVoter(log.config, id) || (log.configIndex > commit && isVoter(log.configAt(commit), id))
}

export function campaign(core: Core, kind: 'preVote' | 'vote' | 'transfer'): void {
  invariant(core.role !== 'leader', 'leader-campaigns-not')
  drawElectionDeadline(core)
  // Not on a state that is still being swapped in.
  if (!mayCampaign(core) || snapshotPending(core)) return
  core.votes.clear()
  if (core.leader !== undefined) refuseForwarded(core)
  core.leader = undefined
  core.changed = true
  const preVote = kind === 'preVote'
  if (preVote) {
    core.role = 'preCandidate'
    core.votes.set(core.id, true)
  } else {
    core.role = 'candidate'
    core.term = makeTerm(core.term + 1)
    core.vote = core.id
  }
  const inTerm = preVote ? makeTerm(core.term + 1) : core.term
  const { lastIndex, lastTerm } = core.log
  // A request for a real vote goes out once its term is durable, and with it the log that it speaks of. Else a candidate
  // that crashes could campaign in the same term again with less of a log, and count votes given to the longer one.
  const out = preVote ? core.messages : core.messagesAfterPersist
  for (const peer of membersOf(core.log.config)) {
    if (peer === core.id || !isVoter(core.log.config, peer)) continue
    out.push(message(core, peer, { type: 'vote', preVote, transfer: kind === 'transfer', lastIndex, lastTerm }, inTerm))
  }
  if (preVote) countVotes(core)
}

/** A candidate's vote for itself counts like any other once it is durable. */
export function voteForSelf(core: Core): void {
  core.votes.set(core.id, true)
  countVotes(core)
}

function countVotes(core: Core): void {
  const outcome = tally(core.log.config, (id) => core.votes.get(id))
  if (outcome === 'pending') return
  if (outcome === 'lost') becomeFollower(core, core.term, undefined)
  else if (core.role === 'preCandidate') campaign(core, 'vote')
  else becomeLeader(core)
}

function becomeLeader(core: Core): void {
  invariant(core.role === 'candidate', 'leaders-were-candidates', core.role)
  core.role = 'leader'
  core.leader = core.id
  core.changed = true
  core.leaseVoid = false
  core.votes.clear()
  core.reads = createLeaderReads(core.options.electionTimeoutMs)
  core.quorumDeadline = core.now + core.options.electionTimeoutMs
  updatePeers(core, false)
  // The no-op lets this term commit, and with it everything before (Raft 5.4.2, section 8).
  appendData(core, [NO_OP])
  beat(core)
}

/** Whoever has heard a leader of late does not help to depose it, unless that leader itself asks for it. */
export function ignoresVote(core: Core, from: MessageOf<'vote'>): boolean {
  if (from.transfer || !core.options.checkQuorum) return false
  return core.role === 'leader' || core.now - core.lastLeaderWord < core.options.electionTimeoutMs
}

export function onVote(core: Core, from: MessageOf<'vote'>): void {
  const { log } = core
  const free = from.preVote
    ? from.term > core.term
    : core.vote === from.from || (core.vote === undefined && core.leader === undefined)
  const upToDate = from.lastTerm > log.lastTerm || (from.lastTerm === log.lastTerm && from.lastIndex >= log.lastIndex)
  const granted = free && upToDate
  if (from.preVote) {
    // A grant speaks of the candidate's next term and binds nobody; a refusal tells our own.
    const reply = message(
      core,
      from.from,
      { type: 'voteReply', preVote: true, granted },
      granted ? from.term : core.term,
    )
    const out = granted || core.durableTerm >= core.term ? core.messages : core.messagesAfterPersist
    out.push(reply)
    return
  }
  if (granted) {
    core.vote = from.from
    drawElectionDeadline(core)
  }
  promise(core, from.from, { type: 'voteReply', preVote: false, granted })
}

export function onVoteReply(core: Core, from: MessageOf<'voteReply'>): void {
  if (core.role !== (from.preVote ? 'preCandidate' : 'candidate')) return
  // A grant of a pre-vote for any other term answers an earlier attempt.
  if (from.preVote && from.granted && from.term !== core.term + 1) return
  if (!core.votes.has(from.from)) core.votes.set(from.from, from.granted)
  countVotes(core)
}

/** Dissertation 3.10. */
export function onTimeoutNow(core: Core): void {
  if (core.role !== 'leader') campaign(core, 'transfer')
}

/** By hand; not within the time that a leader's lease may count on. */
export function onCampaign(core: Core): void {
  if (core.role === 'leader') return
  const { lease, electionTimeoutMs, preVote } = core.options
  if (lease !== undefined && core.now - core.lastLeaderWord < electionTimeoutMs) return
  campaign(core, preVote ? 'preVote' : 'vote')
}

/** A leader that a quorum has not answered for an election timeout steps down: its clients go elsewhere. */
export function checkQuorum(core: Core): void {
  core.quorumDeadline = core.now + core.options.electionTimeoutMs
  const { progress } = core
  if (!hasQuorum(core.log.config, (id) => id === core.id || progress.get(id)?.recentActive === true)) {
    becomeFollower(core, core.term, undefined)
    return
  }
  for (const peer of progress.values()) peer.recentActive = false
}

/**
 * After a restart in a group of one there is nobody to wait for; but while it is not known to be committed that the
 * others are left out, one of those may still lead (4.2.2), and count on its lease.
 */
export function startAlone(core: Core): void {
  const { voters, votersOutgoing } = core.log.config
  if (core.log.configIndex > core.commit) return
  if (voters.length === 1 && votersOutgoing.length === 0 && voters[0] === core.id) core.electionDeadline = core.now
}
