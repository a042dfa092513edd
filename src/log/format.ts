/**
 * The log on disk. A directory of segments, `<number, 16 digits>.log`. A segment begins with a header sector; batches follow, each
 * beginning on a sector boundary. All numbers little-endian.
 *
 * Segment header: magic u64, format u32, crc u32 (of the number), number f64.
 * Batch header (32 bytes): magic u32, crc u32 (of everything after it), number f64, payload length u32, synced f64 (the highest
 * batch number that was known to be durable when this one was written), 4 bytes zero. Then records.
 * Record: type u8, group u32, then by type
 *   base        index f64, term f64, config length u32, config: the group's log begins here, and holds nothing
 *   begin       the same, in a segment's first batch: makes the group where recovery does not know it yet
 *   compacted   the same: everything up to here is dropped, the rest stays
 *   hardState   term f64, vote u64 (0: none), commit f64
 *   entries     first index f64, count u32, then per entry: term f64, type u8, length u32, data
 *   position    last index f64, last term f64: in a segment's first batch, where the group's log ends so far
 *   removed     nothing
 */
import type { GroupId, LogIndex, Term } from '../base/index.ts'
import { groupId, logIndex, term } from '../base/index.ts'
import { SECTOR_BYTES } from '../world/index.ts'
import type { LogBase, LogEntry, LogHardState } from './types.ts'

export const FORMAT = 1
export const BATCH_HEADER_BYTES = 32
const SEGMENT_MAGIC = 0x31474f4c_4e494b53n
const BATCH_MAGIC = 0x4b534254

const TYPE = { base: 1, compacted: 2, hardState: 3, entries: 4, position: 5, removed: 6, begin: 7 } as const

export type LogRecord =
  | { readonly type: 'base'; readonly group: GroupId; readonly base: LogBase }
  | { readonly type: 'begin'; readonly group: GroupId; readonly base: LogBase }
  | { readonly type: 'compacted'; readonly group: GroupId; readonly base: LogBase }
  | { readonly type: 'hardState'; readonly group: GroupId; readonly hardState: LogHardState }
  | { readonly type: 'entries'; readonly group: GroupId; readonly entries: readonly LogEntry[] }
  | { readonly type: 'position'; readonly group: GroupId; readonly lastIndex: LogIndex; readonly lastTerm: Term }
  | { readonly type: 'removed'; readonly group: GroupId }

export type Checksum = (bytes: Uint8Array, seed?: number) => number

export function sectors(sizeBytes: number): number {
  return Math.ceil(sizeBytes / SECTOR_BYTES) * SECTOR_BYTES
}

export function segmentName(number: number): string {
  return `${String(number).padStart(16, '0')}.log`
}

export function segmentNumber(name: string): number | undefined {
  const match = /^(\d{16})\.log$/.exec(name)
  return match === null ? undefined : Number(match[1])
}

export function encodeSegmentHeader(number: number, checksum: Checksum): Uint8Array {
  const bytes = new Uint8Array(SECTOR_BYTES)
  const view = new DataView(bytes.buffer)
  view.setBigUint64(0, SEGMENT_MAGIC, true)
  view.setUint32(8, FORMAT, true)
  view.setFloat64(16, number, true)
  view.setUint32(12, checksum(bytes.subarray(16, 24)), true)
  return bytes
}

/** The segment's format, or undefined where this is no sound header of that segment. */
export function decodeSegmentHeader(bytes: Uint8Array, number: number, checksum: Checksum): number | undefined {
  if (bytes.length < SECTOR_BYTES) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (view.getBigUint64(0, true) !== SEGMENT_MAGIC || view.getFloat64(16, true) !== number) return undefined
  if (view.getUint32(12, true) !== checksum(bytes.subarray(16, 24))) return undefined
  return view.getUint32(8, true)
}

/** Where an encoded batch can be found again for each group's entries. */
export type BatchHeader = { readonly number: number; readonly payloadBytes: number; readonly synced: number }

function recordBytes(record: LogRecord): number {
  switch (record.type) {
    case 'base':
    case 'begin':
    case 'compacted':
      return 25 + record.base.config.length
    case 'hardState':
      return 29
    case 'entries': {
      let sum = 17
      for (const entry of record.entries) sum += 13 + entry.data.length
      return sum
    }
    case 'position':
      return 21
    case 'removed':
      return 5
    default:
      return record satisfies never
  }
}

/** One whole batch, padded to sectors. */
export function encodeBatch(
  number: number,
  synced: number,
  records: readonly LogRecord[],
  checksum: Checksum,
): Uint8Array {
  let payloadBytes = 0
  for (const record of records) payloadBytes += recordBytes(record)
  const bytes = new Uint8Array(sectors(BATCH_HEADER_BYTES + payloadBytes))
  const view = new DataView(bytes.buffer)
  view.setUint32(0, BATCH_MAGIC, true)
  view.setFloat64(8, number, true)
  view.setUint32(16, payloadBytes, true)
  view.setFloat64(20, synced, true)
  let at = BATCH_HEADER_BYTES
  for (const record of records) at = writeRecord(bytes, view, at, record)
  view.setUint32(4, checksum(bytes.subarray(8, at)), true)
  return bytes
}

