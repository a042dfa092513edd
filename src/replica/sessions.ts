/**
 * Client sessions: the last results of clients that number their requests (`skein-session`, `skein-seq`), so that a
 * retry gets the first attempt's answer instead of a second effect. Replicated state, in the engine only.
 *
 * A session is opened by its first request. Its id may say after which position of the log that was (`after-POSITION-…`):
 * then an unknown session is refused once any session that was used after that position has been forgotten, because
 * it may be the one, and its requests may have taken effect. Other ids are taken as new.
 *
 * Bounds: MAX_SESSIONS sessions, of which the longest unused is forgotten first (by log position, so that all replicas
 * agree); RESULTS_PER_SESSION results each; a result above MAX_RESULT_BYTES is remembered as a fact without its body. A
 * session's record is written with each of its requests: bodies above INLINE_BYTES have records of their own, so that
 * this costs what the new result does, not what all of them do.
 * Source: Raft dissertation, section 6.3.
 */
import type { LogIndex, Result, SpaceId } from '../base/index.ts'
import { concatBytes, err, failure, invariant, ok } from '../base/index.ts'
import type { EngineReader, EngineWriter } from '../engine/index.ts'
import type { ClientSession } from '../wire/index.ts'
import { positionInSessionId, RESULTS_PER_SESSION } from '../wire/index.ts'
import { readU64, recordEnd, recordKey, u64 } from './records.ts'
import type { Applied } from './types.ts'

export const MAX_SESSIONS = 10_000
export const MAX_RESULT_BYTES = 16_384

const INLINE_BYTES = 256

/** `body`: undefined where it was too large to keep, 'apart' where it has a record of its own. */
type Remembered = {
  readonly sequence: number
  readonly revision: number
  readonly body: Uint8Array | 'apart' | undefined
}
type SessionRecord = { readonly lastUse: bigint; readonly results: readonly Remembered[] }

/** Undefined: this request is new. Otherwise what it was answered, or that it is too old to tell. */
export function earlierResult(
  reader: EngineReader,
  space: SpaceId,
  session: ClientSession,
): Result<Applied> | undefined {
  const bytes = reader.get(recordKey(space, 'session', session.id))
  if (bytes === undefined) return mayBeForgotten(reader, space, session)
  const { results } = decode(bytes)
  const known = results.find((result) => result.sequence === session.sequence)
  if (known !== undefined) {
    const body = known.body === 'apart' ? reader.get(bodyKey(space, session.id, known.sequence)) : known.body
    invariant(known.body === undefined || body !== undefined, 'session-body', `request ${known.sequence}`)
    if (body !== undefined) return ok({ body, revision: known.revision })
    return err(
      failure(
        'session-stale',
        `request ${session.sequence} of this session took effect at revision ${known.revision}; its answer was too large to keep`,
      ),
    )
  }
  const oldest = results[0]
  if (oldest === undefined || results.length < RESULTS_PER_SESSION || session.sequence > oldest.sequence)
    return undefined
  return err(
    failure(
      'session-stale',
      `request ${session.sequence} is older than the ${RESULTS_PER_SESSION} last ones of its session, which begin at ${oldest.sequence}`,
    ),
  )
}

function mayBeForgotten(reader: EngineReader, space: SpaceId, session: ClientSession): Result<Applied> | undefined {
  const after = positionInSessionId(session.id)
  const stored = reader.get(recordKey(space, 'sessionForgotten', NOTHING))
  if (after === undefined || stored === undefined) return undefined
  const forgotten = Number(readU64(stored, 0))
  if (forgotten <= after) return undefined
  return err(
    failure(
      'session-stale',
      `this session is unknown, and sessions used up to position ${forgotten} of the log have been forgotten: open a new one`,
    ),
  )
}

const NOTHING = new Uint8Array(0)

