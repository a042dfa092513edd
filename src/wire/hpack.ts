/**
 * HPACK's decoder. Bounds the dynamic table, every integer, and the size of a list; a list that is too large is decoded
 * to its end all the same, because the table must stay in step, but not kept. Blocks that come again byte for byte
 * while the table stays as it is are found again, not decoded again: calls of one client are much alike.
 * Source: RFC 7541.
 */
import { EMPTY } from '../base/index.ts'
import { decodeHuffman } from './hpack-huffman.ts'
import { STATIC_TABLE } from './hpack-tables.ts'

export type Header = readonly [name: string, value: string]

/** Ends the connection: the decoder's state can no longer be trusted (RFC 7541 section 2.2). */
export class CompressionError extends Error {}

/** What one block says. Equal blocks may be one object, so that readers can keep here what they made of it. */
export class HeaderBlock {
  readonly headers: readonly Header[]
  /** The list was larger than the limit, and was not kept. */
  readonly isTooLarge: boolean
  /** HTTP/2's verdicts on it, and what gRPC made of it. */
  headMemo: unknown = undefined
  areTrailers: boolean | undefined = undefined
  grpcMemo: unknown = undefined

  constructor(headers: readonly Header[], isTooLarge: boolean) {
    this.headers = headers
    this.isTooLarge = isTooLarge
  }
}

const ENTRY_OVERHEAD_BYTES = 32
const STATIC_ENTRIES = STATIC_TABLE.length
/** A prefix and four more bytes: far above any size that is allowed here, and safe in 32 bits. */
const LAST_INTEGER_SHIFT = 21

const CACHE_SLOTS = 64
const MAX_CACHED_BYTES = 512

type Cached = { readonly bytes: Uint8Array; readonly tableVersion: number; readonly block: HeaderBlock }

function sizeOf(header: Header): number {
  return header[0].length + header[1].length + ENTRY_OVERHEAD_BYTES
}

function latin1(bytes: Uint8Array, start: number, end: number): string {
  let text = ''
  for (let i = start; i < end; i++) text += String.fromCharCode(bytes[i] as number)
  return text
}

function hashOf(bytes: Uint8Array, start: number, end: number): number {
  let hash = 0
  for (let i = start; i < end; i++) hash = (Math.imul(hash, 31) + (bytes[i] as number)) | 0
  return (hash ^ (hash >>> 15)) & (CACHE_SLOTS - 1)
}

function isEqual(bytes: Uint8Array, start: number, end: number, other: Uint8Array): boolean {
  if (end - start !== other.length) return false
  for (let i = 0; i < other.length; i++) if (bytes[start + i] !== other[i]) return false
  return true
}

/** The entries a peer has added, newest first, in a ring. */
class DynamicTable {
  /** Grows when anything changes: a block means the same only under the same version. */
  version = 0
  private readonly maxBytes: number
  private readonly ring: (Header | undefined)[]
  private limitBytes: number
  private sizeBytes = 0
  private newest = 0
  private count = 0

  constructor(maxBytes: number) {
    this.maxBytes = maxBytes
    this.limitBytes = maxBytes
    let slots = 1
    while (slots * ENTRY_OVERHEAD_BYTES < maxBytes) slots *= 2
    this.ring = Array.from({ length: slots }, () => undefined)
  }

  /** `index` is 0 for the newest. */
  at(index: number): Header | undefined {
    if (index >= this.count) return undefined
    return this.ring[(this.newest - index) & (this.ring.length - 1)]
  }

  resize(limitBytes: number): void {
    if (limitBytes > this.maxBytes)
      throw new CompressionError(`table size ${limitBytes} is above the limit ${this.maxBytes}`)
    this.version++
    this.limitBytes = limitBytes
    this.evict(0)
  }

  insert(header: Header): void {
    this.version++
    const size = sizeOf(header)
    this.evict(size)
    // An entry larger than the table empties it and is not an error (section 4.4).
    if (size > this.limitBytes) return
    this.newest = (this.newest + 1) & (this.ring.length - 1)
    this.ring[this.newest] = header
    this.count++
    this.sizeBytes += size
  }

