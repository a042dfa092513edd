/**
 * A replica's own records in the engine, beside the range's keys and in the same interval, so that a snapshot of the
 * interval carries them: which proposals were applied (window.ts), the last results of client sessions (sessions.ts), and the term and
 * configuration at the applied index (what a log that begins there needs to know).
 */
import type { SpaceId, Term } from '../base/index.ts'
import { concatBytes, invariant, term as makeTerm } from '../base/index.ts'
import type { EngineReader, EngineWriter } from '../engine/index.ts'
import { replicaPrefix } from '../mvcc/index.ts'
import type { Config } from '../raft/index.ts'
import { decodeConfig, encodeConfig } from '../raft/index.ts'

const KIND = {
  position: 0,
  window: 1,
  session: 2,
  sessionByUse: 3,
  sessionCount: 4,
  sessionForgotten: 5,
  sessionBody: 6,
} as const

export type RecordKind = keyof typeof KIND

/** The key of a record, or with an empty `rest` the start of all records of the kind. */
export function recordKey(space: SpaceId, kind: RecordKind, rest: Uint8Array): Uint8Array {
  return concatBytes([replicaPrefix(space), new Uint8Array([KIND[kind]]), rest])
}

/** One past all records of the kind. */
export function recordEnd(space: SpaceId, kind: RecordKind): Uint8Array {
  return concatBytes([replicaPrefix(space), new Uint8Array([KIND[kind] + 1])])
}

export function u64(value: bigint): Uint8Array {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setBigUint64(0, value)
  return bytes
}

export function readU64(bytes: Uint8Array, offset: number): bigint {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getBigUint64(offset)
}

/** Term of the last applied entry, and the configuration in force at it. */
export type Position = {
  readonly term: Term
  readonly config: Config
  /** A snapshot put the state here and nothing has been applied since: the log may not have been reset to it yet. */
  readonly restored: boolean
}

const NOTHING = new Uint8Array(0)

export function writePosition(writer: EngineWriter, space: SpaceId, position: Position): void {
  writer.put(positionKey(space), encodePosition(position))
}

export function positionKey(space: SpaceId): Uint8Array {
  return recordKey(space, 'position', NOTHING)
}

/** restored u8, term u64, then the configuration. */
export function encodePosition(position: Position): Uint8Array {
  const flag = new Uint8Array([position.restored ? 1 : 0])
  return concatBytes([flag, u64(BigInt(position.term)), encodeConfig(position.config)])
}

export function decodePosition(bytes: Uint8Array): Position {
  invariant(bytes.length > 9, 'position-record', `record of ${bytes.length} bytes`)
  const config = decodeConfig(bytes.subarray(9))
  invariant(config.ok, 'position-record', 'the configuration in the engine cannot be decoded')
  return { restored: bytes[0] === 1, term: makeTerm(Number(readU64(bytes, 1))), config: config.value }
}

export function readPosition(reader: EngineReader, space: SpaceId): Position | undefined {
  const bytes = reader.get(positionKey(space))
  return bytes === undefined ? undefined : decodePosition(bytes)
}
