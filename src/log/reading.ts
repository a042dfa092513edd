/** Reads entries back from where they lie, checking each batch again: a disk may have gone bad since. */
import type { GroupId, LogIndex, Result } from '../base/index.ts'
import { err, failure, logIndex, ok } from '../base/index.ts'
import type { World } from '../world/index.ts'
import { damaged } from './damage.ts'
import { batchBytes, BATCH_HEADER_BYTES, decodeBatchHeader } from './format.ts'
import type { GroupLog, Place } from './group-log.ts'
import { decodeRecords } from './records.ts'
import type { Segments } from './segments.ts'
import type { LogEntry } from './types.ts'

type Done = (result: Result<readonly LogEntry[]>) => void

/** The entries of one place, in order; more than it says where some were cut since. */
export function readPlace(world: World, segments: Segments, group: GroupId, place: Place, done: Done): void {
  const { segment, offset, endOffset, isMoved } = place
  segments.use(segment, (opened, release) => {
    if (!opened.ok) {
      release()
      return done(opened)
    }
    const file = opened.value
    file.read(offset, endOffset - offset, (read) => {
      release()
      if (!read.ok) return done(read)
      const entries = new Map<LogIndex, LogEntry>()
      let highest = 0
      for (let at = 0; at < endOffset - offset;) {
        const payload = payloadAt(world, read.value, at, segment.salt)
        const records = payload === undefined ? undefined : decodeRecords(payload, group)
        if (payload === undefined || records === undefined)
          return done(err(damaged(file.path, offset + at, 'a batch that was sound is so no longer')))
        for (const record of records) {
          if (record.type === 'base') entries.clear()
          if (record.type !== (isMoved ? 'moved' : 'entries')) continue
          const first = (record.entries[0] as LogEntry).index
          // Later entries replace the earlier ones, and cut what followed them.
          if (!isMoved) for (let index = first; index <= highest; index++) entries.delete(index)
          for (const entry of record.entries) entries.set(entry.index, entry)
          highest = (record.entries.at(-1) as LogEntry).index
        }
        at += batchBytes(payload.length)
      }
      done(ok([...entries.values()].sort((a, b) => a.index - b.index)))
    })
  })
}

function payloadAt(world: World, bytes: Uint8Array, at: number, salt: Uint8Array): Uint8Array | undefined {
  const header = decodeBatchHeader(bytes, at, salt, world.checksum)
  if (header === undefined) return undefined
  const start = at + BATCH_HEADER_BYTES
  if (start + header.payloadBytes > bytes.length) return undefined
  const payload = bytes.subarray(start, start + header.payloadBytes)
  return world.checksum(payload) === header.payloadCrc ? payload : undefined
}

export type ReadRequest = {
  readonly group: GroupId
  readonly from: LogIndex
  readonly through: LogIndex
  readonly maxBytes: number
}

/** As `WriteAheadLog.read` promises. Goes on from place to place, looking each up again: the log moves meanwhile. */
export function readEntries(
  world: World,
  segments: Segments,
  groupOf: (group: GroupId) => GroupLog | undefined,
  { group, from, through, maxBytes }: ReadRequest,
  done: Done,
): void {
  let found: LogEntry[] = []
  let bytes = 0
  let next: number = from
  let cuts: number | undefined
  const step = (): void => {
    const log = groupOf(group)
    if (cuts !== undefined && log?.cuts !== cuts) {
      found = []
      bytes = 0
      next = from
    }
    cuts = log?.cuts
    const place = log?.placeOf(logIndex(next))
    if (log === undefined || place === undefined) {
      if (found.length > 0) return done(ok(found))
      return world.endOfTurn(() => done(err(failure('compacted', `entry ${from} of group ${group} is not in the log`))))
    }
    readPlace(world, segments, group, place, (read) => {
      // Compacted, cut or moved meanwhile: what was read may be another history, or a file that is gone.
      if (groupOf(group) !== log || log.cuts !== cuts || log.placeOf(logIndex(next)) !== place) return step()
      if (!read.ok) return done(read)
      const last = Math.min(place.last, through)
      for (const entry of read.value) {
        if (entry.index < next || entry.index > last) continue
        if (found.length > 0 && bytes + entry.data.length > maxBytes) return done(ok(found))
        if (found.length > 0) bytes += entry.data.length
        found.push(entry)
        next++
      }
      if (next <= last) {
        const where = segments.path(place.segment.number)
        return done(err(damaged(where, place.offset, `entry ${next} of group ${group} is not where it should be`)))
      }
      if (next > through) return done(ok(found))
      step()
    })
  }
  step()
}
