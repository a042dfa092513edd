/**
 * The data of a log entry: what was asked, by whom, and the client's validated request as it came. Written to every
 * log, so this format is never changed, only followed by another version.
 *
 * Layout, little-endian: version u8 (1), kind u8, space u16, flags u8 (1: session), server u64, incarnation u64,
 * sequence u64, completedBelow u64, with a session its id's length u8, id and sequence u64; the rest is the body.
 */
import type { MemberId, Result, SpaceId } from '../base/index.ts'
import { EMPTY, invariant } from '../base/index.ts'
import {
  fault,
  finishReader,
  finishWriter,
  getCount,
  getMember,
  getRaw,
  getU16,
  getU64,
  getU8,
  putCount,
  putRaw,
  putU16,
  putU64,
  putU8,
  remaining,
  startReader,
  startWriter,
} from './peer-bytes.ts'
import type { Reader } from './peer-bytes.ts'

export const MAX_SESSION_ID_BYTES = 64

const VERSION = 1
const WITH_SESSION = 1
const HEADER_BYTES = 37

/** Numbers are for ever; 5 and up are free, for what the system itself proposes. */
const KIND = { put: 1, deleteRange: 2, txn: 3, compact: 4 } as const
const KINDS: ReadonlyMap<number, CommandKind> = new Map<number, CommandKind>(
  Object.entries(KIND).map(([kind, tag]) => [tag, kind as CommandKind]),
)

export type CommandKind = keyof typeof KIND

/** A client's own identity of a request, for retries: the id has 1 to MAX_SESSION_ID_BYTES bytes. */
export type ClientSession = { readonly id: Uint8Array; readonly sequence: number }

export type Command = {
  readonly kind: CommandKind
  readonly space: SpaceId
  /** The member that took the request from its client, and its run. */
  readonly server: MemberId
  readonly incarnation: bigint
  readonly sequence: number
  /** The originator has the answers of all sequences below this one; at most `sequence`. */
  readonly completedBelow: number
  readonly session: ClientSession | undefined
  /** The etcd message of this kind. */
  readonly body: Uint8Array
}

/** One array, to be proposed as it is. */
export function encodeCommand(command: Command): Uint8Array {
  const { session, body } = command
  invariant(command.completedBelow <= command.sequence, 'command-open')
  if (session !== undefined) {
    invariant(session.id.length > 0 && session.id.length <= MAX_SESSION_ID_BYTES, 'session-id-length')
  }
  const headerBytes = HEADER_BYTES + (session === undefined ? 0 : 9 + session.id.length)
  const writer = startWriter(headerBytes + body.length)
  putU8(writer, VERSION)
  putU8(writer, KIND[command.kind])
  putU16(writer, command.space)
  putU8(writer, session === undefined ? 0 : WITH_SESSION)
  putU64(writer, command.server)
  putU64(writer, command.incarnation)
  putCount(writer, command.sequence)
  putCount(writer, command.completedBelow)
  if (session !== undefined) {
    putU8(writer, session.id.length)
    putRaw(writer, session.id)
    putCount(writer, session.sequence)
  }
  writer.chunk.set(body, headerBytes)
  writer.at = headerBytes + body.length
  return finishWriter(writer)[0] ?? EMPTY
}

/** Failure: protocol-error. Id and body are views of `bytes`. */
export function decodeCommand(bytes: Uint8Array): Result<Command> {
  const reader = startReader(bytes)
  const version = getU8(reader)
  if (version !== VERSION) fault(reader, `version ${version} is not ${VERSION}`)
  const kind = KINDS.get(getU8(reader))
  if (kind === undefined) fault(reader, 'unknown kind')
  // Every u16 is a space id.
  const space = getU16(reader) as SpaceId
  const flags = getU8(reader)
  if (flags > WITH_SESSION) fault(reader, `flags ${flags}`)
  const server = getMember(reader)
  const incarnation = getU64(reader)
  const sequence = getCount(reader)
  const completedBelow = getCount(reader)
  if (completedBelow > sequence) fault(reader, 'completedBelow above sequence')
  const session = flags === WITH_SESSION ? getSession(reader) : undefined
  const body = getRaw(reader, remaining(reader))
  return finishReader(reader, 'a command', {
    kind: kind ?? 'put',
    space,
    server,
    incarnation,
    sequence,
    completedBelow,
    session,
    body,
  })
}

function getSession(reader: Reader): ClientSession {
  const length = getU8(reader)
  if (length === 0 || length > MAX_SESSION_ID_BYTES) fault(reader, `session id of ${length} bytes`)
  return { id: getRaw(reader, length), sequence: getCount(reader) }
}
