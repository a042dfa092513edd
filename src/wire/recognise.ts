/** Which client protocol a connection speaks, by its first bytes. */
import { startsWith } from '../base/index.ts'
import { PREFACE } from './http2-constants.ts'

const METHODS: readonly Uint8Array[] = [
  'GET ',
  'HEAD ',
  'POST ',
  'PUT ',
  'DELETE ',
  'OPTIONS ',
  'PATCH ',
  'CONNECT ',
  'TRACE ',
].map((method) => new TextEncoder().encode(method))

export type Recognised = 'http2' | 'http1' | 'unknown' | 'need-more'

/** 'need-more' only while `bytes` are a proper prefix of what some protocol begins with. */
export function recognise(bytes: Uint8Array): Recognised {
  if (startsWith(bytes, PREFACE)) return 'http2'
  if (METHODS.some((method) => startsWith(bytes, method))) return 'http1'
  if (startsWith(PREFACE, bytes) || METHODS.some((method) => startsWith(method, bytes))) return 'need-more'
  return 'unknown'
}
