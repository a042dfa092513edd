/** What a command asks of the store: the client's bytes, decoded. */
import type { Result } from '../base/index.ts'
import { ok } from '../base/index.ts'
import type { MvccOperation } from '../mvcc/index.ts'
import type { Command } from '../wire/index.ts'
import { decodeCompactionRequest, decodeDeleteRangeRequest, decodePutRequest, decodeTxnRequest } from '../wire/index.ts'

export function operationOf(command: Command): Result<MvccOperation> {
  switch (command.kind) {
    case 'put':
      return as('put', decodePutRequest(command.body))
    case 'deleteRange':
      return as('deleteRange', decodeDeleteRangeRequest(command.body))
    case 'txn':
      return as('txn', decodeTxnRequest(command.body))
    case 'compact':
      return as('compact', decodeCompactionRequest(command.body))
    default:
      return command.kind satisfies never
  }
}

type RequestOf<Type extends MvccOperation['type']> = Extract<MvccOperation, { type: Type }>['request']

function as<Type extends MvccOperation['type']>(type: Type, request: Result<RequestOf<Type>>): Result<MvccOperation> {
  return request.ok ? ok({ type, request: request.value } as MvccOperation) : request
}
