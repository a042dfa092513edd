/**
 * Where a space's records lie in the engine. All of a space is one interval, so that a snapshot is one scan; nothing
 * names a group, so that splitting a range rewrites nothing.
 *
 *   root u8, space u16, kind u8, then by kind
 *     meta:     (nothing)                                       -> see compaction.ts
 *     replica:  what the replica keeps beside the keys, its own business
 *     revision: main u64, sub u32                               -> flag u8 (1: deletion), the user's key
 *     version:  escaped key, 0x00 0x01                          -> the key's newest version, see stored.ts
 *               escaped key, 0x00 0x01, ~main u64, ~sub u32     -> a version that was superseded
 *
 * The newest version has a name that does not depend on its revision, so that a read or write of one key is one lookup.
 * Behind it lie the older ones, newest first, because revisions are inverted. In a key 0x00 becomes 0x00 0xff, which with
 * the terminator keeps the order of the keys and makes them self-delimiting. Numbers are big-endian.
 */
import type { SpaceId } from '../base/index.ts'

/** Of a key after escaping: each zero byte counts twice. What lmdb can hold, less what surrounds the key. */
export const MAX_KEY_BYTES: number = 1900

const ROOT = 0x10
const KIND = { meta: 1, replica: 2, revision: 3, version: 4 } as const
const HEAD_BYTES = 4
const TERMINATOR_BYTES = 2
const REVISION_BYTES = 12
const ESCAPE = 0xff
const TERMINATOR = 0x01
/** In the terminator's place: after all versions of the key, before all longer keys. */
const AFTER = 0x02
const TWO_32 = 2 ** 32
const SHORT_KEY = 64

export type Interval = { readonly start: Uint8Array; readonly end: Uint8Array }

/** Everything that belongs to a space: `[start, end)`. */
export function spaceInterval(space: SpaceId): Interval {
  const next = space + 1
  return {
    start: new Uint8Array([ROOT, space >>> 8, space & 255]),
    end: new Uint8Array([ROOT + (next >>> 16), (next >>> 8) & 255, next & 255]),
  }
}

/** Under which a replica keeps its own records, inside the space's interval. */
export function replicaPrefix(space: SpaceId): Uint8Array {
  return head(space, KIND.replica, HEAD_BYTES)
}

export function metaKey(space: SpaceId): Uint8Array {
  return head(space, KIND.meta, HEAD_BYTES)
}

/** Bytes of a key after escaping. */
export function escapedLength(key: Uint8Array): number {
  let length = key.length
  if (length <= SHORT_KEY) {
    // A call of indexOf costs more than looking at a short key.
    for (let i = 0; i < key.length; i++) if (key[i] === 0) length++
    return length
  }
  for (let at = key.indexOf(0); at >= 0; at = key.indexOf(0, at + 1)) length++
  return length
}

/** Whether the store can hold the key. */
export function keyFits(key: Uint8Array): boolean {
  return key.length * 2 <= MAX_KEY_BYTES || escapedLength(key) <= MAX_KEY_BYTES
}

/** The record of a key's newest version. The user's key must fit: `escapedLength` at most MAX_KEY_BYTES. */
export function newestKey(space: SpaceId, key: Uint8Array): Uint8Array {
  const escaped = escapedLength(key)
  const record = head(space, KIND.version, HEAD_BYTES + escaped + TERMINATOR_BYTES)
  record[writeEscaped(record, key, key.length, escaped) + 1] = TERMINATOR
  return record
}

/** Of a newest version's record: that of the same key's superseded version. */
export function supersededKey(newest: Uint8Array, main: number, sub: number): Uint8Array {
  const record = new Uint8Array(newest.length + REVISION_BYTES)
  record.set(newest)
  writeInverted(record, newest.length, main, sub)
  return record
}

/** Of a newest version's record: where the superseded versions begin that are not newer than `main`. */
export function supersededFrom(newest: Uint8Array, main: number): Uint8Array {
  return supersededKey(newest, main, 0xffff_ffff)
}

