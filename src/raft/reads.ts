/**
 * Linearizable reads (dissertation 6.4): the leader's index, once a heartbeat round shows that it still leads, or at once
 * under a lease (6.4.1); followers ask the leader. Reads asked before the term's first commit wait for it.
 */
import type { LogIndex, MemberId } from '../base/index.ts'
import { logIndex } from '../base/index.ts'
import type { Core, MessageOf } from './core.ts'
import { send } from './core.ts'
import { reachedByQuorum } from './quorum.ts'
import { beat } from './replication.ts'

/** More outstanding forwards than this: the oldest is given up. Its reader asks again. */
const MAX_FORWARDED = 1024

type Reader = { readonly from: MemberId; readonly context: number }

export function askHere(core: Core, context: number): void {
  if (core.role === 'leader') askLeader(core, core.id, context)
  else if (core.leader === undefined) core.readsRefused.push(context)
  else {
    core.forwarded.set(core.nextForward, context)
    send(core, core.leader, { type: 'readIndex', context: core.nextForward })
    core.nextForward = (core.nextForward + 1) % Number.MAX_SAFE_INTEGER
    if (core.forwarded.size > MAX_FORWARDED) {
      const [oldest] = core.forwarded
      if (oldest !== undefined) giveUp(core, oldest[0], oldest[1])
    }
  }
}

export function onReadIndex(core: Core, from: MessageOf<'readIndex'>): void {
  if (core.role === 'leader') askLeader(core, from.from, from.context)
  else refuse(core, from)
}

function askLeader(core: Core, from: MemberId, context: number): void {
  if (core.reads?.ask(from, context) !== true) refuse(core, { from, context })
}

/** Whichever term it comes from: the index was confirmed after the read was asked, and that does not age. */
export function onReadIndexReply(core: Core, from: MessageOf<'readIndexReply'>): void {
  const context = core.forwarded.get(from.context)
  if (context === undefined) return
  if (from.refused) giveUp(core, from.context, context)
  else {
    core.forwarded.delete(from.context)
    core.readsDone.push({ context, index: from.index })
  }
}

function giveUp(core: Core, forward: number, context: number): void {
  core.forwarded.delete(forward)
  core.readsRefused.push(context)
}

/** The leader that was asked leads no longer, as far as is known here. */
export function refuseForwarded(core: Core): void {
  for (const context of core.forwarded.values()) core.readsRefused.push(context)
  core.forwarded.clear()
}

export function refuseAll(core: Core, readers: readonly Reader[]): void {
  for (const reader of readers) refuse(core, reader)
}

export function refuse(core: Core, { from, context }: Reader): void {
  if (from === core.id) core.readsRefused.push(context)
  else send(core, from, { type: 'readIndexReply', context, index: logIndex(0), refused: true })
}

function give(core: Core, { from, context }: Reader, index: LogIndex): void {
  if (from === core.id) core.readsDone.push({ context, index })
  else send(core, from, { type: 'readIndexReply', context, index, refused: false })
}

/** Reads asked since the last Ready: one round for all, or none where a lease holds. */
export function startReads(core: Core): void {
  const { reads } = core
  // Until something of this term is committed, the leader does not know how far its predecessors committed.
  if (reads === undefined || !reads.hasAsked || core.log.termAt(core.commit) !== core.term) return
  if (leaseHolds(core)) for (const reader of reads.takeAsked()) give(core, reader, core.commit)
  else {
    reads.begin(core.commit)
    beat(core)
    confirmReads(core)
  }
}

export function confirmReads(core: Core): void {
  const { reads } = core
  if (reads === undefined) return
  for (const read of reads.confirm(quorumRound(core))) give(core, read, read.index)
}

/** The newest round that a quorum has answered. */
function quorumRound(core: Core): number {
  const { reads } = core
  if (reads === undefined) return 0
  return reachedByQuorum(core.log.config, (id) => (id === core.id ? reads.round : reads.ackedBy(id)))
}

/**
 * A quorum answered a round: each of it votes for nobody within an election timeout of receiving that, by its own clock.
 * Clocks that run at most `maxDriftPpm` faster than this one need at least timeout / (1 + drift) of this one's time.
 */
function leaseHolds(core: Core): boolean {
  const { options, reads } = core
  if (options.lease === undefined || core.leaseVoid || reads === undefined) return false
  const validMs = options.electionTimeoutMs * (1 - options.lease.maxDriftPpm / 1_000_000)
  return core.now < reads.sentAt(quorumRound(core)) + validMs
}
