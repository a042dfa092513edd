/**
 * Walks one segment file batch by batch, a bounded window at a time. Where the chain of sound batches ends it looks through the
 * rest of the file for headers that bear witness: what they say was synced must not lie in the damage.
 */
import type { Result } from '../base/index.ts'
import type { DiskFile, World } from '../world/index.ts'
import { SECTOR_BYTES } from '../world/index.ts'
import type { BatchHeader, SegmentHeader } from './format.ts'
import { BATCH_HEADER_BYTES, batchBytes, decodeBatchHeader, decodeSegmentHeader } from './format.ts'

const WINDOW_BYTES = 1024 * 1024

export type ScanEnd = {
  readonly offset: number
  readonly fileBytes: number
  /** Highest batch that anything from `offset` on says was durable; -1 where nothing says so. */
  readonly witnessed: number
  /** Number of the batch at `offset` where its header is sound. */
  readonly numberThere: number | undefined
  /** Only zeros follow. */
  readonly isClean: boolean
}

export type ScanHandlers = {
  /** The segment's header; undefined where it is not sound. Returns whether to go on with the batches. */
  header(header: SegmentHeader | undefined): boolean
  /** A sound batch. Returns whether to go on. */
  batch(header: BatchHeader, payload: Uint8Array, offset: number): boolean
  /** The chain ended: the batch after the last is not sound, or not the next one. */
  end(end: ScanEnd): void
  failed(result: Result<never>): void
}

/** `expected` tells the number that the next batch must have; undefined for any. Calls nothing after a handler said no. */
export function scanSegment(
  world: World,
  path: string,
  number: number,
  expected: () => number | undefined,
  handlers: ScanHandlers,
): void {
  world.disk.open(path, { create: false }, (opened) => {
    if (!opened.ok) return handlers.failed(opened)
    const file = opened.value
    file.size((sized) => {
      if (!sized.ok) return close(file, () => handlers.failed(sized))
      new Scan(world, file, sized.value, number, expected, handlers).start()
    })
  })
}

function close(file: DiskFile, then: () => void): void {
  file.close(() => then())
}

class Scan {
  private readonly world: World
  private readonly file: DiskFile
  private readonly fileBytes: number
  private readonly number: number
  private readonly expected: () => number | undefined
  private readonly handlers: ScanHandlers
  private salt: Uint8Array | undefined
  private window: Uint8Array = new Uint8Array(0)
  private windowAt = 0
  private offset = SECTOR_BYTES

  constructor(
    world: World,
    file: DiskFile,
    fileBytes: number,
    number: number,
    expected: () => number | undefined,
    handlers: ScanHandlers,
  ) {
    this.world = world
    this.file = file
    this.fileBytes = fileBytes
    this.number = number
    this.expected = expected
    this.handlers = handlers
  }

  start(): void {
    this.load(0, SECTOR_BYTES, () => {
      const header = decodeSegmentHeader(this.window, this.number, this.world.checksum)
      this.salt = header?.salt
      if (!this.handlers.header(header)) return close(this.file, () => {})
      if (header === undefined) this.witness(0)
      else this.walk()
    })
  }

  /** Makes the window begin at `from` and reach over `length` bytes, or to the end of the file. */
  private load(from: number, length: number, then: () => void): void {
    const has = from >= this.windowAt && from + length <= this.windowAt + this.window.length
    if (has) return then()
    this.file.read(from, Math.max(length, WINDOW_BYTES), (read) => {
      if (!read.ok) return close(this.file, () => this.handlers.failed(read))
      this.window = read.value
      this.windowAt = from
      then()
    })
  }

  /** The sound batch at `offset`, `needs` more bytes in the window to tell, or no sound batch. */
  private look(): { header: BatchHeader; payload: Uint8Array } | { needs: number } | undefined {
    const { offset } = this
    if (offset + BATCH_HEADER_BYTES > this.fileBytes) return undefined
    if (offset + BATCH_HEADER_BYTES > this.windowAt + this.window.length) return { needs: BATCH_HEADER_BYTES }
    const header = decodeBatchHeader(this.window, offset - this.windowAt, this.salt, this.world.checksum)
    if (header === undefined) return undefined
    const expected = this.expected()
    if (expected !== undefined && header.number !== expected) return undefined
    const start = offset + BATCH_HEADER_BYTES
    if (start + header.payloadBytes > this.fileBytes) return undefined
    if (start + header.payloadBytes > this.windowAt + this.window.length)
      return { needs: BATCH_HEADER_BYTES + header.payloadBytes }
    const payload = this.window.subarray(start - this.windowAt, start - this.windowAt + header.payloadBytes)
    return this.world.checksum(payload) === header.payloadCrc ? { header, payload } : undefined
  }

  /** All batches of the window, then the next window. */
  private walk(): void {
    for (;;) {
      const found = this.look()
      if (found === undefined) return this.witness(this.offset)
      if ('needs' in found) return this.load(this.offset, found.needs, () => this.walk())
      if (!this.handlers.batch(found.header, found.payload, this.offset)) return close(this.file, () => {})
      this.offset += batchBytes(found.payload.length)
    }
  }

  private witness(from: number, at = from, witnessed = -1, numberThere?: number, isClean = true): void {
    if (at >= this.fileBytes) {
      const { fileBytes } = this
      return close(this.file, () => this.handlers.end({ offset: from, fileBytes, witnessed, numberThere, isClean }))
    }
    this.file.read(at, WINDOW_BYTES, (read) => {
      if (!read.ok) return close(this.file, () => this.handlers.failed(read))
      const bytes = read.value
      let highest = witnessed
      let there = numberThere
      for (let sector = 0; sector < bytes.length; sector += SECTOR_BYTES) {
        const header = decodeBatchHeader(bytes, sector, this.salt, this.world.checksum)
        if (header === undefined) continue
        highest = Math.max(highest, header.synced)
        if (at + sector === from) there = header.number
      }
      const clean = isClean && isZero(bytes)
      this.witness(from, at + WINDOW_BYTES, highest, there, clean)
    })
  }
}

function isZero(bytes: Uint8Array): boolean {
  for (const byte of bytes) if (byte !== 0) return false
  return true
}
