/**
 * Reading the log back. The batches form one chain of numbers over all segments. Where it ends, everything that is still readable
 * is asked what was durable: if that lies beyond the end, the log is damaged and refused with file and offset; if not, what follows
 * is a torn tail, never acknowledged by anything the log knows, and is cut.
 *
 * A sound batch at the end may never have been synced: the process died before, or its sync failed and the system still shows what
 * the disk does not hold (Rebello et al.). So the last batch is written again and synced before anything is said about it.
 *
 * What remains: the very last batch may have been synced without a later trace of it (the marker comes markerDelayMs after). If the
 * disk then damages exactly that batch, it is taken for a torn tail.
 */
import type { Failure, GroupId, Result } from '../base/index.ts'
import { err, failure, ok } from '../base/index.ts'
import type { World } from '../world/index.ts'
import { SECTOR_BYTES } from '../world/index.ts'
import { applyRecord } from './apply.ts'
import { damaged } from './damage.ts'
import type { BatchHeader, SegmentHeader } from './format.ts'
import { batchBytes, FORMAT, segmentName, segmentNumber } from './format.ts'
import type { GroupLog, Segment, Spot } from './group-log.ts'
import { decodeRecords, type LogRecord } from './records.ts'
import { type ScanEnd, scanSegment } from './scan.ts'

export type RecoveredLog = {
  readonly groups: Map<GroupId, GroupLog>
  /** Oldest first. */
  readonly segments: Segment[]
  /** Of the last sound batch; 0 for an empty log. */
  readonly lastBatch: number
  /** The last batch only says that those before it are durable. */
  readonly isMarked: boolean
  /** Where the last sound batch stands, from the segment's beginning where it is the first there. */
  readonly rewrite: { readonly offset: number; readonly sizeBytes: number } | undefined
  /** What follows the end of the last segment is torn and is to be cut. */
  readonly isTorn: boolean
  /** The segment after the last holds nothing sound: it is to be removed. */
  readonly unfinished: number | undefined
}

type Done = (result: Result<RecoveredLog>) => void

export function recoverLog(world: World, directory: string, done: Done): void {
  world.disk.list(directory, (listed) => {
    if (!listed.ok) return done(listed)
    const numbers = listed.value.map(segmentNumber).filter((number) => number !== undefined)
    new Recovery(world, directory, numbers, done).start()
  })
}

type End = ScanEnd & { readonly number: number }

class Recovery {
  private readonly world: World
  private readonly directory: string
  private readonly numbers: readonly number[]
  private readonly done: Done
  private readonly groups = new Map<GroupId, GroupLog>()
  /** Of the segment being read. */
  private salt: Uint8Array = new Uint8Array(0)
  private readonly segments: Segment[] = []
  private lastBatch: number | undefined
  private isMarked = true
  private lastSpot: Spot | undefined
  /** Where the chain ended in the newest segment that belongs to it. */
  private end: End | undefined
  private at = 0

  constructor(world: World, directory: string, numbers: readonly number[], done: Done) {
    this.world = world
    this.directory = directory
    this.numbers = numbers
    this.done = done
  }

  start(): void {
    for (let i = 1; i < this.numbers.length; i++) {
      const missing = (this.numbers[i - 1] as number) + 1
      if (this.numbers[i] !== missing) return this.refuse(missing, 0, 'the segment is missing')
    }
    this.next()
  }

  private path(number: number): string {
    return `${this.directory}/${segmentName(number)}`
  }

  private next(): void {
    const number = this.numbers[this.at]
    if (number === undefined) return this.finish(undefined)
    const isLast = this.at === this.numbers.length - 1
    this.at++
    let segment: Segment | undefined
    let hasHeader = false
    scanSegment(this.world, this.path(number), number, () => this.expected(), {
      header: (header) => {
        hasHeader = header !== undefined
        return this.header(number, header, isLast)
      },
      batch: (header, payload, offset) => {
        // The first batch: whether this segment belongs to the chain is known now.
        segment ??= this.begin(number, offset)
        return this.batch(segment, header, payload, offset)
      },
      end: (end) => this.ended({ ...end, number }, segment, hasHeader, isLast),
      failed: this.done,
    })
  }

