/**
 * Frames between members: format u8, tag u8, then the fields in the order of the type in peer-types.ts. Numbers are 8
 * bytes little-endian below 2^53, groups u32, byte strings and lists begin with their u32 length, what is optional with
 * a flag. How frames are told apart on a connection, and their checksum, is links' affair.
 *
 * Promises: (1) decode(encode(frame)) equals the frame; (2) whatever bytes come, decoding returns a frame or a
 * protocol-error, never throws, and allocates no more than a constant times the bytes it was given.
 */
import type { FailureCode, GroupId, Result } from '../base/index.ts'
import { FAILURES, strictText, utf8 } from '../base/index.ts'
import type { Reader, Writer } from './peer-bytes.ts'
import {
  fault,
  finishReader,
  finishWriter,
  getBytes,
  getCount,
  getFlag,
  getIndex,
  getLength,
  getMember,
  getTerm,
  getU32,
  getU64,
  getU8,
  putBytes,
  putCount,
  putFlag,
  putU32,
  putU64,
  putU8,
  startReader,
  startWriter,
} from './peer-bytes.ts'
import { getRaftMessage, MIN_RAFT_MESSAGE_BYTES, putRaftMessage } from './peer-raft.ts'
import type { PeerFrame, PeerRaftMessage, SnapshotPair } from './peer-types.ts'
import { MAX_TEXT_CHARS } from './peer-types.ts'

const FORMAT = 1

const TAG = {
  raft: 1,
  proposal: 2,
  proposalRefused: 3,
  snapshotStart: 4,
  snapshotChunk: 5,
  snapshotEnd: 6,
  snapshotAck: 7,
  stopping: 8,
  snapshotProgress: 9,
} as const satisfies Record<PeerFrame['type'], number>

const TYPES: ReadonlyMap<number, PeerFrame['type']> = new Map<number, PeerFrame['type']>(
  Object.entries(TAG).map(([type, tag]) => [tag, type as PeerFrame['type']]),
)

/** UTF-8 takes at most three bytes for a UTF-16 code unit. */
const MAX_TEXT_BYTES = MAX_TEXT_CHARS * 3

/** The frame in parts to be joined; large byte strings in it are views of the caller's. */
export function encodePeerFrame(frame: PeerFrame): readonly Uint8Array[] {
  const writer = startWriter()
  putU8(writer, FORMAT)
  putU8(writer, TAG[frame.type])
  putFrame(writer, frame)
  return finishWriter(writer)
}

/** Failure: protocol-error. Byte strings in the frame are views of `bytes`. */
export function decodePeerFrame(bytes: Uint8Array): Result<PeerFrame> {
  const reader = startReader(bytes)
  const format = getU8(reader)
  if (format !== FORMAT) fault(reader, `format ${format} is not ${FORMAT}`)
  const type = TYPES.get(getU8(reader))
  if (type === undefined) fault(reader, 'unknown kind of frame')
  return finishReader(reader, 'a frame between members', getFrame(reader, type ?? 'stopping'))
}

function putFrame(writer: Writer, frame: PeerFrame): void {
  switch (frame.type) {
    case 'raft':
      putU32(writer, frame.messages.length)
      for (const { group, message } of frame.messages) putRaftMessage(writer, group, message)
      return
    case 'proposal':
      putU32(writer, frame.group)
      putU64(writer, frame.server)
      putU64(writer, frame.incarnation)
      putCount(writer, frame.sequence)
      return putBytes(writer, frame.command)
    case 'proposalRefused':
      putU32(writer, frame.group)
      putU64(writer, frame.incarnation)
      putCount(writer, frame.sequence)
      return putFailure(writer, frame)
    case 'snapshotStart':
      putStream(writer, frame)
      putU64(writer, frame.from)
      putU64(writer, frame.to)
      putCount(writer, frame.term)
      putCount(writer, frame.index)
      putCount(writer, frame.indexTerm)
      return putBytes(writer, frame.config)
    case 'snapshotChunk':
      putStream(writer, frame)
      putCount(writer, frame.sequence)
      return putPairs(writer, frame.pairs)
    case 'snapshotEnd':
      putStream(writer, frame)
      return putCount(writer, frame.pairs)
    case 'snapshotProgress':
      putStream(writer, frame)
      return putCount(writer, frame.received)
    case 'snapshotAck':
      putStream(writer, frame)
      putFlag(writer, frame.accepted)
      putFlag(writer, frame.failure !== undefined)
      if (frame.failure !== undefined) putFailure(writer, frame.failure)
      return
    case 'stopping':
      return
    default:
      return frame satisfies never
  }
}

