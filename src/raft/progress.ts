/**
 * What a leader knows of a follower's log. `probe`: one append at a time until they agree; `replicate`: appends are
 * pipelined, bounded in number and bytes; `snapshot`: nothing until the snapshot arrived.
 * Source: etcd-io/raft tracker/progress; Raft section 5.3.
 */
import type { LogIndex, MemberId } from '../base/index.ts'
import { logIndex } from '../base/index.ts'

export interface Progress {
  readonly id: MemberId
  state: 'probe' | 'replicate' | 'snapshot'
  /** Highest index known to be durable there. */
  match: LogIndex
  /** The next index to send. */
  next: LogIndex
  /** In probe: an append is out; nothing more until it is answered, or a heartbeat is an interval later. */
  probeSent: boolean
  /** When the probe went out, or in replicate when an append was last answered or asked after. */
  movedAt: number
  /** Appends in flight: last index and bytes of each, oldest first. */
  inflight: { readonly last: LogIndex; readonly sizeBytes: number }[]
  inflightBytes: number
  /** In snapshot: the index that was streamed. */
  pendingSnapshot: LogIndex
  /** Entries have been asked for from the log, from this index. */
  reading: LogIndex | undefined
  /** Heard of since the last check of the quorum. */
  recentActive: boolean
  /** The commit index that the follower was last told. */
  toldCommit: LogIndex
}

export function createProgress(id: MemberId, next: LogIndex, recentActive: boolean): Progress {
  return {
    id,
    state: 'probe',
    match: logIndex(0),
    next,
    probeSent: false,
    movedAt: 0,
    inflight: [],
    inflightBytes: 0,
    pendingSnapshot: logIndex(0),
    reading: undefined,
    recentActive,
    toldCommit: logIndex(0),
  }
}

export function becomeProbe(progress: Progress): void {
  // After a snapshot, what it brought is taken as there, but asked for again by a probe.
  const from = progress.state === 'snapshot' ? Math.max(progress.match, progress.pendingSnapshot) : progress.match
  progress.state = 'probe'
  progress.next = logIndex(from + 1)
  clear(progress)
}

export function becomeReplicate(progress: Progress): void {
  progress.state = 'replicate'
  progress.next = logIndex(progress.match + 1)
  clear(progress)
}

export function becomeSnapshot(progress: Progress, index: LogIndex): void {
  progress.state = 'snapshot'
  clear(progress)
  progress.pendingSnapshot = index
}

function clear(progress: Progress): void {
  progress.probeSent = false
  progress.inflight = []
  progress.inflightBytes = 0
  progress.pendingSnapshot = logIndex(0)
  progress.reading = undefined
}

/** The follower has everything up to `index`. False where that was known. */
export function advance(progress: Progress, index: LogIndex): boolean {
  let freed = 0
  while (freed < progress.inflight.length && (progress.inflight[freed] as { last: number }).last <= index) {
    progress.inflightBytes -= (progress.inflight[freed] as { sizeBytes: number }).sizeBytes
    freed++
  }
  if (freed === progress.inflight.length) progress.inflight.length = 0
  else if (freed > 0) progress.inflight.splice(0, freed)
  if (progress.next <= index) progress.next = logIndex(index + 1)
  if (index <= progress.match) return false
  progress.match = index
  return true
}

/** Whether nothing more may be sent now. */
export function isPaused(
  progress: Progress,
  limits: { readonly maxInflightMessages: number; readonly maxInflightBytes: number },
): boolean {
  if (progress.reading !== undefined) return true
  switch (progress.state) {
    case 'probe':
      return progress.probeSent
    case 'replicate':
      return progress.inflight.length >= limits.maxInflightMessages || progress.inflightBytes >= limits.maxInflightBytes
    case 'snapshot':
      return true
    default:
      return progress.state satisfies never
  }
}
