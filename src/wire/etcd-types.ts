/**
 * etcd v3's messages as TypeScript values. Names are the .proto's in camel case. Revisions, limits and counts are
 * numbers (asserted below 2^53 by the decoder); ids of leases, members and clusters are bigint (int64 leases signed).
 * Enums are the .proto's numbers. Source: etcd 3.4 `etcdserverpb/rpc.proto`, `mvccpb/kv.proto`.
 */

export type KeyValue = {
  readonly key: Uint8Array
  readonly createRevision: number
  readonly modRevision: number
  readonly version: number
  readonly value: Uint8Array
  readonly lease: bigint
}

export type ResponseHeader = {
  readonly clusterId: bigint
  readonly memberId: bigint
  readonly revision: number
  readonly raftTerm: number
}

export const SORT_ORDER = { none: 0, ascend: 1, descend: 2 } as const
export const SORT_TARGET = { key: 0, version: 1, create: 2, mod: 3, value: 4 } as const

export type RangeRequest = {
  readonly key: Uint8Array
  readonly rangeEnd: Uint8Array
  readonly limit: number
  readonly revision: number
  readonly sortOrder: number
  readonly sortTarget: number
  readonly serializable: boolean
  readonly keysOnly: boolean
  readonly countOnly: boolean
  readonly minModRevision: number
  readonly maxModRevision: number
  readonly minCreateRevision: number
  readonly maxCreateRevision: number
}
export type RangeResponse = {
  readonly header?: ResponseHeader
  readonly kvs: readonly KeyValue[]
  readonly more: boolean
  readonly count: number
}

export type PutRequest = {
  readonly key: Uint8Array
  readonly value: Uint8Array
  readonly lease: bigint
  readonly prevKv: boolean
  readonly ignoreValue: boolean
  readonly ignoreLease: boolean
}
export type PutResponse = { readonly header?: ResponseHeader; readonly prevKv?: KeyValue }

export type DeleteRangeRequest = { readonly key: Uint8Array; readonly rangeEnd: Uint8Array; readonly prevKv: boolean }
export type DeleteRangeResponse = {
  readonly header?: ResponseHeader
  readonly deleted: number
  readonly prevKvs: readonly KeyValue[]
}

export const COMPARE_RESULT = { equal: 0, greater: 1, less: 2, notEqual: 3 } as const
export const COMPARE_TARGET = { version: 0, create: 1, mod: 2, value: 3, lease: 4 } as const

export type Compare = {
  readonly result: number
  readonly key: Uint8Array
  readonly rangeEnd: Uint8Array
  /** The target and its operand are one oneof; a missing operand compares as zero, as in etcd. */
  readonly target: number
  readonly operand:
    | { readonly type: 'version' | 'create' | 'mod'; readonly revision: number }
    | { readonly type: 'value'; readonly value: Uint8Array }
    | { readonly type: 'lease'; readonly lease: bigint }
    | undefined
}

export type RequestOp =
  | { readonly type: 'range'; readonly range: RangeRequest }
  | { readonly type: 'put'; readonly put: PutRequest }
  | { readonly type: 'deleteRange'; readonly deleteRange: DeleteRangeRequest }
  | { readonly type: 'txn'; readonly txn: TxnRequest }
  | { readonly type: 'none' }

export type ResponseOp =
  | { readonly type: 'range'; readonly range: RangeResponse }
  | { readonly type: 'put'; readonly put: PutResponse }
  | { readonly type: 'deleteRange'; readonly deleteRange: DeleteRangeResponse }
  | { readonly type: 'txn'; readonly txn: TxnResponse }

export type TxnRequest = {
  readonly compare: readonly Compare[]
  readonly success: readonly RequestOp[]
  readonly failure: readonly RequestOp[]
}
export type TxnResponse = {
  readonly header?: ResponseHeader
  readonly succeeded: boolean
  readonly responses: readonly ResponseOp[]
}

export type CompactionRequest = { readonly revision: number; readonly physical: boolean }
export type CompactionResponse = { readonly header?: ResponseHeader }

export type Member = {
  readonly id: bigint
  readonly name: string
  readonly peerUrls: readonly string[]
  readonly clientUrls: readonly string[]
  readonly isLearner: boolean
}
export type MemberListResponse = { readonly header?: ResponseHeader; readonly members: readonly Member[] }

export type StatusResponse = {
  readonly header?: ResponseHeader
  readonly version: string
  readonly dbSize: number
  readonly leader: bigint
  readonly raftIndex: number
  readonly raftTerm: number
  readonly raftAppliedIndex: number
  readonly errors: readonly string[]
  readonly dbSizeInUse: number
  readonly isLearner: boolean
}

export type MoveLeaderRequest = { readonly targetId: bigint }
export type MoveLeaderResponse = { readonly header?: ResponseHeader }
