/**
 * Keyed draws: `hash(seed, purpose, subject, item)`. A draw depends on its key alone and not on how many draws came
 * before, so that taking one fault out of a run changes only that fault's consequences.
 */

export type Seed = number | bigint | string

/** Draws of one purpose about one subject (a link, a disk). The same item always gives the same number. */
export interface Draws {
  /** 32 bits. */
  word(item: number): number
  /** In [0, 1), a multiple of 2^-32. */
  fraction(item: number): number
  /** An integer in [0, below); `below` at most 2^32. */
  integer(item: number, below: number): number
}

/** The finalizer of MurmurHash3 (Appleby): every input bit reaches every output bit. */
function mix(value: number): number {
  let h = value
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return h ^ (h >>> 16)
}

function hashText(text: string, start: number): number {
  let h = start | 0
  for (let i = 0; i < text.length; i++) h = mix(Math.imul(h, 31) + text.charCodeAt(i))
  return mix(h ^ text.length)
}

export function drawsOf(seed: Seed, purpose: string, subject: string): Draws {
  const low = hashText(subject, hashText(purpose, hashText(String(seed), 0x9e3779b9)))
  const high = hashText(subject, hashText(purpose, hashText(String(seed), 0x7f4a7c15)))
  const word = (item: number): number => {
    const h = mix(low ^ Math.imul(item | 0, 0x9e3779b1))
    return mix((h ^ high) + Math.imul((item / 0x100000000) | 0, 0x85ebca77)) >>> 0
  }
  return {
    word,
    fraction: (item) => word(item) / 0x100000000,
    integer: (item, below) => Math.floor((word(item) / 0x100000000) * below),
  }
}
