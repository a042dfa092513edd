/**
 * The leader's side of ReadIndex (dissertation 6.4): heartbeat rounds, who answered which, and the reads that a round
 * confirms. A read belongs to a round that begins after it was asked.
 *
 * Promises: (1) a read is released only by a round that was begun after it was asked; (2) at most MAX_READS wait, and
 * sending times are kept only as long as a lease could rest on them.
 */
import type { LogIndex, MemberId } from '../base/index.ts'

type Asked = { readonly from: MemberId; readonly context: number }
type Begun = Asked & { readonly index: LogIndex; readonly round: number }

export const MAX_READS = 10_000

export interface LeaderReads {
  /** The newest round that was sent. */
  readonly round: number
  readonly hasAsked: boolean
  /** False where too many wait already. */
  ask(from: MemberId, context: number): boolean
  takeAsked(): readonly Asked[]
  /** All asked reads wait for the next round, at this index. */
  begin(index: LogIndex): void
  nextRound(now: number): number
  ack(from: MemberId, round: number): void
  ackedBy(id: MemberId): number
  /** When the round was sent; -Infinity where that is too long ago, or it never was. */
  sentAt(round: number): number
  /** A quorum has answered up to this round: the reads that this releases. */
  confirm(quorumRound: number): readonly Begun[]
  drain(): readonly Asked[]
}

const NONE: readonly Begun[] = []

/** `keepMs`: how long a sending time may still matter. */
export function createLeaderReads(keepMs: number): LeaderReads {
  let round = 0
  let asked: Asked[] = []
  /** Rounds ascend along it. */
  let begun: Begun[] = []
  const acked = new Map<MemberId, number>()
  /** sent[i] belongs to round firstSent + i. */
  let sent: number[] = []
  let firstSent = 1
  return {
    get round() {
      return round
    },
    get hasAsked() {
      return asked.length > 0
    },
    ask(from, context) {
      if (asked.length + begun.length >= MAX_READS) return false
      asked.push({ from, context })
      return true
    },
    takeAsked() {
      const taken = asked
      asked = []
      return taken
    },
    begin(index) {
      for (const { from, context } of asked) begun.push({ from, context, index, round: round + 1 })
      asked = []
    },
    nextRound(now) {
      round++
      let old = 0
      while (old < sent.length && (sent[old] as number) < now - keepMs) old++
      // In chunks, so that a round costs the same however many there were.
      if (old > 64 || old === sent.length) {
        sent = sent.slice(old)
        firstSent += old
      }
      sent.push(now)
      return round
    },
    ack(from, answered) {
      if (answered <= round && answered > (acked.get(from) ?? 0)) acked.set(from, answered)
    },
    ackedBy: (id) => acked.get(id) ?? 0,
    sentAt: (which) => sent[which - firstSent] ?? Number.NEGATIVE_INFINITY,
    confirm(quorumRound) {
      const first = begun[0]
      if (first === undefined || first.round > quorumRound) return NONE
      let released = 1
      while (released < begun.length && (begun[released] as Begun).round <= quorumRound) released++
      const done = begun.slice(0, released)
      begun = begun.slice(released)
      return done
    },
    drain() {
      const all = [...asked, ...begun]
      asked = []
      begun = []
      return all
    },
  }
}