  /** Makes room for `moreBytes`, or empties the table. */
  private evict(moreBytes: number): void {
    while (this.count > 0 && this.sizeBytes + moreBytes > this.limitBytes) {
      this.count--
      const oldest = (this.newest - this.count) & (this.ring.length - 1)
      this.sizeBytes -= sizeOf(this.ring[oldest] as Header)
      this.ring[oldest] = undefined
    }
  }
}

export class HpackDecoder {
  private readonly table: DynamicTable
  private readonly maxListBytes: number
  private readonly cache: (Cached | undefined)[] = Array.from({ length: CACHE_SLOTS }, () => undefined)
  private input: Uint8Array = EMPTY
  private position = 0
  private end = 0

  constructor(maxTableBytes: number, maxListBytes: number) {
    this.table = new DynamicTable(maxTableBytes)
    this.maxListBytes = maxListBytes
  }

  /** Decodes one whole block, `input[start, end)`. Throws CompressionError. */
  decode(input: Uint8Array, start: number, end: number): HeaderBlock {
    if (end - start > MAX_CACHED_BYTES) return this.decodeBlock(input, start, end)
    const slot = hashOf(input, start, end)
    const cached = this.cache[slot]
    const { version } = this.table
    if (cached !== undefined && cached.tableVersion === version && isEqual(input, start, end, cached.bytes))
      return cached.block
    const block = this.decodeBlock(input, start, end)
    // A block that changes the table changes it each time that it comes.
    if (this.table.version === version && !block.isTooLarge)
      this.cache[slot] = { bytes: input.slice(start, end), tableVersion: version, block }
    return block
  }

  private decodeBlock(input: Uint8Array, start: number, end: number): HeaderBlock {
    this.input = input
    this.position = start
    this.end = end
    const headers: Header[] = []
    let listBytes = 0
    let isFirst = true
    while (this.position < end) {
      const first = input[this.position] as number
      if ((first & 0xe0) === 0x20) {
        if (!isFirst) throw new CompressionError('a table size update comes after headers')
        this.table.resize(this.integer(5))
        continue
      }
      isFirst = false
      const header = this.field(first)
      listBytes += sizeOf(header)
      if (listBytes <= this.maxListBytes) headers.push(header)
    }
    this.input = EMPTY
    const isTooLarge = listBytes > this.maxListBytes
    return new HeaderBlock(isTooLarge ? [] : headers, isTooLarge)
  }

  private field(first: number): Header {
    if (first >= 0x80) return this.at(this.integer(7))
    const isAdded = first >= 0x40
    const index = this.integer(isAdded ? 6 : 4)
    const header: Header = [index === 0 ? this.string() : this.at(index)[0], this.string()]
    if (isAdded) this.table.insert(header)
    return header
  }

  private at(index: number): Header {
    const header = index <= STATIC_ENTRIES ? STATIC_TABLE[index - 1] : this.table.at(index - STATIC_ENTRIES - 1)
    if (header === undefined) throw new CompressionError(`index ${index} is not in the table`)
    return header
  }

  private integer(prefixBits: number): number {
    const mask = (1 << prefixBits) - 1
    let value = (this.input[this.position++] as number) & mask
    if (value < mask) return value
    for (let shift = 0; shift <= LAST_INTEGER_SHIFT; shift += 7) {
      if (this.position >= this.end) throw new CompressionError('an integer is cut off')
      const byte = this.input[this.position++] as number
      value += (byte & 0x7f) << shift
      if (byte < 0x80) return value
    }
    throw new CompressionError('an integer is too large')
  }

  private string(): string {
    if (this.position >= this.end) throw new CompressionError('a string is missing')
    const isHuffman = (this.input[this.position] as number) >= 0x80
    const length = this.integer(7)
    const start = this.position
    this.position += length
    if (this.position > this.end) throw new CompressionError('a string is cut off')
    if (!isHuffman) return latin1(this.input, start, this.position)
    const text = decodeHuffman(this.input, start, this.position)
    if (text === undefined) throw new CompressionError('a string has EOS or wrong padding in its Huffman code')
    return text
  }
}
