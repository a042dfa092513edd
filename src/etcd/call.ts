/** What every etcd call has in common: its space, its session, its deadline, and the header of its answer. */
import type { Failure, Result } from '../base/index.ts'
import { err, failure, ok, utf8 } from '../base/index.ts'
import type { Call } from '../port/index.ts'
import type { ClientSession, Requests } from '../server/index.ts'
import { encodeHeaderField } from '../wire/index.ts'
import { toStatus } from './errors.ts'

const MAX_SESSION_ID_BYTES = 64

/** The space that a call names; etcd's own clients name none. */
export function spaceOf(call: Pick<Call, 'metadata'>): string {
  return call.metadata.get('skein-space') ?? 'default'
}

/** The retry identity in `skein-session` (1 to 64 bytes) and `skein-seq` (a decimal below 2^53), or why it is unusable. */
export function sessionOf(call: Call): Result<ClientSession | undefined> {
  const id = call.metadata.get('skein-session')
  const sequence = call.metadata.get('skein-seq')
  if (id === undefined && sequence === undefined) return NO_SESSION
  const bytes = utf8(id ?? '')
  const number = Number(sequence)
  if (
    bytes.length === 0 ||
    bytes.length > MAX_SESSION_ID_BYTES ||
    !/^\d{1,16}$/.test(sequence ?? '') ||
    !Number.isSafeInteger(number)
  ) {
    return err(
      failure(
        'invalid-request',
        `metadata skein-session must have 1 to ${MAX_SESSION_ID_BYTES} bytes and skein-seq be a decimal number; got ${JSON.stringify(id)} and ${JSON.stringify(sequence)}`,
      ),
    )
  }
  return ok({ id: bytes, sequence: number })
}

const NO_SESSION: Result<undefined> = { ok: true, value: undefined }

/** Answers with the header and an encoded body, or with the failure as etcd would tell it. */
export function answer(
  requests: Requests,
  call: Call,
  result: Result<{ readonly body: Uint8Array; readonly revision: number }>,
): void {
  if (!result.ok) {
    call.fail(toStatus(result.error))
    return
  }
  call.respond([header(requests, result.value.revision), result.value.body])
}

/** The encoded field 1 of every response; what follows it is the body. */
export function header(requests: Requests, revision: number): Uint8Array {
  return encodeHeaderField({
    clusterId: requests.clusterId,
    memberId: requests.memberId,
    revision,
    raftTerm: requests.status().term,
  })
}

export function refuse(call: Call, error: Failure): void {
  call.fail(toStatus(error))
}
