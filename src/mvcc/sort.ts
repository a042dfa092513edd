/**
 * Sorts what arrives in slices, so that no single step sorts everything: short runs are sorted as they fill and merged
 * in pairs of like size (merge sort from the bottom). Equal entries keep the order in which they came. With a limit,
 * merged runs are cut to it.
 */

const RUN_LENGTH = 512

export interface Sorter<T> {
  add(entry: T): void
  /** Entries held now; with a limit fewer than were added. */
  readonly size: number
  /** Merges all there is, so that no more than the limit is held. */
  cutNow(): void
  /** Everything that was added, or the first `limit`, in order. Ends the sorter. */
  finish(): readonly T[]
}

export function createSorter<T>(
  order: (a: T, b: T) => number,
  limit: number,
  onDropped: (entry: T) => void,
): Sorter<T> {
  const runs: T[][] = []
  let fresh: T[] = []
  let size = 0

  const cut = (run: T[]): T[] => {
    if (run.length <= limit) return run
    for (let i = limit; i < run.length; i++) onDropped(run[i] as T)
    size -= run.length - limit
    return run.slice(0, limit)
  }

  const mergeLast = (): void => {
    const later = runs.pop() as T[]
    const earlier = runs.pop() as T[]
    runs.push(cut(merge(earlier, later, order)))
  }

  const closeRun = (): void => {
    runs.push(cut(fresh.sort(order)))
    fresh = []
    while (runs.length > 1 && (runs.at(-2) as T[]).length <= 2 * (runs.at(-1) as T[]).length) mergeLast()
  }

  const cutNow = (): void => {
    if (fresh.length > 0) closeRun()
    while (runs.length > 1) mergeLast()
  }

  return {
    add(entry) {
      fresh.push(entry)
      size++
      if (fresh.length === RUN_LENGTH) closeRun()
    },
    get size() {
      return size
    },
    cutNow,
    finish() {
      cutNow()
      return runs[0] ?? []
    },
  }
}

function merge<T>(earlier: readonly T[], later: readonly T[], order: (a: T, b: T) => number): T[] {
  const merged: T[] = []
  let i = 0
  let j = 0
  while (i < earlier.length && j < later.length) {
    const a = earlier[i] as T
    const b = later[j] as T
    if (order(a, b) <= 0) {
      merged.push(a)
      i++
    } else {
      merged.push(b)
      j++
    }
  }
  for (; i < earlier.length; i++) merged.push(earlier[i] as T)
  for (; j < later.length; j++) merged.push(later[j] as T)
  return merged
}
