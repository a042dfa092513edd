/**
 * The state of one core, and what the next Ready will carry. The neighbours are functions over it, one noun per file;
 * each says which part of the state it writes.
 */
import type { LogIndex, MemberId, Term } from '../base/index.ts'
import { invariant, logIndex } from '../base/index.ts'
import type { LogView } from './log-view.ts'
import { createLogView } from './log-view.ts'
import type { Progress } from './progress.ts'
import type { LeaderReads } from './leader-reads.ts'
import type { HardState, RaftMessage, RaftOptions, RaftStart, Ready, Role, SnapshotMeta } from './types.ts'

type Body<T> = T extends unknown ? Omit<T, 'from' | 'to' | 'term'> : never
export type MessageBody = Body<RaftMessage>
export type MessageOf<Type extends RaftMessage['type']> = Extract<RaftMessage, { type: Type }>

/** A Ready that carries something to persist and has not been reported durable. */
export type Outstanding = {
  readonly number: number
  readonly term: Term
  readonly vote: MemberId | undefined
  /** Up to where the log as it is now will be durable with it: lowered when the log is cut meanwhile. */
  last: LogIndex
  readonly snapshot: boolean
  /** What the report must name: the Ready's last entry, else its snapshot. */
  readonly written: { readonly index: LogIndex; readonly term: Term } | undefined
}

export type Transfer = { readonly to: MemberId; readonly deadline: number; sent: boolean }

export type Core = {
  readonly id: MemberId
  readonly options: RaftOptions
  readonly log: LogView
  now: number

  term: Term
  vote: MemberId | undefined
  commit: LogIndex
  applied: LogIndex
  role: Role
  leader: MemberId | undefined
  /** When a leader was last heard: until an election timeout has passed since, nobody else is voted for. */
  lastLeaderWord: number
  electionDeadline: number
  readonly votes: Map<MemberId, boolean>

  // As a leader.
  heartbeatDeadline: number
  quorumDeadline: number
  readonly progress: Map<MemberId, Progress>
  reads: LeaderReads | undefined
  transfer: Transfer | undefined
  /** An election was invited in this term, and may still come, however late: no lease in this term any more. */
  leaseVoid: boolean
  /** Proposals not yet committed: last index and bytes of each batch. */
  uncommitted: { readonly last: LogIndex; readonly sizeBytes: number }[]
  uncommittedBytes: number

  // As a follower: reads that were forwarded, by the number on the wire.
  readonly forwarded: Map<number, number>
  nextForward: number

  // What the next Ready will carry.
  messages: RaftMessage[]
  messagesAfterPersist: RaftMessage[]
  snapshot: SnapshotMeta | undefined
  entriesWanted: Ready['entriesWanted'][number][]
  readsDone: Ready['reads'][number][]
  readsRefused: number[]
  changed: boolean

  // What earlier Readies carried.
  readyNumber: number
  handedLast: LogIndex
  handedState: HardState
  handedCommit: LogIndex
  outstanding: Outstanding[]
  durableTerm: Term
}

export function createCore(options: RaftOptions, start: RaftStart, now: number): Core {
  const { hardState, snapshot, lastIndex, applied } = start
  invariant(applied >= snapshot.index, 'start-applied-covers-base', () => `${applied}, base ${snapshot.index}`)
  const commit = logIndex(Math.max(hardState.commit, applied))
  invariant(commit <= lastIndex, 'start-commit-within-log', () => `commit ${commit}, last ${lastIndex}`)
  invariant(options.lease === undefined || options.checkQuorum, 'lease-needs-check-quorum')
  const core: Core = {
    id: options.id,
    options,
    log: createLogView(start, options.maxTailBytes),
    now,
    term: hardState.term,
    vote: hardState.vote,
    commit,
    applied,
    role: 'follower',
    leader: undefined,
    // Before the restart a leader may have been heard, and may count on it.
    lastLeaderWord: options.lease === undefined ? Number.NEGATIVE_INFINITY : now,
    electionDeadline: 0,
    votes: new Map(),
    heartbeatDeadline: 0,
    quorumDeadline: 0,
    progress: new Map(),
    reads: undefined,
    transfer: undefined,
    leaseVoid: false,
    uncommitted: [],
    uncommittedBytes: 0,
    forwarded: new Map(),
    // An answer to an earlier run of this server must not be taken for one to this run.
    nextForward: Math.floor(options.random() * 2 ** 52),
    messages: [],
    messagesAfterPersist: [],
    snapshot: undefined,
    entriesWanted: [],
    readsDone: [],
    readsRefused: [],
    changed: true,
    readyNumber: 0,
    handedLast: lastIndex,
    handedState: hardState,
    handedCommit: applied,
    outstanding: [],
    durableTerm: hardState.term,
  }
  drawElectionDeadline(core)
  return core
}

export function drawElectionDeadline(core: Core): void {
  core.electionDeadline = core.now + core.options.electionTimeoutMs * (1 + core.options.random())
}

export function message(core: Core, to: MemberId, body: MessageBody, term: Term = core.term): RaftMessage {
  return { ...body, from: core.id, to, term }
}

/** At once, in parallel with the disk: promises nothing. */
export function send(core: Core, to: MemberId, body: MessageBody): void {
  core.messages.push(message(core, to, body))
}

/** Rests on this server's log or vote: only once those are durable. */
export function promise(core: Core, to: MemberId, body: MessageBody): void {
  core.messagesAfterPersist.push(message(core, to, body))
}

/** Rests on nothing but this term. */
export function answer(core: Core, to: MemberId, body: MessageBody): void {
  if (core.durableTerm >= core.term) send(core, to, body)
  else promise(core, to, body)
}

/** A snapshot has been taken in, and is not durable yet: what builds on it waits. */
export function snapshotPending(core: Core): boolean {
  return core.snapshot !== undefined || core.outstanding.some((ready) => ready.snapshot)
}

/** Takes the end off the log, and the durability of what stood there. Nothing that rests on it may still be said. */
export function cutLog(core: Core, index: LogIndex): void {
  core.log.cut(index)
  if (core.handedLast > index) core.handedLast = index
  forgetDurable(core, index)
  core.messagesAfterPersist = core.messagesAfterPersist.filter(
    (sent) => sent.type !== 'appendReply' || sent.rejected || sent.index <= index,
  )
}

/** Writes on their way make the present log durable up to `index` at most: above it they write what it was. */
export function forgetDurable(core: Core, index: LogIndex): void {
  for (const ready of core.outstanding) if (ready.last > index) ready.last = index
}
