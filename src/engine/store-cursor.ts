/**
 * Cursors over a store: they read short runs of pairs and hold nothing of the store between them, so that no old state is
 * pinned. Runs begin with one pair, since most reads want no more.
 */
import { compareBytes } from '../base/index.ts'
import type { MapCursor } from './ordered-map.ts'
import type { RoutePart } from './routes.ts'
import type { Pair, Store, StoreView } from './store.ts'

const FIRST_RUN = 1
const LONGEST_RUN = 256
const GROWTH = 8

/** Over `parts`, which are in key order and do not overlap. */
export function storeCursor(
  store: Store,
  parts: readonly RoutePart[],
  reverse: boolean,
  view: StoreView | undefined,
): MapCursor<Uint8Array> {
  const cursors = parts.map((part) => new StoreCursor(store, part, reverse, view))
  if (cursors.length === 1) return cursors[0] as StoreCursor
  if (reverse) cursors.reverse()
  return new PartsCursor(cursors, reverse)
}

class StoreCursor implements MapCursor<Uint8Array> {
  readonly part: RoutePart
  private readonly store: Store
  private readonly reverse: boolean
  private readonly view: StoreView | undefined
  private run: readonly Pair[] = []
  private at = 0
  private length = FIRST_RUN
  private began = false

  constructor(store: Store, part: RoutePart, reverse: boolean, view: StoreView | undefined) {
    this.store = store
    this.part = part
    this.reverse = reverse
    this.view = view
  }

  get key(): Uint8Array {
    return (this.run[this.at] as Pair).key
  }

  get value(): Uint8Array {
    return (this.run[this.at] as Pair).value
  }

  next(): boolean {
    if (!this.began) return this.first()
    const current = this.run[this.at]
    if (current === undefined) return false
    if (++this.at < this.run.length) return this.inside()
    // A run shorter than asked for was the slot's last.
    if (this.run.length < this.length) return false
    this.length = Math.min(LONGEST_RUN, this.length * GROWTH)
    return this.fetch(current.key, true)
  }

  seek(key: Uint8Array): boolean {
    const { start, end } = this.part
    if (this.reverse ? compareBytes(key, end) >= 0 : compareBytes(key, start) <= 0) return this.first()
    this.length = FIRST_RUN
    return this.fetch(key, false)
  }

  private first(): boolean {
    this.length = FIRST_RUN
    // The end is exclusive.
    return this.reverse ? this.fetch(this.part.end, true) : this.fetch(this.part.start, false)
  }

  private fetch(from: Uint8Array, exclusive: boolean): boolean {
    this.began = true
    const { reverse, length } = this
    this.run = this.store.read(this.part.slot, from, { reverse, exclusive, limit: length }, this.view)
    this.at = 0
    return this.inside()
  }

  private inside(): boolean {
    const pair = this.run[this.at]
    if (pair === undefined) return false
    const { start, end } = this.part
    if (this.reverse ? compareBytes(pair.key, start) >= 0 : compareBytes(pair.key, end) < 0) return true
    this.run = []
    return false
  }
}

/** One part after another. */
class PartsCursor implements MapCursor<Uint8Array> {
  private readonly cursors: readonly StoreCursor[]
  private readonly reverse: boolean
  private at = 0

  constructor(cursors: readonly StoreCursor[], reverse: boolean) {
    this.cursors = cursors
    this.reverse = reverse
  }

  get key(): Uint8Array {
    return (this.cursors[this.at] as StoreCursor).key
  }

  get value(): Uint8Array {
    return (this.cursors[this.at] as StoreCursor).value
  }

  next(): boolean {
    const cursor = this.cursors[this.at]
    if (cursor === undefined) return false
    return cursor.next() || this.onward()
  }

  seek(key: Uint8Array): boolean {
    this.at = this.cursors.findIndex(({ part }) =>
      this.reverse ? compareBytes(part.start, key) <= 0 : compareBytes(part.end, key) > 0,
    )
    if (this.at === -1) this.at = this.cursors.length
    const cursor = this.cursors[this.at]
    if (cursor === undefined) return false
    return cursor.seek(key) || this.onward()
  }

  /** Into the parts behind, from their beginnings. */
  private onward(): boolean {
    while (++this.at < this.cursors.length) {
      const { part } = this.cursors[this.at] as StoreCursor
      if ((this.cursors[this.at] as StoreCursor).seek(this.reverse ? part.end : part.start)) return true
    }
    return false
  }
}
