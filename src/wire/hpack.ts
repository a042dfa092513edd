/**
 * HPACK: header blocks of HTTP/2. The decoder bounds the dynamic table, every integer and the size of the list; the
 * encoder uses the static table and literals without indexing, so that it has no state that could get out of step.
 * Source: RFC 7541.
 */
import { HUFFMAN_LENGTHS, STATIC_TABLE } from './hpack-tables.ts'

export type Header = readonly [name: string, value: string]

/** Ends the connection: the decoder's state can no longer be trusted (RFC 7541 section 2.2). */
export class CompressionError extends Error {}

const ENTRY_OVERHEAD = 32
const EOS = 256

type HuffmanTree = { readonly next: Int32Array }

/** next[node * 2 + bit]: a node, or -1 - symbol. */
function buildHuffman(): HuffmanTree {
  const symbols = HUFFMAN_LENGTHS.map((length, symbol) => ({ length, symbol })).sort(
    (a, b) => a.length - b.length || a.symbol - b.symbol,
  )
  const next = new Int32Array(2 * 260)
  let nodes = 1
  let code = 0
  let previous = 0
  for (const { length, symbol } of symbols) {
    code *= 2 ** (length - previous)
    previous = length
    let node = 0
    for (let bit = length - 1; bit >= 0; bit--) {
      const at = node * 2 + (Math.floor(code / 2 ** bit) % 2)
      if (bit === 0) next[at] = -1 - symbol
      else {
        if (next[at] === 0) next[at] = nodes++
        node = next[at] as number
      }
    }
    code++
  }
  return { next }
}

const HUFFMAN: HuffmanTree = buildHuffman()

function decodeHuffman(bytes: Uint8Array, start: number, end: number): string {
  const { next } = HUFFMAN
  let text = ''
  let node = 0
  let bits = 0
  let ones = true
  for (let i = start; i < end; i++) {
    const byte = bytes[i] as number
    for (let shift = 7; shift >= 0; shift--) {
      const bit = (byte >> shift) & 1
      const to = next[node * 2 + bit] as number
      bits++
      ones = ones && bit === 1
      if (to < 0) {
        const symbol = -1 - to
        if (symbol === EOS) throw new CompressionError('a string contains EOS')
        text += String.fromCharCode(symbol)
        node = 0
        bits = 0
        ones = true
      } else node = to
    }
  }
  if (bits > 7 || !ones) throw new CompressionError('a string has wrong padding')
  return text
}

function latin1(bytes: Uint8Array, start: number, end: number): string {
  let text = ''
  for (let i = start; i < end; i++) text += String.fromCharCode(bytes[i] as number)
  return text
}

export interface HpackDecoder {
  /** All headers of one whole block. Throws CompressionError. */
  decode(block: Uint8Array, maxListBytes: number): readonly Header[]
}

export function createHpackDecoder(maxTableBytes: number): HpackDecoder {
  /** Newest first. */
  let table: Header[] = []
  let tableBytes = 0
  let limit = maxTableBytes
  let version = 0
  /** Blocks decoded in the present state of the table: clients send the same bytes again and again. */
  const cache = new Map<string, readonly Header[]>()

  const evict = (): void => {
    while (tableBytes > limit) {
      const [name, value] = table.pop() as Header
      tableBytes -= name.length + value.length + ENTRY_OVERHEAD
    }
  }

  const insert = (header: Header): void => {
    version++
    const size = header[0].length + header[1].length + ENTRY_OVERHEAD
    if (size > limit) {
      table = []
      tableBytes = 0
      return
    }
    table.unshift(header)
    tableBytes += size
    evict()
  }

  const at = (index: number): Header => {
    const header = index <= STATIC_TABLE.length ? STATIC_TABLE[index - 1] : table[index - STATIC_TABLE.length - 1]
    if (header === undefined) throw new CompressionError(`index ${index} is not in the table`)
    return header
  }

  const decodeBlock = (block: Uint8Array, maxListBytes: number): Header[] => {
    const headers: Header[] = []
    let position = 0
    let listBytes = 0
    const integer = (prefixBits: number): number => {
      const mask = (1 << prefixBits) - 1
      let value = (block[position++] as number) & mask
      if (value < mask) return value
      for (let shift = 0; shift <= 21; shift += 7) {
        const byte = block[position++]
        if (byte === undefined) throw new CompressionError('an integer is cut off')
        value += (byte & 0x7f) << shift
        if (byte < 0x80) return value
      }
      throw new CompressionError('an integer is too large')
    }
    const string = (): string => {
      const first = block[position]
      if (first === undefined) throw new CompressionError('a string is missing')
      const length = integer(7)
      const start = position
      position += length
      if (position > block.length) throw new CompressionError('a string is cut off')
      return first >= 0x80 ? decodeHuffman(block, start, position) : latin1(block, start, position)
    }
    while (position < block.length) {
      const first = block[position] as number
      let header: Header
      if (first >= 0x80) header = at(integer(7))
      else if (first >= 0x40) {
        const index = integer(6)
        header = [index === 0 ? string() : at(index)[0], string()]
        insert(header)
      } else if (first >= 0x20) {
        if (headers.length > 0) throw new CompressionError('a table size update comes after headers')
        const size = integer(5)
        if (size > maxTableBytes) throw new CompressionError(`table size ${size} is above ${maxTableBytes}`)
        limit = size
        version++
        evict()
        continue
      } else {
        const index = integer(4)
        header = [index === 0 ? string() : at(index)[0], string()]
      }
      listBytes += header[0].length + header[1].length + ENTRY_OVERHEAD
      if (listBytes > maxListBytes) throw new CompressionError(`the header list has more than ${maxListBytes} bytes`)
      headers.push(header)
    }
    return headers
  }

  return {
    decode(block, maxListBytes) {
      if (block.length > 256) return decodeBlock(block, maxListBytes)
      const key = latin1(block, 0, block.length)
      const known = cache.get(key)
      if (known !== undefined) return known
      const before = version
      const headers = decodeBlock(block, maxListBytes)
      if (version !== before) cache.clear()
      else if (cache.size < 64) cache.set(key, headers)
      return headers
    },
  }
}

/** One block: exact static matches by index, everything else as literals without indexing. */
export function encodeHeaders(headers: readonly Header[]): Uint8Array {
  const bytes: number[] = []
  const integer = (prefixBits: number, flags: number, value: number): void => {
    const mask = (1 << prefixBits) - 1
    if (value < mask) {
      bytes.push(flags | value)
      return
    }
    bytes.push(flags | mask)
    let rest = value - mask
    while (rest > 0x7f) {
      bytes.push((rest & 0x7f) | 0x80)
      rest >>>= 7
    }
    bytes.push(rest)
  }
  const string = (text: string): void => {
    integer(7, 0, text.length)
    for (let i = 0; i < text.length; i++) bytes.push(text.charCodeAt(i) & 0xff)
  }
  for (const [name, value] of headers) {
    const exact = STATIC_TABLE.findIndex((entry) => entry[0] === name && entry[1] === value)
    if (exact !== -1) {
      integer(7, 0x80, exact + 1)
      continue
    }
    const named = STATIC_TABLE.findIndex((entry) => entry[0] === name)
    integer(4, 0, named + 1)
    if (named === -1) string(name)
    string(value)
  }
  return Uint8Array.from(bytes)
}
