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
  compact(revision: number, options?: CallOptions & { readonly physical?: boolean }): Promise<CompactionResponse>
  memberList(options?: CallOptions): Promise<MemberListResponse>
  /** Asks exactly this server. */
  status(endpoint: Address, options?: CallOptions): Promise<StatusResponse>
  /** Must be asked of the leader, as etcd wants it: finds it among the endpoints. */
  moveLeader(target: bigint, options?: CallOptions): Promise<void>
  /** Ends all connections; calls in progress are rejected with `connection-lost` or `outcome-unknown`. */
  close(): void
}
