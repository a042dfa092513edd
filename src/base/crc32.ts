/**
 * CRC-32 (IEEE 802.3, reflected, as in zlib and gzip) in plain JavaScript, eight bytes a step ("slicing by 8", Kounavis
 * and Berry 2005). For worlds without a native one; the same numbers as `zlib.crc32`.
 */

const tables: readonly Uint32Array[] = makeTables()

function makeTables(): Uint32Array[] {
  const first = new Uint32Array(256)
  for (let byte = 0; byte < 256; byte++) {
    let value = byte
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1
    first[byte] = value >>> 0
  }
  const made = [first]
  let previous = first
  for (let slice = 1; slice < 8; slice++) {
    const next = new Uint32Array(256)
    for (let byte = 0; byte < 256; byte++) {
      const value = previous[byte] ?? 0
      next[byte] = (value >>> 8) ^ (first[value & 0xff] ?? 0)
    }
    made.push(next)
    previous = next
  }
  return made
}

const [t0, t1, t2, t3, t4, t5, t6, t7] = tables as [
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
]

/** The checksum of `bytes`, continuing from `seed` (the checksum of what came before; 0 at the start). */
export function crc32(bytes: Uint8Array, seed: number = 0): number {
  // `as number`: every index below is masked to 0-255 or checked against the length.
  let crc = ~seed
  let at = 0
  for (const last = bytes.length - 8; at <= last; at += 8) {
    crc ^=
      (bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24)
    crc =
      (t7[crc & 0xff] as number) ^
      (t6[(crc >>> 8) & 0xff] as number) ^
      (t5[(crc >>> 16) & 0xff] as number) ^
      (t4[crc >>> 24] as number) ^
      (t3[bytes[at + 4] as number] as number) ^
      (t2[bytes[at + 5] as number] as number) ^
      (t1[bytes[at + 6] as number] as number) ^
      (t0[bytes[at + 7] as number] as number)
  }
  for (; at < bytes.length; at++) crc = (crc >>> 8) ^ (t0[(crc ^ (bytes[at] as number)) & 0xff] as number)
  return ~crc >>> 0
}
