/**
 * The write-ahead log of one server, shared by all its groups: one write and one fdatasync in flight, everything that
 * comes meanwhile shares the next. See format.ts for what is on disk and recovery.ts for how it is read back.
 */
import type { GroupId, LogIndex, Result } from '../base/index.ts'
import { err, failure, InvariantViolation, ok } from '../base/index.ts'
import type { DiskFile, Timer, World } from '../world/index.ts'

import type { LogRecord } from './format.ts'
import { decodeBatchHeader, decodeRecords, encodeBatch, encodeSegmentHeader, isSound, segmentName } from './format.ts'
import { GroupLog } from './group-log.ts'
import type { RecoveredLog } from './recovery.ts'
import { damaged, recoverLog } from './recovery.ts'
import type { LogEntry, LogOptions, LogWrite, WriteAheadLog } from './types.ts'

/** Of one batch, beyond its first append: what a sync has to carry at most. */
const MAX_BATCH_BYTES = 8 * 1024 * 1024

type Waiting = { readonly writes: readonly LogWrite[]; readonly done: () => void }

export function openLog(world: World, options: LogOptions, done: (result: Result<WriteAheadLog>) => void): void {
  const { disk } = world
  const { directory } = options
  const path = (number: number): string => `${directory}/${segmentName(number)}`
  disk.makeDirectory(directory, (made) => {
    if (!made.ok) return done(made)
    recoverLog(world, directory, (recovered) => {
      if (!recovered.ok) return done(recovered)
      const found = recovered.value
      const last = found.segments.at(-1)
      const open = (): void => {
        if (last === undefined) return done(ok(new Log(world, options, found, undefined)))
        disk.open(path(last.number), { create: false }, (opened) => {
          if (!opened.ok) return done(opened)
          const file = opened.value
          const live = (): void => done(ok(new Log(world, options, found, file)))
          if (found.cutAt === undefined) return live()
          world.diagnostics.log('warn', 'log-tail-cut', { file: file.path, offset: found.cutAt })
          file.truncate(found.cutAt, (cut) => {
            if (!cut.ok) return done(cut)
            file.datasync((synced) => (synced.ok ? live() : done(synced)))
          })
        })
      }
      if (!found.removeLast) return open()
      const torn = (last?.number ?? 0) + 1
      disk.list(directory, (names) => {
        if (!names.ok) return done(names)
        const name = names.value.findLast((known) => known.endsWith('.log')) ?? segmentName(torn)
        disk.remove(`${directory}/${name}`, (removed) => {
          if (!removed.ok) return done(removed)
          disk.syncDirectory(directory, (synced) => (synced.ok ? open() : done(synced)))
        })
      })
    })
  })
}

class Log implements WriteAheadLog {
  readonly recovered: WriteAheadLog['recovered']
  private readonly world: World
  private readonly options: LogOptions
  private readonly groups: Map<GroupId, GroupLog>
  private readonly segments: { readonly number: number; sizeBytes: number }[]
  private file: DiskFile | undefined
  private readonly readers = new Map<number, DiskFile>()
  private waiting: Waiting[] = []
  private compactions = new Map<GroupId, LogRecord>()
  private busy = false
  private scheduled = false
  private full = false
  private closing: (() => void) | undefined
  private nextBatch: number
  private syncedBatch: number
  /** The number that the newest marker, or batch, says is synced. */
  private saidSynced: number
  private marker: Timer | undefined
  private batches = 0
  private syncs = 0
  private entries = 0

  constructor(world: World, options: LogOptions, found: RecoveredLog, file: DiskFile | undefined) {
    this.world = world
    this.options = options
    this.groups = found.groups
    this.segments = found.segments
    this.file = file
    this.nextBatch = found.lastBatch + 1
    this.syncedBatch = found.lastBatch
    this.saidSynced = found.lastBatch
    this.recovered = [...found.groups.values()].map((group) => group.recovered())
  }

  append(writes: readonly LogWrite[], done: () => void): void {
    this.waiting.push({ writes, done })
    this.schedule()
  }

  compact(group: GroupId, base: LogWrite['base'] & object): void {
    if (!this.groups.has(group)) return
    this.compactions.set(group, { type: 'compacted', group, base })
    this.schedule()
  }

  removeGroup(group: GroupId, done: () => void): void {
    this.compactions.set(group, { type: 'removed', group })
    this.append([], done)
  }

  private schedule(): void {
    if (this.busy || this.scheduled) return
    this.scheduled = true
    // The callers of this turn share one batch.
    this.world.endOfTurn(() => {
      this.scheduled = false
      if (!this.busy) this.begin()
    })
  }

  private begin(): void {
    if (this.waiting.length === 0 && this.compactions.size === 0) return this.idle()
    this.marker?.cancel()
    this.marker = undefined
    this.busy = true
    const taken = this.take()
    const records: LogRecord[] = [...this.compactions.values()]
    this.compactions = new Map()
    for (const { writes } of taken) for (const write of writes) addRecords(records, write)
    if (records.length === 0) return this.acknowledge(taken)
    this.write(records, () => this.acknowledge(taken))
  }

