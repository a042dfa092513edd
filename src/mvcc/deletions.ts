/** A set of key intervals that is asked whether it holds a key. Intervals are joined when it is asked, not when added. */
import { compareBytes } from '../base/index.ts'

/** `[start, end)`; holds nothing where end is not above start. */
export type Deletion = { readonly start: Uint8Array; readonly end: Uint8Array }

export interface Deletions {
  add(deletion: Deletion): void
  has(key: Uint8Array): boolean
  all(): readonly Deletion[]
}

export function createDeletions(): Deletions {
  let intervals: Deletion[] = []
  let joined = true

  const join = (): void => {
    intervals.sort((a, b) => compareBytes(a.start, b.start))
    const disjoint: Deletion[] = []
    for (const interval of intervals) {
      const last = disjoint.at(-1)
      if (last === undefined || compareBytes(interval.start, last.end) > 0) disjoint.push(interval)
      else if (compareBytes(interval.end, last.end) > 0) {
        disjoint[disjoint.length - 1] = { start: last.start, end: interval.end }
      }
    }
    intervals = disjoint
    joined = true
  }

  return {
    add(deletion) {
      if (compareBytes(deletion.start, deletion.end) >= 0) return
      intervals.push(deletion)
      joined = intervals.length === 1
    },
    has(key) {
      if (!joined) join()
      // The last interval that starts at or before the key is the only one that can hold it.
      let low = 0
      let high = intervals.length
      while (low < high) {
        const middle = (low + high) >>> 1
        const candidate = intervals[middle] as Deletion
        if (compareBytes(candidate.start, key) <= 0) low = middle + 1
        else high = middle
      }
      const interval = intervals[low - 1]
      return interval !== undefined && compareBytes(key, interval.end) < 0
    },
    all: () => intervals,
  }
}
