/** What a replica needs from its server, and what it gives. */
import type { GroupId, LogIndex, MemberId, Result, SpaceId, Term } from '../base/index.ts'
import type { Engine } from '../engine/index.ts'
import type { RecoveredGroup, WriteAheadLog } from '../log/index.ts'
import type { MvccStore, WatchHub } from '../mvcc/index.ts'
import type { Config, RaftMessage, RaftOptions, Role } from '../raft/index.ts'
import type { ClientSession, CommandKind, PeerFrame } from '../wire/index.ts'

/** An encoded response without its header, and the store's revision after it. */
export type Applied = { readonly body: Uint8Array; readonly revision: number }

/** How a replica reaches the other replicas of its group. Nothing here waits: what cannot be sent is lost. */
export interface Transport {
  /** Raft messages; joined with those of other groups into one frame per peer and turn. */
  sendRaft(to: MemberId, message: RaftMessage): void
  /** A frame of its own on the control lane: forwarded proposals and their refusals. */
  sendControl(to: MemberId, frame: PeerFrame): 'sent' | 'full' | 'down'
  /** A snapshot frame on the bulk lane. 'full': wait for `onBulkDrain`. */
  sendBulk(to: MemberId, frame: PeerFrame): 'sent' | 'full' | 'down'
  /** Stops and restarts reading what a peer sends on the bulk lane. */
  pauseBulk(from: MemberId): void
  resumeBulk(from: MemberId): void
}

export type ReplicaOptions = {
  readonly group: GroupId
  readonly space: SpaceId
  readonly self: MemberId
  /** Of this run of the server: grows with every start, persisted before it is used. */
  readonly incarnation: bigint
  readonly raft: Omit<RaftOptions, 'id' | 'random'>
  /** The configuration that a new group starts with, equal on all members. */
  readonly bootstrap: Config
  /** Entries kept in the log below the engine's durable index, for followers that are a little behind. */
  readonly keepEntries: number
  /** The log keeps these, and more for a follower that is catching up, only while it is smaller than this, bytes. */
  readonly maxHeldLogBytes: number
  /** Proposals of this server that wait for an answer; more are refused with too-many-requests. At most 32768. */
  readonly maxPendingProposals: number
  /** Likewise in bytes. */
  readonly maxPendingBytes: number
  /** Reads waiting for a confirmed index; more are refused with too-many-requests. */
  readonly maxPendingReads: number
  /** A snapshot stream without an answer for this long is given up, milliseconds. */
  readonly snapshotTimeoutMs: number
}

export type ReplicaEnvironment = {
  readonly log: WriteAheadLog
  readonly engine: Engine
  readonly transport: Transport
  /** Where recovery left this group; undefined for a group that the log does not know. */
  readonly recovered: RecoveredGroup | undefined
  readonly onChange: (change: { role: Role; leader: MemberId | undefined; term: Term }) => void
}

export type ProposalRequest = {
  readonly kind: CommandKind
  readonly bytes: Uint8Array
  readonly session: ClientSession | undefined
  readonly deadlineMs: number
}

export type ReplicaStatus = {
  readonly role: Role
  readonly leader: MemberId | undefined
  readonly term: Term
  readonly lastIndex: LogIndex
  /** How far this server's log is durable. */
  readonly durableIndex: LogIndex
  readonly commitIndex: LogIndex
  readonly appliedIndex: LogIndex
  readonly revision: number
  readonly config: Config
  readonly pendingProposals: number
  readonly pendingReads: number
}

export interface Replica {
  readonly group: GroupId
  /** The state as applied so far. Replaced as a whole by a received snapshot: never keep it across turns. */
  readonly store: MvccStore
  /** Told what is applied here, and what a received snapshot skipped. */
  readonly watches: WatchHub
  /** Answered exactly once: applied, refused for certain, or unknown (timed-out, outcome-unknown). */
  propose(request: ProposalRequest, done: (result: Result<Applied>) => void): void
  /** Calls `done` once the local state includes everything acknowledged before this call (Raft section 8, ReadIndex). */
  linearizable(deadlineMs: number, done: (result: Result<void>) => void): void
  transferLeadership(to: MemberId, deadlineMs: number, done: (result: Result<void>) => void): void
  /** The voter besides `excluded` that would lose least by leading: reachable, and furthest in the log. Leader only. */
  successor(excluded: ReadonlySet<MemberId>): MemberId | undefined
  /** One message of this group from another member. */
  onRaft(message: RaftMessage): void
  onFrame(from: MemberId, frame: PeerFrame): void
  onBulkDrain(peer: MemberId): void
  onPeerUp(peer: MemberId, lane: 'control' | 'bulk'): void
  /** What was sent on this lane may be lost. */
  onPeerDown(peer: MemberId, lane: 'control' | 'bulk'): void
  /** The engine made more durable: the log may be compacted. */
  onEngineDurable(): void
  onEnginePressure(underPressure: boolean): void
  /** The log's disk is full, or has space again. */
  onLogFull(full: boolean): void
  status(): ReplicaStatus
  /** Refuses what is open with `stopping` and does nothing from then on. */
  close(): void
}
