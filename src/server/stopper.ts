/**
 * The graceful end of a member: it tells its peers, and hands leadership to the voter that is furthest, unless so many
 * stop together that nobody would be left to lead.
 */
import type { MemberId } from '../base/index.ts'
import type { Replica } from '../replica/index.ts'
import type { World } from '../world/index.ts'
import type { ServerTransport } from './transport.ts'

/** Time for the notices of peers that were told to stop in the same moment. */
const NOTICE_MS = 25
/** Longest wait for the successor, as a part of the election timeout. */
const HANDOVER_PART = 0.6

export interface Stopper {
  peerStops(peer: MemberId): void
  peerIsBack(peer: MemberId): void
  handOver(done: () => void): void
}

export function createStopper(
  world: World,
  self: MemberId,
  transport: ServerTransport,
  replica: () => Replica | undefined,
  electionTimeoutMs: number,
): Stopper {
  const stopping = new Set<MemberId>()

  const transfer = (done: () => void): void => {
    const live = replica()
    const status = live?.status()
    if (live === undefined || status?.role !== 'leader') return done()
    const staying = status.config.voters.filter((voter) => voter !== self && !stopping.has(voter))
    const successor = live.successor(stopping)
    if (successor === undefined || staying.length <= status.config.voters.length / 2) return done()
    const deadlineMs = world.clock.monotonicMs() + electionTimeoutMs * HANDOVER_PART
    live.transferLeadership(successor, deadlineMs, (result) => {
      world.diagnostics.log('info', 'leadership-handed-over', { to: successor, success: result.ok })
      done()
    })
  }

  return {
    peerStops: (peer) => stopping.add(peer),
    peerIsBack: (peer) => stopping.delete(peer),
    handOver(done) {
      transport.broadcast({ type: 'stopping' })
      world.clock.setTimer(NOTICE_MS, () => transfer(done))
    },
  }
}
