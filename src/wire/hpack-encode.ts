/**
 * HPACK's encoder: the static table and literals that are never added to the dynamic one, without Huffman codes. It has
 * no state that could get out of step, constant blocks can be encoded once for all connections, and a peer that keeps
 * what it made of equal blocks (as hpack.ts does) finds them equal. What that costs is some bytes on the wire.
 * Source: RFC 7541 section 6; 7.1.3 for what intermediaries must not index either.
 */
import { STATIC_TABLE } from './hpack-tables.ts'
import type { Header } from './hpack.ts'

const STATIC_NAMES: ReadonlyMap<string, number> = new Map(
  STATIC_TABLE.map(([name], i): [string, number] => [name, i + 1]).reverse(),
)
const STATIC_FIELDS: ReadonlyMap<string, number> = new Map(
  STATIC_TABLE.map(([name, value], i): [string, number] => [`${name}\0${value}`, i + 1]),
)
/** Secrets: guessing them by how well they compress must not work anywhere on the way. */
const NEVER_INDEXED: ReadonlySet<string> = new Set(['authorization', 'cookie', 'proxy-authorization', 'token'])

const INDEXED = 0x80
const LITERAL = 0x00
const LITERAL_NEVER_INDEXED = 0x10
const TABLE_SIZE_UPDATE = 0x20

/** Goes before the next block where the peer has lowered its table's size (RFC 9113 section 4.3.1): size 0. */
export const TABLE_SIZE_ZERO: Uint8Array = Uint8Array.of(TABLE_SIZE_UPDATE)

function pushInteger(bytes: number[], prefixBits: number, flags: number, value: number): void {
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

function pushString(bytes: number[], text: string): void {
  pushInteger(bytes, 7, 0, text.length)
  for (let i = 0; i < text.length; i++) bytes.push(text.charCodeAt(i) & 0xff)
}

/** One block. Names and values are one byte a character; that they may be sent is the caller's to see to. */
export function encodeHeaders(headers: readonly Header[]): Uint8Array {
  const bytes: number[] = []
  for (const [name, value] of headers) {
    const exact = STATIC_FIELDS.get(`${name}\0${value}`)
    if (exact !== undefined) {
      pushInteger(bytes, 7, INDEXED, exact)
      continue
    }
    const named = STATIC_NAMES.get(name)
    pushInteger(bytes, 4, NEVER_INDEXED.has(name) ? LITERAL_NEVER_INDEXED : LITERAL, named ?? 0)
    if (named === undefined) pushString(bytes, name)
    pushString(bytes, value)
  }
  return Uint8Array.from(bytes)
}
