/** What the log knows of one group: where it begins and ends, its terms, and where its entries lie on disk. */
import type { GroupId, LogIndex, Term } from '../base/index.ts'
import { logIndex, term } from '../base/index.ts'
import { recordBytes, type LogRecord } from './records.ts'
import type { LogBase, LogEntry, LogHardState, RecoveredGroup } from './types.ts'

/** One file of the log, as far as it is known to be durable. */
export type Segment = {
  readonly number: number
  readonly salt: Uint8Array
  /** Where the next batch goes. */
  endBytes: number
  /** The file's size: zeros from `endBytes` on. */
  fileBytes: number
  /** Bytes of entry records that some group still needs; an upper bound. */
  liveBytes: number
}

/** Where a batch stands. */
export type Spot = { readonly segment: Segment; readonly offset: number; readonly sizeBytes: number }

/** A run of consecutive entries of one group in one stretch of a segment: the index is sparse, so that it stays small. */
export type Place = {
  first: LogIndex
  last: LogIndex
  /** Written again by the cleaner, rather than appended. */
  readonly isMoved: boolean
  readonly segment: Segment
  readonly offset: number
  endOffset: number
  liveBytes: number
}

type Run = { readonly term: Term; readonly firstIndex: LogIndex }
type StateRecord = LogRecord & { readonly type: 'state' }
type EntriesRecord = LogRecord & { readonly type: 'entries' | 'moved' }

/** A place grows over consecutive batches up to this: what a read of one entry may have to look through. */
const SPAN_BYTES = 64 * 1024

export class GroupLog {
  readonly group: GroupId
  base: LogBase
  hardState: LogHardState
  lastIndex: LogIndex
  lastTerm: Term
  /** Grows whenever entries are taken back: what was read before is another history. */
  cuts = 0
  /** In order of index, not overlapping. */
  places: Place[] = []
  private runs: Run[] = []
  private configs: LogEntry[] = []

  constructor(group: GroupId, base: LogBase) {
    this.group = group
    this.base = base
    this.hardState = { term: term(0), vote: undefined, commit: logIndex(0) }
    this.lastIndex = base.index
    this.lastTerm = base.term
  }

  /** As a segment's first batch says; the entries before it may be gone, or stand in earlier segments. */
  static resume({ group, base, hardState, lastIndex, lastTerm }: StateRecord): GroupLog {
    const resumed = new GroupLog(group, base)
    resumed.hardState = hardState
    resumed.lastIndex = lastIndex
    resumed.lastTerm = lastTerm
    return resumed
  }

  state(): StateRecord {
    const { group, base, hardState, lastIndex, lastTerm } = this
    return { type: 'state', group, base, hardState, lastIndex, lastTerm }
  }

  reset(base: LogBase): void {
    this.cuts++
    this.free()
    this.base = base
    this.lastIndex = base.index
    this.lastTerm = base.term
    this.runs = []
    this.configs = []
  }

  /** Nothing of it is needed any more. */
  free(): void {
    for (const place of this.places) place.segment.liveBytes -= place.liveBytes
    this.places = []
  }

  /** Cuts the log before the entries, then adds them. False where there would be a gap. */
  append(record: EntriesRecord, { segment, offset, sizeBytes }: Spot): boolean {
    const { entries } = record
    const first = (entries[0] as LogEntry).index
    const last = (entries.at(-1) as LogEntry).index
    if (first > this.lastIndex + 1 || first <= this.base.index) return false
    const cuts = first <= this.lastIndex
    if (cuts) this.cut(logIndex(first - 1))
    for (const entry of entries) {
      if (this.runs.at(-1)?.term !== entry.term) this.runs.push({ term: entry.term, firstIndex: entry.index })
      if (entry.type === 'config') this.configs.push(copyOf(entry))
    }
    this.lastIndex = last
    this.lastTerm = (entries.at(-1) as LogEntry).term
    const liveBytes = recordBytes(record)
    const endOffset = offset + sizeBytes
    segment.liveBytes += liveBytes
    const before = this.places.at(-1)
    const grows =
      before !== undefined &&
      !cuts &&
      !before.isMoved &&
      before.last === first - 1 &&
      before.segment === segment &&
      endOffset - before.offset <= SPAN_BYTES
    if (grows) {
      before.last = last
      before.endOffset = endOffset
      before.liveBytes += liveBytes
    } else this.places.push({ first, last, isMoved: false, segment, offset, endOffset, liveBytes })
    return true
  }

