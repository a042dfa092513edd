/** etcd's watch messages as TypeScript values. Source: etcd 3.4 `etcdserverpb/rpc.proto`, `mvccpb/kv.proto`. */
import type { KeyValue, ResponseHeader } from './etcd-types.ts'

export const WATCH_FILTER = { noPut: 0, noDelete: 1 } as const
export const EVENT_TYPE = { put: 0, delete: 1 } as const

export type WatchCreateRequest = {
  readonly key: Uint8Array
  readonly rangeEnd: Uint8Array
  /** 0: from now on. */
  readonly startRevision: number
  readonly progressNotify: boolean
  readonly filters: readonly number[]
  readonly prevKv: boolean
  /** 0: chosen by the server. */
  readonly watchId: number
  readonly fragment: boolean
}
export type WatchCancelRequest = { readonly watchId: number }

export type WatchRequest =
  | { readonly type: 'create'; readonly create: WatchCreateRequest }
  | { readonly type: 'cancel'; readonly cancel: WatchCancelRequest }
  | { readonly type: 'progress' }
  | { readonly type: 'none' }

/** mvccpb.Event. */
export type WatchedEvent = { readonly type: number; readonly kv?: KeyValue; readonly prevKv?: KeyValue }

export type WatchResponse = {
  readonly header?: ResponseHeader
  readonly watchId: number
  readonly created: boolean
  readonly canceled: boolean
  readonly compactRevision: number
  readonly cancelReason: string
  readonly fragment: boolean
  readonly events: readonly WatchedEvent[]
}
