/**
 * Finding versions: the newest one of each key at a revision, deletions left out. The only place that walks version
 * records; never holds a cursor after it returns.
 */
import type { SpaceId } from '../base/index.ts'
import type { EngineCursor, EngineReader } from '../engine/index.ts'
import {
  isSuperseded,
  keyFits,
  newestKey,
  supersededFrom,
  supersededKey,
  versionsAfter,
  versionsEnd,
  versionsStart,
} from './keys.ts'
import type { Interval } from './keys.ts'
import { isTombstone, storedMain, storedSub } from './stored.ts'

/** Old versions passed one by one before a seek jumps over the rest: a seek costs about as much as a few steps. */
const STEPS_BEFORE_SEEK = 4

/** The records of the keys `[key, rangeEnd)`, in etcd's terms: a single zero byte means no bound. */
export function versionInterval(space: SpaceId, key: Uint8Array, rangeEnd: Uint8Array): Interval {
  const unbounded = rangeEnd.length === 1 && rangeEnd[0] === 0
  return {
    start: versionsStart(space, key),
    end: unbounded ? versionsEnd(space) : versionsStart(space, rangeEnd),
  }
}

/** What is stored of `key` at `main`, or undefined where there is none. */
export function liveVersion(
  reader: EngineReader,
  space: SpaceId,
  key: Uint8Array,
  main: number,
): Uint8Array | undefined {
  if (!keyFits(key)) return undefined
  const record = newestKey(space, key)
  let stored = reader.get(record)
  if (stored !== undefined && storedMain(stored) > main) stored = supersededAt(reader, record, main)
  return stored === undefined || isTombstone(stored) ? undefined : stored
}

/** Of a newest version's record: the superseded version that counts at `main`, which may be a deletion. */
export function supersededAt(reader: EngineReader, newest: Uint8Array, main: number): Uint8Array | undefined {
  const cursor = reader.scan(supersededFrom(newest, main), versionsAfter(newest))
  const found = cursor.next() ? cursor.value : undefined
  cursor.close()
  return found
}

/**
 * Visits the live version of each key in `interval` at `main`, in key order, until `visit` returns false or about
 * `maxSteps` records were looked at: of the last key a few more. Returns the record to continue from, or undefined where
 * the interval's end was reached or the visitor wanted no more. The interval must begin between keys.
 */
export function visitLive(
  reader: EngineReader,
  interval: Interval,
  main: number,
  maxSteps: number,
  visit: (stored: Uint8Array) => boolean,
): Uint8Array | undefined {
  const cursor = reader.scan(interval.start, interval.end)
  let found = cursor.next()
  let steps = 0
  let rest: Uint8Array | undefined
  while (found) {
    const newest = cursor.key
    if (steps >= maxSteps) {
      rest = newest
      break
    }
    steps++
    let stored: Uint8Array | undefined = cursor.value
    if (storedMain(stored) > main) {
      steps++
      found = cursor.seek(supersededFrom(newest, main))
      if (!found) break
      if (!isSuperseded(cursor.key, newest)) continue
      stored = cursor.value
    }
    if (!isTombstone(stored) && !visit(stored)) break
    let passed = 0
    do {
      found = passed++ < STEPS_BEFORE_SEEK ? cursor.next() : cursor.seek(versionsAfter(newest))
    } while (found && isSuperseded(cursor.key, newest))
    steps += passed - 1
  }
  cursor.close()
  return rest
}

/** What is stored of the version written at exactly this revision, or undefined where it was removed. */
export function versionAt(
  reader: EngineReader,
  space: SpaceId,
  key: Uint8Array,
  main: number,
  sub: number,
): Uint8Array | undefined {
  const record = newestKey(space, key)
  const newest = reader.get(record)
  if (newest !== undefined && storedMain(newest) === main && storedSub(newest) === sub) return newest
  return reader.get(supersededKey(record, main, sub))
}

/** Of a newest version's record: visits the superseded versions at or below `main`, newest first. */
export function visitSuperseded(
  reader: EngineReader,
  newest: Uint8Array,
  main: number,
  visit: (record: Uint8Array, stored: Uint8Array) => void,
): void {
  const cursor: EngineCursor = reader.scan(supersededFrom(newest, main), versionsAfter(newest))
  while (cursor.next()) visit(cursor.key, cursor.value)
  cursor.close()
}
