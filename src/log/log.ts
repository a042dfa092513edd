/**
 * The write-ahead log at work: one write and one fdatasync in flight, everything that comes meanwhile shares the next. See format.ts
 * for what is on disk, recovery.ts for how it is read back, writer.ts for how it gets there.
 */
import type { GroupId, LogIndex, Result } from '../base/index.ts'
import { err, failure, invariant } from '../base/index.ts'
import type { DiskFile, Timer, World } from '../world/index.ts'
import { SECTOR_BYTES } from '../world/index.ts'
import { applyRecord } from './apply.ts'
import { Cleaner } from './cleaner.ts'
import { Ends } from './ends.ts'
import { BATCH_HEADER_BYTES, batchBytes, encodeSegmentHeader, SALT_BYTES, sectors, writeBatchHeader } from './format.ts'
import type { GroupLog, Segment, Spot } from './group-log.ts'
import { readEntries } from './reading.ts'
import { type LogRecord, recordBytes, writeRecord } from './records.ts'
import type { RecoveredLog } from './recovery.ts'
import { Segments } from './segments.ts'
import type { LogBase, LogEntry, LogOptions, LogWrite, WriteAheadLog } from './types.ts'
import { type Outcome, Writer } from './writer.ts'

/** Of one batch, beyond its first append: what a sync has to carry at most. */
const MAX_BATCH_BYTES = 8 * 1024 * 1024
/** Of one append. */
const MAX_APPEND_BYTES = 512 * 1024 * 1024
/** Encoding reuses its buffer up to this size: only one batch is in flight. */
const MAX_BUFFER_BYTES = 1024 * 1024

/** What one call asked for; made durable in the order of calls. */
type Item = {
  readonly records: readonly LogRecord[]
  readonly sizeBytes: number
  readonly done: () => void
  /** A compaction: it waits for company, and where the disk is full it may go before all others. */
  readonly compacts: GroupId | undefined
}

export class Log implements WriteAheadLog {
  readonly recovered: WriteAheadLog['recovered']
  private readonly world: World
  private readonly options: LogOptions
  private readonly groups: Map<GroupId, GroupLog>
  private readonly ends: Ends
  private readonly segments: Segments
  private readonly writer: Writer
  private readonly cleaner: Cleaner
  private queue: Item[] = []
  /** Items of the queue that do not wait for company. */
  private urgent = 0
  /** Of all that was asked for and is not durable. */
  private waitingBytes = 0
  private busy = false
  private scheduled = false
  private full = false
  private retry: Timer | undefined
  private marker: Timer | undefined
  private closing: (() => void) | undefined
  private isClosed = false
  private nextBatch: number
  private syncedBatch: number
  /** What the newest batch says is synced, itself included where it says nothing else. */
  private saidSynced: number
  private buffer: Uint8Array = new Uint8Array(16 * SECTOR_BYTES)
  private batches = 0
  private entries = 0

  constructor(world: World, options: LogOptions, found: RecoveredLog, file: DiskFile | undefined) {
    this.world = world
    this.options = options
    this.groups = found.groups
    this.ends = new Ends(found.groups.values())
    this.segments = new Segments(world, options.directory, found.segments)
    this.writer = new Writer(world, options.directory, options.segmentBytes, file)
    this.cleaner = new Cleaner(world, this.segments, this.groups, options.segmentBytes, () => this.idle())
    this.nextBatch = found.lastBatch + 1
    this.syncedBatch = found.lastBatch
    this.saidSynced = found.isMarked ? found.lastBatch : found.lastBatch - 1
    this.recovered = [...found.groups.values()].map((group) => group.recovered())
    this.trim()
    this.idle()
  }

  append(writes: readonly LogWrite[], done: () => void): void {
    const records: LogRecord[] = []
    for (const write of writes) {
      this.ends.write(write)
      const { group, base, entries, hardState } = write
      if (base !== undefined) records.push({ type: 'base', group, base })
      if (entries !== undefined && entries.length > 0) records.push({ type: 'entries', group, entries })
      if (hardState !== undefined) records.push({ type: 'hardState', group, hardState })
    }
    this.enqueue(records, undefined, done)
  }

  removeGroup(group: GroupId, done: () => void): void {
    const isKnown = this.ends.remove(group)
    this.enqueue(isKnown ? [{ type: 'removed', group }] : [], undefined, done)
  }

  compact(group: GroupId, base: LogBase): void {
    if (this.closing !== undefined || !this.ends.compact(group, base)) return
    // Bounded: the newest compaction of a group stands for the earlier ones.
    const stale = this.queue.findIndex((item) => item.compacts === group)
    if (stale >= 0) for (const { sizeBytes } of this.queue.splice(stale, 1)) this.waitingBytes -= sizeBytes
    this.enqueue([{ type: 'compacted', group, base }], group, () => {})
  }

