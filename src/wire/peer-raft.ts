/**
 * The Raft messages of a frame. Per message: tag u8, group u32, from u64, to u64, term u64, then the fields in the order
 * of the type, numbers as 8 bytes. Entries carry no index: they follow each other from prevIndex + 1 on.
 */
import type { GroupId, LogIndex, MemberId } from '../base/index.ts'
import { invariant } from '../base/index.ts'
import type { Reader, Writer } from './peer-bytes.ts'
import {
  fault,
  getBytes,
  getCount,
  getFlag,
  getIndex,
  getLength,
  getMember,
  getTerm,
  getU32,
  getU8,
  putBytes,
  putCount,
  putFlag,
  putU32,
  putU64,
  putU8,
} from './peer-bytes.ts'
import type { PeerConfig, PeerEntry, PeerRaftMessage } from './peer-types.ts'

const TAG = {
  vote: 1,
  voteReply: 2,
  append: 3,
  appendReply: 4,
  heartbeat: 5,
  heartbeatReply: 6,
  snapshot: 7,
  readIndex: 8,
  readIndexReply: 9,
  timeoutNow: 10,
} as const satisfies Record<PeerRaftMessage['type'], number>

const TYPES: ReadonlyMap<number, PeerRaftMessage['type']> = new Map<number, PeerRaftMessage['type']>(
  Object.entries(TAG).map(([type, tag]) => [tag, type as PeerRaftMessage['type']]),
)

/** Tag, group, from, to, term: no message is shorter. */
export const MIN_RAFT_MESSAGE_BYTES = 29
const MIN_ENTRY_BYTES = 13
const MAX_INDEX = Number.MAX_SAFE_INTEGER

export function putRaftMessage(writer: Writer, group: GroupId, message: PeerRaftMessage): void {
  putU8(writer, TAG[message.type])
  putU32(writer, group)
  putU64(writer, message.from)
  putU64(writer, message.to)
  putCount(writer, message.term)
  switch (message.type) {
    case 'vote':
      putFlag(writer, message.preVote)
      putFlag(writer, message.transfer)
      putCount(writer, message.lastIndex)
      return putCount(writer, message.lastTerm)
    case 'voteReply':
      putFlag(writer, message.preVote)
      return putFlag(writer, message.granted)
    case 'append':
      putCount(writer, message.prevIndex)
      putCount(writer, message.prevTerm)
      putCount(writer, message.commit)
      return putEntries(writer, message.prevIndex, message.entries)
    case 'appendReply':
      putCount(writer, message.index)
      putFlag(writer, message.rejected)
      putCount(writer, message.hintIndex)
      return putCount(writer, message.hintTerm)
    case 'heartbeat':
      putCount(writer, message.commit)
      return putCount(writer, message.round)
    case 'heartbeatReply':
      return putCount(writer, message.round)
    case 'snapshot':
      putCount(writer, message.meta.index)
      putCount(writer, message.meta.term)
      return putConfig(writer, message.meta.config)
    case 'readIndex':
      return putCount(writer, message.context)
    case 'readIndexReply':
      putCount(writer, message.context)
      putCount(writer, message.index)
      return putFlag(writer, message.refused)
    case 'timeoutNow':
      return undefined
    default:
      return message satisfies never
  }
}

export function getRaftMessage(reader: Reader): { group: GroupId; message: PeerRaftMessage } {
  const type = TYPES.get(getU8(reader))
  if (type === undefined) fault(reader, 'unknown Raft message')
  // Every u32 is a group id.
  const group = getU32(reader) as GroupId
  const envelope = { from: getMember(reader), to: getMember(reader), term: getTerm(reader) }
  return { group, message: getBody(reader, type ?? 'timeoutNow', envelope) }
}

