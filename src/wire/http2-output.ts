/** Bytes to be sent, gathered into one growing buffer; frames are written straight into it. */

const INITIAL_BYTES = 4096

export class Output {
  private buffer: Uint8Array = new Uint8Array(INITIAL_BYTES)
  private used = 0

  get sizeBytes(): number {
    return this.used
  }

  private reserve(count: number): void {
    const needed = this.used + count
    if (needed <= this.buffer.length) return
    const grown = new Uint8Array(Math.max(this.buffer.length * 2, needed))
    grown.set(this.buffer.subarray(0, this.used))
    this.buffer = grown
  }

  frameHeader(length: number, type: number, flags: number, stream: number): void {
    this.reserve(9 + length)
    const b = this.buffer
    let at = this.used
    b[at++] = length >>> 16
    b[at++] = length >>> 8
    b[at++] = length
    b[at++] = type
    b[at++] = flags
    b[at++] = stream >>> 24
    b[at++] = stream >>> 16
    b[at++] = stream >>> 8
    b[at++] = stream
    this.used = at
  }

  raw(bytes: Uint8Array): void {
    this.reserve(bytes.length)
    this.buffer.set(bytes, this.used)
    this.used += bytes.length
  }

  u8(value: number): void {
    this.reserve(1)
    this.buffer[this.used++] = value
  }

  u32(value: number): void {
    this.reserve(4)
    const b = this.buffer
    b[this.used++] = value >>> 24
    b[this.used++] = value >>> 16
    b[this.used++] = value >>> 8
    b[this.used++] = value
  }

  /** Everything so far, which is then the caller's. */
  take(): Uint8Array | undefined {
    if (this.used === 0) return undefined
    // Small outputs are copied out so that the buffer stays; a large one is handed over whole.
    const taken = this.buffer.length > 65_536 ? this.buffer.subarray(0, this.used) : this.buffer.slice(0, this.used)
    if (this.buffer.length > 65_536) this.buffer = new Uint8Array(INITIAL_BYTES)
    this.used = 0
    return taken
  }
}