  private enqueue(records: readonly LogRecord[], compacts: GroupId | undefined, done: () => void): void {
    invariant(this.closing === undefined, 'log-open', 'an append after close')
    let sizeBytes = 0
    for (const record of records) sizeBytes += recordBytes(record)
    invariant(sizeBytes <= MAX_APPEND_BYTES, 'log-append-bounded', () => `${sizeBytes} bytes`)
    this.queue.push({ records, sizeBytes, done, compacts })
    this.waitingBytes += sizeBytes
    if (compacts === undefined) this.urgent++
    if (compacts === undefined) this.schedule()
    else this.idle()
  }

  /** All that comes in this turn shares one batch. */
  private schedule(): void {
    if (this.busy || this.scheduled) return
    this.scheduled = true
    this.world.endOfTurn(() => {
      this.scheduled = false
      this.next()
    })
  }

  private next(): void {
    if (this.busy || this.full || this.isClosed) return
    if (this.urgent > 0 || (this.closing !== undefined && this.queue.length > 0)) this.begin()
    else if (this.closing === undefined) this.idle()
    else if (this.saidSynced === this.syncedBatch) this.finish()
    else this.begin()
  }

  /** Nothing is urgent: soon a marker says that the last batch is synced, with whatever waited for company. */
  private idle(): void {
    const nothing = this.saidSynced === this.syncedBatch && this.queue.length === 0 && !this.cleaner.isReady
    if (this.marker !== undefined || this.busy || this.full || this.isClosed || nothing) return
    this.marker = this.world.clock.setTimer(this.options.markerDelayMs, () => {
      this.marker = undefined
      if (!this.busy && !this.full && !this.isClosed) this.begin()
    })
  }

  /** Makes the next batch: of what waits, else a marker. */
  private begin(): void {
    this.marker?.cancel()
    this.marker = undefined
    this.busy = true
    const items = this.take()
    const moved = this.cleaner.take()
    const records = [...moved.records]
    let payloadBytes = moved.sizeBytes
    for (const item of items) {
      records.push(...item.records)
      payloadBytes += item.sizeBytes
    }
    if (records.length === 0 && items.length > 0) return this.complete(items)
    const isSmall = moved.records.length === 0 && items.every((item) => item.compacts !== undefined)
    const last = this.segments.last
    const write = (): void =>
      this.write(records, payloadBytes, isSmall, (outcome) => {
        if (outcome === 'full') this.hold(items)
        else this.durable(items)
      })
    if (this.writer.isOpen && last !== undefined && last.endBytes < this.options.segmentBytes) return write()
    this.rotate((outcome) => {
      if (outcome === 'full') this.hold(items)
      else write()
    })
  }

  private take(): Item[] {
    let bytes = 0
    let count = 0
    for (; count < this.queue.length; count++) {
      const { sizeBytes } = this.queue[count] as Item
      if (count > 0 && bytes + sizeBytes > MAX_BATCH_BYTES) break
      bytes += sizeBytes
    }
    const taken = this.queue.slice(0, count)
    this.queue = this.queue.slice(count)
    for (const item of taken) if (item.compacts === undefined) this.urgent--
    return taken
  }

  private durable(items: readonly Item[]): void {
    if (this.full) {
      this.full = false
      this.options.onFull(false)
    }
    this.complete(items)
  }

  private complete(items: readonly Item[]): void {
    for (const { sizeBytes, done } of items) {
      this.waitingBytes -= sizeBytes
      done()
    }
    this.busy = false
    this.trim()
    this.cleaner.step()
    this.schedule()
  }

  /** The disk is full: what was taken waits at the front. */
  private hold(items: readonly Item[]): void {
    this.queue = [...items, ...this.queue]
    for (const item of items) if (item.compacts === undefined) this.urgent++
    this.busy = false
    if (!this.full) {
      this.full = true
      this.options.onFull(true)
    }
    if (this.closing !== undefined) return this.finish()
    this.retry = this.world.clock.setTimer(this.options.fullRetryMs, () => {
      this.retry = undefined
      this.busy = true
      this.compactEarly(() => this.begin())
    })
  }

  /** While the disk is full: compactions that can go before all else do, into the reserve, to make space. */
  private compactEarly(then: () => void): void {
    const early = this.queue.filter((item, i) => this.mayOvertake(item, this.queue.slice(0, i)))
    if (early.length === 0 || !this.writer.isOpen) return then()
    const records = early.flatMap((item) => item.records)
    const payloadBytes = early.reduce((sum, item) => sum + item.sizeBytes, 0)
    this.write(records, payloadBytes, true, (outcome) => {
      if (outcome === 'durable') {
        this.queue = this.queue.filter((item) => !early.includes(item))
        this.waitingBytes -= payloadBytes
        this.trim()
      }
      then()
    })
  }