function getBody(
  reader: Reader,
  type: PeerRaftMessage['type'],
  envelope: Pick<PeerRaftMessage, 'from' | 'to' | 'term'>,
): PeerRaftMessage {
  const { from, to, term } = envelope
  switch (type) {
    case 'vote': {
      const [preVote, transfer] = [getFlag(reader), getFlag(reader)]
      return { type, from, to, term, preVote, transfer, lastIndex: getIndex(reader), lastTerm: getTerm(reader) }
    }
    case 'voteReply':
      return { type, from, to, term, preVote: getFlag(reader), granted: getFlag(reader) }
    case 'append': {
      const prevIndex = getIndex(reader)
      const prevTerm = getTerm(reader)
      const commit = getIndex(reader)
      return { type, from, to, term, prevIndex, prevTerm, commit, entries: getEntries(reader, prevIndex) }
    }
    case 'appendReply': {
      const index = getIndex(reader)
      const rejected = getFlag(reader)
      return { type, from, to, term, index, rejected, hintIndex: getIndex(reader), hintTerm: getTerm(reader) }
    }
    case 'heartbeat':
      return { type, from, to, term, commit: getIndex(reader), round: getCount(reader) }
    case 'heartbeatReply':
      return { type, from, to, term, round: getCount(reader) }
    case 'snapshot': {
      const index = getIndex(reader)
      const metaTerm = getTerm(reader)
      return { type, from, to, term, meta: { index, term: metaTerm, config: getConfig(reader) } }
    }
    case 'readIndex':
      return { type, from, to, term, context: getCount(reader) }
    case 'readIndexReply': {
      const context = getCount(reader)
      return { type, from, to, term, context, index: getIndex(reader), refused: getFlag(reader) }
    }
    case 'timeoutNow':
      return { type, from, to, term }
    default:
      return type satisfies never
  }
}

/** Count u32; per entry term u64, type u8 (0 normal, 1 config), length u32, data. */
function putEntries(writer: Writer, prevIndex: LogIndex, entries: readonly PeerEntry[]): void {
  putU32(writer, entries.length)
  let index: number = prevIndex
  for (const entry of entries) {
    index++
    invariant(entry.index === index, 'append-entries-consecutive', () => `index ${entry.index} where ${index} belongs`)
    putCount(writer, entry.term)
    putU8(writer, entry.type === 'config' ? 1 : 0)
    putBytes(writer, entry.data)
  }
}

function getEntries(reader: Reader, prevIndex: LogIndex): readonly PeerEntry[] {
  const count = getLength(reader, MIN_ENTRY_BYTES)
  if (prevIndex > MAX_INDEX - count) {
    fault(reader, 'entries beyond the highest index')
    return []
  }
  const entries: PeerEntry[] = []
  for (let i = 1; i <= count && reader.fault === undefined; i++) {
    const term = getTerm(reader)
    const type = getFlag(reader) ? 'config' : 'normal'
    entries.push({ index: (prevIndex + i) as LogIndex, term, type, data: getBytes(reader) })
  }
  return entries
}

/** autoLeave u8, then four lists: count u32, ids u64. */
function putConfig(writer: Writer, config: PeerConfig): void {
  putFlag(writer, config.autoLeave)
  putMembers(writer, config.voters)
  putMembers(writer, config.votersOutgoing)
  putMembers(writer, config.learners)
  putMembers(writer, config.learnersNext)
}

function getConfig(reader: Reader): PeerConfig {
  const autoLeave = getFlag(reader)
  const voters = getMembers(reader)
  const votersOutgoing = getMembers(reader)
  const learners = getMembers(reader)
  return { voters, votersOutgoing, learners, learnersNext: getMembers(reader), autoLeave }
}

function putMembers(writer: Writer, members: readonly MemberId[]): void {
  putU32(writer, members.length)
  for (const member of members) putU64(writer, member)
}

function getMembers(reader: Reader): readonly MemberId[] {
  const count = getLength(reader, 8)
  const members: MemberId[] = []
  for (let i = 0; i < count && reader.fault === undefined; i++) {
    const member = getMember(reader)
    const previous = members.at(-1)
    if (previous !== undefined && previous >= member) fault(reader, 'member ids not ascending')
    members.push(member)
  }
  return members
}
