/** Which client protocol a connection speaks, by its first bytes. */
import { startsWith } from '../base/index.ts'
import { PREFACE } from './http2-constants.ts'

export type Recognised = 'http2' | 'http1' | 'tls' | 'unknown' | 'need-more'

/** Of HTTP/1.1's methods, those in use and those to come: letters, and not many. */
const MAX_METHOD_BYTES = 16
const SPACE = 0x20
const TLS_HANDSHAKE = 0x16
const TLS_MAJOR_VERSION = 3

/** 'need-more' only while `bytes` are a proper prefix of what some protocol begins with; at most 24 bytes decide. */
export function recognise(bytes: Uint8Array): Recognised {
  if (startsWith(bytes, PREFACE)) return 'http2'
  if (startsWith(PREFACE, bytes)) return 'need-more'
  if (bytes[0] === TLS_HANDSHAKE) {
    if (bytes.length === 1) return 'need-more'
    return bytes[1] === TLS_MAJOR_VERSION ? 'tls' : 'unknown'
  }
  // `PRI` is reserved (RFC 9113 section 11.6): what begins like the preface and goes on otherwise is nothing.
  if (startsWith(bytes, PREFACE.subarray(0, 4))) return 'unknown'
  for (let i = 0; i < bytes.length && i <= MAX_METHOD_BYTES; i++) {
    const byte = bytes[i] as number
    if (byte === SPACE) return i > 0 ? 'http1' : 'unknown'
    if (byte < 0x41 || byte > 0x5a) return 'unknown'
  }
  return bytes.length <= MAX_METHOD_BYTES ? 'need-more' : 'unknown'
}
