/** etcdserverpb.KV: Range, Put, DeleteRange, Txn, Compact. */
import type { Result } from '../base/index.ts'
import { failure } from '../base/index.ts'
import { validateCompact, validateDeleteRange, validatePut, validateRange, validateTxn } from '../mvcc/index.ts'
import type { Call, UnaryHandler } from '../port/index.ts'
import type { Requests, WriteKind } from '../server/index.ts'
import {
  decodeCompactionRequest,
  decodeDeleteRangeRequest,
  decodePutRequest,
  decodeRangeRequest,
  decodeTxnRequest,
} from '../wire/index.ts'
import { answer, refuse, sessionOf, spaceOf } from './call.ts'

/** etcd's `--max-request-bytes`. */
export const MAX_REQUEST_BYTES: number = 1536 * 1024

export function kvHandlers(requests: Requests): ReadonlyMap<string, UnaryHandler> {
  const writing =
    <T>(
      kind: WriteKind,
      decode: (bytes: Uint8Array) => Result<T>,
      validate: (request: T) => Result<void>,
    ): UnaryHandler =>
    (bytes, call) => {
      const request = decode(bytes)
      if (!request.ok) return refuse(call, request.error)
      const valid = validate(request.value)
      if (!valid.ok) return refuse(call, valid.error)
      write(kind, bytes, call)
    }

  const write = (kind: WriteKind, bytes: Uint8Array, call: Call): void => {
    if (bytes.length > MAX_REQUEST_BYTES) {
      return refuse(
        call,
        failure('request-too-large', `the request has ${bytes.length} bytes, the limit is ${MAX_REQUEST_BYTES}`),
      )
    }
    const session = sessionOf(call)
    if (!session.ok) return refuse(call, session.error)
    requests.write(
      { kind, space: spaceOf(call), bytes, session: session.value, deadlineMs: call.deadlineMs },
      (result) => answer(requests, call, result),
    )
  }

  const range: UnaryHandler = (bytes, call) => {
    const decoded = decodeRangeRequest(bytes)
    if (!decoded.ok) return refuse(call, decoded.error)
    const request = decoded.value
    const valid = validateRange(request)
    if (!valid.ok) return refuse(call, valid.error)
    requests.read(
      {
        space: spaceOf(call),
        request,
        serializable: request.serializable,
        deadlineMs: call.deadlineMs,
        cancelled: () => call.cancelled,
      },
      (result) => answer(requests, call, result),
    )
  }

  return new Map<string, UnaryHandler>([
    ['/etcdserverpb.KV/Range', range],
    ['/etcdserverpb.KV/Put', writing('put', decodePutRequest, validatePut)],
    ['/etcdserverpb.KV/DeleteRange', writing('deleteRange', decodeDeleteRangeRequest, validateDeleteRange)],
    ['/etcdserverpb.KV/Txn', writing('txn', decodeTxnRequest, validateTxn)],
    ['/etcdserverpb.KV/Compact', writing('compact', decodeCompactionRequest, validateCompact)],
  ])
}