  /** Whether a compaction would mean the same before the items that were asked for earlier. */
  private mayOvertake({ records: [compaction] }: Item, earlier: readonly Item[]): boolean {
    if (compaction?.type !== 'compacted') return false
    const { group, base } = compaction
    const log = this.groups.get(group)
    if (log === undefined || base.index > log.lastIndex) return false
    for (const { records } of earlier) {
      for (const record of records) {
        if (record.group !== group || record.type === 'hardState') continue
        if (record.type !== 'entries' || (record.entries[0]?.index ?? 0) <= base.index) return false
      }
    }
    return true
  }

  /** One batch: one write, one fdatasync. */
  private write(
    records: readonly LogRecord[],
    payloadBytes: number,
    isSmall: boolean,
    done: (outcome: Outcome) => void,
  ): void {
    const segment = this.segments.last as Segment
    const number = this.nextBatch
    const sizeBytes = batchBytes(payloadBytes)
    const bytes = this.encode(this.room(sizeBytes), 0, number, segment.salt, records)
    const spot: Spot = { segment, offset: segment.endBytes, sizeBytes }
    this.writer.append(segment, bytes, isSmall, (outcome) => {
      if (outcome === 'durable') {
        for (const record of records) {
          // Ends has seen to it that it makes sense.
          const wrong = applyRecord(this.groups, record, spot)
          invariant(wrong === undefined, 'log-makes-sense', wrong)
          if (record.type === 'entries') this.entries += record.entries.length
        }
        this.synced(number, records.length === 0)
      }
      done(outcome)
    })
  }

  private synced(number: number, isMarker: boolean): void {
    this.batches++
    this.nextBatch = number + 1
    this.saidSynced = isMarker ? number : this.syncedBatch
    this.syncedBatch = number
  }

  /** A new segment, which begins with where every group stands, so that the older ones can go. */
  private rotate(done: (outcome: Outcome) => void): void {
    const number = (this.segments.last?.number ?? 0) + 1
    const salt = this.world.random.bytes(SALT_BYTES)
    const segment: Segment = { number, salt, endBytes: 0, fileBytes: 0, liveBytes: 0 }
    const records = [...this.groups.values()].map((group) => group.state())
    const payloadBytes = records.reduce((sum, record) => sum + recordBytes(record), 0)
    const bytes = new Uint8Array(SECTOR_BYTES + batchBytes(payloadBytes))
    bytes.set(encodeSegmentHeader(number, salt, this.world.checksum))
    const batch = this.nextBatch
    this.encode(bytes, SECTOR_BYTES, batch, salt, records)
    this.writer.rotate(this.segments.path(number), segment, bytes, (outcome) => {
      if (outcome === 'durable') {
        this.segments.list.push(segment)
        this.synced(batch, false)
      }
      done(outcome)
    })
  }

  private room(sizeBytes: number): Uint8Array {
    if (sizeBytes > MAX_BUFFER_BYTES) return new Uint8Array(sizeBytes)
    if (sizeBytes > this.buffer.length)
      this.buffer = new Uint8Array(Math.min(MAX_BUFFER_BYTES, sectors(Math.max(sizeBytes, 2 * this.buffer.length))))
    return this.buffer.subarray(0, sizeBytes)
  }

  private encode(
    bytes: Uint8Array,
    start: number,
    number: number,
    salt: Uint8Array,
    records: readonly LogRecord[],
  ): Uint8Array {
    const batch = bytes.subarray(start)
    const view = new DataView(batch.buffer, batch.byteOffset, batch.byteLength)
    let at = BATCH_HEADER_BYTES
    for (const record of records) at = writeRecord(batch, view, at, record)
    batch.fill(0, at)
    const header = { number, synced: this.syncedBatch, payloadBytes: at - BATCH_HEADER_BYTES }
    writeBatchHeader(batch, salt, header, this.world.checksum)
    return bytes
  }

  private trim(): void {
    this.segments.trim(() => this.trim())
  }

  read(
    group: GroupId,
    from: LogIndex,
    through: LogIndex,
    maxBytes: number,
    done: (result: Result<readonly LogEntry[]>) => void,
  ): void {
    if (this.closing !== undefined)
      return this.world.endOfTurn(() => done(err(failure('stopping', 'the log is closed'))))
    readEntries(this.world, this.segments, (id) => this.groups.get(id), { group, from, through, maxBytes }, done)
  }

  stats(): ReturnType<WriteAheadLog['stats']> {
    const { sizeBytes, list } = this.segments
    const { batches, entries, full } = this
    const { syncs } = this.writer
    return { sizeBytes, segments: list.length, batches, syncs, entries, waitingBytes: this.waitingBytes, full }
  }

  close(done: () => void): void {
    invariant(this.closing === undefined, 'log-closed-once')
    this.closing = done
    this.retry?.cancel()
    if (this.full && !this.busy) this.finish()
    else this.schedule()
  }

  /** What a full disk still holds back was promised to nobody. */
  private finish(): void {
    this.isClosed = true
    this.marker?.cancel()
    this.segments.close(() => this.writer.close(() => this.closing?.()))
  }
}
