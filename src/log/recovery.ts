/**
 * Reading the log back. A batch that is damaged, in the last segment and with no later batch, is a torn tail: it was never
 * acknowledged by anything the log knows, and is cut. Damage anywhere else is refused with file and offset.
 *
 * What remains: the very last batch before a crash may have been synced without any later trace of it (the marker comes
 * markerDelayMs after). If the disk then damages exactly that batch, it is taken for a torn tail.
 */
import type { Failure, GroupId, Result } from '../base/index.ts'
import { err, failure, ok } from '../base/index.ts'
import type { Disk, World } from '../world/index.ts'
import { SECTOR_BYTES } from '../world/index.ts'
import type { BatchHeader, LogRecord } from './format.ts'
import {
  BATCH_HEADER_BYTES,
  decodeBatchHeader,
  decodeRecords,
  decodeSegmentHeader,
  FORMAT,
  isSound,
  sectors,
  segmentName,
  segmentNumber,
} from './format.ts'
import { GroupLog } from './group-log.ts'

export type RecoveredLog = {
  readonly groups: Map<GroupId, GroupLog>
  /** Oldest first, with the length of each. */
  readonly segments: { readonly number: number; sizeBytes: number }[]
  /** Of the last sound batch; 0 for an empty log. */
  readonly lastBatch: number
  /** The last segment is to be cut here first; undefined where nothing is torn. */
  readonly cutAt: number | undefined
  /** The last segment holds nothing sound: it is to be removed. */
  readonly removeLast: boolean
}

/** Of one segment: they are read whole, one after another. */
const MAX_SEGMENT_BYTES = 512 * 1024 * 1024

export function recoverLog(world: World, directory: string, done: (result: Result<RecoveredLog>) => void): void {
  world.disk.list(directory, (listed) => {
    if (!listed.ok) return done(listed)
    const numbers = listed.value.map(segmentNumber).filter((number) => number !== undefined)
    for (let i = 1; i < numbers.length; i++) {
      if (numbers[i] !== (numbers[i - 1] as number) + 1) {
        return done(
          err(damaged(`${directory}/${segmentName((numbers[i - 1] as number) + 1)}`, 0, 'the segment is missing')),
        )
      }
    }
    new Recovery(world, directory, numbers, done).next()
  })
}

class Recovery {
  private readonly world: World
  private readonly disk: Disk
  private readonly directory: string
  private readonly numbers: readonly number[]
  private readonly done: (result: Result<RecoveredLog>) => void
  private readonly groups = new Map<GroupId, GroupLog>()
  private readonly segments: RecoveredLog['segments'] = []
  private lastBatch = 0
  private at = 0

  constructor(
    world: World,
    directory: string,
    numbers: readonly number[],
    done: (result: Result<RecoveredLog>) => void,
  ) {
    this.world = world
    this.disk = world.disk
    this.directory = directory
    this.numbers = numbers
    this.done = done
  }

  next(): void {
    const number = this.numbers[this.at]
    if (number === undefined) return this.finish(undefined, false)
    this.disk.readWhole(this.path(number), MAX_SEGMENT_BYTES, (read) => {
      if (!read.ok) return this.done(read)
      this.segment(number, read.value)
    })
  }

  private path(number: number): string {
    return `${this.directory}/${segmentName(number)}`
  }

