/** What goes into and comes out of the core: messages, inputs, Ready. The order of duties is in the types. */
import type { LogIndex, MemberId, Term } from '../base/index.ts'

/**
 * One entry of the replicated log. 'normal' data is the state machine's, opaque here, empty for the no-op of a new
 * leader; 'config' data is an encoded Config, made and read by this room.
 */
export type Entry = {
  readonly index: LogIndex
  readonly term: Term
  readonly type: 'normal' | 'config'
  readonly data: Uint8Array
}

/**
 * A configuration. `votersOutgoing` is empty unless the configuration is joint (then a majority of both is needed).
 * `learnersNext` become learners when the joint phase ends. Sorted by id, without duplicates.
 */
export type Config = {
  readonly voters: readonly MemberId[]
  readonly votersOutgoing: readonly MemberId[]
  readonly learners: readonly MemberId[]
  readonly learnersNext: readonly MemberId[]
  /** The leader leaves the joint phase by itself as soon as it is committed. */
  readonly autoLeave: boolean
}

/** What must survive a crash besides the entries. */
export type HardState = {
  readonly term: Term
  readonly vote: MemberId | undefined
  readonly commit: LogIndex
}

export type SnapshotMeta = { readonly index: LogIndex; readonly term: Term; readonly config: Config }

type Envelope = { readonly from: MemberId; readonly to: MemberId; readonly term: Term }

/** Between the cores of one group. The wire's format mirrors this type; numbers are Raft's, `round` is section 6.4's. */
export type RaftMessage = Envelope &
  (
    | {
        readonly type: 'vote'
        /** Asks whether it would be voted for, without disturbing anybody (dissertation 9.6). `term` is the next one. */
        readonly preVote: boolean
        /** The leader asked for this election (TimeoutNow): leader stickiness does not apply. */
        readonly transfer: boolean
        readonly lastIndex: LogIndex
        readonly lastTerm: Term
      }
    | { readonly type: 'voteReply'; readonly preVote: boolean; readonly granted: boolean }
    | {
        readonly type: 'append'
        readonly prevIndex: LogIndex
        readonly prevTerm: Term
        readonly commit: LogIndex
        readonly entries: readonly Entry[]
      }
    | {
        readonly type: 'appendReply'
        /** Accepted: the last index known to match and durable. Rejected: the `prevIndex` that was refused. */
        readonly index: LogIndex
        readonly rejected: boolean
        /** Where rejected: the leader may go on at or below this index, whose term here is `hintTerm`. */
        readonly hintIndex: LogIndex
        readonly hintTerm: Term
      }
    | {
        readonly type: 'heartbeat'
        readonly commit: LogIndex
        /** The newest ReadIndex round that this heartbeat confirms; 0 for none. */
        readonly round: number
      }
    | { readonly type: 'heartbeatReply'; readonly round: number }
    /**
     * Sent: "this follower needs a snapshot": the replica streams one and answers with `snapshotSent`.
     * Received: handed in by the replica once the whole state has been staged; the core then decides.
     */
    | { readonly type: 'snapshot'; readonly meta: SnapshotMeta }
    /** `context` is the asking core's own number: an answer to an earlier run of it must not pass for one to this. */
    | { readonly type: 'readIndex'; readonly context: number }
    | { readonly type: 'readIndexReply'; readonly context: number; readonly index: LogIndex; readonly refused: boolean }
    | { readonly type: 'timeoutNow' }
  )

export type ConfigChange = {
  /** The complete membership wanted; the core goes through a joint phase unless one voter changes. */
  readonly voters: readonly MemberId[]
  readonly learners: readonly MemberId[]
}

/** Everything that can happen to a core. `now` comes beside it. */
export type RaftInput =
  /** Time has passed: `nextDeadline()` may have come. */
  | { readonly type: 'tick' }
  | { readonly type: 'message'; readonly message: RaftMessage }
  /** Appended in order as one batch, all or none. Leader only. */
  | { readonly type: 'propose'; readonly data: readonly Uint8Array[] }
  | { readonly type: 'changeConfig'; readonly change: ConfigChange }
  /** Leave a joint configuration that has `autoLeave` false. */
  | { readonly type: 'leaveJoint' }
  /**
   * Answered by `Ready.reads` or `Ready.readsRefused` with the same context (unique while outstanding), unless a message
   * is lost: then it is for the caller to ask again.
   */
  | { readonly type: 'readIndex'; readonly context: number }
  | { readonly type: 'transferLeadership'; readonly to: MemberId }
  /** Start an election now, as if the timeout had passed. Ignored where a leader's lease may count on this member. */
  | { readonly type: 'campaign' }
  /**
   * Everything in the Ready numbered `ready` and before is durable; its last entry, else its snapshot, was (`term`,
   * `index`). Counts for nothing that was since rewritten, nor where that Ready carried nothing to persist.
   */
  | { readonly type: 'persisted'; readonly ready: number; readonly term: Term; readonly index: LogIndex }
  /** The state machine has applied everything up to `index`. */
  | { readonly type: 'applied'; readonly index: LogIndex }
  /** Answer to `Ready.entriesWanted`. `undefined`: they are compacted away. */
  | {
      readonly type: 'entriesRead'
      readonly to: MemberId
      readonly from: LogIndex
      readonly entries: readonly Entry[] | undefined
    }
  /** The streamed snapshot at `index` reached `to` whole, or not. */
  | { readonly type: 'snapshotSent'; readonly to: MemberId; readonly index: LogIndex; readonly ok: boolean }
  /** The log may drop entries up to `index` (they are in a durable checkpoint); the core forgets them too. */
  | { readonly type: 'compacted'; readonly index: LogIndex }
  /** The transport lost messages to this peer: probe instead of pipelining. */
  | { readonly type: 'unreachable'; readonly to: MemberId }

