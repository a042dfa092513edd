/**
 * Keeps one idle group from pinning old segments for ever: when more than half of the log (and a few segments) is not needed, the
 * live entries of the oldest segment are written again, a chunk at a time, in batches that come anyway; then it can go. As a whole
 * pass frees more than it writes, writing stays within about twice what was appended.
 */
import type { GroupId } from '../base/index.ts'
import type { World } from '../world/index.ts'
import type { GroupLog, Place, Segment } from './group-log.ts'
import { readPlace } from './reading.ts'
import { type LogRecord, recordBytes } from './records.ts'
import type { Segments } from './segments.ts'
import type { LogEntry } from './types.ts'

/** Of one batch at most, beyond the first place. */
const CHUNK_BYTES = 256 * 1024
/** So many segments' worth of what is not needed is never worth it. */
const SPARE_SEGMENTS = 4

type Piece = { readonly log: GroupLog; readonly place: Place; readonly entries: readonly LogEntry[] }

export class Cleaner {
  private readonly world: World
  private readonly segments: Segments
  private readonly groups: ReadonlyMap<GroupId, GroupLog>
  private readonly segmentBytes: number
  private readonly onReady: () => void
  private isReading = false
  private isBroken = false
  private target: Segment | undefined
  private places: { readonly log: GroupLog; readonly place: Place }[] = []
  private chunk: Piece[] = []

  constructor(
    world: World,
    segments: Segments,
    groups: ReadonlyMap<GroupId, GroupLog>,
    segmentBytes: number,
    onReady: () => void,
  ) {
    this.world = world
    this.segments = segments
    this.groups = groups
    this.segmentBytes = segmentBytes
    this.onReady = onReady
  }

  /** After a batch: looks whether there is something to do, and reads it. */
  step(): void {
    if (this.isReading || this.isBroken || this.chunk.length > 0) return
    const oldest = this.segments.list[0]
    if (oldest === undefined || oldest === this.segments.last || oldest.liveBytes === 0 || !this.isWorthIt()) return
    if (this.target !== oldest || this.places.length === 0) this.choose(oldest)
    this.isReading = true
    this.read(0)
  }

  private isWorthIt(): boolean {
    const { list, sizeBytes, liveBytes } = this.segments
    return list.length > SPARE_SEGMENTS && sizeBytes > 2 * liveBytes + SPARE_SEGMENTS * this.segmentBytes
  }

  private choose(segment: Segment): void {
    this.target = segment
    this.places = []
    for (const log of this.groups.values())
      for (const place of log.places) if (place.segment === segment) this.places.push({ log, place })
    // Taken from the end: in order of the file.
    this.places.sort((a, b) => b.place.offset - a.place.offset)
  }

  private read(bytes: number): void {
    let next = bytes < CHUNK_BYTES ? this.places.pop() : undefined
    while (next !== undefined && !this.isLive(next)) next = this.places.pop()
    if (next === undefined) {
      this.isReading = false
      if (this.chunk.length > 0) this.onReady()
      return
    }
    const chosen = next
    const { log, place } = chosen
    readPlace(this.world, this.segments, log.group, place, (read) => {
      if (read.ok) {
        this.chunk.push({ log, place, entries: read.value })
        return this.read(bytes + place.liveBytes)
      }
      if (this.isLive(chosen)) {
        // What is live cannot be read: the segment stays, and whoever needs the entries is told.
        this.isBroken = true
        this.world.diagnostics.log('error', 'log-not-cleaned', { message: read.error.message })
      }
      this.read(bytes)
    })
  }

  private isLive({ log, place }: { readonly log: GroupLog; readonly place: Place }): boolean {
    return this.groups.get(log.group) === log && log.placeOf(place.last) === place
  }

  get isReady(): boolean {
    return !this.isReading && this.chunk.length > 0
  }

  /** What to write again: of what was read, what is live still. For the front of a batch that is made now. */
  take(): { readonly records: LogRecord[]; readonly sizeBytes: number } {
    const records: LogRecord[] = []
    let sizeBytes = 0
    if (!this.isReady) return { records, sizeBytes }
    for (const piece of this.chunk) {
      if (!this.isLive(piece)) continue
      const { log, place, entries } = piece
      const live = entries.filter(({ index }) => index > log.base.index && index >= place.first && index <= place.last)
      if (live.length === 0) continue
      const record: LogRecord = { type: 'moved', group: log.group, entries: live }
      records.push(record)
      sizeBytes += recordBytes(record)
    }
    this.chunk = []
    return { records, sizeBytes }
  }
}