  private take(): Waiting[] {
    let bytes = 0
    let count = 0
    while (count < this.waiting.length && (count === 0 || bytes < MAX_BATCH_BYTES)) {
      for (const write of (this.waiting[count] as Waiting).writes)
        for (const entry of write.entries ?? []) bytes += entry.data.length
      count++
    }
    const taken = this.waiting.slice(0, count)
    this.waiting = this.waiting.slice(count)
    return taken
  }

  private acknowledge(taken: readonly Waiting[]): void {
    for (const { done } of taken) done()
    this.busy = false
    if (this.closing !== undefined && this.waiting.length === 0) return this.finish()
    if (this.waiting.length > 0 || this.compactions.size > 0) this.begin()
    else this.idle()
  }

  /** Nothing waits: soon a marker says that the last batch is synced. */
  private idle(): void {
    if (this.marker !== undefined || this.saidSynced === this.syncedBatch || this.closing !== undefined) return
    this.marker = this.world.clock.setTimer(this.options.markerDelayMs, () => {
      this.marker = undefined
      if (this.busy || this.saidSynced === this.syncedBatch) return
      this.busy = true
      this.write([], () => this.acknowledge([]))
    })
  }

  private write(records: readonly LogRecord[], durable: () => void): void {
    const current = this.segments.at(-1)
    if (this.file === undefined || current === undefined || current.sizeBytes >= this.options.segmentBytes) {
      this.rollOver(() => this.writeBatch(records, durable))
    } else this.writeBatch(records, durable)
  }

  private writeBatch(records: readonly LogRecord[], durable: () => void): void {
    const segment = this.segments.at(-1) as { readonly number: number; sizeBytes: number }
    const number = this.nextBatch
    const bytes = encodeBatch(number, this.syncedBatch, records, this.world.checksum)
    const offset = segment.sizeBytes
    this.put(this.file as DiskFile, offset, bytes, () => {
      segment.sizeBytes = offset + bytes.length
      this.nextBatch = number + 1
      this.saidSynced = records.length === 0 ? number : this.syncedBatch
      this.syncedBatch = number
      this.batches++
      this.note(records, segment.number, offset, bytes.length)
      durable()
      this.reclaim()
    })
  }

  /** Writes and syncs; on a full disk takes back what was written, and tries again until there is space. */
  private put(file: DiskFile, offset: number, bytes: Uint8Array, done: () => void): void {
    file.write(offset, [bytes], (written) => {
      if (!written.ok) {
        if (written.error.code !== 'disk-full') return this.fail('log-write-failed', written.error.message)
        return this.waitForSpace(file, offset, () => this.put(file, offset, bytes, done))
      }
      file.datasync((synced) => {
        if (!synced.ok) return this.fail('log-sync-failed', synced.error.message)
        this.syncs++
        if (this.full) {
          this.full = false
          this.options.onFull(false)
        }
        done()
      })
    })
  }

  private waitForSpace(file: DiskFile, offset: number, again: () => void): void {
    if (!this.full) {
      this.full = true
      this.options.onFull(true)
    }
    file.truncate(offset, (cut) => {
      if (!cut.ok) return this.fail('log-undo-failed', cut.error.message)
      this.world.clock.setTimer(this.options.fullRetryMs, again)
    })
  }

  private fail(name: string, detail: string): void {
    this.world.fail(new InvariantViolation(name, detail))
  }

  /** A new segment, which begins with what every group needs so that the older ones can go. */
  private rollOver(done: () => void): void {
    const number = (this.segments.at(-1)?.number ?? 0) + 1
    const path = `${this.options.directory}/${segmentName(number)}`
    this.world.disk.open(path, { create: true }, (opened) => {
      if (!opened.ok) {
        if (opened.error.code !== 'disk-full') return this.fail('log-segment-failed', opened.error.message)
        this.world.clock.setTimer(this.options.fullRetryMs, () => this.rollOver(done))
        return
      }
      const file = opened.value
      const batch = encodeBatch(this.nextBatch, this.syncedBatch, this.state(), this.world.checksum)
      const header = encodeSegmentHeader(number, this.world.checksum)
      const whole = new Uint8Array(header.length + batch.length)
      whole.set(header)
      whole.set(batch, header.length)
      this.put(file, 0, whole, () => {
        this.world.disk.syncDirectory(this.options.directory, (synced) => {
          if (!synced.ok) return this.fail('log-sync-failed', synced.error.message)
          this.syncedBatch = this.nextBatch++
          const old = this.file
          if (old !== undefined) this.readers.set((this.segments.at(-1) as { number: number }).number, old)
          this.file = file
          this.segments.push({ number, sizeBytes: whole.length })
          done()
        })
      })
    })
  }

  private state(): LogRecord[] {
    const records: LogRecord[] = []
    for (const group of this.groups.values()) {
      records.push({ type: 'begin', group: group.group, base: group.base })
      records.push({ type: 'hardState', group: group.group, hardState: group.hardState })
      records.push({ type: 'position', group: group.group, lastIndex: group.lastIndex, lastTerm: group.lastTerm })
    }
    return records
  }

