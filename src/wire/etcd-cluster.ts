/** etcd's messages about members and servers in protobuf. Source: etcd 3.4 `etcdserverpb/rpc.proto`. */
import { RESPONSE_HEADER } from './etcd-kv.ts'
import type { Member, MemberListResponse, MoveLeaderRequest, MoveLeaderResponse, StatusResponse } from './etcd-types.ts'
import type { MessageCodec } from './protobuf-message.ts'
import {
  bigUint64Field,
  boolField,
  int64Field,
  message,
  messageField,
  repeatedField,
  STRING,
  stringField,
  uint64Field,
} from './protobuf-message.ts'

const MEMBER: MessageCodec<Member> = message<Member>(
  'Member',
  () => ({ id: 0n, name: '', peerUrls: [], clientUrls: [], isLearner: false }),
  {
    id: bigUint64Field(1),
    name: stringField(2),
    peerUrls: repeatedField(3, STRING),
    clientUrls: repeatedField(4, STRING),
    isLearner: boolField(5),
  },
)

/** Requests without fields: MemberListRequest, StatusRequest. */
export const EMPTY_REQUEST: MessageCodec<object> = message<object>('EmptyRequest', () => ({}), {})

export const MEMBER_LIST_RESPONSE: MessageCodec<MemberListResponse> = message<MemberListResponse>(
  'MemberListResponse',
  () => ({ members: [] }),
  { header: messageField(1, RESPONSE_HEADER), members: repeatedField(2, MEMBER) },
)

export const STATUS_RESPONSE: MessageCodec<StatusResponse> = message<StatusResponse>(
  'StatusResponse',
  () => ({
    version: '',
    dbSize: 0,
    leader: 0n,
    raftIndex: 0,
    raftTerm: 0,
    raftAppliedIndex: 0,
    errors: [],
    dbSizeInUse: 0,
    isLearner: false,
  }),
  {
    header: messageField(1, RESPONSE_HEADER),
    version: stringField(2),
    dbSize: int64Field(3),
    leader: bigUint64Field(4),
    raftIndex: uint64Field(5),
    raftTerm: uint64Field(6),
    raftAppliedIndex: uint64Field(7),
    errors: repeatedField(8, STRING),
    dbSizeInUse: int64Field(9),
    isLearner: boolField(10),
  },
)

export const MOVE_LEADER_REQUEST: MessageCodec<MoveLeaderRequest> = message<MoveLeaderRequest>(
  'MoveLeaderRequest',
  () => ({ targetId: 0n }),
  { targetId: bigUint64Field(1) },
)

export const MOVE_LEADER_RESPONSE: MessageCodec<MoveLeaderResponse> = message<MoveLeaderResponse>(
  'MoveLeaderResponse',
  () => ({}),
  { header: messageField(1, RESPONSE_HEADER) },
)
