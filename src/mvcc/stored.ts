/**
 * What is stored of a version: main u64, sub u32, then the KeyValue as encoded for clients, or nothing where the version
 * is a deletion. A version that is superseded moves to another record as it is, so its value is never copied.
 */
import { EMPTY } from '../base/index.ts'
import type { KeyValue, KeyValueLayout } from '../wire/index.ts'
import { decodeKeyValue, encodeKeyValue, layoutOfKeyValue } from '../wire/index.ts'
import { invariant } from '../base/index.ts'

/** Bytes before the KeyValue. */
export const STORED_LEAD = 12
const TWO_32 = 2 ** 32

/** `sub` is the change's number within its main revision, which is the pair's modRevision. */
export function encodeStored(kv: KeyValue, sub: number): Uint8Array {
  const stored = encodeKeyValue(kv, STORED_LEAD)
  writeRevision(stored, kv.modRevision, sub)
  return stored
}

export function encodeTombstone(main: number, sub: number): Uint8Array {
  const stored = new Uint8Array(STORED_LEAD)
  writeRevision(stored, main, sub)
  return stored
}

export function isTombstone(stored: Uint8Array): boolean {
  return stored.length === STORED_LEAD
}

export function storedMain(stored: Uint8Array): number {
  return readU32(stored, 0) * TWO_32 + readU32(stored, 4)
}

export function storedSub(stored: Uint8Array): number {
  return readU32(stored, 8)
}

/** The encoded KeyValue. */
export function encodedKeyValue(stored: Uint8Array): Uint8Array {
  return stored.subarray(STORED_LEAD)
}

export function storedLayout(stored: Uint8Array): KeyValueLayout {
  return layoutOfKeyValue(stored, STORED_LEAD)
}

/** The pair; that it decodes is an invariant of the store. */
export function storedKeyValue(stored: Uint8Array): KeyValue {
  const decoded = decodeKeyValue(encodedKeyValue(stored))
  invariant(decoded.ok, 'stored-key-value-decodes', () => (decoded.ok ? '' : decoded.error.message))
  return decoded.value
}

export function storedKey(stored: Uint8Array): Uint8Array {
  const { keyFrom, keyEnd } = storedLayout(stored)
  return stored.subarray(keyFrom, keyEnd)
}

export function storedValue(stored: Uint8Array): Uint8Array {
  const { valueFrom, valueEnd } = storedLayout(stored)
  return valueFrom === valueEnd ? EMPTY : stored.subarray(valueFrom, valueEnd)
}

function writeRevision(stored: Uint8Array, main: number, sub: number): void {
  writeU32(stored, 0, Math.floor(main / TWO_32))
  writeU32(stored, 4, main >>> 0)
  writeU32(stored, 8, sub)
}

function writeU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24
  bytes[at + 1] = value >>> 16
  bytes[at + 2] = value >>> 8
  bytes[at + 3] = value
}

// `as number`: the layout is fixed, so these bytes are there.
function readU32(bytes: Uint8Array, at: number): number {
  const top = (bytes[at] as number) * 0x100_0000
  return top + (((bytes[at + 1] as number) << 16) | ((bytes[at + 2] as number) << 8) | (bytes[at + 3] as number))
}
