/**
 * How a failure looks to an etcd client: gRPC code and the exact text that etcd 3.4 uses where it has one
 * (`etcdserver/api/v3rpc/rpctypes/error.go`). Skein's own code travels beside it in trailers that etcd clients ignore.
 */
import type { Failure, FailureCode } from '../base/index.ts'
import type { GrpcStatus } from '../wire/index.ts'
import { ETCD_ERRORS, GRPC_STATUS } from '../wire/index.ts'

type Text = { readonly code: number; readonly message: string }

/** Codes without an etcd text of their own are told in Skein's words. */
const TEXTS: Partial<Readonly<Record<FailureCode, Text>>> = {
  'no-leader': { code: GRPC_STATUS.unavailable, message: 'etcdserver: no leader' },
  'not-leader': { code: GRPC_STATUS.failedPrecondition, message: 'etcdserver: not leader' },
  'timed-out': { code: GRPC_STATUS.unavailable, message: 'etcdserver: request timed out' },
  'too-many-requests': { code: GRPC_STATUS.resourceExhausted, message: 'etcdserver: too many requests' },
  'request-too-large': { code: GRPC_STATUS.invalidArgument, message: 'etcdserver: request is too large' },
  stopping: { code: GRPC_STATUS.unavailable, message: 'etcdserver: server stopped' },
  compacted: { code: GRPC_STATUS.outOfRange, message: 'etcdserver: mvcc: required revision has been compacted' },
  'future-revision': {
    code: GRPC_STATUS.outOfRange,
    message: 'etcdserver: mvcc: required revision is a future revision',
  },
  'lease-not-found': { code: GRPC_STATUS.notFound, message: 'etcdserver: requested lease not found' },
  'disk-full': { code: GRPC_STATUS.resourceExhausted, message: 'etcdserver: mvcc: database space exceeded' },
}

const CODES: Partial<Readonly<Record<FailureCode, number>>> = {
  'transfer-in-progress': GRPC_STATUS.unavailable,
  'outcome-unknown': GRPC_STATUS.unknown,
  'invalid-request': GRPC_STATUS.invalidArgument,
  'space-unknown': GRPC_STATUS.notFound,
  'session-stale': GRPC_STATUS.failedPrecondition,
  'config-change-refused': GRPC_STATUS.failedPrecondition,
  'protocol-error': GRPC_STATUS.internal,
  unimplemented: GRPC_STATUS.unimplemented,
}

/** The gRPC status for a failure. `details.etcd` names etcd's error where the cause is known more closely than by code. */
export function toStatus(failure: Failure): GrpcStatus {
  const metadata = new Map([['skein-code', failure.code as string]])
  const named = failure.details?.['etcd']
  const text = (typeof named === 'string' ? ETCD_ERRORS[named] : undefined) ?? TEXTS[failure.code]
  if (text !== undefined) return { code: text.code, message: text.message, metadata }
  return { code: CODES[failure.code] ?? GRPC_STATUS.internal, message: `skein: ${failure.message}`, metadata }
}
