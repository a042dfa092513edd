/**
 * What the core knows of its log: a bounded tail of entries, runs of equal term back to the log's beginning, and the
 * configurations along it. Older entries are on disk and are asked for.
 *
 * Promises: (1) `termAt` knows every index from the base to the end; (2) entries above `persisted` are always in the
 * tail; (3) cutting the log's end also takes back the configurations that stood there.
 */
import type { LogIndex, Term } from '../base/index.ts'
import { invariant, logIndex, term as makeTerm } from '../base/index.ts'
import { decodeConfig } from './config-codec.ts'
import type { Config, Entry, RaftStart, SnapshotMeta } from './types.ts'

/** What an entry costs in memory and on the wire beside its data: it makes bounds in bytes bound the count too. */
export const ENTRY_OVERHEAD_BYTES = 16

/** Stands where an entry was dropped, so that its data can go. */
const DROPPED: Entry = { index: logIndex(0), term: makeTerm(0), type: 'normal', data: new Uint8Array(0) }

export function sizeOf(entry: Entry): number {
  return entry.data.length + ENTRY_OVERHEAD_BYTES
}

type Run = { readonly term: Term; readonly firstIndex: LogIndex }

export interface LogView {
  readonly base: SnapshotMeta
  readonly firstIndex: LogIndex
  readonly lastIndex: LogIndex
  readonly lastTerm: Term
  /** The last index that is durable here and has not been rewritten since. */
  readonly persisted: LogIndex
  /** The configuration in force: the newest in the log, committed or not (dissertation 4.1). */
  readonly config: Config
  readonly configIndex: LogIndex
  /** The configuration in force at an index not below the base. */
  configAt(index: LogIndex): Config
  /** Undefined outside [base.index, lastIndex]. */
  termAt(index: LogIndex): Term | undefined
  /** The largest index at or below `index` whose term is at most `limit`; not below the base unless `index` is. */
  lastAtOrBelow(index: LogIndex, limit: Term): LogIndex
  append(entries: readonly Entry[]): void
  /** Drops everything above `index`. */
  cut(index: LogIndex): void
  /** The caller answers for it that what is durable up to `index` is what stands here now. */
  persistedUpTo(index: LogIndex): void
  /** Everything is replaced by a snapshot, which is not durable yet; what was durable up to `kept` agrees with it. */
  reset(meta: SnapshotMeta, kept: LogIndex): void
  compact(index: LogIndex): void
  /** Entries in memory; undefined where `from` is older than the tail. */
  slice(from: LogIndex, through: LogIndex): readonly Entry[] | undefined
  /** Entries from `from`, at least one, at most `maxBytes` beyond it. */
  sliceBytes(from: LogIndex, maxBytes: number): readonly Entry[] | undefined
}

