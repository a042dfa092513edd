/**
 * The log on disk: a directory of segments, `<number, 16 digits>.log`. A segment begins with a header sector; batches follow, each
 * on a sector boundary; zeros fill the rest, written ahead so that an fdatasync need not change the file's size. The first batch of
 * a segment tells the state of every group and nothing else, so that any suffix of the segments can be read on its own. All numbers
 * little-endian.
 *
 * Segment header: magic u64, crc u32 (of what follows it), format u32, number f64, salt 8 bytes. Every format begins like this.
 * Batch header: magic u32, crc u32 (of what follows it here), salt 8 bytes, number f64, synced f64, payload length u32,
 * payload crc u32. Then the payload: records (records.ts).
 *
 * `synced` is the highest batch known to be durable when this one was written. The header has a checksum of its own, so that a
 * torn batch still bears witness that those before it were durable. The salt is drawn for each segment: neither earlier content of
 * the same blocks nor a value that a client chose to look like a batch is taken for one.
 */
import { SECTOR_BYTES } from '../world/index.ts'

export const FORMAT = 1
export const BATCH_HEADER_BYTES = 40
export const SALT_BYTES = 8
const SEGMENT_HEADER_BYTES = 32
const SEGMENT_MAGIC = 0x31474f4c_4e494b53n
const BATCH_MAGIC = 0x4b534254

export type Checksum = (bytes: Uint8Array, seed?: number) => number

export function sectors(sizeBytes: number): number {
  return Math.ceil(sizeBytes / SECTOR_BYTES) * SECTOR_BYTES
}

export function segmentName(number: number): string {
  return `${String(number).padStart(16, '0')}.log`
}

export function segmentNumber(name: string): number | undefined {
  const match = /^(\d{16})\.log$/.exec(name)
  if (match === null) return undefined
  const number = Number(match[1])
  return Number.isSafeInteger(number) && number > 0 ? number : undefined
}

export function encodeSegmentHeader(number: number, salt: Uint8Array, checksum: Checksum): Uint8Array {
  const bytes = new Uint8Array(SECTOR_BYTES)
  const view = new DataView(bytes.buffer)
  view.setBigUint64(0, SEGMENT_MAGIC, true)
  view.setUint32(12, FORMAT, true)
  view.setFloat64(16, number, true)
  bytes.set(salt, 24)
  view.setUint32(8, checksum(bytes.subarray(12, SEGMENT_HEADER_BYTES)), true)
  return bytes
}

export type SegmentHeader = { readonly format: number; readonly salt: Uint8Array }

/** Undefined where this is no sound header of that segment. The format may be unknown here. */
export function decodeSegmentHeader(bytes: Uint8Array, number: number, checksum: Checksum): SegmentHeader | undefined {
  if (bytes.length < SEGMENT_HEADER_BYTES) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (view.getBigUint64(0, true) !== SEGMENT_MAGIC || view.getFloat64(16, true) !== number) return undefined
  if (view.getUint32(8, true) !== checksum(bytes.subarray(12, SEGMENT_HEADER_BYTES))) return undefined
  return { format: view.getUint32(12, true), salt: bytes.slice(24, SEGMENT_HEADER_BYTES) }
}

export type BatchHeader = {
  readonly number: number
  readonly synced: number
  readonly payloadBytes: number
  readonly payloadCrc: number
}

/** Fills in the header of the batch whose payload already stands at `bytes[BATCH_HEADER_BYTES]`. */
export function writeBatchHeader(
  bytes: Uint8Array,
  salt: Uint8Array,
  { number, synced, payloadBytes }: Omit<BatchHeader, 'payloadCrc'>,
  checksum: Checksum,
): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  view.setUint32(0, BATCH_MAGIC, true)
  bytes.set(salt, 8)
  view.setFloat64(16, number, true)
  view.setFloat64(24, synced, true)
  view.setUint32(32, payloadBytes, true)
  view.setUint32(36, checksum(bytes.subarray(BATCH_HEADER_BYTES, BATCH_HEADER_BYTES + payloadBytes)), true)
  view.setUint32(4, checksum(bytes.subarray(8, BATCH_HEADER_BYTES)), true)
}

/**
 * The header at `offset` of `bytes`, undefined where there is none that is sound. Without a `salt` any segment's will do: for
 * looking at a segment whose own header is lost.
 */
export function decodeBatchHeader(
  bytes: Uint8Array,
  offset: number,
  salt: Uint8Array | undefined,
  checksum: Checksum,
): BatchHeader | undefined {
  if (offset + BATCH_HEADER_BYTES > bytes.length) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset + offset, BATCH_HEADER_BYTES)
  if (view.getUint32(0, true) !== BATCH_MAGIC) return undefined
  if (salt !== undefined) for (let i = 0; i < SALT_BYTES; i++) if (bytes[offset + 8 + i] !== salt[i]) return undefined
  if (view.getUint32(4, true) !== checksum(bytes.subarray(offset + 8, offset + BATCH_HEADER_BYTES))) return undefined
  return {
    number: view.getFloat64(16, true),
    synced: view.getFloat64(24, true),
    payloadBytes: view.getUint32(32, true),
    payloadCrc: view.getUint32(36, true),
  }
}

/** What a batch takes on disk. */
export function batchBytes(payloadBytes: number): number {
  return sectors(BATCH_HEADER_BYTES + payloadBytes)
}
