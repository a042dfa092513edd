/**
 * Finding versions: the newest one of each key at a revision, deletions left out. The only place that walks version
 * records; never holds a cursor after it returns.
 */
import type { SpaceId } from '../base/index.ts'
import { invariant } from '../base/index.ts'
import type { EngineCursor, EngineReader } from '../engine/index.ts'
import type { KeyValue } from '../wire/index.ts'
import { decodeKeyValue } from '../wire/index.ts'
import {
  escapedLength,
  isSameKey,
  MAX_KEY_BYTES,
  sameKeyAfter,
  sameKeyFrom,
  versionKey,
  versionMain,
  versionsAfter,
  versionsEnd,
  versionsFrom,
  versionsStart,
} from './keys.ts'
import type { Interval } from './keys.ts'

/** Old versions passed one by one before a seek jumps over the rest: a seek costs about as much as a few steps. */
const STEPS_BEFORE_SEEK = 4

/** The records of the keys `[key, rangeEnd)`, in etcd's terms: no end means one key, a single zero byte no bound. */
export function versionInterval(space: SpaceId, key: Uint8Array, rangeEnd: Uint8Array): Interval {
  if (rangeEnd.length === 0) return { start: versionsStart(space, key), end: versionsAfter(space, key) }
  const unbounded = rangeEnd.length === 1 && rangeEnd[0] === 0
  return {
    start: versionsStart(space, key),
    end: unbounded ? versionsEnd(space) : versionsStart(space, rangeEnd),
  }
}

/** The encoded KeyValue of `key` at `main`, or undefined where there is none. */
export function liveVersion(
  reader: EngineReader,
  space: SpaceId,
  key: Uint8Array,
  main: number,
): Uint8Array | undefined {
  if (escapedLength(key) > MAX_KEY_BYTES) return undefined
  const cursor = reader.scan(versionsFrom(space, key, main), versionsAfter(space, key))
  const found = cursor.next() && !isTombstone(cursor.value) ? cursor.value : undefined
  cursor.close()
  return found
}

/**
 * Visits the live version of each key in `interval` at `main`, in key order, until `visit` returns false or `maxSteps`
 * records were looked at. Returns the record to continue from, or undefined where the interval's end was reached or the
 * visitor wanted no more.
 */
export function visitLive(
  reader: EngineReader,
  interval: Interval,
  main: number,
  maxSteps: number,
  visit: (kv: Uint8Array) => boolean,
): Uint8Array | undefined {
  const cursor = reader.scan(interval.start, interval.end)
  let found = cursor.next()
  let steps = 0
  let rest: Uint8Array | undefined
  while (found) {
    const record = cursor.key
    if (steps++ >= maxSteps) {
      rest = record
      break
    }
    if (versionMain(record) > main) {
      found = cursor.seek(sameKeyFrom(record, main))
      continue
    }
    if (!isTombstone(cursor.value) && !visit(cursor.value)) break
    found = nextKey(cursor, record)
  }
  cursor.close()
  return rest
}

/** Moves past all versions of the record's key. */
function nextKey(cursor: EngineCursor, record: Uint8Array): boolean {
  for (let step = 0; step < STEPS_BEFORE_SEEK; step++) {
    if (!cursor.next()) return false
    if (!isSameKey(cursor.key, record)) return true
  }
  return cursor.seek(sameKeyAfter(record))
}

export function isTombstone(value: Uint8Array): boolean {
  return value.length === 1
}

/** The version written at exactly this revision: the encoded KeyValue, a TOMBSTONE, or undefined where it was removed. */
export function versionAt(
  reader: EngineReader,
  space: SpaceId,
  key: Uint8Array,
  main: number,
  sub: number,
): Uint8Array | undefined {
  return reader.get(versionKey(space, key, main, sub))
}

/** A stored KeyValue; that it decodes is an invariant of the store. */
export function storedKeyValue(kv: Uint8Array): KeyValue {
  const decoded = decodeKeyValue(kv)
  invariant(decoded.ok, 'stored-key-value-decodes', () => (decoded.ok ? '' : decoded.error.message))
  return decoded.value
}
