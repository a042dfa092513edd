/**
 * How a member's connection begins, so that the shared port can tell it from a client's. The first byte is one that no
 * text protocol begins with.
 */
import { startsWith } from '../base/index.ts'

/** NUL, "skein", CR, LF: a text protocol in between that would change line ends is found out. */
export const MAGIC: Uint8Array = Uint8Array.of(0, 0x73, 0x6b, 0x65, 0x69, 0x6e, 13, 10)

/** 'need-more' only while `bytes` are a proper prefix of the beginning. */
export function recognisePeer(bytes: Uint8Array): 'yes' | 'no' | 'need-more' {
  if (startsWith(bytes, MAGIC)) return 'yes'
  return startsWith(MAGIC, bytes) ? 'need-more' : 'no'
}