  private cut(index: LogIndex): void {
    this.cuts++
    while (this.places.length > 0 && (this.places.at(-1) as Place).first > index) {
      const place = this.places.pop() as Place
      place.segment.liveBytes -= place.liveBytes
    }
    const place = this.places.at(-1)
    if (place !== undefined && place.last > index) place.last = index
    while (this.runs.length > 0 && (this.runs.at(-1) as Run).firstIndex > index) this.runs.pop()
    while (this.configs.length > 0 && (this.configs.at(-1) as LogEntry).index > index) this.configs.pop()
    this.lastIndex = index
    this.lastTerm = this.runs.at(-1)?.term ?? this.base.term
  }

  /** Everything up to `base.index`, at most the last, is dropped. */
  compact(base: LogBase): void {
    const { index } = base
    if (index <= this.base.index) return
    this.base = base
    let dropped = 0
    for (; dropped < this.places.length && (this.places[dropped] as Place).last <= index; dropped++) {
      const place = this.places[dropped] as Place
      place.segment.liveBytes -= place.liveBytes
    }
    if (dropped > 0) this.places.splice(0, dropped)
    this.configs = this.configs.filter((entry) => entry.index > index)
    const under = this.runs.findLast((run) => run.firstIndex <= index + 1)
    const above = this.runs.filter((run) => run.firstIndex > index + 1)
    const next = under === undefined ? [] : [{ term: under.term, firstIndex: logIndex(index + 1) }]
    this.runs = this.lastIndex === index ? [] : [...next, ...above]
  }

  /** Live entries were written again here; where recovery began later than them, this is how it meets them. */
  fill(record: EntriesRecord, { segment, offset, sizeBytes }: Spot): void {
    const live = record.entries.filter((entry) => entry.index > this.base.index && entry.index <= this.lastIndex)
    const first = live[0]?.index
    const last = live.at(-1)?.index
    if (first === undefined || last === undefined) return
    const left: Place[] = []
    const right: Place[] = []
    for (const place of this.places) {
      if (place.last < first) left.push(place)
      else if (place.first > last) right.push(place)
      else {
        // What sticks out stays, and counts whole: a bound.
        if (place.first < first) left.push({ ...place, last: logIndex(first - 1) })
        if (place.last > last) right.push({ ...place, first: logIndex(last + 1) })
        const pieces = (place.first < first ? 1 : 0) + (place.last > last ? 1 : 0)
        place.segment.liveBytes += (pieces - 1) * place.liveBytes
      }
    }
    const liveBytes = recordBytes(record)
    segment.liveBytes += liveBytes
    const endOffset = offset + sizeBytes
    this.places = [...left, { first, last, isMoved: true, segment, offset, endOffset, liveBytes }, ...right]
    this.fillRuns(live, first, last)
    this.configs = this.configs.filter((entry) => entry.index < first || entry.index > last)
    for (const entry of live) if (entry.type === 'config') this.configs.push(copyOf(entry))
    this.configs.sort((a, b) => a.index - b.index)
  }

  private fillRuns(entries: readonly LogEntry[], first: LogIndex, last: LogIndex): void {
    const pieces: Run[] = this.runs.filter((run) => run.firstIndex < first)
    for (const entry of entries) pieces.push({ term: entry.term, firstIndex: entry.index })
    const after = this.runs.findLast((run) => run.firstIndex <= last + 1)
    if (after !== undefined && last < this.lastIndex) pieces.push({ term: after.term, firstIndex: logIndex(last + 1) })
    pieces.push(...this.runs.filter((run) => run.firstIndex > last + 1))
    this.runs = pieces.filter((run, i) => i === 0 || run.term !== (pieces[i - 1] as Run).term)
    if (last === this.lastIndex) this.lastTerm = (entries.at(-1) as LogEntry).term
  }

  placeOf(index: LogIndex): Place | undefined {
    let low = 0
    let high = this.places.length - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if ((this.places[middle] as Place).first <= index) low = middle
      else high = middle - 1
    }
    const place = this.places[low]
    return place !== undefined && place.first <= index && index <= place.last && index > this.base.index
      ? place
      : undefined
  }

  /** Undefined where every entry above the base has its place; else the first that has none. */
  firstMissing(): LogIndex | undefined {
    let next = this.base.index + 1
    for (const place of this.places) {
      if (place.first > next) return logIndex(next)
      next = Math.max(next, place.last + 1)
    }
    return next === this.lastIndex + 1 ? undefined : logIndex(next)
  }

  recovered(): RecoveredGroup {
    const { group, base, hardState, lastIndex, runs, configs } = this
    return { group, base, hardState, lastIndex, termRuns: [...runs], configEntries: [...configs] }
  }
}

/** Its data may be a view of something large. */
function copyOf(entry: LogEntry): LogEntry {
  return { ...entry, data: entry.data.slice() }
}
