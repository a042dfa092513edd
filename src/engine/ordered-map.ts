/**
 * An ordered map from byte keys to values, in memory: an array of leaves of up to LEAF_SIZE pairs each. A snapshot is a
 * copy of the array of leaves, which are then copied when they are written to. Keys and values are kept, not copied.
 */
import { compareBytes } from '../base/index.ts'

const LEAF_SIZE = 128

type Leaf<V> = { keys: Uint8Array[]; values: V[]; epoch: number }

export interface MapReader<V> {
  get(key: Uint8Array): V | undefined
  cursor(start: Uint8Array, end: Uint8Array, reverse: boolean): MapCursor<V>
}

export interface MapCursor<V> {
  next(): boolean
  seek(key: Uint8Array): boolean
  readonly key: Uint8Array
  readonly value: V
}

export class OrderedMap<V> implements MapReader<V> {
  private leaves: Leaf<V>[]
  private epoch = 0
  /** Counts changes: cursors that see another count find their place again. */
  version = 0
  size = 0

  constructor() {
    this.leaves = [{ keys: [], values: [], epoch: 0 }]
  }

  /** The last leaf whose first key is at most `key`. */
  private leafFor(key: Uint8Array): number {
    let low = 0
    let high = this.leaves.length - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if (compareBytes((this.leaves[middle] as Leaf<V>).keys[0] as Uint8Array, key) <= 0) low = middle
      else high = middle - 1
    }
    return low
  }

  private writable(at: number): Leaf<V> {
    const leaf = this.leaves[at] as Leaf<V>
    if (leaf.epoch === this.epoch) return leaf
    const copy = { keys: leaf.keys.slice(), values: leaf.values.slice(), epoch: this.epoch }
    this.leaves[at] = copy
    return copy
  }

  /** The value of `key`, or `missing`. */
  lookup<M>(key: Uint8Array, missing: M): V | M {
    if (this.size === 0) return missing
    const leaf = this.leaves[this.leafFor(key)] as Leaf<V>
    const at = lowerBound(leaf.keys, key)
    const found = leaf.keys[at]
    return found !== undefined && compareBytes(found, key) === 0 ? (leaf.values[at] as V) : missing
  }

  get(key: Uint8Array): V | undefined {
    const leaf = this.leaves[this.leafFor(key)] as Leaf<V>
    const at = lowerBound(leaf.keys, key)
    const found = leaf.keys[at]
    return found !== undefined && compareBytes(found, key) === 0 ? leaf.values[at] : undefined
  }

  set(key: Uint8Array, value: V): void {
    this.version++
    const at = this.leafFor(key)
    const leaf = this.writable(at)
    const slot = lowerBound(leaf.keys, key)
    const found = leaf.keys[slot]
    if (found !== undefined && compareBytes(found, key) === 0) {
      leaf.values[slot] = value
      return
    }
    leaf.keys.splice(slot, 0, key)
    leaf.values.splice(slot, 0, value)
    this.size++
    if (leaf.keys.length <= LEAF_SIZE) return
    // Keys often come in order: a full last leaf is left nearly full.
    const cut = at === this.leaves.length - 1 && slot === leaf.keys.length - 1 ? LEAF_SIZE - 1 : LEAF_SIZE >> 1
    const right = { keys: leaf.keys.splice(cut), values: leaf.values.splice(cut), epoch: this.epoch }
    this.leaves.splice(at + 1, 0, right)
  }

  delete(key: Uint8Array): boolean {
    const at = this.leafFor(key)
    const before = this.leaves[at] as Leaf<V>
    const slot = lowerBound(before.keys, key)
    const found = before.keys[slot]
    if (found === undefined || compareBytes(found, key) !== 0) return false
    this.version++
    this.size--
    const leaf = this.writable(at)
    leaf.keys.splice(slot, 1)
    leaf.values.splice(slot, 1)
    if (leaf.keys.length === 0 && this.leaves.length > 1) this.leaves.splice(at, 1)
    return true
  }

  cursor(start: Uint8Array, end: Uint8Array, reverse: boolean): MapCursor<V> {
    return new Cursor(this, start, end, reverse)
  }

  /** A view that later changes do not touch. */
  snapshot(): OrderedMap<V> {
    const copy = new OrderedMap<V>()
    copy.leaves = this.leaves.slice()
    copy.size = this.size
    this.epoch++
    copy.epoch = this.epoch
    this.epoch++
    return copy
  }

  /** Position of the first key at or after `key`, as leaf and slot. */
  find(key: Uint8Array): [leaf: number, slot: number] {
    const at = this.leafFor(key)
    return [at, lowerBound((this.leaves[at] as Leaf<V>).keys, key)]
  }

  /** The pair at a position, or undefined beyond the leaf. */
  at(leaf: number, slot: number): { readonly key: Uint8Array; readonly value: V } | undefined {
    const found = this.leaves[leaf]
    const key = found?.keys[slot]
    return found === undefined || key === undefined ? undefined : { key, value: found.values[slot] as V }
  }

  leafLength(leaf: number): number {
    return this.leaves[leaf]?.keys.length ?? 0
  }

  get leafCount(): number {
    return this.leaves.length
  }
}

