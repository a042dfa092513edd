/** What the log knows of one group: where it begins and ends, its terms, and where its entries lie on disk. */
import type { GroupId, LogIndex, Term } from '../base/index.ts'
import { logIndex, term } from '../base/index.ts'
import type { LogBase, LogEntry, LogHardState, RecoveredGroup } from './types.ts'

/** A run of entries that stand in one batch. */
export type Place = {
  readonly first: LogIndex
  last: LogIndex
  readonly segment: number
  readonly offset: number
  readonly sizeBytes: number
}

export class GroupLog {
  readonly group: GroupId
  base: LogBase
  hardState: LogHardState
  lastIndex: LogIndex
  lastTerm: Term
  places: Place[] = []
  private runs: { readonly term: Term; readonly firstIndex: LogIndex }[] = []
  private configs: LogEntry[] = []

  constructor(group: GroupId, base: LogBase) {
    this.group = group
    this.base = base
    this.hardState = { term: term(0), vote: undefined, commit: logIndex(0) }
    this.lastIndex = base.index
    this.lastTerm = base.term
  }

  reset(base: LogBase): void {
    this.base = base
    this.lastIndex = base.index
    this.lastTerm = base.term
    this.places = []
    this.runs = []
    this.configs = []
  }

  /** A segment begins here: what came before may have been dropped, so only the end is known. */
  resume(lastIndex: LogIndex, lastTerm: Term): void {
    if (lastIndex === this.lastIndex) return
    this.lastIndex = lastIndex
    this.lastTerm = lastTerm
  }

  /** Cuts the log before the entries, then adds them. False where there would be a gap. */
  append(entries: readonly LogEntry[], segment: number, offset: number, sizeBytes: number): boolean {
    const first = entries[0] as LogEntry
    if (first.index > this.lastIndex + 1 || first.index <= this.base.index) return false
    if (first.index <= this.lastIndex) this.cut(logIndex(first.index - 1))
    for (const entry of entries) {
      if (this.runs.length === 0 || entry.term !== this.lastTerm)
        this.runs.push({ term: entry.term, firstIndex: entry.index })
      this.lastTerm = entry.term
      if (entry.type === 'config') this.configs.push({ ...entry, data: entry.data.slice() })
    }
    const last = entries.at(-1) as LogEntry
    this.lastIndex = last.index
    this.places.push({ first: first.index, last: last.index, segment, offset, sizeBytes })
    return true
  }

  private cut(index: LogIndex): void {
    while (this.places.length > 0 && (this.places.at(-1) as Place).first > index) this.places.pop()
    const place = this.places.at(-1)
    if (place !== undefined && place.last > index) place.last = index
    while (this.runs.length > 0 && (this.runs.at(-1) as { firstIndex: number }).firstIndex > index) this.runs.pop()
    while (this.configs.length > 0 && (this.configs.at(-1) as LogEntry).index > index) this.configs.pop()
    this.lastIndex = index
    this.lastTerm = this.runs.at(-1)?.term ?? this.base.term
  }

  compact(base: LogBase): void {
    if (base.index <= this.base.index) return
    this.base = base
    if (base.index > this.lastIndex) return this.reset(base)
    this.places = this.places.filter((place) => place.last > base.index)
    this.configs = this.configs.filter((entry) => entry.index > base.index)
    const keep = this.runs.filter((_, i) => (this.runs[i + 1]?.firstIndex ?? this.lastIndex + 1) > base.index + 1)
    this.runs = keep.map((run) =>
      run.firstIndex > base.index ? run : { term: run.term, firstIndex: logIndex(base.index + 1) },
    )
    if (this.lastIndex === base.index) this.runs = []
  }

  /** The lowest segment that holds an entry above the base; Infinity for none. */
  get oldestSegment(): number {
    let oldest = Number.POSITIVE_INFINITY
    for (const place of this.places) if (place.segment < oldest) oldest = place.segment
    return oldest
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
    return place !== undefined && place.first <= index && index <= place.last ? place : undefined
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
    return {
      group: this.group,
      base: this.base,
      hardState: this.hardState,
      lastIndex: this.lastIndex,
      termRuns: this.runs,
      configEntries: this.configs,
    }
  }
}
