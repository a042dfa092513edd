/**
 * The core of one group's consensus: a synchronous state machine. Inputs are stepped in, duties come out as Readies.
 * This file is the control flow: roles, terms, and what each message means; its neighbours know the log, the followers'
 * progress, quorums, configurations and reads.
 * Source: Ongaro, "Consensus: Bridging Theory and Practice" (2014); structure after etcd-io/raft.
 */
import type { LogIndex, MemberId, Result, Term } from '../base/index.ts'
import { err, failure, invariant, logIndex, ok, term as makeTerm } from '../base/index.ts'
import { enter, isJoint, isVoter, leave, membersOf } from './config.ts'
import { encodeConfig } from './config-codec.ts'
import { createLogView } from './log-view.ts'
import type { Progress } from './progress.ts'
import { advance, becomeProbe, becomeReplicate, becomeSnapshot, createProgress, isPaused } from './progress.ts'
import { hasQuorum, reachedByQuorum, tally } from './quorum.ts'
import type { LeaderReads } from './read-index.ts'
import { createLeaderReads } from './read-index.ts'
import type {
  Config,
  Entry,
  HardState,
  RaftInput,
  RaftMessage,
  RaftOptions,
  RaftStart,
  Ready,
  Role,
  SnapshotMeta,
} from './types.ts'

type Body<T> = T extends unknown ? Omit<T, 'from' | 'to' | 'term'> : never
type MessageBody = Body<RaftMessage>
type Of<Type extends RaftMessage['type']> = Extract<RaftMessage, { type: Type }>

export type Proposed = { readonly firstIndex: LogIndex; readonly term: Term }

export type PeerProgress = {
  readonly id: MemberId
  readonly state: Progress['state']
  readonly match: LogIndex
  readonly next: LogIndex
  readonly inflight: number
  readonly pendingSnapshot: LogIndex
  readonly recentActive: boolean
}

export type RaftStatus = {
  readonly id: MemberId
  readonly role: Role
  readonly leader: MemberId | undefined
  readonly term: Term
  readonly vote: MemberId | undefined
  readonly commit: LogIndex
  readonly applied: LogIndex
  readonly persisted: LogIndex
  readonly firstIndex: LogIndex
  readonly lastIndex: LogIndex
  readonly config: Config
  readonly progress: readonly PeerProgress[]
  readonly transferee: MemberId | undefined
}

export interface Raft {
  /**
   * For 'propose' the value says where the entries went. Failures: not-leader (details.leader), too-many-requests,
   * transfer-in-progress, config-change-refused.
   */
  step(input: RaftInput, now: number): Result<Proposed | undefined>
  /** Undefined where there is nothing to do. */
  ready(): Ready | undefined
  /** Monotonic milliseconds at which a tick is due; Infinity for never. */
  nextDeadline(): number
  /** Entries in memory; undefined where `from` is older than the tail. */
  tail(from: LogIndex, through: LogIndex): readonly Entry[] | undefined
  status(): RaftStatus
}

/** Heartbeats without progress of a pipelining follower after which its appends are taken for lost. */
const STALLED_BEATS = 10

