/**
 * The file being written. One write and one fdatasync per batch; zeros are written ahead, so that most fdatasyncs change no file size
 * (half the latency on ext4). The last of them are a reserve: when the disk is full, compactions still find room there, and make more.
 * A full disk is undone; any other failure, and every failed sync, ends the server.
 */
import { InvariantViolation } from '../base/index.ts'
import type { DiskFile, Done, World } from '../world/index.ts'
import { sectors } from './format.ts'
import type { Segment } from './group-log.ts'

const MAX_GROWTH_BYTES = 1024 * 1024
const MAX_RESERVE_BYTES = 64 * 1024

export type Outcome = 'durable' | 'full'

export class Writer {
  private readonly world: World
  private readonly directory: string
  private readonly zeros: Uint8Array
  private readonly segmentBytes: number
  private readonly reserveBytes: number
  private file: DiskFile | undefined
  syncs = 0

  constructor(world: World, directory: string, segmentBytes: number, file: DiskFile | undefined) {
    this.world = world
    this.directory = directory
    this.file = file
    this.segmentBytes = sectors(segmentBytes)
    this.zeros = new Uint8Array(Math.min(MAX_GROWTH_BYTES, this.segmentBytes))
    this.reserveBytes = Math.min(MAX_RESERVE_BYTES, sectors(segmentBytes / 8))
  }

  get isOpen(): boolean {
    return this.file !== undefined
  }

  /** Appends a batch to `segment`. Only with `small` may it use the reserve. `full`: nothing of it is left. */
  append(segment: Segment, bytes: Uint8Array, small: boolean, done: (outcome: Outcome) => void): void {
    const file = this.file as DiskFile
    const end = segment.endBytes + bytes.length
    const fits = end + (small ? 0 : this.reserveBytes) <= segment.fileBytes
    const parts = fits ? [bytes] : [bytes, this.zerosAfter(end)]
    const fileBytes = fits ? segment.fileBytes : end + (parts[1] as Uint8Array).length
    file.write(segment.endBytes, parts, (written) => {
      if (!written.ok) {
        if (written.error.code !== 'disk-full') return this.fail('log-write-failed', written.error.message)
        return file.truncate(segment.fileBytes, (cut) => {
          if (cut.ok) done('full')
          else this.fail('log-undo-failed', cut.error.message)
        })
      }
      this.sync(file, () => {
        segment.endBytes = end
        segment.fileBytes = fileBytes
        done('durable')
      })
    })
  }

  /** Up to a multiple of the growth or the segment's end, and at least the reserve. */
  private zerosAfter(end: number): Uint8Array {
    const growth = this.zeros.length
    const least = end + this.reserveBytes
    const until = Math.min(Math.ceil(least / growth) * growth, Math.max(least, this.segmentBytes + this.reserveBytes))
    return this.zeros.subarray(0, Math.min(growth, until - end))
  }

  /** Begins `segment` with `bytes` (header and first batch); from then on appends go there. */
  rotate(path: string, segment: Segment, bytes: Uint8Array, done: (outcome: Outcome) => void): void {
    this.world.disk.open(path, { create: true }, (opened) => {
      if (!opened.ok) {
        if (opened.error.code !== 'disk-full') return this.fail('log-segment-failed', opened.error.message)
        return done('full')
      }
      const file = opened.value
      const zeros = this.zerosAfter(bytes.length)
      file.write(0, [bytes, zeros], (written) => {
        if (!written.ok) {
          if (written.error.code !== 'disk-full') return this.fail('log-write-failed', written.error.message)
          return this.undoRotation(file, () => done('full'))
        }
        this.sync(file, () => {
          this.world.disk.syncDirectory(this.directory, (synced) => {
            if (!synced.ok) return this.fail('log-sync-failed', synced.error.message)
            const old = this.file
            this.file = file
            segment.endBytes = bytes.length
            segment.fileBytes = bytes.length + zeros.length
            if (old === undefined) return done('durable')
            old.close(() => done('durable'))
          })
        })
      })
    })
  }

  /** The numbers of its batches will be used elsewhere: it must be gone for good first. */
  private undoRotation(file: DiskFile, done: () => void): void {
    const { disk } = this.world
    file.close((closed) => {
      if (!closed.ok) return this.fail('log-undo-failed', closed.error.message)
      disk.remove(file.path, (removed) => {
        if (!removed.ok) return this.fail('log-undo-failed', removed.error.message)
        disk.syncDirectory(this.directory, (synced) => {
          if (synced.ok) done()
          else this.fail('log-sync-failed', synced.error.message)
        })
      })
    })
  }

  private sync(file: DiskFile, done: () => void): void {
    file.datasync((synced) => {
      if (!synced.ok) return this.fail('log-sync-failed', synced.error.message)
      this.syncs++
      done()
    })
  }

  close(done: Done<void>): void {
    if (this.file === undefined) return this.world.endOfTurn(() => done({ ok: true, value: undefined }))
    this.file.close(done)
  }

  private fail(name: string, detail: string): void {
    this.world.fail(new InvariantViolation(name, detail))
  }
}
