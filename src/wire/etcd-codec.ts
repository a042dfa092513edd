/**
 * The face of etcd's codec: one decoder and one encoder per message. Decoders give views of their input and failures as
 * values (`protocol-error` for malformed bytes, `invalid-request` for numbers beyond ±2^53); encoders take any value of
 * the type, with or without a header.
 */
import type { Result } from '../base/index.ts'
import {
  EMPTY_REQUEST,
  MEMBER_LIST_RESPONSE,
  MOVE_LEADER_REQUEST,
  MOVE_LEADER_RESPONSE,
  STATUS_RESPONSE,
} from './etcd-cluster.ts'
import {
  COMPACTION_REQUEST,
  COMPACTION_RESPONSE,
  DELETE_RANGE_REQUEST,
  DELETE_RANGE_RESPONSE,
  KEY_VALUE,
  PUT_REQUEST,
  PUT_RESPONSE,
  RANGE_REQUEST,
  RANGE_RESPONSE,
  RESPONSE_HEADER,
  TXN_REQUEST,
  TXN_RESPONSE,
} from './etcd-kv.ts'
import { WATCH_REQUEST, WATCH_RESPONSE } from './etcd-watch.ts'
import type { WatchRequest, WatchResponse } from './etcd-watch-types.ts'
import type {
  CompactionRequest,
  CompactionResponse,
  DeleteRangeRequest,
  DeleteRangeResponse,
  KeyValue,
  MemberListResponse,
  MoveLeaderRequest,
  MoveLeaderResponse,
  PutRequest,
  PutResponse,
  RangeRequest,
  RangeResponse,
  ResponseHeader,
  StatusResponse,
  TxnRequest,
  TxnResponse,
} from './etcd-types.ts'

type Decode<T> = (bytes: Uint8Array) => Result<T>
type Encode<T> = (message: T) => Uint8Array

export const decodeKeyValue: Decode<KeyValue> = KEY_VALUE.decode
export const decodeResponseHeader: Decode<ResponseHeader> = RESPONSE_HEADER.decode
export const encodeResponseHeader: Encode<ResponseHeader> = RESPONSE_HEADER.encode
export const decodeRangeRequest: Decode<RangeRequest> = RANGE_REQUEST.decode
export const encodeRangeRequest: Encode<RangeRequest> = RANGE_REQUEST.encode
export const decodeRangeResponse: Decode<RangeResponse> = RANGE_RESPONSE.decode
export const encodeRangeResponse: Encode<RangeResponse> = RANGE_RESPONSE.encode
export const decodePutRequest: Decode<PutRequest> = PUT_REQUEST.decode
export const encodePutRequest: Encode<PutRequest> = PUT_REQUEST.encode
export const decodePutResponse: Decode<PutResponse> = PUT_RESPONSE.decode
export const encodePutResponse: Encode<PutResponse> = PUT_RESPONSE.encode
export const decodeDeleteRangeRequest: Decode<DeleteRangeRequest> = DELETE_RANGE_REQUEST.decode
export const encodeDeleteRangeRequest: Encode<DeleteRangeRequest> = DELETE_RANGE_REQUEST.encode
export const decodeDeleteRangeResponse: Decode<DeleteRangeResponse> = DELETE_RANGE_RESPONSE.decode
export const encodeDeleteRangeResponse: Encode<DeleteRangeResponse> = DELETE_RANGE_RESPONSE.encode
export const decodeTxnRequest: Decode<TxnRequest> = TXN_REQUEST.decode
export const encodeTxnRequest: Encode<TxnRequest> = TXN_REQUEST.encode
export const decodeTxnResponse: Decode<TxnResponse> = TXN_RESPONSE.decode
export const encodeTxnResponse: Encode<TxnResponse> = TXN_RESPONSE.encode
export const decodeCompactionRequest: Decode<CompactionRequest> = COMPACTION_REQUEST.decode
export const encodeCompactionRequest: Encode<CompactionRequest> = COMPACTION_REQUEST.encode
export const decodeCompactionResponse: Decode<CompactionResponse> = COMPACTION_RESPONSE.decode
export const encodeCompactionResponse: Encode<CompactionResponse> = COMPACTION_RESPONSE.encode
export const decodeMemberListResponse: Decode<MemberListResponse> = MEMBER_LIST_RESPONSE.decode
export const encodeMemberListResponse: Encode<MemberListResponse> = MEMBER_LIST_RESPONSE.encode
export const decodeStatusResponse: Decode<StatusResponse> = STATUS_RESPONSE.decode
export const encodeStatusResponse: Encode<StatusResponse> = STATUS_RESPONSE.encode
export const decodeMoveLeaderRequest: Decode<MoveLeaderRequest> = MOVE_LEADER_REQUEST.decode
export const encodeMoveLeaderRequest: Encode<MoveLeaderRequest> = MOVE_LEADER_REQUEST.encode
export const decodeMoveLeaderResponse: Decode<MoveLeaderResponse> = MOVE_LEADER_RESPONSE.decode
export const encodeMoveLeaderResponse: Encode<MoveLeaderResponse> = MOVE_LEADER_RESPONSE.encode
export const decodeWatchRequest: Decode<WatchRequest> = WATCH_REQUEST.decode
export const encodeWatchRequest: Encode<WatchRequest> = WATCH_REQUEST.encode
export const decodeWatchResponse: Decode<WatchResponse> = WATCH_RESPONSE.decode
export const encodeWatchResponse: Encode<WatchResponse> = WATCH_RESPONSE.encode
/** Requests without fields. */
export const decodeMemberListRequest: Decode<object> = EMPTY_REQUEST.decode
export const encodeMemberListRequest: Encode<object> = EMPTY_REQUEST.encode
export const decodeStatusRequest: Decode<object> = EMPTY_REQUEST.decode
export const encodeStatusRequest: Encode<object> = EMPTY_REQUEST.encode
