/**
 * The segments of the log: which there are, handles to read them, and their removal. Segments are removed from the oldest on, one
 * after another, each removal durable before the next begins: a crash leaves a suffix without gaps. A file is closed when its last
 * reader has finished.
 */
import type { Result } from '../base/index.ts'
import { ok } from '../base/index.ts'
import type { DiskFile, World } from '../world/index.ts'
import { segmentName } from './format.ts'
import type { Segment } from './group-log.ts'

/** Open for reading at once; the one unused for longest is closed first. */
const MAX_OPEN = 8

type Use = (file: Result<DiskFile>, release: () => void) => void
type Reader = { file: DiskFile | undefined; users: number; isDoomed: boolean; waiting: Use[] }

export class Segments {
  private readonly world: World
  private readonly directory: string
  /** Oldest first; the last is written to. */
  readonly list: Segment[]
  /** By number, the one used last at the end. */
  private readonly readers = new Map<number, Reader>()
  private isRemoving = false
  private whenIdle: (() => void) | undefined
  private inUse = 0

  constructor(world: World, directory: string, list: Segment[]) {
    this.world = world
    this.directory = directory
    this.list = list
  }

  get last(): Segment | undefined {
    return this.list.at(-1)
  }

  path(number: number): string {
    return `${this.directory}/${segmentName(number)}`
  }

  get sizeBytes(): number {
    let sum = 0
    for (const segment of this.list) sum += segment.fileBytes
    return sum
  }

  get liveBytes(): number {
    let sum = 0
    for (const segment of this.list) sum += segment.liveBytes
    return sum
  }

  /** Hands over a file to read from; `release` must be called once, when nothing is read any more. */
  use(segment: Segment, use: Use): void {
    const { number } = segment
    this.inUse++
    const reader = this.readers.get(number) ?? { file: undefined, users: 0, isDoomed: false, waiting: [] }
    const isNew = !this.readers.has(number)
    this.readers.delete(number)
    this.readers.set(number, reader)
    reader.users++
    if (reader.file !== undefined) return use(ok(reader.file), () => this.release(number, reader))
    reader.waiting.push(use)
    if (!isNew) return
    this.world.disk.open(this.path(number), { create: false }, (opened) => {
      if (opened.ok) reader.file = opened.value
      else this.readers.delete(number)
      const { waiting } = reader
      reader.waiting = []
      for (const waits of waiting) waits(opened, () => this.release(number, reader))
    })
  }

  private release(number: number, reader: Reader): void {
    reader.users--
    this.inUse--
    if (reader.users === 0 && reader.isDoomed) this.closeReader(number, reader)
    for (const [other, idle] of this.readers) {
      if (this.readers.size <= MAX_OPEN) break
      if (idle.users === 0) this.closeReader(other, idle)
    }
    this.tellIdle()
  }

  private closeReader(number: number, reader: Reader): void {
    if (this.readers.get(number) === reader) this.readers.delete(number)
    reader.file?.close(() => {})
    reader.file = undefined
  }

  /** Removes the oldest segments that nobody needs; `onRemoved` after each. Never the last. */
  trim(onRemoved: () => void): void {
    const oldest = this.list[0]
    if (this.isRemoving || oldest === undefined || this.list.length < 2 || oldest.liveBytes > 0) return
    this.isRemoving = true
    const stop = (message: string): void => {
      this.isRemoving = false
      this.world.diagnostics.log('warn', 'log-segment-not-removed', { file: this.path(oldest.number), message })
      this.tellIdle()
    }
    this.world.disk.remove(this.path(oldest.number), (removed) => {
      if (!removed.ok && removed.error.code !== 'not-found') return stop(removed.error.message)
      this.world.disk.syncDirectory(this.directory, (synced) => {
        if (!synced.ok) return stop(synced.error.message)
        this.isRemoving = false
        this.list.shift()
        const reader = this.readers.get(oldest.number)
        if (reader !== undefined) {
          reader.isDoomed = true
          if (reader.users === 0) this.closeReader(oldest.number, reader)
        }
        onRemoved()
        this.tellIdle()
      })
    })
  }

  /** Closes every reader once nothing is read or removed any more. */
  close(done: () => void): void {
    this.whenIdle = done
    this.tellIdle()
  }

  private tellIdle(): void {
    const { whenIdle } = this
    if (whenIdle === undefined || this.inUse > 0 || this.isRemoving) return
    this.whenIdle = undefined
    for (const [number, reader] of this.readers) this.closeReader(number, reader)
    whenIdle()
  }
}
