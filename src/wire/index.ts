/**
 * wire: formats and protocols, pure. etcd's protobuf messages, gRPC over HTTP/2 and HTTP/1.1 as state machines, Skein's own
 * frames between members and in the log.
 *
 * Promises: (1) decoders validate every length and tag, and report failures as values; (2) state machines take bytes
 * and give events, without clock or I/O; (3) what a peer can make them hold is bounded.
 * Never: opens a connection; knows what a message means to a server.
 * Sources: RFC 9113, RFC 7541, RFC 9112, gRPC's PROTOCOL-HTTP2.md, protobuf.dev, etcd 3.4 rpc.proto.
 */

// gRPC and HTTP
export { createGrpcClient } from './grpc-client.ts'
export { isMetadata } from './grpc-message.ts'
export { createGrpcServer } from './grpc-server.ts'
export type {
  GrpcCall,
  GrpcClientConnection,
  GrpcClientHandlers,
  GrpcLimits,
  GrpcServerConnection,
  GrpcServerHandlers,
  GrpcStatus,
  HttpReply,
  Metadata,
} from './grpc-types.ts'
export { GRPC_STATUS } from './grpc-types.ts'
export type { Http1Server } from './http1-server.ts'
export { createHttp1Server } from './http1-server.ts'
export type { Recognised } from './recognise.ts'
export { recognise } from './recognise.ts'

// etcd's messages
export {
  decodeCompactionRequest,
  decodeCompactionResponse,
  decodeDeleteRangeRequest,
  decodeDeleteRangeResponse,
  decodeKeyValue,
  decodeMemberListRequest,
  decodeMemberListResponse,
  decodeMoveLeaderRequest,
  decodeMoveLeaderResponse,
  decodePutRequest,
  decodePutResponse,
  decodeRangeRequest,
  decodeRangeResponse,
  decodeResponseHeader,
  decodeStatusRequest,
  decodeStatusResponse,
  decodeTxnRequest,
  decodeTxnResponse,
  decodeWatchRequest,
  decodeWatchResponse,
  encodeCompactionRequest,
  encodeCompactionResponse,
  encodeDeleteRangeRequest,
  encodeDeleteRangeResponse,
  encodeMemberListRequest,
  encodeMemberListResponse,
  encodeMoveLeaderRequest,
  encodeMoveLeaderResponse,
  encodePutRequest,
  encodePutResponse,
  encodeRangeRequest,
  encodeRangeResponse,
  encodeResponseHeader,
  encodeStatusRequest,
  encodeStatusResponse,
  encodeTxnRequest,
  encodeTxnResponse,
  encodeWatchRequest,
  encodeWatchResponse,
} from './etcd-codec.ts'
export type { EncodedResponseOp, KeyValueLayout, ResponseKind } from './etcd-encoded.ts'
export {
  encodeDeleteRangeBody,
  encodeHeaderField,
  encodeKeyValue,
  encodePutBody,
  encodeTxnBody,
  layoutOfKeyValue,
  withHeader,
} from './etcd-encoded.ts'
export { encodeEventField, encodeWatchHead } from './etcd-watch.ts'
export type {
  WatchCancelRequest,
  WatchCreateRequest,
  WatchedEvent,
  WatchRequest,
  WatchResponse,
} from './etcd-watch-types.ts'
export { EVENT_TYPE, WATCH_FILTER } from './etcd-watch-types.ts'
export { RangeBody } from './range-body.ts'
export type { EtcdError } from './etcd-errors.ts'
export { ETCD_ERRORS } from './etcd-errors.ts'
export type {
  Compare,
  CompactionRequest,
  CompactionResponse,
  DeleteRangeRequest,
  DeleteRangeResponse,
  KeyValue,
  Member,
  MemberListResponse,
  MoveLeaderRequest,
  MoveLeaderResponse,
  PutRequest,
  PutResponse,
  RangeRequest,
  RangeResponse,
  RequestOp,
  ResponseHeader,
  ResponseOp,
  StatusResponse,
  TxnRequest,
  TxnResponse,
} from './etcd-types.ts'
export { COMPARE_RESULT, COMPARE_TARGET, SORT_ORDER, SORT_TARGET } from './etcd-types.ts'

// Skein's own formats: frames between members, and the data of log entries.
export type { DescribeResponse } from './skein-session.ts'
export {
  decodeDescribeResponse,
  DESCRIBE_PATH,
  encodeDescribeResponse,
  positionInSessionId,
  RESULTS_PER_SESSION,
  sessionIdAfter,
} from './skein-session.ts'
export type { ClientSession, Command, CommandKind } from './command.ts'
export { decodeCommand, encodeCommand, MAX_SESSION_ID_BYTES } from './command.ts'
export { decodePeerFrame, encodePeerFrame } from './peer-frame.ts'
export { MAX_TEXT_CHARS } from './peer-types.ts'
export type { PeerConfig, PeerEntry, PeerFrame, PeerRaftMessage, PeerSnapshotMeta, SnapshotPair } from './peer-types.ts'
