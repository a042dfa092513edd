/**
 * A cursor over one LMDB database: reads short runs of pairs and keeps none of LMDB's own cursors between them, so that no
 * old read transaction is held and the pairs are ours. Runs begin short, since most reads want one pair.
 */
import { compareBytes } from '../base/index.ts'
import type { LmdbData, LmdbView } from './lmdb.ts'
import type { MapCursor } from './ordered-map.ts'

const FIRST_RUN = 2
const LONGEST_RUN = 256

type Pair = { readonly key: Uint8Array; readonly value: Uint8Array }

export class LmdbCursor implements MapCursor<Uint8Array> {
  private readonly data: LmdbData
  private readonly start: Uint8Array
  private readonly end: Uint8Array
  private readonly reverse: boolean
  private readonly transaction: LmdbView | undefined
  private run: Pair[] = []
  private at = -1
  private length = FIRST_RUN
  private exhausted = false

  constructor(data: LmdbData, start: Uint8Array, end: Uint8Array, reverse: boolean, transaction?: LmdbView) {
    this.data = data
    this.start = start
    this.end = end
    this.reverse = reverse
    this.transaction = transaction
  }

  get key(): Uint8Array {
    return (this.run[this.at] as Pair).key
  }

  get value(): Uint8Array {
    return (this.run[this.at] as Pair).value
  }

  next(): boolean {
    if (this.at + 1 < this.run.length) {
      this.at++
      return true
    }
    if (this.exhausted) return false
    const last = this.run.at(-1)
    if (last === undefined) this.fetch(this.reverse ? this.end : this.start, false)
    else this.fetch(last.key, true)
    return this.run.length > 0
  }

  seek(key: Uint8Array): boolean {
    this.length = FIRST_RUN
    if (this.reverse) this.fetch(compareBytes(key, this.end) < 0 ? key : this.end, false)
    else this.fetch(compareBytes(key, this.start) > 0 ? key : this.start, false)
    return this.run.length > 0
  }

  /** Reads the run that begins at `from`, or behind it. */
  private fetch(from: Uint8Array, behind: boolean): void {
    const limit = this.length + 1
    const options = {
      start: from,
      limit,
      reverse: this.reverse,
      snapshot: false,
      ...(this.transaction && { transaction: this.transaction }),
    }
    const pairs: Pair[] = []
    for (const { key, value } of this.data.getRange(options)) {
      if (behind && compareBytes(key, from) === 0) continue
      // In reverse LMDB includes the start, and our end is exclusive.
      if (this.reverse ? compareBytes(key, this.start) < 0 : compareBytes(key, this.end) >= 0) break
      if (this.reverse && compareBytes(key, this.end) >= 0) continue
      pairs.push({ key, value })
    }
    this.exhausted = pairs.length === 0
    this.run = pairs
    this.at = 0
    this.length = Math.min(LONGEST_RUN, this.length * 4)
  }
}