  private segment(number: number, bytes: Uint8Array): void {
    const last = this.at === this.numbers.length - 1
    const format = decodeSegmentHeader(bytes, number, this.world.checksum)
    if (format === undefined) {
      // A crash while the segment was made: nothing in it was acknowledged.
      if (last && this.laterBatch(bytes, 0) === undefined) return this.finish(undefined, true)
      return this.refuse(number, 0, 'the segment has no sound header')
    }
    if (format > FORMAT) {
      return this.done(
        err(failure('data-newer', `${this.path(number)} has format ${format}; this version knows up to ${FORMAT}`)),
      )
    }
    let offset = SECTOR_BYTES
    let batches = 0
    while (offset < bytes.length) {
      const header = decodeBatchHeader(bytes, offset)
      const records = header === undefined ? undefined : this.soundRecords(bytes, offset, header)
      if (header === undefined || records === undefined) {
        if (!last) return this.refuse(number, offset, 'a batch is damaged, and later segments follow')
        const later = this.laterBatch(bytes, offset + SECTOR_BYTES)
        if (later !== undefined)
          return this.refuse(number, offset, `a batch is damaged, and a later one at ${later} is sound`)
        if (batches === 0) return this.finish(undefined, true)
        this.segments.push({ number, sizeBytes: offset })
        return this.finish(offset, false)
      }
      if (this.lastBatch !== 0 && header.number !== this.lastBatch + 1) {
        return this.refuse(number, offset, `batch ${header.number} follows batch ${this.lastBatch}`)
      }
      const wrong = this.apply(records, number, offset, sectors(BATCH_HEADER_BYTES + header.payloadBytes))
      if (wrong !== undefined) return this.refuse(number, offset, wrong)
      this.lastBatch = header.number
      batches++
      offset += sectors(BATCH_HEADER_BYTES + header.payloadBytes)
    }
    if (batches === 0)
      return last ? this.finish(undefined, true) : this.refuse(number, offset, 'the segment holds no batch')
    if (offset > bytes.length && !last) return this.refuse(number, bytes.length, 'the segment is cut off')
    this.segments.push({ number, sizeBytes: offset })
    this.at++
    this.world.endOfTurn(() => this.next())
  }

  private soundRecords(bytes: Uint8Array, offset: number, header: BatchHeader): LogRecord[] | undefined {
    if (!isSound(bytes, offset, header, this.world.checksum)) return undefined
    return decodeRecords(bytes, offset, header)
  }

  /** Only what was synced is followed by another batch: one after the damage proves that it lies below. */
  private laterBatch(bytes: Uint8Array, from: number): number | undefined {
    for (let offset = from; offset < bytes.length; offset += SECTOR_BYTES) {
      const header = decodeBatchHeader(bytes, offset)
      if (header === undefined || header.number <= this.lastBatch + 1) continue
      if (isSound(bytes, offset, header, this.world.checksum)) return offset
    }
    return undefined
  }

  private apply(records: readonly LogRecord[], segment: number, offset: number, sizeBytes: number): string | undefined {
    for (const record of records) {
      let group = this.groups.get(record.group)
      if (record.type === 'removed') {
        this.groups.delete(record.group)
        continue
      }
      if (record.type === 'base' || record.type === 'begin' || record.type === 'compacted') {
        if (record.type === 'compacted' && group !== undefined) {
          group.compact(record.base)
          continue
        }
        if (record.type === 'begin' && group !== undefined) continue
        if (group === undefined) {
          group = new GroupLog(record.group, record.base)
          this.groups.set(record.group, group)
        } else group.reset(record.base)
        continue
      }
      if (group === undefined) return `a record of group ${record.group}, which has no beginning`
      if (record.type === 'hardState') group.hardState = record.hardState
      else if (record.type === 'position') group.resume(record.lastIndex, record.lastTerm)
      else if (!group.append(record.entries, segment, offset, sizeBytes)) {
        return `entries of group ${record.group} from ${record.entries[0]?.index} after ${group.lastIndex}`
      }
    }
    return undefined
  }

  private finish(cutAt: number | undefined, removeLast: boolean): void {
    for (const group of this.groups.values()) {
      const missing = group.firstMissing()
      if (missing !== undefined) {
        return this.refuse(this.numbers[0] ?? 0, 0, `entry ${missing} of group ${group.group} is nowhere in the log`)
      }
    }
    this.done(ok({ groups: this.groups, segments: this.segments, lastBatch: this.lastBatch, cutAt, removeLast }))
  }

  private refuse(number: number, offset: number, why: string): void {
    this.done(err(damaged(this.path(number), offset, why)))
  }
}

export function damaged(file: string, offset: number, why: string): Failure {
  return failure(
    'log-damaged',
    `${file} at offset ${offset}: ${why}; what this server acknowledged may be lost, so it stays out`,
    { file, offset },
  )
}
