/**
 * What members say to each other after the handshake, as values. The Raft part mirrors the core's messages: wire does
 * not know raft, and whoever joins the two rooms has the type checker compare them. Added kinds and fields need a new
 * protocol number in the handshake.
 */
import type { FailureCode, GroupId, LogIndex, MemberId, Term } from '../base/index.ts'

export type PeerEntry = {
  readonly index: LogIndex
  readonly term: Term
  readonly type: 'normal' | 'config'
  readonly data: Uint8Array
}

/** Each list ascending, without duplicates. */
export type PeerConfig = {
  readonly voters: readonly MemberId[]
  readonly votersOutgoing: readonly MemberId[]
  readonly learners: readonly MemberId[]
  readonly learnersNext: readonly MemberId[]
  readonly autoLeave: boolean
}

export type PeerSnapshotMeta = { readonly index: LogIndex; readonly term: Term; readonly config: PeerConfig }

/** Raft's messages; their meaning is the core's. The entries of an append follow each other from `prevIndex + 1` on. */
export type PeerRaftMessage = { readonly from: MemberId; readonly to: MemberId; readonly term: Term } & (
  | {
      readonly type: 'vote'
      readonly preVote: boolean
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
      readonly entries: readonly PeerEntry[]
    }
  | {
      readonly type: 'appendReply'
      readonly index: LogIndex
      readonly rejected: boolean
      readonly hintIndex: LogIndex
      readonly hintTerm: Term
    }
  | { readonly type: 'heartbeat'; readonly commit: LogIndex; readonly round: number }
  | { readonly type: 'heartbeatReply'; readonly round: number }
  | { readonly type: 'snapshot'; readonly meta: PeerSnapshotMeta }
  | { readonly type: 'readIndex'; readonly context: number }
  | { readonly type: 'readIndexReply'; readonly context: number; readonly index: LogIndex; readonly refused: boolean }
  | { readonly type: 'timeoutNow' }
)

export type SnapshotPair = { readonly key: Uint8Array; readonly value: Uint8Array }

/** One frame between members. Decoded bytes are views of the frame: whoever keeps a small part for long copies it. */
export type PeerFrame =
  /** All Raft messages of a turn to one peer, of any groups, in the order of sending. */
  | {
      readonly type: 'raft'
      readonly messages: readonly { readonly group: GroupId; readonly message: PeerRaftMessage }[]
    }
  /** A proposal for the leader: an encoded command (command.ts) and its origin again, for the refusal. */
  | {
      readonly type: 'proposal'
      readonly group: GroupId
      readonly server: MemberId
      readonly incarnation: bigint
      readonly sequence: number
      readonly command: Uint8Array
    }
  /** This attempt to propose will have no effect. Messages above MAX_TEXT_CHARS are cut. */
  | {
      readonly type: 'proposalRefused'
      readonly group: GroupId
      readonly incarnation: bigint
      readonly sequence: number
      readonly code: FailureCode
      readonly message: string
    }
  /** Bulk lane. `config` is the core's encoding; `index` and `indexTerm` say where the state belongs in the log. */
  | {
      readonly type: 'snapshotStart'
      readonly group: GroupId
      readonly stream: number
      readonly from: MemberId
      readonly to: MemberId
      readonly term: Term
      readonly index: LogIndex
      readonly indexTerm: Term
      readonly config: Uint8Array
    }
  /** Bulk lane. That it arrives unchanged is links' affair. */
  | {
      readonly type: 'snapshotChunk'
      readonly group: GroupId
      readonly stream: number
      readonly sequence: number
      readonly pairs: readonly SnapshotPair[]
    }
  /** Bulk lane. How many pairs all chunks had. */
  | {
      readonly type: 'snapshotEnd'
      readonly group: GroupId
      readonly stream: number
      readonly pairs: number
    }
  /** How many chunks have come, in order, and found room: the sender keeps only so many under way. */
  | {
      readonly type: 'snapshotProgress'
      readonly group: GroupId
      readonly stream: number
      readonly received: number
    }
  /** `failure`: why it was not accepted, for the sender's log. */
  | {
      readonly type: 'snapshotAck'
      readonly group: GroupId
      readonly stream: number
      readonly accepted: boolean
      readonly failure?: { readonly code: FailureCode; readonly message: string }
    }
  /** The sender is about to stop: it is a bad successor, and its absence no news. */
  | { readonly type: 'stopping' }

/** Of the text of a refusal or failure, UTF-16 code units. */
export const MAX_TEXT_CHARS = 1000