export function createLogView(start: RaftStart, maxTailBytes: number): LogView {
  let base = start.snapshot
  let runs: Run[] = [...start.termRuns]
  let configs = start.configEntries.map((entry) => ({ index: entry.index, config: configIn(entry) }))
  let lastIndex = start.lastIndex
  let persisted = start.lastIndex
  /** tail[tailStart] has index `tailFirst`; the front is dropped lazily. */
  let tail: Entry[] = []
  let tailStart = 0
  let tailFirst = lastIndex + 1
  let tailBytes = 0

  const dropFirst = (): void => {
    tailBytes -= sizeOf(tail[tailStart] as Entry)
    tail[tailStart] = DROPPED
    tailStart++
    tailFirst++
  }

  const isOverfull = (): boolean => tailStart < tail.length && tailBytes > maxTailBytes && tailFirst <= persisted

  const trim = (): void => {
    while (isOverfull()) dropFirst()
    if (tailStart > 1024 && tailStart * 2 > tail.length) {
      tail = tail.slice(tailStart)
      tailStart = 0
    }
  }

  const runAt = (index: number): number => {
    let low = 0
    let high = runs.length - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if ((runs[middle] as Run).firstIndex <= index) low = middle
      else high = middle - 1
    }
    return low
  }

  const termAt = (index: LogIndex): Term | undefined => {
    if (index === base.index) return base.term
    if (index < base.index || index > lastIndex) return undefined
    return runs[runAt(index)]?.term
  }

  const cut = (index: LogIndex): void => {
    if (index >= lastIndex) return
    invariant(index >= base.index, 'log-cut-above-base', () => `cut to ${index}, base ${base.index}`)
    lastIndex = index
    if (persisted > index) persisted = index
    while (tail.length > tailStart && tailFirst + (tail.length - tailStart) - 1 > index) {
      tailBytes -= sizeOf(tail.pop() as Entry)
    }
    if (tail.length === tailStart) {
      tail = []
      tailStart = 0
      tailFirst = index + 1
    }
    while (runs.length > 0 && (runs.at(-1) as Run).firstIndex > index) runs.pop()
    while (configs.length > 0 && (configs.at(-1) as { index: number }).index > index) configs.pop()
  }

  return {
    get base() {
      return base
    },
    get firstIndex() {
      return logIndex(base.index + 1)
    },
    get lastIndex() {
      return lastIndex
    },
    get lastTerm() {
      return runs.at(-1)?.term ?? base.term
    },
    get persisted() {
      return persisted
    },
    get config() {
      return configs.at(-1)?.config ?? base.config
    },
    get configIndex() {
      return configs.at(-1)?.index ?? base.index
    },
    configAt(index) {
      for (let i = configs.length - 1; i >= 0; i--) {
        const known = configs[i] as (typeof configs)[number]
        if (known.index <= index) return known.config
      }
      return base.config
    },
    termAt,
    lastAtOrBelow(index, limit) {
      let at = index < lastIndex ? index : lastIndex
      if (at < base.index) return at
      while (at > base.index) {
        const run = runs[runAt(at)] as Run
        if (run.term <= limit) return at
        at = logIndex(run.firstIndex - 1)
      }
      return base.index
    },
    append(entries) {
      for (const entry of entries) {
        invariant(entry.index === lastIndex + 1, 'log-without-gaps', () => `${entry.index} after ${lastIndex}`)
        const lastTerm = runs.at(-1)?.term ?? base.term
        invariant(entry.term >= lastTerm, 'log-terms-ascend', () => `${entry.term} after ${lastTerm}`)
        if (runs.length === 0 || entry.term !== lastTerm) runs.push({ term: entry.term, firstIndex: entry.index })
        if (entry.type === 'config') configs.push({ index: entry.index, config: configIn(entry) })
        tail.push(entry)
        tailBytes += sizeOf(entry)
        lastIndex = entry.index
      }
      trim()
    },
    cut,
    persistedUpTo(index) {
      if (index <= persisted) return
      invariant(index <= lastIndex, 'persisted-within-log', () => `${index}, last ${lastIndex}`)
      persisted = index
      trim()
    },
    reset(meta, kept) {
      base = meta
      runs = []
      configs = []
      lastIndex = meta.index
      if (persisted > kept) persisted = kept
      tail = []
      tailStart = 0
      tailFirst = meta.index + 1
      tailBytes = 0
    },
    compact(index) {
      if (index <= base.index) return
      invariant(index <= persisted, 'log-compacts-what-is-durable', () => `${index} of ${persisted}`)
      const term = termAt(index) ?? makeTerm(0)
      const config = this.configAt(index)
      configs = configs.filter((known) => known.index > index)
      const keep = runAt(index)
      runs = index === lastIndex ? [] : runs.slice(keep)
      if (index !== lastIndex && (runs[0] as Run).firstIndex <= index) {
        const first = runs[0] as Run
        const next = runs[1]
        if (next !== undefined && next.firstIndex === index + 1) runs.shift()
        else runs[0] = { term: first.term, firstIndex: logIndex(index + 1) }
      }
      base = { index, term, config }
      for (let count = Math.min(index + 1 - tailFirst, tail.length - tailStart); count > 0; count--) dropFirst()
      trim()
    },
    slice(from, through) {
      if (from < tailFirst || through > lastIndex || from > through) return undefined
      return tail.slice(tailStart + from - tailFirst, tailStart + through - tailFirst + 1)
    },
    sliceBytes(from, maxBytes) {
      if (from < tailFirst || from > lastIndex) return undefined
      const first = tailStart + from - tailFirst
      let end = first
      let sizeBytes = 0
      while (end < tail.length) {
        sizeBytes += sizeOf(tail[end] as Entry)
        if (end > first && sizeBytes > maxBytes) break
        end++
      }
      return tail.slice(first, end)
    },
  }
}

function configIn(entry: Entry): Config {
  const decoded = decodeConfig(entry.data)
  invariant(decoded.ok, 'config-entry-decodes', () => `index ${entry.index}`)
  return decoded.value
}
