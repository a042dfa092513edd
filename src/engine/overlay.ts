/**
 * Batches that are applied and not yet in the store: one ordered map to read from, and beside it the same writes as
 * segments to commit, cut between batches, so that each is atomic and short work. Keys and values are kept, not copied.
 */
import type { GroupId, LogIndex } from '../base/index.ts'
import { OrderedMap } from './ordered-map.ts'

/** Of one segment: feeding it to the store is one turn's work (about 1 microsecond an entry). */
const SEGMENT_ENTRIES = 4096
const SEGMENT_BYTES = 1024 * 1024
/** What an entry costs beyond its bytes: two arrays' slots, a leaf's slots, the objects of key and value. */
const ENTRY_BYTES = 240

/** Writes in the order they were made, and the indexes that their groups reached. An undefined value: removed. */
export type Segment = {
  readonly keys: Uint8Array[]
  readonly values: (Uint8Array | undefined)[]
  readonly indexes: Map<GroupId, LogIndex>
  sizeBytes: number
}

export class Overlay {
  readonly map: OrderedMap<Uint8Array | undefined> = new OrderedMap()
  readonly segments: Segment[] = []
  sizeBytes = 0
  private last: Segment = this.open()

  get isEmpty(): boolean {
    return this.segments.length === 1 && this.last.keys.length === 0 && this.last.indexes.size === 0
  }

  write(key: Uint8Array, value: Uint8Array | undefined): void {
    this.map.set(key, value)
    const { last } = this
    last.keys.push(key)
    last.values.push(value)
    const bytes = ENTRY_BYTES + key.length + (value === undefined ? 0 : value.length)
    last.sizeBytes += bytes
    this.sizeBytes += bytes
  }

  endBatch(group: GroupId, index: LogIndex): void {
    const { last } = this
    if (!last.indexes.has(group)) {
      last.sizeBytes += ENTRY_BYTES
      this.sizeBytes += ENTRY_BYTES
    }
    last.indexes.set(group, index)
    if (last.keys.length >= SEGMENT_ENTRIES || last.sizeBytes >= SEGMENT_BYTES) this.last = this.open()
  }

  private open(): Segment {
    const segment: Segment = { keys: [], values: [], indexes: new Map(), sizeBytes: 0 }
    this.segments.push(segment)
    return segment
  }
}
