/**
 * Little-endian fixed-width writing and reading for Skein's own formats. The writer leaves large byte strings where they
 * are and gives parts, so that they are copied only once, when the frame is joined; the reader gives views.
 *
 * Reading never throws and never reads past the end: the first fault is kept in `fault`, everything read after it is
 * zero or empty, and `finish` turns it into a protocol-error.
 */
import type { LogIndex, MemberId, Result, Term } from '../base/index.ts'
import { EMPTY, err, failure, invariant, ok } from '../base/index.ts'

/** From this size on a byte string becomes a part of its own. */
const VIEW_BYTES = 1024
const FIRST_CHUNK_BYTES = 256
const TWO_32 = 2 ** 32

export type Writer = { chunk: Uint8Array; view: DataView; start: number; at: number; readonly parts: Uint8Array[] }

export function startWriter(sizeHint: number = FIRST_CHUNK_BYTES): Writer {
  const chunk = new Uint8Array(sizeHint)
  return { chunk, view: new DataView(chunk.buffer), start: 0, at: 0, parts: [] }
}

/** The parts in order; the writer must not be used afterwards. */
export function finishWriter(writer: Writer): readonly Uint8Array[] {
  cut(writer)
  return writer.parts
}

function cut(writer: Writer): void {
  if (writer.at > writer.start) writer.parts.push(writer.chunk.subarray(writer.start, writer.at))
  writer.start = writer.at
}

function room(writer: Writer, sizeBytes: number): void {
  if (writer.at + sizeBytes <= writer.chunk.length) return
  cut(writer)
  writer.chunk = new Uint8Array(Math.max(sizeBytes, writer.chunk.length * 2))
  writer.view = new DataView(writer.chunk.buffer)
  writer.start = 0
  writer.at = 0
}

export function putU8(writer: Writer, value: number): void {
  room(writer, 1)
  writer.chunk[writer.at++] = value
}

export function putFlag(writer: Writer, value: boolean): void {
  putU8(writer, value ? 1 : 0)
}

export function putU16(writer: Writer, value: number): void {
  room(writer, 2)
  writer.view.setUint16(writer.at, value, true)
  writer.at += 2
}

export function putU32(writer: Writer, value: number): void {
  invariant(Number.isInteger(value) && value >= 0 && value < TWO_32, 'u32-in-range')
  room(writer, 4)
  writer.view.setUint32(writer.at, value, true)
  writer.at += 4
}

/** An integer in [0, 2^53) as 8 bytes. */
export function putCount(writer: Writer, value: number): void {
  invariant(Number.isSafeInteger(value) && value >= 0, 'count-in-range')
  room(writer, 8)
  writer.view.setUint32(writer.at, value >>> 0, true)
  writer.view.setUint32(writer.at + 4, Math.floor(value / TWO_32), true)
  writer.at += 8
}

export function putU64(writer: Writer, value: bigint): void {
  invariant(value >= 0n && value < 1n << 64n, 'u64-in-range')
  room(writer, 8)
  writer.view.setBigUint64(writer.at, value, true)
  writer.at += 8
}

/** Length as u32, then the bytes: a view where they are many. */
export function putBytes(writer: Writer, bytes: Uint8Array): void {
  putU32(writer, bytes.length)
  putRaw(writer, bytes)
}

/** The bytes alone, where the reader knows how many they are. */
export function putRaw(writer: Writer, bytes: Uint8Array): void {
  if (bytes.length >= VIEW_BYTES) {
    cut(writer)
    writer.parts.push(bytes)
    return
  }
  room(writer, bytes.length)
  writer.chunk.set(bytes, writer.at)
  writer.at += bytes.length
}

export type Reader = { readonly bytes: Uint8Array; readonly view: DataView; at: number; fault: string | undefined }

export function startReader(bytes: Uint8Array): Reader {
  return { bytes, view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), at: 0, fault: undefined }
}

export function remaining(reader: Reader): number {
  return reader.fault === undefined ? reader.bytes.length - reader.at : 0
}

/** Keeps the first fault only. */
export function fault(reader: Reader, what: string): void {
  reader.fault ??= `${what} at byte ${reader.at} of ${reader.bytes.length}`
}

function has(reader: Reader, sizeBytes: number): boolean {
  if (reader.fault !== undefined) return false
  if (reader.bytes.length - reader.at >= sizeBytes) return true
  fault(reader, 'too short')
  return false
}

export function getU8(reader: Reader): number {
  if (!has(reader, 1)) return 0
  return reader.bytes[reader.at++] as number
}

export function getFlag(reader: Reader): boolean {
  const value = getU8(reader)
  if (value > 1) fault(reader, `flag ${value}`)
  return value === 1
}

export function getU16(reader: Reader): number {
  if (!has(reader, 2)) return 0
  reader.at += 2
  return reader.view.getUint16(reader.at - 2, true)
}

export function getU32(reader: Reader): number {
  if (!has(reader, 4)) return 0
  reader.at += 4
  return reader.view.getUint32(reader.at - 4, true)
}

export function getCount(reader: Reader): number {
  if (!has(reader, 8)) return 0
  const low = reader.view.getUint32(reader.at, true)
  const high = reader.view.getUint32(reader.at + 4, true)
  if (high >= 1 << 21) {
    fault(reader, 'number of 2^53 or more')
    return 0
  }
  reader.at += 8
  return high * TWO_32 + low
}

export function getU64(reader: Reader): bigint {
  if (!has(reader, 8)) return 0n
  reader.at += 8
  return reader.view.getBigUint64(reader.at - 8, true)
}

// The two casts below are what a decoder is for: getCount and the check against zero are the brands' own rules.
export function getTerm(reader: Reader): Term {
  return getCount(reader) as Term
}

export function getIndex(reader: Reader): LogIndex {
  return getCount(reader) as LogIndex
}

export function getMember(reader: Reader): MemberId {
  const value = getU64(reader)
  if (value === 0n) fault(reader, 'member id 0')
  return value as MemberId
}

/** A view. */
export function getBytes(reader: Reader): Uint8Array {
  return getRaw(reader, getU32(reader))
}

export function getRaw(reader: Reader, sizeBytes: number): Uint8Array {
  if (sizeBytes === 0 || !has(reader, sizeBytes)) return EMPTY
  reader.at += sizeBytes
  return reader.bytes.subarray(reader.at - sizeBytes, reader.at)
}

/** How many items follow: refused where the rest could not hold that many, so that nothing is allocated for them. */
export function getLength(reader: Reader, itemBytes: number): number {
  const count = getU32(reader)
  if (count * itemBytes <= remaining(reader)) return count
  fault(reader, `${count} items of at least ${itemBytes} bytes`)
  return 0
}

/** `value` where everything was read without a fault and nothing is left over. */
export function finishReader<T>(reader: Reader, what: string, value: T): Result<T> {
  if (reader.fault === undefined && reader.at < reader.bytes.length) {
    fault(reader, `${reader.bytes.length - reader.at} bytes left over`)
  }
  if (reader.fault === undefined) return ok(value)
  return err(failure('protocol-error', `${what} cannot be decoded: ${reader.fault}`))
}