function lowerBound(keys: readonly Uint8Array[], key: Uint8Array): number {
  let low = 0
  let high = keys.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (compareBytes(keys[middle] as Uint8Array, key) < 0) low = middle + 1
    else high = middle
  }
  return low
}

/** Sees each change made before its next step; its place is its last key. */
class Cursor<V> implements MapCursor<V> {
  private readonly map: OrderedMap<V>
  private readonly start: Uint8Array
  private readonly end: Uint8Array
  private readonly reverse: boolean
  private version = -1
  private leaf = 0
  private slot = 0
  private began = false
  private current: { readonly key: Uint8Array; readonly value: V } | undefined

  constructor(map: OrderedMap<V>, start: Uint8Array, end: Uint8Array, reverse: boolean) {
    this.map = map
    this.start = start
    this.end = end
    this.reverse = reverse
  }

  get key(): Uint8Array {
    return (this.current as { key: Uint8Array }).key
  }

  get value(): V {
    return (this.current as { value: V }).value
  }

  next(): boolean {
    if (!this.began) return this.reverse ? this.before(this.end) : this.seek(this.start)
    const last = this.current
    if (last === undefined) return false
    if (this.version === this.map.version) {
      this.slot += this.reverse ? -1 : 1
      return this.settle()
    }
    if (this.reverse) return this.before(last.key)
    this.place(last.key)
    const found = this.map.at(this.leaf, this.slot)
    if (found !== undefined && compareBytes(found.key, last.key) === 0) this.slot++
    return this.settle()
  }

  seek(key: Uint8Array): boolean {
    this.began = true
    if (!this.reverse) {
      this.place(compareBytes(key, this.start) < 0 ? this.start : key)
      return this.settle()
    }
    if (compareBytes(key, this.end) >= 0) return this.before(this.end)
    this.place(key)
    const found = this.map.at(this.leaf, this.slot)
    if (found === undefined || compareBytes(found.key, key) !== 0) this.slot--
    return this.settle()
  }

  private before(key: Uint8Array): boolean {
    this.began = true
    this.place(key)
    this.slot--
    return this.settle()
  }

  private place(key: Uint8Array): void {
    ;[this.leaf, this.slot] = this.map.find(key)
    this.version = this.map.version
  }

  /** Brings a position beside a leaf into its neighbour, and checks the bounds. */
  private settle(): boolean {
    if (this.slot < 0) {
      this.leaf--
      this.slot = this.map.leafLength(this.leaf) - 1
    } else if (this.slot >= this.map.leafLength(this.leaf)) {
      this.leaf++
      this.slot = 0
    }
    const found = this.map.at(this.leaf, this.slot)
    const inside =
      found !== undefined &&
      (this.reverse ? compareBytes(found.key, this.start) >= 0 : compareBytes(found.key, this.end) < 0)
    this.current = inside ? found : undefined
    return inside
  }
}