function writeRecord(bytes: Uint8Array, view: DataView, start: number, record: LogRecord): number {
  let at = start
  view.setUint8(at, TYPE[record.type])
  view.setUint32(at + 1, record.group, true)
  at += 5
  switch (record.type) {
    case 'base':
    case 'begin':
    case 'compacted':
      view.setFloat64(at, record.base.index, true)
      view.setFloat64(at + 8, record.base.term, true)
      view.setUint32(at + 16, record.base.config.length, true)
      bytes.set(record.base.config, at + 20)
      return at + 20 + record.base.config.length
    case 'hardState':
      view.setFloat64(at, record.hardState.term, true)
      view.setBigUint64(at + 8, record.hardState.vote ?? 0n, true)
      view.setFloat64(at + 16, record.hardState.commit, true)
      return at + 24
    case 'entries':
      view.setFloat64(at, (record.entries[0] as LogEntry).index, true)
      view.setUint32(at + 8, record.entries.length, true)
      at += 12
      for (const entry of record.entries) {
        view.setFloat64(at, entry.term, true)
        view.setUint8(at + 8, entry.type === 'config' ? 1 : 0)
        view.setUint32(at + 9, entry.data.length, true)
        bytes.set(entry.data, at + 13)
        at += 13 + entry.data.length
      }
      return at
    case 'position':
      view.setFloat64(at, record.lastIndex, true)
      view.setFloat64(at + 8, record.lastTerm, true)
      return at + 16
    case 'removed':
      return at
    default:
      return record satisfies never
  }
}

/** The header at `offset`, unchecked but for its magic and its length. */
export function decodeBatchHeader(bytes: Uint8Array, offset: number): BatchHeader | undefined {
  if (offset + BATCH_HEADER_BYTES > bytes.length) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset + offset, BATCH_HEADER_BYTES)
  if (view.getUint32(0, true) !== BATCH_MAGIC) return undefined
  const number = view.getFloat64(8, true)
  const synced = view.getFloat64(20, true)
  if (!Number.isSafeInteger(number) || !Number.isSafeInteger(synced)) return undefined
  return { number, payloadBytes: view.getUint32(16, true), synced }
}

/** Whether the whole batch at `offset` is there and its checksum is right. */
export function isSound(bytes: Uint8Array, offset: number, header: BatchHeader, checksum: Checksum): boolean {
  const end = offset + BATCH_HEADER_BYTES + header.payloadBytes
  if (end > bytes.length) return false
  const stored = new DataView(bytes.buffer, bytes.byteOffset + offset + 4, 4).getUint32(0, true)
  return stored === checksum(bytes.subarray(offset + 8, end))
}

/** The records of a sound batch; undefined where they make no sense all the same. Data are views of `bytes`. */
export function decodeRecords(bytes: Uint8Array, offset: number, header: BatchHeader): LogRecord[] | undefined {
  const start = offset + BATCH_HEADER_BYTES
  const payload = bytes.subarray(start, start + header.payloadBytes)
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength)
  const records: LogRecord[] = []
  let at = 0
  try {
    while (at < payload.length) {
      const type = view.getUint8(at)
      const group = groupId(view.getUint32(at + 1, true))
      at += 5
      if (type === TYPE.base || type === TYPE.compacted || type === TYPE.begin) {
        const end = at + 20 + view.getUint32(at + 16, true)
        if (end > payload.length) return undefined
        records.push({
          type: type === TYPE.base ? 'base' : type === TYPE.begin ? 'begin' : 'compacted',
          group,
          base: {
            index: logIndex(view.getFloat64(at, true)),
            term: term(view.getFloat64(at + 8, true)),
            config: payload.slice(at + 20, end),
          },
        })
        at = end
      } else if (type === TYPE.hardState) {
        const vote = view.getBigUint64(at + 8, true)
        records.push({
          type: 'hardState',
          group,
          hardState: {
            term: term(view.getFloat64(at, true)),
            vote: vote === 0n ? undefined : (vote as NonNullable<LogHardState['vote']>),
            commit: logIndex(view.getFloat64(at + 16, true)),
          },
        })
        at += 24
      } else if (type === TYPE.entries) {
        const first = view.getFloat64(at, true)
        const count = view.getUint32(at + 8, true)
        at += 12
        const entries: LogEntry[] = []
        for (let i = 0; i < count; i++) {
          const end = at + 13 + view.getUint32(at + 9, true)
          if (end > payload.length) return undefined
          entries.push({
            index: logIndex(first + i),
            term: term(view.getFloat64(at, true)),
            type: view.getUint8(at + 8) === 1 ? 'config' : 'normal',
            data: payload.subarray(at + 13, end),
          })
          at = end
        }
        records.push({ type: 'entries', group, entries })
      } else if (type === TYPE.position) {
        records.push({
          type: 'position',
          group,
          lastIndex: logIndex(view.getFloat64(at, true)),
          lastTerm: term(view.getFloat64(at + 8, true)),
        })
        at += 16
      } else if (type === TYPE.removed) records.push({ type: 'removed', group })
      else return undefined
    }
  } catch (error) {
    if (error instanceof RangeError) return undefined
    throw error
  }
  return records
}
