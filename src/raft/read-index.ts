/**
 * The leader's side of ReadIndex (dissertation 6.4): heartbeat rounds, who answered which, and the reads that a round
 * confirms. A read belongs to a round that begins after it was asked.
 */
import type { LogIndex, MemberId } from '../base/index.ts'

type Asked = { readonly from: MemberId; readonly context: number }
type Begun = Asked & { readonly index: LogIndex; readonly round: number }

export interface LeaderReads {
  /** The newest round that was sent. */
  readonly round: number
  readonly hasAsked: boolean
  ask(from: MemberId, context: number): void
  takeAsked(): readonly Asked[]
  /** All asked reads wait for the next round, at this index. */
  begin(index: LogIndex): void
  nextRound(now: number): number
  ack(from: MemberId, round: number): void
  ackedBy(id: MemberId): number
  /** When the round was sent; -Infinity for none. */
  sentAt(round: number): number
  /** A quorum has answered up to this round: the reads that this releases. */
  confirm(quorumRound: number): readonly Begun[]
  drain(): readonly Asked[]
}

export function createLeaderReads(): LeaderReads {
  let round = 0
  let asked: Asked[] = []
  let begun: Begun[] = []
  const acked = new Map<MemberId, number>()
  const sent = new Map<number, number>()
  let quorum = 0
  return {
    get round() {
      return round
    },
    get hasAsked() {
      return asked.length > 0
    },
    ask(from, context) {
      asked.push({ from, context })
    },
    takeAsked() {
      const taken = asked
      asked = []
      return taken
    },
    begin(index) {
      for (const read of asked) begun.push({ ...read, index, round: round + 1 })
      asked = []
    },
    nextRound(now) {
      round++
      sent.set(round, now)
      return round
    },
    ack(from, answered) {
      if (answered <= round && answered > (acked.get(from) ?? 0)) acked.set(from, answered)
    },
    ackedBy: (id) => acked.get(id) ?? 0,
    sentAt: (which) => sent.get(which) ?? Number.NEGATIVE_INFINITY,
    confirm(quorumRound) {
      if (quorumRound > quorum) {
        quorum = quorumRound
        for (const old of sent.keys()) {
          if (old >= quorum) break
          sent.delete(old)
        }
      }
      if (begun.length === 0 || (begun[0] as Begun).round > quorum) return []
      const released = begun.filter((read) => read.round <= quorum)
      begun = begun.filter((read) => read.round > quorum)
      return released
    },
    drain() {
      const all = [...asked, ...begun]
      asked = []
      begun = []
      return all
    },
  }
}
