/**
 * The records of a batch. Each begins with type u8, group u32 and the length u32 of what follows, by type:
 *   base        index f64, term f64, config: the group's log begins here, and holds nothing
 *   compacted   the same: everything up to here is dropped, the rest stays
 *   hardState   term f64, vote u64 (0: none), commit f64
 *   entries     first index f64, count u32, then per entry term f64, type u8, length u32, data: cuts the log before them
 *   moved       the same: live entries of an old segment, written again so that it can go
 *   state       hard state as above, last index f64, last term f64, base as above: where a group stands as a segment begins
 *   removed     nothing
 */
import type { GroupId, LogIndex, MemberId, Term } from '../base/index.ts'
import { groupId, logIndex, memberId, term } from '../base/index.ts'
import type { LogBase, LogEntry, LogHardState } from './types.ts'

const TYPE = { base: 1, compacted: 2, hardState: 3, entries: 4, moved: 5, state: 6, removed: 7 } as const
const RECORD_HEADER_BYTES = 9
const ENTRY_HEADER_BYTES = 13
const HARD_STATE_BYTES = 24
const BASE_BYTES = 16

export type LogRecord =
  | { readonly type: 'base'; readonly group: GroupId; readonly base: LogBase }
  | { readonly type: 'compacted'; readonly group: GroupId; readonly base: LogBase }
  | { readonly type: 'hardState'; readonly group: GroupId; readonly hardState: LogHardState }
  | { readonly type: 'entries'; readonly group: GroupId; readonly entries: readonly LogEntry[] }
  | { readonly type: 'moved'; readonly group: GroupId; readonly entries: readonly LogEntry[] }
  | {
      readonly type: 'state'
      readonly group: GroupId
      readonly base: LogBase
      readonly hardState: LogHardState
      readonly lastIndex: LogIndex
      readonly lastTerm: Term
    }
  | { readonly type: 'removed'; readonly group: GroupId }

function bodyBytes(record: LogRecord): number {
  switch (record.type) {
    case 'base':
    case 'compacted':
      return BASE_BYTES + record.base.config.length
    case 'hardState':
      return HARD_STATE_BYTES
    case 'entries':
    case 'moved': {
      let sum = 12
      for (const entry of record.entries) sum += ENTRY_HEADER_BYTES + entry.data.length
      return sum
    }
    case 'state':
      return HARD_STATE_BYTES + 16 + BASE_BYTES + record.base.config.length
    case 'removed':
      return 0
    default:
      return record satisfies never
  }
}

/** What a record takes in a batch. */
export function recordBytes(record: LogRecord): number {
  return RECORD_HEADER_BYTES + bodyBytes(record)
}

/** Writes `record` at `start`; returns where it ends. */
export function writeRecord(bytes: Uint8Array, view: DataView, start: number, record: LogRecord): number {
  view.setUint8(start, TYPE[record.type])
  view.setUint32(start + 1, record.group, true)
  const at = start + RECORD_HEADER_BYTES
  const end = writeBody(bytes, view, at, record)
  view.setUint32(start + 5, end - at, true)
  return end
}

function writeBody(bytes: Uint8Array, view: DataView, start: number, record: LogRecord): number {
  switch (record.type) {
    case 'base':
    case 'compacted':
      return writeBase(bytes, view, start, record.base)
    case 'hardState':
      return writeHardState(view, start, record.hardState)
    case 'entries':
    case 'moved': {
      view.setFloat64(start, (record.entries[0] as LogEntry).index, true)
      view.setUint32(start + 8, record.entries.length, true)
      let at = start + 12
      for (const { term, type, data } of record.entries) {
        view.setFloat64(at, term, true)
        view.setUint8(at + 8, type === 'config' ? 1 : 0)
        view.setUint32(at + 9, data.length, true)
        bytes.set(data, at + ENTRY_HEADER_BYTES)
        at += ENTRY_HEADER_BYTES + data.length
      }
      return at
    }
    case 'state': {
      const at = writeHardState(view, start, record.hardState)
      view.setFloat64(at, record.lastIndex, true)
      view.setFloat64(at + 8, record.lastTerm, true)
      return writeBase(bytes, view, at + 16, record.base)
    }
    case 'removed':
      return start
    default:
      return record satisfies never
  }
}

