/**
 * From gRPC statuses to failures: Skein says its own code in a trailer, etcd's is recognised by its text. And what a
 * failure means for asking again: whether the call may have taken effect, and whether another try can help.
 */
import type { Failure, FailureCode } from '../base/index.ts'
import { failure, FAILURES } from '../base/index.ts'
import { GRPC_STATUS } from '../wire/index.ts'
import type { Ended } from './connection.ts'

const TEXTS: readonly (readonly [text: string, code: FailureCode])[] = [
  ['required revision has been compacted', 'compacted'],
  ['required revision is a future revision', 'future-revision'],
  ['requested lease not found', 'lease-not-found'],
  ['request is too large', 'request-too-large'],
  // gRPC's own limit on a message, in the words of grpc-go.
  ['message larger than max', 'request-too-large'],
  ['too many requests', 'too-many-requests'],
  ['database space exceeded', 'disk-full'],
  ['no leader', 'no-leader'],
  ['not leader', 'not-leader'],
  ['server stopped', 'stopping'],
  ['request timed out', 'timed-out'],
]

const CODES: Readonly<Record<number, FailureCode>> = {
  [GRPC_STATUS.invalidArgument]: 'invalid-request',
  [GRPC_STATUS.notFound]: 'invalid-request',
  [GRPC_STATUS.outOfRange]: 'invalid-request',
  [GRPC_STATUS.failedPrecondition]: 'invalid-request',
  [GRPC_STATUS.permissionDenied]: 'permission-denied',
  [GRPC_STATUS.unauthenticated]: 'authentication-failed',
  [GRPC_STATUS.resourceExhausted]: 'too-many-requests',
  [GRPC_STATUS.unimplemented]: 'unimplemented',
  [GRPC_STATUS.deadlineExceeded]: 'timed-out',
}

/** Statuses with which etcd refuses before it proposes, or because applying changed nothing. */
const CERTAIN: ReadonlySet<number> = new Set([
  GRPC_STATUS.invalidArgument,
  GRPC_STATUS.notFound,
  GRPC_STATUS.alreadyExists,
  GRPC_STATUS.permissionDenied,
  GRPC_STATUS.resourceExhausted,
  GRPC_STATUS.failedPrecondition,
  GRPC_STATUS.outOfRange,
  GRPC_STATUS.unimplemented,
  GRPC_STATUS.unauthenticated,
])

/** Skein's codes for a write that had been handed to a leader. */
const UNCERTAIN: ReadonlySet<FailureCode> = new Set<FailureCode>([
  'timed-out',
  'outcome-unknown',
  'connection-lost',
  'internal',
])

/**
 * `elsewhere`: another server may answer at once. `later`: whoever is asked, after a pause. `never`: the answer is final.
 * `isHopeless`: where every server says this, there is nobody to wait for.
 */
export type Verdict = {
  readonly error: Failure
  readonly mayHaveEffect: boolean
  readonly again: 'never' | 'elsewhere' | 'later'
  readonly isHopeless: boolean
}

/** What the end of a call that did not succeed means. `writes`: it may change something. */
export function judge(address: string, ended: Ended, writes: boolean): Verdict {
  const { status, outcome } = ended
  const details = { endpoint: address, grpcCode: status.code }
  // What ended a connection names it already.
  const message = status.message.includes(address) ? status.message : `${address}: ${status.message}`
  if (outcome === 'not-processed') {
    const error = failure('unreachable', `no server answers at ${address}: ${status.message}`, details)
    return { error, mayHaveEffect: false, again: 'elsewhere', isHopeless: true }
  }
  if (outcome === 'unknown') {
    const read = status.code === GRPC_STATUS.deadlineExceeded ? 'timed-out' : 'connection-lost'
    const error = failure(writes ? 'outcome-unknown' : read, message, details)
    return { error, mayHaveEffect: writes, again: 'elsewhere', isHopeless: false }
  }
  const named = status.metadata?.get('skein-code')
  const isSkein = named !== undefined && Object.hasOwn(FAILURES, named)
  const code = isSkein
    ? (named as FailureCode)
    : (TEXTS.find(([text]) => status.message.includes(text))?.[1] ?? CODES[status.code] ?? 'internal')
  const isCertain = isSkein ? !UNCERTAIN.has(code) : CERTAIN.has(status.code) || code === 'no-leader'
  const mayHaveEffect = writes && !isCertain
  const error = failure(mayHaveEffect ? 'outcome-unknown' : code, message, details)
  return {
    error,
    mayHaveEffect,
    again: mayHaveEffect ? 'elsewhere' : againAfter(code),
    isHopeless: code === 'no-leader',
  }
}

/** What is in neither is an answer, and final. */
const LATER: ReadonlySet<FailureCode> = new Set<FailureCode>([
  'too-many-requests',
  'transfer-in-progress',
  'not-leader',
])
const ELSEWHERE: ReadonlySet<FailureCode> = new Set<FailureCode>([
  'stopping',
  'no-leader',
  'timed-out',
  'outcome-unknown',
  'connection-lost',
])

function againAfter(code: FailureCode): Verdict['again'] {
  if (LATER.has(code)) return 'later'
  return ELSEWHERE.has(code) ? 'elsewhere' : 'never'
}