function getFrame(reader: Reader, type: PeerFrame['type']): PeerFrame {
  switch (type) {
    case 'raft':
      return { type, messages: getMessages(reader) }
    case 'proposal': {
      const group = getGroup(reader)
      const server = getMember(reader)
      const incarnation = getU64(reader)
      return { type, group, server, incarnation, sequence: getCount(reader), command: getBytes(reader) }
    }
    case 'proposalRefused': {
      const group = getGroup(reader)
      const incarnation = getU64(reader)
      const sequence = getCount(reader)
      return { type, group, incarnation, sequence, ...getFailure(reader) }
    }
    case 'snapshotStart': {
      const { group, stream } = getStream(reader)
      const [from, to] = [getMember(reader), getMember(reader)]
      const term = getTerm(reader)
      const index = getIndex(reader)
      const indexTerm = getTerm(reader)
      return { type, group, stream, from, to, term, index, indexTerm, config: getBytes(reader) }
    }
    case 'snapshotChunk': {
      const { group, stream } = getStream(reader)
      const sequence = getCount(reader)
      return { type, group, stream, sequence, pairs: getPairs(reader) }
    }
    case 'snapshotEnd': {
      const { group, stream } = getStream(reader)
      return { type, group, stream, pairs: getCount(reader) }
    }
    case 'snapshotProgress': {
      const { group, stream } = getStream(reader)
      return { type, group, stream, received: getCount(reader) }
    }
    case 'snapshotAck': {
      const { group, stream } = getStream(reader)
      const accepted = getFlag(reader)
      const why = getFlag(reader) ? { failure: getFailure(reader) } : {}
      return { type, group, stream, accepted, ...why }
    }
    case 'stopping':
      return { type }
    default:
      return type satisfies never
  }
}

/** Every u32 is a group id. */
function getGroup(reader: Reader): GroupId {
  return getU32(reader) as GroupId
}

function getMessages(reader: Reader): readonly { group: GroupId; message: PeerRaftMessage }[] {
  const count = getLength(reader, MIN_RAFT_MESSAGE_BYTES)
  const messages: { group: GroupId; message: PeerRaftMessage }[] = []
  for (let i = 0; i < count && reader.fault === undefined; i++) messages.push(getRaftMessage(reader))
  return messages
}

function putStream(writer: Writer, frame: { readonly group: GroupId; readonly stream: number }): void {
  putU32(writer, frame.group)
  putCount(writer, frame.stream)
}

function getStream(reader: Reader): { group: GroupId; stream: number } {
  return { group: getGroup(reader), stream: getCount(reader) }
}

function putPairs(writer: Writer, pairs: readonly SnapshotPair[]): void {
  putU32(writer, pairs.length)
  for (const { key, value } of pairs) {
    putBytes(writer, key)
    putBytes(writer, value)
  }
}

function getPairs(reader: Reader): readonly SnapshotPair[] {
  const count = getLength(reader, 8)
  const pairs: SnapshotPair[] = []
  for (let i = 0; i < count && reader.fault === undefined; i++) {
    pairs.push({ key: getBytes(reader), value: getBytes(reader) })
  }
  return pairs
}

function putFailure(writer: Writer, why: { readonly code: FailureCode; readonly message: string }): void {
  putBytes(writer, utf8(why.code))
  putBytes(writer, utf8(why.message.slice(0, MAX_TEXT_CHARS)))
}

/** A code that this version does not know is an error: new ones need a new protocol number. */
function getFailure(reader: Reader): { code: FailureCode; message: string } {
  const code = strictText(getBytes(reader))
  if (code === undefined || !Object.hasOwn(FAILURES, code)) fault(reader, 'unknown failure code')
  const bytes = getBytes(reader)
  const message = bytes.length <= MAX_TEXT_BYTES ? strictText(bytes) : undefined
  if (message === undefined) fault(reader, 'malformed text')
  return { code: code as FailureCode, message: message ?? '' }
}
