/**
 * What the APIs on the port ask of a server: the seam between a protocol's messages and the replicas. Everything
 * completes by callback, exactly once, in this turn or a later one.
 */
import type { ClusterId, MemberId, Result } from '../base/index.ts'
import type { WatchSink, WatchStream } from '../replica/index.ts'
import type { RangeRequest } from '../wire/index.ts'
import type { ServerStatus } from './types.ts'

/** An encoded response without its header, and the store's revision to put there. */
export type Answer = { readonly body: Uint8Array; readonly revision: number }

/** A client's own retry identity: metadata `skein-session` and `skein-seq`. */
export type ClientSession = { readonly id: Uint8Array; readonly sequence: number }

export type WriteKind = 'put' | 'deleteRange' | 'txn' | 'compact'

export type Write = {
  readonly kind: WriteKind
  readonly space: string
  /** The client's message, validated, as it came: it is what the log keeps. */
  readonly bytes: Uint8Array
  readonly session: ClientSession | undefined
  /** Monotonic; the server's own limit applies as well. After it the outcome is `timed-out`. */
  readonly deadlineMs: number
}

export type Read = {
  readonly space: string
  readonly request: RangeRequest
  /** From this server's state as it is, without asking anybody (etcd's `serializable`). */
  readonly serializable: boolean
  readonly deadlineMs: number
  /** Asked between slices of a long read. */
  readonly cancelled: () => boolean
}

export type MemberInfo = {
  readonly id: MemberId
  readonly name: string
  readonly address: string
  readonly isLearner: boolean
}

export interface Requests {
  readonly clusterId: ClusterId
  readonly memberId: MemberId
  write(write: Write, done: (result: Result<Answer>) => void): void
  read(read: Read, done: (result: Result<Answer>) => void): void
  /** Watches of a space, from this server's own applied state. The stream must be closed. Failures: space-unknown. */
  watch(space: string, sink: WatchSink): Result<WatchStream>
  /** Calls `lost` each time this server has known no leader for so long that waiting for one is no service. */
  onLeaderless(lost: () => void): () => void
  /** The membership; confirmed with a leader where `linearizable`. */
  members(
    linearizable: boolean,
    deadlineMs: number,
    done: (result: Result<{ readonly members: readonly MemberInfo[]; readonly revision: number }>) => void,
  ): void
  status(): ServerStatus
  /** Bytes of the database on disk, and of those in use. */
  storage(): { readonly sizeBytes: number; readonly inUseBytes: number }
  /** Leader only, as etcd's; done once the other server leads. */
  moveLeader(to: MemberId, deadlineMs: number, done: (result: Result<void>) => void): void
  /** Whether this server knows a leader, and so can answer linearizable reads: asked by /health. */
  healthy(): boolean
  /** Everything worth watching, as Prometheus name/value pairs. */
  metrics(): readonly Metric[]
}

export type Metric = {
  readonly name: string
  readonly help: string
  readonly type: 'counter' | 'gauge'
  readonly value: number
  readonly labels?: Readonly<Record<string, string>>
}
