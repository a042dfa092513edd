/**
 * Readies: what must be done outside, gathered since the last one, and the reports that it was made durable.
 *
 * Promises: (1) what a report makes count is exactly what that Ready and those before wrote and nothing rewrote since;
 * (2) a report of a Ready that carried nothing to persist says nothing; (3) while a snapshot is not durable, only
 * messages that rest on nothing go out.
 */
import { invariant, logIndex } from '../base/index.ts'
import { maybeCommit } from './commit.ts'
import type { Core, Outstanding } from './core.ts'
import { voteForSelf } from './election.ts'
import { startReads } from './reads.ts'
import { replicate } from './replication.ts'
import type { Entry, HardState, RaftInput, RaftMessage, Ready, SnapshotMeta } from './types.ts'

const NO_ENTRIES: readonly Entry[] = []
const NO_MESSAGES: readonly RaftMessage[] = []

/** What a Ready has to have made durable. */
type Durable = Pick<Ready, 'snapshot' | 'entries' | 'hardState' | 'messagesAfterPersist'>
const NOTHING: Durable = {
  snapshot: undefined,
  entries: NO_ENTRIES,
  hardState: undefined,
  messagesAfterPersist: NO_MESSAGES,
}

export function takeReady(core: Core): Ready | undefined {
  if (core.role === 'leader') {
    startReads(core)
    replicate(core)
  }
  // What builds on a snapshot waits until that is durable; the snapshot itself goes with all that is there.
  const held = core.outstanding.some((ready) => ready.snapshot)
  const committed = held ? undefined : committedNow(core)
  if (isIdle(core, held) && committed === undefined) return undefined
  core.readyNumber++
  const durable = held ? NOTHING : takeDurable(core)
  const { messages, entriesWanted, readsDone, readsRefused, changed } = core
  core.messages = []
  core.entriesWanted = []
  core.readsDone = []
  core.readsRefused = []
  core.changed = false
  if (committed !== undefined) core.handedCommit = committed.to
  return {
    number: core.readyNumber,
    messages,
    ...durable,
    committed,
    entriesWanted,
    reads: readsDone,
    readsRefused,
    change: changed ? { role: core.role, leader: core.leader, term: core.term } : undefined,
  }
}

function isIdle(core: Core, held: boolean): boolean {
  if (core.changed || core.messages.length > 0 || core.entriesWanted.length > 0) return false
  if (core.readsDone.length > 0 || core.readsRefused.length > 0) return false
  return held || (core.messagesAfterPersist.length === 0 && !hasDurable(core))
}

function hasDurable(core: Core): boolean {
  return core.snapshot !== undefined || core.handedLast < core.log.lastIndex || stateChanged(core)
}

/** The commit index is only a hint for recovery: it is written along with what is written anyway. */
function stateChanged({ term, vote, handedState }: Core): boolean {
  return term !== handedState.term || vote !== handedState.vote
}

function takeDurable(core: Core): Durable {
  const { log, snapshot, messagesAfterPersist } = core
  core.messagesAfterPersist = []
  if (!hasDurable(core)) return { ...NOTHING, messagesAfterPersist }
  const entries = core.handedLast < log.lastIndex ? log.slice(logIndex(core.handedLast + 1), log.lastIndex) : NO_ENTRIES
  invariant(entries !== undefined, 'unpersisted-in-tail', () => `${core.handedLast} to ${log.lastIndex}`)
  const hardState: HardState = { term: core.term, vote: core.vote, commit: core.commit }
  core.outstanding.push(outstandingOf(core, entries, snapshot))
  core.handedState = hardState
  core.handedLast = log.lastIndex
  core.snapshot = undefined
  return { snapshot, entries, hardState, messagesAfterPersist }
}

function outstandingOf(core: Core, entries: readonly Entry[], snapshot: SnapshotMeta | undefined): Outstanding {
  return {
    number: core.readyNumber,
    term: core.term,
    vote: core.vote,
    last: core.log.lastIndex,
    snapshot: snapshot !== undefined,
    written: entries.at(-1) ?? snapshot,
  }
}

/** Committed and durable here. */
function committedNow({ commit, log, handedCommit }: Core): Ready['committed'] {
  const to = commit < log.persisted ? commit : log.persisted
  return to > handedCommit ? { from: logIndex(handedCommit + 1), to } : undefined
}

export function onPersisted(core: Core, input: Extract<RaftInput, { type: 'persisted' }>): void {
  invariant(input.ready <= core.readyNumber, 'persisted-was-ready', () => `${input.ready} of ${core.readyNumber}`)
  const at = core.outstanding.findIndex((ready) => ready.number === input.ready)
  const reported = core.outstanding[at]
  if (reported === undefined) return
  const { written } = reported
  invariant(
    written === undefined || (written.index === input.index && written.term === input.term),
    'persisted-as-ready-said',
    () => `Ready ${input.ready} ended at ${written?.index}, ${input.index} is reported`,
  )
  core.outstanding.splice(0, at + 1)
  core.durableTerm = reported.term
  // A later Ready's entries stand on those of the earlier ones: the last one's bound is the bound of all.
  core.log.persistedUpTo(reported.last)
  if (core.role === 'candidate' && reported.term === core.term && !core.votes.has(core.id)) voteForSelf(core)
  maybeCommit(core)
}
