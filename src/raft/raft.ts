/**
 * The core of one group's consensus: a synchronous state machine. Inputs are stepped in, duties come out as Readies. Here
 * is its face and one handler per input; its neighbours each know one noun.
 * Source: Ongaro, "Consensus: Bridging Theory and Practice" (2014); structure after etcd-io/raft.
 */
import type { LogIndex, MemberId, Result, Term } from '../base/index.ts'
import type { Core } from './core.ts'
import { createCore } from './core.ts'
import { campaign, checkQuorum, mayCampaign, onCampaign, startAlone } from './election.ts'
import { onMessage } from './messages.ts'
import type { Progress } from './progress.ts'
import type { Proposed } from './proposals.ts'
import { changeConfig, leaveJoint, propose } from './proposals.ts'
import { askHere } from './reads.ts'
import { onPersisted, takeReady } from './readies.ts'
import { beat, onEntriesRead, onSnapshotSent, onUnreachable } from './replication.ts'
import { expireTransfer, startTransfer } from './transfer.ts'
import type { Config, Entry, RaftInput, RaftOptions, RaftStart, Ready, Role } from './types.ts'

export type { Proposed } from './proposals.ts'

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

type Handlers = {
  readonly [Type in RaftInput['type']]: (
    core: Core,
    input: Extract<RaftInput, { type: Type }>,
  ) => Result<Proposed | undefined> | void
}

const HANDLERS: Handlers = {
  tick: onTick,
  message: (core, { message }) => onMessage(core, message),
  propose: (core, { data }) => propose(core, data),
  changeConfig: (core, { change }) => changeConfig(core, change),
  leaveJoint,
  readIndex: (core, { context }) => askHere(core, context),
  transferLeadership: (core, { to }) => startTransfer(core, to),
  campaign: onCampaign,
  persisted: onPersisted,
  applied(core, { index }) {
    if (index > core.applied) core.applied = index
  },
  entriesRead: onEntriesRead,
  snapshotSent: onSnapshotSent,
  compacted: (core, { index }) => core.log.compact(index),
  unreachable: (core, { to }) => onUnreachable(core, to),
}

const DONE: Result<undefined> = { ok: true, value: undefined }

export function createRaft(options: RaftOptions, start: RaftStart, now: number): Raft {
  const core = createCore(options, start, now)
  startAlone(core)
  return {
    step(input, at) {
      if (at > core.now) core.now = at
      const handle = HANDLERS[input.type] as (core: Core, input: RaftInput) => Result<Proposed | undefined> | void
      return handle(core, input) ?? DONE
    },
    ready: () => takeReady(core),
    nextDeadline: () => nextDeadline(core),
    tail: (from, through) => core.log.slice(from, through),
    status: () => statusOf(core),
  }
}

function onTick(core: Core): void {
  if (core.role !== 'leader') {
    if (core.now >= core.electionDeadline) campaign(core, core.options.preVote ? 'preVote' : 'vote')
    return
  }
  expireTransfer(core)
  if (core.options.checkQuorum && core.now >= core.quorumDeadline) checkQuorum(core)
  if (core.role === 'leader' && core.now >= core.heartbeatDeadline) beat(core)
}

function nextDeadline(core: Core): number {
  if (core.role !== 'leader') return mayCampaign(core) ? core.electionDeadline : Number.POSITIVE_INFINITY
  const quorum = core.options.checkQuorum ? core.quorumDeadline : Number.POSITIVE_INFINITY
  return Math.min(core.heartbeatDeadline, quorum, core.transfer?.deadline ?? Number.POSITIVE_INFINITY)
}

function statusOf(core: Core): RaftStatus {
  const { id, role, leader, term, vote, commit, applied, log } = core
  return {
    id,
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
    progress: [...core.progress.values()].map((peer) => ({
      id: peer.id,
      state: peer.state,
      match: peer.match,
      next: peer.next,
      inflight: peer.inflight.length,
      pendingSnapshot: peer.pendingSnapshot,
      recentActive: peer.recentActive,
    })),
    transferee: core.transfer?.to,
  }
}
