/** What an application speaks with: any etcd v3 cluster, Skein's or another's. */
import type {
  CompactionResponse,
  DeleteRangeRequest,
  DeleteRangeResponse,
  KeyValue,
  MemberListResponse,
  PutRequest,
  PutResponse,
  RangeRequest,
  RangeResponse,
  StatusResponse,
  TxnRequest,
  TxnResponse,
} from '../wire/index.ts'
import type { Address, TlsOptions } from '../world/index.ts'
import type { Bytes } from './bytes.ts'

export type ClientOptions = {
  /** `HOST:PORT` of servers, tried in this order; at least one. */
  readonly endpoints: readonly Address[]
  /** For each call, milliseconds; default 10,000. After it a read fails, and a write's outcome is unknown. */
  readonly timeoutMs?: number
  readonly tls?: TlsOptions
  /**
   * Whether a write of unknown outcome is sent again, under a session by which a Skein cluster recognises it; true. False:
   * it is reported as unknown at once, as with etcd.
   */
  readonly resendWrites?: boolean
  /** Sent with every call, for instance `skein-space`. */
  readonly metadata?: Readonly<Record<string, string>>
}

export type CallOptions = {
  /** Instead of the client's. */
  readonly timeoutMs?: number
}

/** A request about `key`, or all keys in [`key`, `rangeEnd`). */
type RangeOf<Request> = Omit<Request, 'key' | 'rangeEnd'> & { readonly key: Bytes; readonly rangeEnd?: Bytes }

export type WatchOptions = {
  readonly key: Bytes
  /** As of a range: left out for one key; a single zero byte means no bound. */
  readonly rangeEnd?: Bytes
  /** The first revision that is told; what happens from now on where left out. */
  readonly startRevision?: number
  /** With what was there before each change. */
  readonly prevKv?: boolean
  readonly noPut?: boolean
  readonly noDelete?: boolean
  /** Leaves a server that has lost its leader for another. Default true. */
  readonly requireLeader?: boolean
}

export type WatchEvent = {
  readonly type: 'put' | 'delete'
  /** Of a deletion only the key and, as `modRevision`, the revision that deleted it. */
  readonly kv: KeyValue
  /** Where it was asked for, the key existed, and its earlier revision is not compacted. */
  readonly prevKv?: KeyValue
}

/** All that happened at some revisions that follow each other; never a part of one revision. */
export type WatchBatch = { readonly revision: number; readonly events: readonly WatchEvent[] }

/**
 * Batches in order of revision, each event once, however often the watch had to go on at another server. Ends with
 * `close`, or by leaving the loop; throws SkeinError: `compacted` where the next revision is compacted away
 * (`details.compactRevision` can be watched from), and what no server can mend (invalid-request, permission-denied, …).
 * While no server answers it goes on trying. At most about a megabyte is read ahead of who asks.
 */
export interface Watch extends AsyncIterable<WatchBatch> {
  /** Resolves once the watch stands for the first time: with the store's revision then. Rejects as the iterator throws. */
  readonly started: Promise<number>
  /** The first revision that has not been handed out: where another watch would go on. Undefined before it started. */
  readonly nextRevision: number | undefined
  close(): void
}

/**
 * Keys and values are bytes, or strings that stand for their UTF-8 bytes; answers always are bytes.
 *
 * Every method rejects with SkeinError. `retryable` tells whether the same call can succeed later; `outcome-unknown` and
 * `timed-out` mean that a write may or may not take effect. Reads, and writes that certainly were not looked at, are
 * tried at the other endpoints before an error is reported.
 */
export interface Client {
  range(request: RangeOf<Partial<RangeRequest>>, options?: CallOptions): Promise<RangeResponse>
  /** One key, or undefined where it does not exist. */
  get(key: Bytes, options?: CallOptions): Promise<KeyValue | undefined>
  put(
    key: Bytes,
    value: Bytes,
    options?: CallOptions & Partial<Pick<PutRequest, 'lease' | 'prevKv' | 'ignoreLease' | 'ignoreValue'>>,
  ): Promise<PutResponse>
  deleteRange(request: RangeOf<Partial<DeleteRangeRequest>>, options?: CallOptions): Promise<DeleteRangeResponse>
  txn(request: TxnRequest, options?: CallOptions): Promise<TxnResponse>
  /** One iterator per watch: a second one continues the first. */
  watch(options: WatchOptions): Watch
  compact(revision: number, options?: CallOptions & { readonly physical?: boolean }): Promise<CompactionResponse>
  memberList(options?: CallOptions): Promise<MemberListResponse>
  /** Asks exactly this server. */
  status(endpoint: Address, options?: CallOptions): Promise<StatusResponse>
  /** Must be asked of the leader, as etcd wants it: finds it among the endpoints. */
  moveLeader(target: bigint, options?: CallOptions): Promise<void>
  /** Ends all connections and watches; calls in progress are rejected with `connection-lost` or `outcome-unknown`. */
  close(): void
}
