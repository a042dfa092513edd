/** Keys and values as applications have them: bytes, or text that stands for its UTF-8 bytes. */
import { EMPTY, failure, SkeinError, utf8 } from '../base/index.ts'

export type Bytes = Uint8Array | string

/** Throws SkeinError `invalid-request` for anything but bytes and text: without types it could be a number, or nothing. */
export function toBytes(what: string, value: unknown): Uint8Array {
  if (value instanceof Uint8Array) return value
  if (typeof value === 'string') return utf8(value)
  const given = value === null ? 'null' : Array.isArray(value) ? 'an array' : typeof value
  throw new SkeinError(failure('invalid-request', `${what} must be a Uint8Array or a string, not ${given}`))
}

/** The interval of a request; without an end, the one key. */
export function keysOf(request: { readonly key: Bytes; readonly rangeEnd?: Bytes | undefined }): {
  readonly key: Uint8Array
  readonly rangeEnd: Uint8Array
} {
  const { key, rangeEnd } = request
  return { key: toBytes('the key', key), rangeEnd: rangeEnd === undefined ? EMPTY : toBytes('the end', rangeEnd) }
}

const BYTE_FIELDS: ReadonlySet<string> = new Set(['key', 'rangeEnd', 'value'])

/** The same request with all its keys, ends and values as bytes; what a transaction nests is included. */
export function withBytes<T>(request: T): T {
  if (Array.isArray(request)) return request.map((item: unknown) => withBytes(item)) as T
  if (typeof request !== 'object' || request === null || request instanceof Uint8Array) return request
  const fields = Object.entries(request).map(([name, field]: [string, unknown]) => [
    name,
    BYTE_FIELDS.has(name) && field !== undefined ? toBytes(name, field) : withBytes(field),
  ])
  return Object.fromEntries(fields) as T
}