  private expected(): number | undefined {
    return this.lastBatch === undefined ? undefined : this.lastBatch + 1
  }

  private header(number: number, header: SegmentHeader | undefined, isLast: boolean): boolean {
    if (header === undefined) {
      if (!isLast) this.refuse(number, 0, 'the segment has no sound header')
      return isLast
    }
    if (header.format > FORMAT) {
      const message = `${this.path(number)} has format ${header.format}; this version knows up to ${FORMAT}`
      this.done(err(failure('data-newer', message, { file: this.path(number), format: header.format })))
      return false
    }
    this.salt = header.salt
    return true
  }

  private begin(number: number, endBytes: number): Segment {
    const segment: Segment = { number, salt: this.salt, endBytes, fileBytes: 0, liveBytes: 0 }
    this.segments.push(segment)
    return segment
  }

  private batch(segment: Segment, header: BatchHeader, payload: Uint8Array, offset: number): boolean {
    const spot = { segment, offset, sizeBytes: batchBytes(payload.length) }
    const records = decodeRecords(payload)
    const wrong =
      records === undefined ? 'a sound batch holds what this version cannot read' : this.apply(records, spot)
    if (wrong !== undefined) {
      this.refuse(segment.number, offset, wrong)
      return false
    }
    this.lastBatch = header.number
    this.isMarked = payload.length === 0
    this.lastSpot = spot
    segment.endBytes = offset + spot.sizeBytes
    return true
  }

  private ended(end: End, segment: Segment | undefined, hasHeader: boolean, isLast: boolean): void {
    const chained = this.lastBatch ?? 0
    const before = this.end
    if (segment === undefined) {
      // At best a crash while the segment was made: what it follows is still there, and nothing in it was acknowledged.
      const mayBeUnfinished = isLast && (before !== undefined || end.number === 1)
      if (end.witnessed > chained) {
        const isBefore =
          before !== undefined &&
          (end.numberThere === undefined ? !before.isClean && hasHeader : end.numberThere > chained + 1)
        if (isBefore) return this.refuse(before.number, before.offset, lost(end.witnessed))
        return this.refuse(end.number, hasHeader ? end.offset : 0, lost(end.witnessed))
      }
      if (!mayBeUnfinished)
        return this.refuse(end.number, hasHeader ? end.offset : 0, 'the segment has no sound beginning')
      return this.finish(end.number)
    }
    if (end.witnessed > chained) return this.refuse(end.number, end.offset, lost(end.witnessed))
    segment.fileBytes = end.fileBytes
    this.end = end
    this.world.endOfTurn(() => this.next())
  }

  /** What is wrong with the records, if anything. */
  private apply(records: readonly LogRecord[], spot: Spot): string | undefined {
    for (const record of records) {
      const wrong = applyRecord(this.groups, record, spot)
      if (wrong !== undefined) return wrong
    }
    return undefined
  }

  private finish(unfinished: number | undefined): void {
    const first = this.numbers[0] ?? 0
    for (const group of this.groups.values()) {
      const missing = group.firstMissing()
      if (missing !== undefined)
        return this.refuse(first, 0, `entry ${missing} of group ${group.group} is nowhere in the log from here on`)
    }
    const { groups, segments, lastSpot } = this
    const isFirst = lastSpot?.offset === SECTOR_BYTES
    this.done(
      ok({
        groups,
        segments,
        lastBatch: this.lastBatch ?? 0,
        isMarked: this.isMarked,
        rewrite:
          lastSpot === undefined
            ? undefined
            : {
                offset: isFirst ? 0 : lastSpot.offset,
                sizeBytes: isFirst ? SECTOR_BYTES + lastSpot.sizeBytes : lastSpot.sizeBytes,
              },
        isTorn: this.end?.isClean === false,
        unfinished,
      }),
    )
  }

  private refuse(number: number, offset: number, why: string): void {
    this.done(err<Failure>(damaged(this.path(number), offset, why)))
  }
}

function lost(witnessed: number): string {
  return `a batch is damaged or missing, and batch ${witnessed} is known to have been durable`
}
