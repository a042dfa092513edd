/** What a leader sends to its followers: appends as far as their progress allows, snapshots, heartbeats. */
import type { LogIndex, MemberId, Term } from '../base/index.ts'
import { logIndex } from '../base/index.ts'
import { membersOf } from './config.ts'
import type { Core } from './core.ts'
import { send } from './core.ts'
import { sizeOf } from './log-view.ts'
import type { Progress } from './progress.ts'
import { becomeProbe, becomeSnapshot, createProgress, isPaused } from './progress.ts'
import type { Entry, RaftInput } from './types.ts'

const NONE: readonly Entry[] = []

/**
 * Followers come with the newest configuration in the log, and go once their removal is committed: so they learn of it,
 * and stop campaigning.
 */
export function updatePeers(core: Core, recentActive: boolean): void {
  const { log, progress } = core
  const members = new Set(membersOf(log.config))
  if (log.configIndex > core.commit) for (const id of membersOf(log.configAt(core.commit))) members.add(id)
  for (const id of members) {
    if (id !== core.id && !progress.has(id)) {
      progress.set(id, createProgress(id, logIndex(log.lastIndex + 1), recentActive))
    }
  }
  for (const id of progress.keys()) if (!members.has(id)) progress.delete(id)
  if (core.transfer !== undefined && !log.config.voters.includes(core.transfer.to)) core.transfer = undefined
}

export function replicate(core: Core): void {
  for (const peer of core.progress.values()) sendAppends(core, peer)
}

export function sendAppends(core: Core, peer: Progress): void {
  const { log, options } = core
  while (!isPaused(peer, options)) {
    if (peer.next > log.lastIndex && peer.state === 'replicate' && peer.toldCommit >= core.commit) return
    const prevIndex = logIndex(peer.next - 1)
    const prevTerm = log.termAt(prevIndex)
    if (prevTerm === undefined) {
      sendSnapshot(core, peer)
      return
    }
    if (peer.next > log.lastIndex) {
      sendAppend(core, peer, prevIndex, prevTerm, NONE)
      return
    }
    const entries = log.sliceBytes(peer.next, options.maxAppendBytes)
    if (entries === undefined) {
      peer.reading = peer.next
      core.entriesWanted.push({
        to: peer.id,
        from: peer.next,
        through: log.lastIndex,
        maxBytes: options.maxAppendBytes,
      })
      return
    }
    sendAppend(core, peer, prevIndex, prevTerm, entries)
  }
}

function sendAppend(core: Core, peer: Progress, prevIndex: LogIndex, prevTerm: Term, entries: readonly Entry[]): void {
  const { commit } = core
  core.messages.push({
    type: 'append',
    from: core.id,
    to: peer.id,
    term: core.term,
    prevIndex,
    prevTerm,
    commit,
    entries,
  })
  peer.toldCommit = commit
  if (peer.state === 'probe') {
    pauseProbe(core, peer)
    return
  }
  const last = entries.at(-1)
  if (last === undefined) return
  let sizeBytes = 0
  for (const entry of entries) sizeBytes += sizeOf(entry)
  if (peer.inflight.length === 0) peer.movedAt = core.now
  peer.inflight.push({ last: last.index, sizeBytes })
  peer.inflightBytes += sizeBytes
  peer.next = logIndex(last.index + 1)
}

/** Not to the silent: streaming a state to a server that is down costs much and helps nobody. */
function sendSnapshot(core: Core, peer: Progress): boolean {
  if (!peer.recentActive) return false
  becomeSnapshot(peer, core.log.base.index)
  send(core, peer.id, { type: 'snapshot', meta: core.log.base })
  return true
}

function pauseProbe(core: Core, peer: Progress): void {
  peer.probeSent = true
  peer.movedAt = core.now
}

/** Asks a pipelining follower whether it has what was sent: a refusal tells that something was lost. */
export function sendCheck(core: Core, peer: Progress): void {
  const prevIndex = logIndex(peer.next - 1)
  const prevTerm = core.log.termAt(prevIndex)
  if (prevTerm !== undefined) sendAppend(core, peer, prevIndex, prevTerm, NONE)
  // The log was compacted beyond what it may have missed.
  else becomeProbe(peer)
}

/** The commit index that it carries is one that the follower certainly has. */
export function beat(core: Core): void {
  if (core.reads === undefined) return
  core.heartbeatDeadline = core.now + core.options.heartbeatIntervalMs
  const round = core.reads.nextRound(core.now)
  for (const peer of core.progress.values()) {
    const commit = peer.match < core.commit ? peer.match : core.commit
    core.messages.push({ type: 'heartbeat', from: core.id, to: peer.id, term: core.term, commit, round })
  }
}

export function onEntriesRead(core: Core, input: Extract<RaftInput, { type: 'entriesRead' }>): void {
  const peer = core.progress.get(input.to)
  if (peer === undefined || peer.reading !== input.from) return
  peer.reading = undefined
  if (peer.next !== input.from || peer.state === 'snapshot') return
  const { entries } = input
  const prevIndex = logIndex(input.from - 1)
  const prevTerm = core.log.termAt(prevIndex)
  if (entries === undefined || prevTerm === undefined) {
    if (sendSnapshot(core, peer)) return
    // Until the follower gives a sign of life, rather than to read in vain again and again.
    becomeProbe(peer)
    pauseProbe(core, peer)
    return
  }
  const last = entries.at(-1)
  // What was asked for in an earlier leadership may have been rewritten since; then it is asked for again.
  if (entries[0]?.index !== input.from || last === undefined || core.log.termAt(last.index) !== last.term) return
  if (!isPaused(peer, core.options)) sendAppend(core, peer, prevIndex, prevTerm, entries)
}

export function onSnapshotSent(core: Core, input: Extract<RaftInput, { type: 'snapshotSent' }>): void {
  const peer = core.progress.get(input.to)
  if (peer === undefined || peer.state !== 'snapshot') return
  peer.pendingSnapshot = input.ok ? input.index : logIndex(0)
  becomeProbe(peer)
  // What arrived is answered by the follower itself; a failure waits for its next sign of life.
  if (!input.ok) pauseProbe(core, peer)
}

export function onUnreachable(core: Core, to: MemberId): void {
  const peer = core.progress.get(to)
  if (peer?.state === 'replicate') becomeProbe(peer)
}
