/**
 * What is made from the cluster key: proofs of a handshake, the two keys of a session, and the tags of its records.
 * Every use has its own label, so that no value made for one purpose passes for another. HMAC-SHA256 (RFC 2104).
 */
import { hmac } from '@noble/hashes/hmac.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { utf8 } from '../base/index.ts'
import type { World } from '../world/index.ts'

export const PROOF_BYTES = 32
/** Half of an HMAC-SHA256, as RFC 2104, section 5 allows: nobody gets to try more than once per connection. */
export const TAG_BYTES = 16

const SEPARATOR: Uint8Array = Uint8Array.of(0)

/** The HMAC of a label and what it is about. The parts must delimit themselves. */
export function prove(key: Uint8Array, label: string, parts: readonly Uint8Array[]): Uint8Array {
  const mac = hmac.create(sha256, key).update(utf8(label)).update(SEPARATOR)
  for (const part of parts) mac.update(part)
  return mac.digest()
}

/** Takes the same time wherever they differ. */
export function equalProofs(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  let difference = 0
  for (let i = 0; i < a.length; i++) difference |= (a[i] as number) ^ (b[i] as number)
  return difference === 0
}

/** Makes the tag of the record with this number; the number is never sent, so that records can only come in order. */
export type Tagger = (sequence: number, body: Uint8Array) => Uint8Array

/** `native` is the world's HMAC, where it has one: every byte between members is hashed at both ends. */
export function createTagger(key: Uint8Array, native: World['hmacSha256']): Tagger {
  // The key's two blocks are hashed once and the state is cloned: half the cost of a small record.
  const keyed = hmac.create(sha256, key)
  const digest =
    native === undefined
      ? (body: Uint8Array): Uint8Array => keyed.clone().update(head).update(body).digest()
      : (body: Uint8Array): Uint8Array => native(key, [head, body])
  const head = new Uint8Array(12)
  const view = new DataView(head.buffer)
  return (sequence, body) => {
    view.setUint32(0, Math.floor(sequence / 2 ** 32))
    view.setUint32(4, sequence >>> 0)
    view.setUint32(8, body.length)
    return digest(body).subarray(0, TAG_BYTES)
  }
}
