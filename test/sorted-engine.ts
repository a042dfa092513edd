/** The simplest engine that keeps the contract of EngineReader and EngineWriter: a sorted array. For tests of mvcc. */
import { compareBytes } from '../src/base/index.ts'
import type { EngineCursor, EngineReader, EngineWriter } from '../src/engine/types.ts'

type Pair = { readonly key: Uint8Array; readonly value: Uint8Array }

export interface SortedEngine extends EngineReader {
  readonly writer: EngineWriter
  /** All pairs in key order. */
  readonly pairs: readonly Pair[]
}

export function createSortedEngine(): SortedEngine {
  const pairs: Pair[] = []

  /** The first position whose key is at or after `key`. */
  const find = (key: Uint8Array): number => {
    let low = 0
    let high = pairs.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (compareBytes((pairs[middle] as Pair).key, key) < 0) low = middle + 1
      else high = middle
    }
    return low
  }
  const holds = (at: number, key: Uint8Array): boolean => {
    const pair = pairs[at]
    return pair !== undefined && compareBytes(pair.key, key) === 0
  }

  const scan = (start: Uint8Array, end: Uint8Array, reverse: boolean): EngineCursor => {
    let current: Pair | undefined
    let began = false
    const settle = (at: number): boolean => {
      const pair = pairs[at]
      const inside = pair !== undefined && compareBytes(pair.key, start) >= 0 && compareBytes(pair.key, end) < 0
      current = inside ? pair : undefined
      return inside
    }
    return {
      next() {
        if (!began) {
          began = true
          return settle(reverse ? find(end) - 1 : find(start))
        }
        if (current === undefined) return false
        const at = find(current.key)
        return settle(reverse ? at - 1 : at + (holds(at, current.key) ? 1 : 0))
      },
      seek(key) {
        began = true
        if (!reverse) return settle(find(compareBytes(key, start) < 0 ? start : key))
        const at = find(key)
        return settle(holds(at, key) && compareBytes(key, end) < 0 ? at : Math.min(at, find(end)) - 1)
      },
      get key() {
        return (current as Pair).key
      },
      get value() {
        return (current as Pair).value
      },
      close() {},
    }
  }

  return {
    pairs,
    get(key) {
      const at = find(key)
      return holds(at, key) ? (pairs[at] as Pair).value : undefined
    },
    scan: (start, end, options) => scan(start, end, options?.reverse === true),
    writer: {
      put(key, value) {
        const at = find(key)
        pairs.splice(at, holds(at, key) ? 1 : 0, { key, value })
      },
      remove(key) {
        const at = find(key)
        if (holds(at, key)) pairs.splice(at, 1)
      },
    },
  }
}
