/** Helpers over Uint8Array. Pure; they use `Buffer` where it exists because it is faster, and do without it elsewhere. */

type BufferLike = {
  compare(a: Uint8Array, b: Uint8Array): number
}
const native: BufferLike | undefined = (globalThis as { Buffer?: BufferLike }).Buffer

const encoder = new TextEncoder()
const decoder = new TextDecoder()
const strictDecoder = new TextDecoder('utf-8', { fatal: true })

export const EMPTY: Uint8Array = new Uint8Array(0)

/** UTF-8 bytes of a string. */
export function utf8(text: string): Uint8Array {
  return encoder.encode(text)
}

/** The text of UTF-8 bytes; malformed sequences become U+FFFD. */
export function text(bytes: Uint8Array): string {
  return decoder.decode(bytes)
}

/** The text of UTF-8 bytes, or undefined where they are malformed. */
export function strictText(bytes: Uint8Array): string | undefined {
  try {
    return strictDecoder.decode(bytes)
  } catch {
    return undefined
  }
}

/** Unsigned lexicographic order: negative, zero or positive. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  // A native call costs more than a short loop: most keys differ within a few bytes or are short.
  const shared = a.length < b.length ? a.length : b.length
  if (native !== undefined && shared > 24) return native.compare(a, b)
  for (let i = 0; i < shared; i++) {
    const difference = (a[i] as number) - (b[i] as number)
    if (difference !== 0) return difference
  }
  return a.length - b.length
}

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && compareBytes(a, b) === 0
}

/** One new array holding the parts in order. */
export function concatBytes(parts: readonly Uint8Array[]): Uint8Array {
  let sizeBytes = 0
  for (const part of parts) sizeBytes += part.length
  const whole = new Uint8Array(sizeBytes)
  let offset = 0
  for (const part of parts) {
    whole.set(part, offset)
    offset += part.length
  }
  return whole
}

export function startsWith(bytes: Uint8Array, prefix: Uint8Array): boolean {
  if (bytes.length < prefix.length) return false
  for (let i = 0; i < prefix.length; i++) if (bytes[i] !== prefix[i]) return false
  return true
}

const HEX = '0123456789abcdef'

export function toHex(bytes: Uint8Array): string {
  let hex = ''
  for (const byte of bytes) hex += (HEX[byte >> 4] as string) + (HEX[byte & 15] as string)
  return hex
}

/** The bytes of lower- or upper-case hex, or undefined where the text is not hex. */
export function fromHex(hex: string): Uint8Array | undefined {
  if (hex.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(hex)) return undefined
  const bytes = new Uint8Array(hex.length / 2)
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(hex.slice(i * 2, i * 2 + 2), 16)
  return bytes
}
