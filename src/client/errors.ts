/** From gRPC statuses to failures: Skein says its own code in a trailer, etcd's is recognised by its text. */
import type { Failure, FailureCode } from '../base/index.ts'
import { failure, FAILURES } from '../base/index.ts'
import { GRPC_STATUS } from '../wire/index.ts'
import type { Ended } from './connection.ts'

const TEXTS: readonly (readonly [text: string, code: FailureCode])[] = [
  ['required revision has been compacted', 'compacted'],
  ['required revision is a future revision', 'future-revision'],
  ['requested lease not found', 'lease-not-found'],
  ['request is too large', 'request-too-large'],
  ['too many requests', 'too-many-requests'],
  ['database space exceeded', 'disk-full'],
  ['no leader', 'no-leader'],
  ['not leader', 'not-leader'],
  ['server stopped', 'stopping'],
  ['request timed out', 'timed-out'],
]

const CODES: Readonly<Record<number, FailureCode>> = {
  [GRPC_STATUS.invalidArgument]: 'invalid-request',
  [GRPC_STATUS.unimplemented]: 'unimplemented',
  [GRPC_STATUS.deadlineExceeded]: 'timed-out',
}

/** `writes`: whether the call may have changed anything, so that an answer that never came leaves its outcome unknown. */
export function failureOf(address: string, ended: Ended, writes: boolean): Failure {
  const { status, outcome } = ended
  const details = { endpoint: address, grpcCode: status.code }
  if (outcome === 'not-processed')
    return failure('unreachable', `no server answers at ${address}: ${status.message}`, details)
  if (outcome === 'unknown') {
    return failure(writes ? 'outcome-unknown' : 'connection-lost', `${address}: ${status.message}`, details)
  }
  const named = status.metadata?.get('skein-code')
  const code =
    named !== undefined && Object.hasOwn(FAILURES, named)
      ? (named as FailureCode)
      : (TEXTS.find(([text]) => status.message.includes(text))?.[1] ?? CODES[status.code] ?? 'internal')
  return failure(code, `${address}: ${status.message}`, details)
}

/** Whether another server, or the same one later, may be asked with nothing lost. */
export function mayTryElsewhere(ended: Ended, error: Failure, writes: boolean): boolean {
  if (ended.outcome === 'not-processed') return true
  if (ended.outcome === 'unknown') return !writes
  return error.code === 'stopping' || (!writes && (error.code === 'no-leader' || error.code === 'timed-out'))
}