/** Of a newest version's record: one past all versions of the key. */
export function versionsAfter(newest: Uint8Array): Uint8Array {
  const after = newest.slice()
  after[after.length - 1] = AFTER
  return after
}

/** Whether a record that follows a newest version's record is a superseded version of the same key. */
export function isSuperseded(record: Uint8Array, newest: Uint8Array): boolean {
  if (record.length !== newest.length + REVISION_BYTES) return false
  // Neighbours differ near the end of their keys, if at all.
  for (let i = newest.length - 1; i >= HEAD_BYTES; i--) if (record[i] !== newest[i]) return false
  return true
}

/** Where all keys at or after `key` begin. */
export function versionsStart(space: SpaceId, key: Uint8Array): Uint8Array {
  if (keyFits(key)) return newestKey(space, key)
  // Of a key that is too long as much is used as fits: no stored key lies between that and the whole key.
  let length = key.length
  let escaped = escapedLength(key)
  while (escaped > MAX_KEY_BYTES) escaped -= key[--length] === 0 ? 2 : 1
  const record = head(space, KIND.version, HEAD_BYTES + escaped + TERMINATOR_BYTES)
  record[writeEscaped(record, key, length, escaped) + 1] = AFTER
  return record
}

/** One past all versions of the space. */
export function versionsEnd(space: SpaceId): Uint8Array {
  return head(space, KIND.version + 1, HEAD_BYTES)
}

export function revisionKey(space: SpaceId, main: number, sub: number): Uint8Array {
  const record = head(space, KIND.revision, HEAD_BYTES + REVISION_BYTES)
  writeU32(record, HEAD_BYTES, Math.floor(main / TWO_32))
  writeU32(record, HEAD_BYTES + 4, main >>> 0)
  writeU32(record, HEAD_BYTES + 8, sub)
  return record
}

/** Main revision of a revision's record. */
export function revisionMain(record: Uint8Array): number {
  return readU32(record, HEAD_BYTES) * TWO_32 + readU32(record, HEAD_BYTES + 4)
}

/** Sub revision of a revision's record. */
export function revisionSub(record: Uint8Array): number {
  return readU32(record, HEAD_BYTES + 8)
}

/** The value of a revision's record. */
export function revisionValue(key: Uint8Array, deletion: boolean): Uint8Array {
  const value = new Uint8Array(key.length + 1)
  value[0] = deletion ? 1 : 0
  value.set(key, 1)
  return value
}

function head(space: SpaceId, kind: number, size: number): Uint8Array {
  const record = new Uint8Array(size)
  record[0] = ROOT
  record[1] = space >>> 8
  record[2] = space & 255
  record[3] = kind
  return record
}

/** Writes the first `length` bytes of the key, which are `escaped` bytes then; returns the offset after them. */
function writeEscaped(record: Uint8Array, key: Uint8Array, length: number, escaped: number): number {
  if (escaped === length) {
    record.set(length === key.length ? key : key.subarray(0, length), HEAD_BYTES)
    return HEAD_BYTES + length
  }
  let at = HEAD_BYTES
  for (let i = 0; i < length; i++) {
    const byte = key[i] as number
    record[at++] = byte
    if (byte === 0) record[at++] = ESCAPE
  }
  return at
}

function writeInverted(record: Uint8Array, at: number, main: number, sub: number): void {
  writeU32(record, at, ~Math.floor(main / TWO_32))
  writeU32(record, at + 4, ~(main >>> 0))
  writeU32(record, at + 8, ~sub)
}

function writeU32(record: Uint8Array, at: number, value: number): void {
  record[at] = value >>> 24
  record[at + 1] = value >>> 16
  record[at + 2] = value >>> 8
  record[at + 3] = value
}

// `as number`: record layouts are fixed, so these bytes are there.
function readU32(record: Uint8Array, at: number): number {
  const top = (record[at] as number) * 0x100_0000
  return top + (((record[at + 1] as number) << 16) | ((record[at + 2] as number) << 8) | (record[at + 3] as number))
}