export function createRaft(options: RaftOptions, start: RaftStart, now0: number): Raft {
  const self = options.id
  const log = createLogView(start, options.maxTailBytes)
  let now = now0
  let term = start.hardState.term
  let vote = start.hardState.vote
  let commit = start.hardState.commit
  let applied = start.applied
  let role: Role = 'follower'
  let leader: MemberId | undefined
  /** Until this has passed since a leader's word, others' elections are ignored. A restart counts as a word. */
  let lastLeaderWord = now0
  let electionDeadline = 0
  let heartbeatDeadline = 0
  let quorumDeadline = 0
  const votes = new Map<MemberId, boolean>()
  let progress = new Map<MemberId, Progress>()
  const stalled = new Map<MemberId, number>()
  let reads: LeaderReads | undefined
  let transfer: { readonly to: MemberId; readonly deadline: number; sent: boolean } | undefined
  /** Proposals not yet committed: last index and bytes of each batch. */
  let uncommitted: { readonly last: LogIndex; readonly sizeBytes: number }[] = []
  let uncommittedBytes = 0

  // What the next Ready will carry.
  let messages: RaftMessage[] = []
  let messagesAfterPersist: RaftMessage[] = []
  let snapshot: SnapshotMeta | undefined
  let entriesWanted: Ready['entriesWanted'][number][] = []
  let readsDone: Ready['reads'][number][] = []
  let readsRefused: number[] = []
  let changed = true

  // What earlier Readies carried.
  let readyNumber = 0
  let persistedReady = 0
  let snapshotReady = 0
  let handedLast = start.lastIndex
  let handedState: HardState = start.hardState
  let durableTerm: Term = start.hardState.term
  const termOfReady = new Map<number, Term>()
  let handedCommit = start.applied
  /** A candidate's vote for itself counts once the Ready that carries it is persisted. */
  let selfVoteReady = 0

  const drawElectionDeadline = (): void => {
    electionDeadline = now + options.electionTimeoutMs * (1 + options.random())
  }

  const message = (to: MemberId, body: MessageBody, inTerm: Term = term): RaftMessage => ({
    ...body,
    from: self,
    to,
    term: inTerm,
  })

  const send = (to: MemberId, body: MessageBody): void => {
    messages.push(message(to, body))
  }

  /** A promise about this server's own log or vote: only once what it rests on is durable. */
  const promise = (to: MemberId, body: MessageBody): void => {
    messagesAfterPersist.push(message(to, body))
  }

  /** An answer that promises only this term, which must be durable. */
  const answer = (to: MemberId, body: MessageBody): void => {
    if (durableTerm >= term && snapshot === undefined) send(to, body)
    else promise(to, body)
  }

  // Roles

  const leaveLeadership = (): void => {
    if (reads !== undefined) refuseReads(reads.drain())
    reads = undefined
    progress = new Map()
    stalled.clear()
    transfer = undefined
    uncommitted = []
    uncommittedBytes = 0
  }

  const becomeFollower = (newTerm: Term, newLeader: MemberId | undefined): void => {
    if (role === 'leader') leaveLeadership()
    if (newTerm > term) {
      term = newTerm
      vote = undefined
    }
    if (role !== 'follower' || leader !== newLeader || newTerm > handedState.term) changed = true
    role = 'follower'
    leader = newLeader
    votes.clear()
    drawElectionDeadline()
  }

  const campaign = (kind: 'preVote' | 'vote' | 'transfer'): void => {
    if (!isVoter(log.config, self) || snapshot !== undefined) {
      drawElectionDeadline()
      return
    }
    votes.clear()
    leader = undefined
    changed = true
    drawElectionDeadline()
    const preVote = kind === 'preVote'
    if (preVote) {
      role = 'preCandidate'
      votes.set(self, true)
    } else {
      role = 'candidate'
      term = makeTerm(term + 1)
      vote = self
      selfVoteReady = Number.POSITIVE_INFINITY
    }
    const inTerm = preVote ? makeTerm(term + 1) : term
    for (const peer of membersOf(log.config)) {
      if (peer === self || !isVoter(log.config, peer)) continue
      messages.push(
        message(
          peer,
          { type: 'vote', preVote, transfer: kind === 'transfer', lastIndex: log.lastIndex, lastTerm: log.lastTerm },
          inTerm,
        ),
      )
    }
    countVotes()
  }

  const countVotes = (): void => {
    const outcome = tally(log.config, (id) => votes.get(id))
    if (outcome === 'pending') return
    if (outcome === 'lost') becomeFollower(term, undefined)
    else if (role === 'preCandidate') campaign('vote')
    else becomeLeader()
  }

  const becomeLeader = (): void => {
    role = 'leader'
    leader = self
    changed = true
    reads = createLeaderReads()
    quorumDeadline = now + options.electionTimeoutMs
    for (const id of membersOf(log.config)) if (id !== self) addPeer(id)
    // The no-op lets this term commit, and with it everything before (Raft 5.4.2, section 8).
    append([{ type: 'normal', data: new Uint8Array(0) }])
    beat()
  }

  const addPeer = (id: MemberId): void => {
    const peer = createProgress(id, logIndex(log.lastIndex + 1))
    peer.recentActive = true
    progress.set(id, peer)
  }

  // The leader's log

  const append = (parts: readonly { readonly type: Entry['type']; readonly data: Uint8Array }[]): LogIndex => {
    const firstIndex = logIndex(log.lastIndex + 1)
    log.append(parts.map((part, i) => ({ index: logIndex(firstIndex + i), term, type: part.type, data: part.data })))
    configChanged()
    return firstIndex
  }

  /** Followers come and go with the newest configuration in the log. */
  const configChanged = (): void => {
    if (role !== 'leader') return
    const members = membersOf(log.config)
    for (const id of members) if (id !== self && !progress.has(id)) addPeer(id)
    for (const id of progress.keys()) if (!members.includes(id)) progress.delete(id)
    if (transfer !== undefined && !log.config.voters.includes(transfer.to)) transfer = undefined
  }

  const matchOf = (id: MemberId): number => (id === self ? log.persisted : (progress.get(id)?.match ?? 0))

  const maybeCommit = (): void => {
    if (role !== 'leader') return
    const reached = logIndex(reachedByQuorum(log.config, matchOf))
    // Only entries of the current term are committed by counting (Raft 5.4.2, figure 8).
    if (reached <= commit || log.termAt(reached) !== term) return
    commitTo(reached)
  }

  const commitTo = (index: LogIndex): void => {
    if (index <= commit) return
    invariant(index <= log.lastIndex, 'commit-within-log', () => `commit ${index}, last ${log.lastIndex}`)
    commit = index
    if (role !== 'leader') return
    while (uncommitted.length > 0 && (uncommitted[0] as { last: number }).last <= commit) {
      uncommittedBytes -= (uncommitted.shift() as { sizeBytes: number }).sizeBytes
    }
    if (log.configIndex > commit) return
    const config = log.config
    if (isJoint(config)) {
      if (config.autoLeave) append([{ type: 'config', data: encodeConfig(leave(config)) }])
    } else if (!isVoter(config, self)) stepAside()
  }

  /** The committed configuration has no place for this leader: whoever is furthest takes over (dissertation 4.2.2). */
  const stepAside = (): void => {
    let best: Progress | undefined
    for (const peer of progress.values()) {
      if (isVoter(log.config, peer.id) && (best === undefined || peer.match > best.match)) best = peer
    }
    // The commit that removed us goes out before we fall silent.
    for (const peer of progress.values()) sendAppends(peer)
    if (best !== undefined) send(best.id, { type: 'timeoutNow' })
    becomeFollower(term, undefined)
  }

  const propose = (data: readonly Uint8Array[]): Result<Proposed> => {
    const refusal = cannotPropose()
    if (refusal !== undefined) return err(refusal)
    let sizeBytes = 0
    for (const part of data) sizeBytes += part.length
    if (uncommittedBytes > 0 && uncommittedBytes + sizeBytes > options.maxUncommittedBytes) {
      return err(
        failure(
          'too-many-requests',
          `${uncommittedBytes} bytes wait for agreement, the limit is ${options.maxUncommittedBytes}`,
        ),
      )
    }
    const firstIndex = append(data.map((part) => ({ type: 'normal', data: part })))
    uncommitted.push({ last: log.lastIndex, sizeBytes })
    uncommittedBytes += sizeBytes
    return ok({ firstIndex, term })
  }

  const notLeader = (): ReturnType<typeof failure> =>
    leader === undefined
      ? failure('not-leader', 'this server does not lead, and knows no leader')
      : failure('not-leader', `member ${leader.toString(16)} leads`, { leader })

  const cannotPropose = (): ReturnType<typeof failure> | undefined => {
    if (role !== 'leader') return notLeader()
    if (transfer !== undefined)
      return failure('transfer-in-progress', `leadership is being handed to ${transfer.to.toString(16)}`)
    return undefined
  }

  const changeConfig = (make: () => Result<Config>): Result<Proposed> => {
    const refusal = cannotPropose()
    if (refusal !== undefined) return err(refusal)
    if (log.configIndex > commit)
      return err(failure('config-change-refused', 'the last membership change is not committed yet'))
    // Without this, two leaders' single-server changes could have disjoint majorities (dissertation 4.1, 2015 erratum).
    if (log.termAt(commit) !== term)
      return err(failure('config-change-refused', 'this leader has not committed anything yet'))
    const config = make()
    if (!config.ok) return config
    const firstIndex = append([{ type: 'config', data: encodeConfig(config.value) }])
    return ok({ firstIndex, term })
  }

  // Replication

  const sendAppends = (peer: Progress): void => {
    while (!isPaused(peer, options)) {
      const prevIndex = logIndex(peer.next - 1)
      const prevTerm = log.termAt(prevIndex)
      if (prevTerm === undefined) return sendSnapshot(peer)
      if (peer.next > log.lastIndex) {
        if (peer.state === 'replicate' && peer.toldCommit >= commit) return
        sendAppend(peer, prevIndex, prevTerm, [])
        return
      }
      const entries = log.sliceBytes(peer.next, options.maxAppendBytes)
      if (entries === undefined) {
        if (peer.next <= log.base.index) return sendSnapshot(peer)
        peer.reading = peer.next
        entriesWanted.push({ to: peer.id, from: peer.next, through: log.lastIndex, maxBytes: options.maxAppendBytes })
        return
      }
      sendAppend(peer, prevIndex, prevTerm, entries)
    }
  }

  const sendAppend = (peer: Progress, prevIndex: LogIndex, prevTerm: Term, entries: readonly Entry[]): void => {
    send(peer.id, { type: 'append', prevIndex, prevTerm, commit, entries })
    peer.toldCommit = commit
    if (peer.state === 'probe') {
      peer.probeSent = true
      return
    }
    const last = entries.at(-1)
    if (last === undefined) return
    let sizeBytes = 0
    for (const entry of entries) sizeBytes += entry.data.length
    peer.inflight.push({ last: last.index, sizeBytes })
    peer.inflightBytes += sizeBytes
    peer.next = logIndex(last.index + 1)
  }

  const sendSnapshot = (peer: Progress): void => {
    if (!peer.recentActive) return
    becomeSnapshot(peer, log.base.index)
    send(peer.id, { type: 'snapshot', meta: log.base })
  }

  const beat = (): void => {
    if (reads === undefined) return
    heartbeatDeadline = now + options.heartbeatIntervalMs
    const round = reads.nextRound(now)
    for (const peer of progress.values()) {
      send(peer.id, { type: 'heartbeat', commit: logIndex(Math.min(commit, peer.match)), round })
    }
    confirmReads()
  }

  // Reads

  const refuseReads = (refused: readonly { readonly from: MemberId; readonly context: number }[]): void => {
    for (const { from, context } of refused) refuseRead(from, context)
  }

  const refuseRead = (from: MemberId, context: number): void => {
    if (from === self) readsRefused.push(context)
    else send(from, { type: 'readIndexReply', context, index: logIndex(0), refused: true })
  }

  const readIndex = (from: MemberId, context: number): void => {
    if (role === 'leader' && reads !== undefined) reads.ask(from, context)
    else if (from === self && leader !== undefined) send(leader, { type: 'readIndex', context })
    else refuseRead(from, context)
  }

  const confirmReads = (): void => {
    if (reads === undefined) return
    const current = reads
    const confirmed = current.confirm(
      reachedByQuorum(log.config, (id) => (id === self ? current.round : current.ackedBy(id))),
    )
    for (const { from, context, index } of confirmed) giveRead(from, context, index)
  }

  const giveRead = (from: MemberId, context: number, index: LogIndex): void => {
    if (from === self) readsDone.push({ context, index })
    else send(from, { type: 'readIndexReply', context, index, refused: false })
  }

  /** Reads asked since the last Ready: one round for all, or none where a lease holds. */
  const startReads = (): void => {
    if (reads === undefined || !reads.hasAsked || log.termAt(commit) !== term) return
    if (leaseHolds()) for (const { from, context } of reads.takeAsked()) giveRead(from, context, commit)
    else {
      reads.begin(commit)
      beat()
    }
  }

  /** Dissertation 6.4.1. A leader that is handing over has invited an election: its lease is void. */
  const leaseHolds = (): boolean => {
    if (options.lease === undefined || !options.checkQuorum || transfer !== undefined || reads === undefined)
      return false
    const current = reads
    const round = reachedByQuorum(log.config, (id) => (id === self ? current.round : current.ackedBy(id)))
    const validMs = options.electionTimeoutMs * (1 - options.lease.maxDriftPpm / 1_000_000)
    return now < current.sentAt(round) + validMs
  }

  // Time

  const tick = (): void => {
    if (role === 'leader') {
      if (transfer !== undefined && now >= transfer.deadline) transfer = undefined
      if (options.checkQuorum && now >= quorumDeadline) checkQuorum()
      if (role === 'leader' && now >= heartbeatDeadline) beat()
    } else if (now >= electionDeadline) {
      campaign(options.preVote ? 'preVote' : 'vote')
    }
  }

  const checkQuorum = (): void => {
    quorumDeadline = now + options.electionTimeoutMs
    const active = hasQuorum(log.config, (id) => id === self || progress.get(id)?.recentActive === true)
    if (!active) {
      becomeFollower(term, undefined)
      return
    }
    for (const peer of progress.values()) peer.recentActive = false
  }

  // Messages

  const onMessage = (from: RaftMessage): void => {
    if (from.term > term) {
      if (from.type === 'vote') {
        const sticky = options.checkQuorum && leader !== undefined && now - lastLeaderWord < options.electionTimeoutMs
        const restarted = leader === undefined && now - now0 < options.electionTimeoutMs && options.lease !== undefined
        if (!from.transfer && (sticky || (role === 'leader' && options.checkQuorum) || restarted)) return
        if (!from.preVote) becomeFollower(from.term, undefined)
      } else if (from.type === 'voteReply' && from.preVote && from.granted) {
        // Granted for the next term, which begins only if we win.
      } else {
        const speaks = from.type === 'append' || from.type === 'heartbeat' || from.type === 'snapshot'
        becomeFollower(from.term, speaks ? from.from : undefined)
      }
    } else if (from.term < term) {
      onStale(from)
      return
    }
    switch (from.type) {
      case 'vote':
        return onVote(from)
      case 'voteReply':
        return onVoteReply(from)
      case 'append':
        hearLeader(from.from)
        return onAppend(from)
      case 'appendReply':
        return onAppendReply(from)
      case 'heartbeat':
        hearLeader(from.from)
        commitTo(logIndex(Math.min(from.commit, log.lastIndex)))
        return answer(from.from, { type: 'heartbeatReply', round: from.round })
      case 'heartbeatReply':
        return onHeartbeatReply(from)
      case 'snapshot':
        hearLeader(from.from)
        return onSnapshot(from)
      case 'readIndex':
        return readIndex(from.from, from.context)
      case 'readIndexReply':
        if (from.refused) readsRefused.push(from.context)
        else readsDone.push({ context: from.context, index: from.index })
        return undefined
      case 'timeoutNow':
        if (role !== 'leader' && isVoter(log.config, self)) campaign('transfer')
        return undefined
      default:
        return from satisfies never
    }
  }

  /** Whoever is behind is told the term, so that a deposed leader and a stuck candidate find out. */
  const onStale = (from: RaftMessage): void => {
    if (from.type === 'append' || from.type === 'heartbeat') {
      if (!options.checkQuorum && !options.preVote) return
      answer(from.from, {
        type: 'appendReply',
        index: logIndex(0),
        rejected: true,
        hintIndex: log.base.index,
        hintTerm: log.base.term,
      })
    } else if (from.type === 'vote') {
      answer(from.from, { type: 'voteReply', preVote: from.preVote, granted: false })
    } else if (from.type === 'readIndex') refuseRead(from.from, from.context)
  }

  const hearLeader = (from: MemberId): void => {
    invariant(role !== 'leader', 'one-leader-per-term', () => `term ${term}: ${self} and ${from}`)
    lastLeaderWord = now
    if (role !== 'follower' || leader !== from) becomeFollower(term, from)
    drawElectionDeadline()
  }

  const onVote = (from: Of<'vote'>): void => {
    const mayVote = from.preVote ? from.term > term : vote === from.from || (vote === undefined && leader === undefined)
    const upToDate = from.lastTerm > log.lastTerm || (from.lastTerm === log.lastTerm && from.lastIndex >= log.lastIndex)
    const granted = mayVote && upToDate
    if (from.preVote) {
      // A grant speaks of the candidate's next term, a refusal of ours.
      const inTerm = granted ? from.term : term
      const list = durableTerm >= term ? messages : messagesAfterPersist
      list.push(message(from.from, { type: 'voteReply', preVote: true, granted }, inTerm))
      return
    }
    if (granted) {
      vote = from.from
      drawElectionDeadline()
    }
    promise(from.from, { type: 'voteReply', preVote: false, granted })
  }

  const onVoteReply = (from: Of<'voteReply'>): void => {
    if (role !== (from.preVote ? 'preCandidate' : 'candidate')) return
    if (from.preVote && from.granted && from.term !== term + 1) return
    if (!votes.has(from.from)) votes.set(from.from, from.granted)
    countVotes()
  }

  const onAppend = (from: Of<'append'>): void => {
    if (from.prevIndex < commit) {
      return acknowledge(from.from, commit)
    }
    if (log.termAt(from.prevIndex) !== from.prevTerm) {
      const at = logIndex(Math.min(from.prevIndex, log.lastIndex))
      const hintIndex = log.lastAtOrBelow(at, from.prevTerm)
      const hintTerm = log.termAt(hintIndex) ?? makeTerm(0)
      return answer(from.from, { type: 'appendReply', index: from.prevIndex, rejected: true, hintIndex, hintTerm })
    }
    const fresh = from.entries.findIndex((entry) => log.termAt(entry.index) !== entry.term)
    if (fresh !== -1) {
      const first = from.entries[fresh] as Entry
      invariant(first.index > commit, 'committed-never-cut', () => `entry ${first.index}, commit ${commit}`)
      log.cut(logIndex(first.index - 1))
      if (handedLast >= first.index) handedLast = logIndex(first.index - 1)
      log.append(from.entries.slice(fresh))
    }
    const last = logIndex(from.prevIndex + from.entries.length)
    commitTo(logIndex(Math.min(from.commit, last)))
    acknowledge(from.from, last)
  }

  const acknowledge = (to: MemberId, index: LogIndex): void => {
    const body: MessageBody = {
      type: 'appendReply',
      index,
      rejected: false,
      hintIndex: logIndex(0),
      hintTerm: makeTerm(0),
    }
    if (index <= log.persisted) answer(to, body)
    else promise(to, body)
  }

  const onAppendReply = (from: Of<'appendReply'>): void => {
    const peer = progress.get(from.from)
    if (role !== 'leader' || peer === undefined) return
    peer.recentActive = true
    if (from.rejected) onRejection(peer, from)
    else onAcceptance(peer, from.index)
  }

  const onRejection = (peer: Progress, from: Of<'appendReply'>): void => {
    if (peer.state === 'replicate') {
      if (from.index <= peer.match) return
      becomeProbe(peer)
      return
    }
    // In probe exactly one append is out: an answer to any other is stale.
    if (peer.state === 'snapshot' || from.index !== peer.next - 1) return
    const agreed = log.lastAtOrBelow(from.hintIndex, from.hintTerm)
    const next = Math.max(peer.match + 1, Math.min(from.index, agreed + 1))
    peer.next = logIndex(next)
    peer.probeSent = false
  }

  const onAcceptance = (peer: Progress, index: LogIndex): void => {
    invariant(
      index <= log.lastIndex,
      'match-within-log',
      () => `member ${peer.id} says ${index}, last is ${log.lastIndex}`,
    )
    stalled.delete(peer.id)
    const advanced = advance(peer, index)
    if (peer.state === 'probe') {
      becomeReplicate(peer)
    } else if (peer.state === 'snapshot' && peer.match >= peer.pendingSnapshot) {
      becomeProbe(peer)
      becomeReplicate(peer)
    }
    if (advanced) maybeCommit()
    if (transfer?.to === peer.id) finishTransfer(peer)
  }

  const onHeartbeatReply = (from: Of<'heartbeatReply'>): void => {
    const peer = progress.get(from.from)
    if (role !== 'leader' || peer === undefined || reads === undefined) return
    peer.recentActive = true
    peer.probeSent = false
    if (peer.state === 'replicate' && peer.inflight.length > 0) {
      const beats = (stalled.get(peer.id) ?? 0) + 1
      stalled.set(peer.id, beats)
      if (beats > STALLED_BEATS) {
        stalled.delete(peer.id)
        becomeProbe(peer)
      }
    }
    reads.ack(from.from, from.round)
    confirmReads()
  }

  const onSnapshot = (from: Of<'snapshot'>): void => {
    const { meta } = from
    if (meta.index <= commit) return acknowledge(from.from, commit)
    if (log.termAt(meta.index) === meta.term) {
      commitTo(meta.index)
      return acknowledge(from.from, commit)
    }
    log.reset(meta)
    commit = meta.index
    handedLast = meta.index
    handedCommit = meta.index
    applied = meta.index
    snapshot = meta
    promise(from.from, {
      type: 'appendReply',
      index: meta.index,
      rejected: false,
      hintIndex: logIndex(0),
      hintTerm: makeTerm(0),
    })
  }

  // Leadership transfer (dissertation 3.10)

  const startTransfer = (to: MemberId): Result<undefined> => {
    if (role !== 'leader') return err(notLeader())
    if (to === self) return ok(undefined)
    const peer = progress.get(to)
    if (peer === undefined || !log.config.voters.includes(to)) {
      return err(failure('invalid-request', `member ${to.toString(16)} is no voter of this group`))
    }
    if (transfer !== undefined && transfer.to !== to)
      return err(failure('transfer-in-progress', `leadership is being handed to ${transfer.to.toString(16)}`))
    if (transfer === undefined) transfer = { to, deadline: now + options.electionTimeoutMs, sent: false }
    finishTransfer(peer)
    return ok(undefined)
  }

  const finishTransfer = (peer: Progress): void => {
    if (transfer === undefined || transfer.sent || peer.match !== log.lastIndex) return
    transfer.sent = true
    send(peer.id, { type: 'timeoutNow' })
  }

  // Inputs

  const onPersisted = (input: Extract<RaftInput, { type: 'persisted' }>): void => {
    if (input.ready > persistedReady) persistedReady = input.ready
    for (const [number, known] of termOfReady) {
      if (number > persistedReady) break
      durableTerm = known
      termOfReady.delete(number)
    }
    if (input.index > 0) log.persistedUpTo(input.index, input.term)
    if (role === 'candidate' && persistedReady >= selfVoteReady && !votes.has(self)) {
      votes.set(self, true)
      countVotes()
    }
    maybeCommit()
    if (transfer !== undefined) {
      const peer = progress.get(transfer.to)
      if (peer !== undefined) finishTransfer(peer)
    }
  }

  const onEntriesRead = (input: Extract<RaftInput, { type: 'entriesRead' }>): void => {
    const peer = progress.get(input.to)
    if (peer === undefined || peer.reading !== input.from) return
    peer.reading = undefined
    if (role !== 'leader' || peer.next !== input.from || peer.state === 'snapshot') return
    if (input.entries === undefined) return sendSnapshot(peer)
    const prevIndex = logIndex(input.from - 1)
    const prevTerm = log.termAt(prevIndex)
    const last = input.entries.at(-1)
    // The log may have been cut at its beginning while it was read.
    if (prevTerm === undefined) return sendSnapshot(peer)
    if (last === undefined || log.termAt(last.index) !== last.term) return
    if (!isPaused(peer, options)) sendAppend(peer, prevIndex, prevTerm, input.entries)
  }

  const onSnapshotSent = (input: Extract<RaftInput, { type: 'snapshotSent' }>): void => {
    const peer = progress.get(input.to)
    if (role !== 'leader' || peer === undefined || peer.state !== 'snapshot') return
    peer.pendingSnapshot = input.ok ? input.index : logIndex(0)
    becomeProbe(peer)
    // What arrived is answered by the follower itself; a failure waits for its next sign of life.
    peer.probeSent = !input.ok
  }

  const step = (input: RaftInput): Result<Proposed | undefined> => {
    switch (input.type) {
      case 'tick':
        tick()
        return DONE
      case 'message':
        onMessage(input.message)
        return DONE
      case 'propose':
        return propose(input.data)
      case 'changeConfig':
        return changeConfig(() => enter(log.config, input.change))
      case 'leaveJoint':
        return changeConfig(() =>
          isJoint(log.config)
            ? ok(leave(log.config))
            : err(failure('config-change-refused', 'the configuration is not joint')),
        )
      case 'readIndex':
        readIndex(self, input.context)
        return DONE
      case 'transferLeadership':
        return startTransfer(input.to)
      case 'campaign':
        if (role !== 'leader') campaign('vote')
        return DONE
      case 'persisted':
        onPersisted(input)
        return DONE
      case 'applied':
        if (input.index > applied) applied = input.index
        return DONE
      case 'entriesRead':
        onEntriesRead(input)
        return DONE
      case 'snapshotSent':
        onSnapshotSent(input)
        return DONE
      case 'compacted':
        log.compact(input.index)
        return DONE
      case 'unreachable': {
        const peer = progress.get(input.to)
        if (peer?.state === 'replicate') becomeProbe(peer)
        return DONE
      }
      default:
        return input satisfies never
    }
  }

  const ready = (): Ready | undefined => {
    // A snapshot replaces everything: what builds on it waits until it is durable.
    if (snapshotReady > persistedReady) return undefined
    if (role === 'leader') {
      startReads()
      for (const peer of progress.values()) sendAppends(peer)
    }
    const state: HardState = { term, vote, commit }
    const stateChanged = state.term !== handedState.term || state.vote !== handedState.vote || snapshot !== undefined
    const entries = handedLast < log.lastIndex ? log.slice(logIndex(handedLast + 1), log.lastIndex) : []
    invariant(entries !== undefined, 'unpersisted-in-tail', () => `${handedLast} to ${log.lastIndex}`)
    const through = logIndex(Math.min(commit, log.persisted))
    const committed = through > handedCommit ? { from: logIndex(handedCommit + 1), to: through } : undefined
    if (
      messages.length + messagesAfterPersist.length + entries.length + entriesWanted.length === 0 &&
      readsDone.length + readsRefused.length === 0 &&
      !stateChanged &&
      committed === undefined &&
      !changed
    ) {
      return undefined
    }
    readyNumber++
    // The commit index is only a hint for recovery: it is written along with what is written anyway.
    const hardState = stateChanged || entries.length > 0 ? state : undefined
    if (hardState !== undefined) handedState = hardState
    termOfReady.set(readyNumber, term)
    if (selfVoteReady === Number.POSITIVE_INFINITY) selfVoteReady = readyNumber
    if (snapshot !== undefined) snapshotReady = readyNumber
    const result: Ready = {
      number: readyNumber,
      messages,
      snapshot,
      entries,
      hardState,
      messagesAfterPersist,
      committed,
      entriesWanted,
      reads: readsDone,
      readsRefused,
      change: changed ? { role, leader, term } : undefined,
    }
    messages = []
    messagesAfterPersist = []
    snapshot = undefined
    entriesWanted = []
    readsDone = []
    readsRefused = []
    changed = false
    handedLast = log.lastIndex
    if (committed !== undefined) handedCommit = committed.to
    return result
  }

  drawElectionDeadline()
  // Alone, there is nobody to wait for.
  if (log.config.voters.length === 1 && isVoter(log.config, self) && !isJoint(log.config)) electionDeadline = now0

  return {
    step(input, at) {
      if (at > now) now = at
      return step(input)
    },
    ready,
    nextDeadline() {
      if (role !== 'leader') return isVoter(log.config, self) ? electionDeadline : Number.POSITIVE_INFINITY
      const quorum = options.checkQuorum ? quorumDeadline : Number.POSITIVE_INFINITY
      return Math.min(heartbeatDeadline, quorum, transfer?.deadline ?? Number.POSITIVE_INFINITY)
    },
    tail: (from, through) => log.slice(from, through),
    status: () => ({
      id: self,
      role,
      leader,
      term,
      vote,
      commit,
      applied,
      persisted: log.persisted,
      firstIndex: log.firstIndex,
      lastIndex: log.lastIndex,
      config: log.config,
      progress: [...progress.values()].map((peer) => ({
        id: peer.id,
        state: peer.state,
        match: peer.match,
        next: peer.next,
        inflight: peer.inflight.length,
        pendingSnapshot: peer.pendingSnapshot,
        recentActive: peer.recentActive,
      })),
      transferee: transfer?.to,
    }),
  }
}

const DONE: Result<undefined> = { ok: true, value: undefined }
