/**
 * etcd 3.4's errors of the calls served here: gRPC code and exact text by the name of etcd's constant (without `GRPC`).
 * Source: etcd 3.4 `etcdserver/api/v3rpc/rpctypes/error.go`.
 */
import { GRPC_STATUS } from './grpc-types.ts'

export type EtcdError = { readonly code: number; readonly message: string }

const invalid = (text: string): EtcdError => ({ code: GRPC_STATUS.invalidArgument, message: `etcdserver: ${text}` })
const beyond = (text: string): EtcdError => ({ code: GRPC_STATUS.outOfRange, message: `etcdserver: ${text}` })
const exhausted = (text: string): EtcdError => ({ code: GRPC_STATUS.resourceExhausted, message: `etcdserver: ${text}` })
const missing = (text: string): EtcdError => ({ code: GRPC_STATUS.notFound, message: `etcdserver: ${text}` })
const refused = (text: string): EtcdError => ({ code: GRPC_STATUS.failedPrecondition, message: `etcdserver: ${text}` })
const unavailable = (text: string): EtcdError => ({ code: GRPC_STATUS.unavailable, message: `etcdserver: ${text}` })

/** Keys are what `Failure.details.etcd` holds. */
export const ETCD_ERRORS: Readonly<Record<string, EtcdError>> = {
  ErrEmptyKey: invalid('key is not provided'),
  ErrKeyNotFound: invalid('key not found'),
  ErrValueProvided: invalid('value is provided'),
  ErrLeaseProvided: invalid('lease is provided'),
  ErrTooManyOps: invalid('too many operations in txn request'),
  ErrDuplicateKey: invalid('duplicate key given in txn request'),
  ErrCompacted: beyond('mvcc: required revision has been compacted'),
  ErrFutureRev: beyond('mvcc: required revision is a future revision'),
  ErrNoSpace: exhausted('mvcc: database space exceeded'),
  ErrLeaseNotFound: missing('requested lease not found'),
  ErrRequestTooLarge: invalid('request is too large'),
  ErrTooManyRequests: exhausted('too many requests'),
  ErrMemberNotFound: missing('member not found'),
  ErrNoLeader: unavailable('no leader'),
  ErrNotLeader: refused('not leader'),
  ErrLeaderChanged: unavailable('leader changed'),
  ErrNotCapable: unavailable('not capable'),
  ErrStopped: unavailable('server stopped'),
  ErrTimeout: unavailable('request timed out'),
  ErrTimeoutDueToLeaderFail: unavailable('request timed out, possibly due to previous leader failure'),
  ErrTimeoutDueToConnectionLost: unavailable('request timed out, possibly due to connection lost'),
  // Not among rpctypes: etcd sends what it does not list there with code unknown.
  ErrTimeoutLeaderTransfer: {
    code: GRPC_STATUS.unknown,
    message: 'etcdserver: request timed out, leader transfer took too long',
  },
  ErrTimeoutWaitAppliedIndex: unavailable('request timed out, waiting for the applied index took too long'),
  ErrUnhealthy: unavailable('unhealthy cluster'),
  ErrCorrupt: { code: GRPC_STATUS.dataLoss, message: 'etcdserver: corrupt cluster' },
  ErrNotSupportedForLearner: unavailable('rpc not supported for learner'),
  ErrBadLeaderTransferee: refused('bad leader transferee'),
}