/** Remembers a result at log position `index`, and forgets the longest unused session where there are too many. */
export function remember(
  reader: EngineReader,
  writer: EngineWriter,
  space: SpaceId,
  session: ClientSession,
  index: LogIndex,
  applied: Applied,
): void {
  const key = recordKey(space, 'session', session.id)
  const bytes = reader.get(key)
  const before = bytes === undefined ? undefined : decode(bytes)
  const { revision, body } = applied
  const isApart = body.length > INLINE_BYTES && body.length <= MAX_RESULT_BYTES
  const kept: Remembered['body'] = isApart ? 'apart' : body.length <= INLINE_BYTES ? body : undefined
  if (isApart) writer.put(bodyKey(space, session.id, session.sequence), body)
  const all = [...(before?.results ?? []), { sequence: session.sequence, revision, body: kept }].sort(
    (a, b) => a.sequence - b.sequence,
  )
  const results = all.slice(-RESULTS_PER_SESSION)
  removeBodies(writer, space, session.id, all.slice(0, -RESULTS_PER_SESSION))
  const lastUse = BigInt(index)
  writer.put(key, encode({ lastUse, results }))
  // One entry uses one session, so a log position names at most one.
  if (before !== undefined) writer.remove(recordKey(space, 'sessionByUse', u64(before.lastUse)))
  writer.put(recordKey(space, 'sessionByUse', u64(lastUse)), session.id)
  if (before === undefined) forgetBeyondLimit(reader, writer, space)
}

function bodyKey(space: SpaceId, id: Uint8Array, sequence: number): Uint8Array {
  return recordKey(space, 'sessionBody', concatBytes([id, u64(BigInt(sequence))]))
}

function removeBodies(writer: EngineWriter, space: SpaceId, id: Uint8Array, results: readonly Remembered[]): void {
  for (const { body, sequence } of results) if (body === 'apart') writer.remove(bodyKey(space, id, sequence))
}

function forgetBeyondLimit(reader: EngineReader, writer: EngineWriter, space: SpaceId): void {
  const countKey = recordKey(space, 'sessionCount', new Uint8Array(0))
  const stored = reader.get(countKey)
  const count = (stored === undefined ? 0 : Number(readU64(stored, 0))) + 1
  if (count <= MAX_SESSIONS) {
    writer.put(countKey, u64(BigInt(count)))
    return
  }
  const cursor = reader.scan(recordKey(space, 'sessionByUse', new Uint8Array(0)), recordEnd(space, 'sessionByUse'))
  const found = cursor.next()
  invariant(found, 'session-by-use', `${count} sessions are counted and none is listed`)
  const useKey = cursor.key
  const id = cursor.value
  cursor.close()
  const prefix = recordKey(space, 'sessionByUse', NOTHING)
  writer.put(recordKey(space, 'sessionForgotten', NOTHING), useKey.slice(prefix.length))
  writer.remove(useKey)
  const key = recordKey(space, 'session', id)
  const record = reader.get(key)
  invariant(record !== undefined, 'session-by-use', 'a session is listed that has no record')
  removeBodies(writer, space, id, decode(record).results)
  writer.remove(key)
}

/** In the place of a length. */
const NOT_KEPT = 0xffffffff
const APART = 0xfffffffe

/** lastUse u64, then per result: sequence u64, revision u64, length u32 (or NOT_KEPT, APART), body. */
function encode(record: SessionRecord): Uint8Array {
  const parts: Uint8Array[] = [u64(record.lastUse)]
  for (const result of record.results) {
    const head = new Uint8Array(20)
    const view = new DataView(head.buffer)
    view.setBigUint64(0, BigInt(result.sequence))
    view.setBigUint64(8, BigInt(result.revision))
    const { body } = result
    view.setUint32(16, body === undefined ? NOT_KEPT : body === 'apart' ? APART : body.length)
    parts.push(head)
    if (body !== undefined && body !== 'apart') parts.push(body)
  }
  return concatBytes(parts)
}

function decode(bytes: Uint8Array): SessionRecord {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const results: Remembered[] = []
  let offset = 8
  while (offset < bytes.length) {
    invariant(offset + 20 <= bytes.length, 'session-record', 'a session record ends in the middle')
    const length = view.getUint32(offset + 16)
    const isHere = length < APART
    const end = offset + 20 + (isHere ? length : 0)
    invariant(end <= bytes.length, 'session-record', 'a session record ends in the middle')
    results.push({
      sequence: Number(view.getBigUint64(offset)),
      revision: Number(view.getBigUint64(offset + 8)),
      body: isHere ? bytes.subarray(offset + 20, end) : length === APART ? 'apart' : undefined,
    })
    offset = end
  }
  return { lastUse: view.getBigUint64(0), results }
}