export type Role = 'follower' | 'preCandidate' | 'candidate' | 'leader'

/**
 * Duties after some inputs, in the order in which the replica does them:
 *  1. `messages` may be sent at once, in parallel with the disk;
 *  2. `snapshot`, then `entries` and `hardState` are made durable in one batch, after those of every earlier Ready;
 *  3. only then `messagesAfterPersist` may be sent, and `persisted` is stepped;
 *  4. entries in `committed` may be applied now: they are committed and, here, durable.
 * Several Readies may be outstanding (not yet persisted); they become durable in order of `number`.
 */
export type Ready = {
  readonly number: number
  readonly messages: readonly RaftMessage[]
  readonly snapshot: SnapshotMeta | undefined
  /** Non-empty: the log is first cut so that it ends just before `entries[0].index`. */
  readonly entries: readonly Entry[]
  readonly hardState: HardState | undefined
  readonly messagesAfterPersist: readonly RaftMessage[]
  /** Inclusive bounds. The entries are in `Raft.tail` where recent, else in the log. */
  readonly committed: { readonly from: LogIndex; readonly to: LogIndex } | undefined
  readonly entriesWanted: readonly {
    readonly to: MemberId
    readonly from: LogIndex
    readonly through: LogIndex
    readonly maxBytes: number
  }[]
  /** The state may be read for these contexts once everything up to `index` is applied here. */
  readonly reads: readonly { readonly context: number; readonly index: LogIndex }[]
  /** Leadership could not be confirmed: the reader asks again. */
  readonly readsRefused: readonly number[]
  /** Present where role, leader or term changed since the last Ready. */
  readonly change: { readonly role: Role; readonly leader: MemberId | undefined; readonly term: Term } | undefined
}

export type RaftOptions = {
  readonly id: MemberId
  /** At least this without a word from a leader; drawn anew from [1, 2) times it for each wait. Etcd: 1000. */
  readonly electionTimeoutMs: number
  /** Etcd: 100. At most a fifth of the election timeout. */
  readonly heartbeatIntervalMs: number
  readonly preVote: boolean
  readonly checkQuorum: boolean
  /**
   * Reads without a round trip while a quorum has answered within electionTimeoutMs x (1 - drift). `maxDriftPpm` bounds
   * how much faster any other member's clock may run than this one. The stickiness of followers makes it sound: it needs
   * `checkQuorum`, and the same values of this option and of electionTimeoutMs at every member. Undefined: off.
   */
  readonly lease: { readonly maxDriftPpm: number } | undefined
  /** Of one append message. */
  readonly maxAppendBytes: number
  /** Of appends sent and not answered, per follower. */
  readonly maxInflightMessages: number
  readonly maxInflightBytes: number
  /** Of proposals not yet committed, 16 bytes each beside their data; more is refused with too-many-requests. One is let in. */
  readonly maxUncommittedBytes: number
  /** Of recent entries kept in memory; older ones are asked for with `entriesWanted`. Unpersisted ones always stay. */
  readonly maxTailBytes: number
  /** In [0, 1): election jitter, and where the numbers of forwarded reads begin. */
  readonly random: () => number
}

/** What a core starts from: read from the log at recovery. */
export type RaftStart = {
  readonly hardState: HardState
  /** Where the log was compacted to; index 0 for a new group. Its config is the one in force there. */
  readonly snapshot: SnapshotMeta
  /** Config entries in the log above `snapshot.index`, oldest first. */
  readonly configEntries: readonly Entry[]
  /** Runs of equal term in the log above `snapshot.index`, oldest first. */
  readonly termRuns: readonly { readonly term: Term; readonly firstIndex: LogIndex }[]
  readonly lastIndex: LogIndex
  /** What the state machine has durably applied; at least snapshot.index. */
  readonly applied: LogIndex
}
