/**
 * The content of one simulated file: what reads see now, and for every sector written since the last datasync what a
 * crash may bring back. At a crash each such sector independently keeps any of its versions since then, and the size is
 * any that the file had since then: torn, lost and reordered writes all follow from that.
 */
import { SECTOR_BYTES } from '../world/index.ts'

/** Chance for one crash of a file, drawn by the caller. */
export interface CrashDraw {
  /** An integer in [0, below). */
  next(below: number): number
}

/** Sizes remembered between two syncs; the first and the latest always are. */
const MOST_SIZES = 16

export class SimInode {
  #bytes: Uint8Array = new Uint8Array(0)
  #size = 0
  /** Sector number -> earlier versions, oldest (the durable one) first; undefined for zeros. */
  readonly #versions = new Map<number, (Uint8Array | undefined)[]>()
  /** Sizes before each change since the last sync, the durable one first. */
  #sizes: number[] = []
  /**
   * Sectors that a failed sync left in doubt: reads show them, and the system believes them written. No later sync vouches
   * for them unless they are written again (Rebello et al., ATC 2020).
   */
  readonly #dropped = new Set<number>()
  /** The size is in doubt likewise. */
  #isSizeDropped = false

  get size(): number {
    return this.#size
  }

  read(offset: number, length: number): Uint8Array {
    if (offset >= this.#size) return new Uint8Array(0)
    return this.#bytes.slice(offset, Math.min(offset + length, this.#size))
  }

  write(offset: number, parts: readonly Uint8Array[]): void {
    const total = parts.reduce((sum, part) => sum + part.length, 0)
    if (total === 0) return
    this.#remember(offset, offset + total)
    this.#reserve(offset + total)
    let at = offset
    for (const part of parts) {
      this.#bytes.set(part, at)
      at += part.length
    }
    this.#resize(Math.max(this.#size, at))
  }

  truncate(size: number): void {
    if (size < this.#size) {
      this.#remember(size, this.#size)
      this.#bytes.fill(0, size, this.#size)
    }
    this.#reserve(size)
    this.#resize(size)
  }

  sync(): void {
    if (this.#dropped.size === 0) this.#versions.clear()
    else for (const sector of this.#versions.keys()) if (!this.#dropped.has(sector)) this.#versions.delete(sector)
    if (!this.#isSizeDropped) this.#sizes = []
  }

  /** The sync was refused: what was unsynced stays readable and is never again certain to be durable. */
  failSync(): void {
    for (const sector of this.#versions.keys()) this.#dropped.add(sector)
    this.#isSizeDropped = this.#sizes.length > 0
  }

  /** Whether a crash could change anything. */
  get isSynced(): boolean {
    return this.#versions.size === 0 && this.#sizes.length === 0
  }

  /** Power is lost: some of what was not synced is gone. What is left is durable. */
  crash(draw: CrashDraw): void {
    // Extremes are rare among independent choices and matter most: a quarter each for all and nothing.
    const mode = draw.next(4)
    const sizes = [...this.#sizes, this.#size]
    const size = mode === 0 ? this.#size : mode === 1 ? (sizes[0] ?? this.#size) : (sizes[draw.next(sizes.length)] ?? 0)
    if (mode !== 0) {
      for (const [sector, versions] of this.#versions) {
        const kept = mode === 1 ? 0 : draw.next(versions.length + 1)
        if (kept < versions.length) this.#restore(sector, versions[kept])
      }
    }
    this.#bytes.fill(0, Math.min(size, this.#bytes.length))
    this.#reserve(size)
    this.#size = size
    this.#versions.clear()
    this.#sizes = []
    this.#dropped.clear()
    this.#isSizeDropped = false
  }

  #remember(from: number, to: number): void {
    this.#isSizeDropped = false
    for (let sector = Math.floor(from / SECTOR_BYTES); sector * SECTOR_BYTES < to; sector++) {
      this.#dropped.delete(sector)
      const start = sector * SECTOR_BYTES
      const content = start < this.#size ? this.#bytes.slice(start, start + SECTOR_BYTES) : undefined
      const versions = this.#versions.get(sector)
      if (versions === undefined) this.#versions.set(sector, [content])
      else versions.push(content)
    }
  }

  #restore(sector: number, content: Uint8Array | undefined): void {
    const start = sector * SECTOR_BYTES
    this.#reserve(start + SECTOR_BYTES)
    this.#bytes.fill(0, start, start + SECTOR_BYTES)
    if (content !== undefined) this.#bytes.set(content, start)
  }

  #resize(size: number): void {
    if (size === this.#size) return
    this.#sizes.push(this.#size)
    if (this.#sizes.length > MOST_SIZES) this.#sizes.splice(1, 1)
    this.#size = size
  }

  #reserve(size: number): void {
    if (size <= this.#bytes.length) return
    const grown = new Uint8Array(Math.max(size, this.#bytes.length * 2, SECTOR_BYTES))
    grown.set(this.#bytes)
    this.#bytes = grown
  }
}