function writeBase(bytes: Uint8Array, view: DataView, at: number, base: LogBase): number {
  view.setFloat64(at, base.index, true)
  view.setFloat64(at + 8, base.term, true)
  bytes.set(base.config, at + BASE_BYTES)
  return at + BASE_BYTES + base.config.length
}

function writeHardState(view: DataView, at: number, { term, vote, commit }: LogHardState): number {
  view.setFloat64(at, term, true)
  view.setBigUint64(at + 8, vote ?? 0n, true)
  view.setFloat64(at + 16, commit, true)
  return at + HARD_STATE_BYTES
}

/** Thrown and caught in this file only: the bytes make no sense. */
class Nonsense extends Error {}

/**
 * The records of a payload whose checksum is right, all or those of one group; undefined where they make no sense all the same.
 * Entries' data are views of `payload`; configurations are copies.
 */
export function decodeRecords(payload: Uint8Array, only?: GroupId): LogRecord[] | undefined {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength)
  const records: LogRecord[] = []
  let at = 0
  try {
    while (at < payload.length) {
      const type = view.getUint8(at)
      const group = groupId(view.getUint32(at + 1, true))
      const start = at + RECORD_HEADER_BYTES
      const end = start + view.getUint32(at + 5, true)
      if (end > payload.length) return undefined
      if (only === undefined || only === group) records.push(readBody(payload, view, type, group, start, end))
      at = end
    }
  } catch (error) {
    if (error instanceof RangeError || error instanceof Nonsense) return undefined
    throw error
  }
  return records
}

function readBody(
  bytes: Uint8Array,
  view: DataView,
  type: number,
  group: GroupId,
  start: number,
  end: number,
): LogRecord {
  switch (type) {
    case TYPE.base:
      return { type: 'base', group, base: readBase(bytes, view, start, end) }
    case TYPE.compacted:
      return { type: 'compacted', group, base: readBase(bytes, view, start, end) }
    case TYPE.hardState:
      return { type: 'hardState', group, hardState: readHardState(view, start, end) }
    case TYPE.entries:
      return { type: 'entries', group, entries: readEntries(bytes, view, start, end) }
    case TYPE.moved:
      return { type: 'moved', group, entries: readEntries(bytes, view, start, end) }
    case TYPE.state: {
      const at = start + HARD_STATE_BYTES
      return {
        type: 'state',
        group,
        hardState: readHardState(view, start, at),
        lastIndex: logIndex(count(view, at)),
        lastTerm: term(count(view, at + 8)),
        base: readBase(bytes, view, at + 16, end),
      }
    }
    case TYPE.removed:
      return { type: 'removed', group }
    default:
      throw new Nonsense()
  }
}

function count(view: DataView, at: number): number {
  const value = view.getFloat64(at, true)
  if (!Number.isSafeInteger(value) || value < 0) throw new Nonsense()
  return value
}

function readBase(bytes: Uint8Array, view: DataView, at: number, end: number): LogBase {
  if (at + BASE_BYTES > end) throw new Nonsense()
  return {
    index: logIndex(count(view, at)),
    term: term(count(view, at + 8)),
    config: bytes.slice(at + BASE_BYTES, end),
  }
}

function readHardState(view: DataView, at: number, end: number): LogHardState {
  if (at + HARD_STATE_BYTES > end) throw new Nonsense()
  const vote = view.getBigUint64(at + 8, true)
  const voted: MemberId | undefined = vote === 0n ? undefined : memberId(vote)
  return { term: term(count(view, at)), vote: voted, commit: logIndex(count(view, at + 16)) }
}

function readEntries(bytes: Uint8Array, view: DataView, start: number, end: number): LogEntry[] {
  const first = count(view, start)
  const total = view.getUint32(start + 8, true)
  const entries: LogEntry[] = []
  let at = start + 12
  for (let i = 0; i < total; i++) {
    const dataEnd = at + ENTRY_HEADER_BYTES + view.getUint32(at + 9, true)
    if (dataEnd > end || !Number.isSafeInteger(first + i)) throw new Nonsense()
    entries.push({
      index: logIndex(first + i),
      term: term(count(view, at)),
      type: view.getUint8(at + 8) === 1 ? 'config' : 'normal',
      data: bytes.subarray(at + ENTRY_HEADER_BYTES, dataEnd),
    })
    at = dataEnd
  }
  if (entries.length === 0 || at !== end) throw new Nonsense()
  return entries
}