  private note(records: readonly LogRecord[], segment: number, offset: number, sizeBytes: number): void {
    for (const record of records) {
      let group = this.groups.get(record.group)
      if (record.type === 'base') {
        if (group === undefined) this.groups.set(record.group, new GroupLog(record.group, record.base))
        else group.reset(record.base)
        continue
      }
      if (record.type === 'removed') {
        this.groups.delete(record.group)
        continue
      }
      if (group === undefined) {
        this.fail('log-group-known', `group ${record.group} has no base`)
        return
      }
      if (record.type === 'compacted') group.compact(record.base)
      else if (record.type === 'hardState') group.hardState = record.hardState
      else if (record.type === 'entries') {
        this.entries += record.entries.length
        if (!group.append(record.entries, segment, offset, sizeBytes)) {
          this.fail('log-without-gaps', `group ${record.group}: ${record.entries[0]?.index} after ${group.lastIndex}`)
        }
      }
    }
  }

  /** Removes segments that hold nothing that is needed. */
  private reclaim(): void {
    let oldest = this.segments.at(-1)?.number ?? 0
    for (const group of this.groups.values()) oldest = Math.min(oldest, group.oldestSegment)
    while (this.segments.length > 1 && (this.segments[0] as { number: number }).number < oldest) {
      const { number } = this.segments.shift() as { number: number }
      const close = this.readers.get(number)
      this.readers.delete(number)
      close?.close(() => {})
      this.world.disk.remove(`${this.options.directory}/${segmentName(number)}`, (removed) => {
        if (!removed.ok)
          this.world.diagnostics.log('warn', 'log-segment-not-removed', { number, message: removed.error.message })
      })
    }
  }

  read(
    group: GroupId,
    from: LogIndex,
    through: LogIndex,
    maxBytes: number,
    done: (result: Result<readonly LogEntry[]>) => void,
  ): void {
    const place = this.groups.get(group)?.placeOf(from)
    if (place === undefined) {
      this.world.endOfTurn(() => done(err(failure('compacted', `entry ${from} of group ${group} is not in the log`))))
      return
    }
    this.reader(place.segment, (opened) => {
      if (!opened.ok) return done(opened)
      opened.value.read(place.offset, place.sizeBytes, (read) => {
        if (!read.ok) return done(read)
        const header = decodeBatchHeader(read.value, 0)
        const records =
          header !== undefined && isSound(read.value, 0, header, this.world.checksum)
            ? decodeRecords(read.value, 0, header)
            : undefined
        if (records === undefined)
          return done(err(damaged(opened.value.path, place.offset, 'a batch that was sound is so no longer')))
        const entries: LogEntry[] = []
        let bytes = 0
        // A batch may hold entries of one index twice: the later ones replace the earlier.
        for (const record of records) {
          if (record.type !== 'entries' || record.group !== group) continue
          while (entries.length > 0 && (entries.at(-1) as LogEntry).index >= (record.entries[0] as LogEntry).index)
            entries.pop()
          entries.push(...record.entries)
        }
        const wanted = entries.filter((entry) => entry.index >= from && entry.index <= Math.min(through, place.last))
        let count = 0
        for (const entry of wanted) {
          bytes += entry.data.length
          if (count > 0 && bytes > maxBytes) break
          count++
        }
        done(ok(wanted.slice(0, count)))
      })
    })
  }

  private reader(segment: number, done: (result: Result<DiskFile>) => void): void {
    const known = segment === this.segments.at(-1)?.number ? this.file : this.readers.get(segment)
    if (known !== undefined) return done(ok(known))
    this.world.disk.open(`${this.options.directory}/${segmentName(segment)}`, { create: false }, (opened) => {
      if (opened.ok) this.readers.set(segment, opened.value)
      done(opened)
    })
  }

  stats(): ReturnType<WriteAheadLog['stats']> {
    let sizeBytes = 0
    for (const segment of this.segments) sizeBytes += segment.sizeBytes
    return {
      sizeBytes,
      segments: this.segments.length,
      batches: this.batches,
      syncs: this.syncs,
      entries: this.entries,
      full: this.full,
    }
  }

  close(done: () => void): void {
    this.closing = done
    if (!this.busy && this.waiting.length === 0) this.finish()
  }

  private finish(): void {
    this.marker?.cancel()
    const closeAll = (): void => {
      const files = [...this.readers.values(), ...(this.file === undefined ? [] : [this.file])]
      let left = files.length
      if (left === 0) this.closing?.()
      for (const file of files) {
        file.close(() => {
          left--
          if (left === 0) this.closing?.()
        })
      }
    }
    if (this.saidSynced === this.syncedBatch || this.file === undefined) return closeAll()
    this.busy = true
    this.write([], closeAll)
  }
}

function addRecords(records: LogRecord[], write: LogWrite): void {
  const { group } = write
  if (write.base !== undefined) records.push({ type: 'base', group, base: write.base })
  if (write.entries !== undefined && write.entries.length > 0)
    records.push({ type: 'entries', group, entries: write.entries })
  if (write.hardState !== undefined) records.push({ type: 'hardState', group, hardState: write.hardState })
}
