/**
 * The trace of a run: every event in order, folded into a running 64-bit hash (two lanes of 32 bits, because bigints are
 * slow). Equal hashes are the proof that two runs were the same; a listener gets each event for recording.
 */

/** What happened. The numbers are part of the hash: never renumber. */
export const TRACE_KINDS = {
  timer: 1,
  deliver: 2,
  drain: 3,
  closed: 4,
  dialled: 5,
  accepted: 6,
  disk: 7,
  crash: 8,
  restart: 9,
  fail: 10,
  fault: 11,
  turn: 12,
  scenario: 13,
} as const
export type TraceKind = keyof typeof TRACE_KINDS

export type TraceEvent = {
  readonly atMs: number
  readonly kind: TraceKind
  /** The process it happened to. */
  readonly process: string
  /** The connection, file operation or timer concerned. */
  readonly subject: number
  /** Bytes, or another count. */
  readonly amount: number
  /** Digest of the content, else 0. */
  readonly digest: number
}

export interface Trace {
  readonly events: number
  add(atMs: number, kind: TraceKind, process: Traced, subject: number, amount: number, digest: number): void
  /** 16 hexadecimal digits over all events so far. */
  hash(): string
}

/** Who an event happened to: a name for people, a number for the hash. */
export type Traced = { readonly name: string; readonly id: number }

/** A fast digest of bytes, four at a time. */
export function digestOf(bytes: Uint8Array): number {
  let h = bytes.length | 0
  let at = 0
  for (const last = bytes.length - 4; at <= last; at += 4) {
    // `as number`: `at + 3` is below the length.
    const word =
      (bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24)
    h = Math.imul(h ^ word, 0x9e3779b1)
    h ^= h >>> 15
  }
  for (; at < bytes.length; at++) h = Math.imul(h ^ (bytes[at] as number), 0x85ebca77)
  return h ^ (h >>> 16)
}

export function createTrace(listener: ((event: TraceEvent) => void) | undefined): Trace {
  let a = 0x243f6a88
  let b = 0x13198a2e
  let events = 0
  const time = new Float64Array(1)
  const timeWords = new Uint32Array(time.buffer)

  function fold(word: number): void {
    a = Math.imul(a ^ word, 0x9e3779b1)
    a ^= a >>> 15
    b = Math.imul(b ^ word, 0x85ebca6b)
    b = ((b << 13) | (b >>> 19)) + a
  }

  return {
    get events() {
      return events
    },
    add(atMs, kind, process, subject, amount, digest) {
      events++
      time[0] = atMs
      fold(timeWords[0] as number)
      fold(timeWords[1] as number)
      fold(TRACE_KINDS[kind] | (process.id << 8))
      fold(subject)
      fold(amount)
      fold(digest)
      listener?.({ atMs, kind, process: process.name, subject, amount, digest })
    },
    hash() {
      const hex = (lane: number): string => (lane >>> 0).toString(16).padStart(8, '0')
      return hex(a) + hex(b)
    },
  }
}
