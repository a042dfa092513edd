/** The follower's handlers: appends, heartbeats, snapshots from the leader of this term. */
import type { LogIndex, MemberId } from '../base/index.ts'
import { invariant, logIndex, term as makeTerm } from '../base/index.ts'
import { commitTo } from './commit.ts'
import type { Core, MessageOf } from './core.ts'
import { answer, cutLog, forgetDurable } from './core.ts'
import { hearLeader } from './roles.ts'
import type { Entry, RaftMessage } from './types.ts'

export function onAppend(core: Core, from: MessageOf<'append'>): void {
  hearLeader(core, from.from)
  const { log } = core
  const through = logIndex(from.prevIndex + from.entries.length)
  if (from.prevIndex < core.commit) {
    // What is committed here agrees with every later leader's log; what the message has beyond is looked at.
    if (through > core.commit) acceptEntries(core, from.entries.slice(core.commit - from.prevIndex))
  } else if (log.termAt(from.prevIndex) === from.prevTerm) {
    acceptEntries(core, from.entries)
  } else {
    reject(core, from)
    return
  }
  commitTo(core, from.commit < through ? from.commit : through)
  acknowledge(core, from.from, through > core.commit ? through : core.commit)
}

/** Adds what is new. Entries are only taken away where they conflict: a late, shorter append must not cut (5.3). */
function acceptEntries(core: Core, entries: readonly Entry[]): void {
  const { log } = core
  let fresh = 0
  while (fresh < entries.length) {
    const entry = entries[fresh] as Entry
    if (log.termAt(entry.index) !== entry.term) break
    fresh++
  }
  const first = entries[fresh]
  if (first === undefined) return
  if (first.index <= log.lastIndex) {
    invariant(first.index > core.commit, 'committed-never-cut', () => `entry ${first.index}, commit ${core.commit}`)
    cutLog(core, logIndex(first.index - 1))
  }
  log.append(fresh === 0 ? entries : entries.slice(fresh))
}

/** Tells the last entry here that could agree: no later one has a term that the leader's log holds that far down. */
function reject(core: Core, from: MessageOf<'append'>): void {
  const { log } = core
  const at = from.prevIndex < log.lastIndex ? from.prevIndex : log.lastIndex
  const hintIndex = log.lastAtOrBelow(at, from.prevTerm)
  const hintTerm = log.termAt(hintIndex) ?? makeTerm(0)
  answer(core, from.from, { type: 'appendReply', index: from.prevIndex, rejected: true, hintIndex, hintTerm })
}

/** Says that everything up to `index` is durable here: now, or once it is. One answer for the appends of a turn. */
function acknowledge(core: Core, to: MemberId, index: LogIndex): void {
  const out = index <= core.log.persisted && core.durableTerm >= core.term ? core.messages : core.messagesAfterPersist
  const reply: RaftMessage = {
    type: 'appendReply',
    from: core.id,
    to,
    term: core.term,
    index,
    rejected: false,
    hintIndex: 0 as LogIndex,
    hintTerm: makeTerm(0),
  }
  const last = out.at(-1)
  const covered =
    last?.type === 'appendReply' && last.to === to && last.term === core.term && !last.rejected && last.index <= index
  if (covered) out[out.length - 1] = reply
  else out.push(reply)
}

export function onHeartbeat(core: Core, from: MessageOf<'heartbeat'>): void {
  hearLeader(core, from.from)
  commitTo(core, from.commit)
  answer(core, from.from, { type: 'heartbeatReply', round: from.round })
}

/** The whole state has been staged by the replica: taken where it brings anything new. */
export function onSnapshot(core: Core, from: MessageOf<'snapshot'>): void {
  hearLeader(core, from.from)
  const { meta } = from
  const { log } = core
  if (meta.index > core.commit) {
    if (log.termAt(meta.index) === meta.term) commitTo(core, meta.index)
    // One at a time: while another is being swapped in, this one would have to be kept, and it can be large.
    else if (!core.outstanding.some((ready) => ready.snapshot)) install(core, meta)
  }
  acknowledge(core, from.from, core.commit)
}

function install(core: Core, meta: MessageOf<'snapshot'>['meta']): void {
  const kept = core.commit
  core.log.reset(meta, kept)
  forgetDurable(core, kept)
  core.commit = meta.index
  core.applied = meta.index
  core.handedLast = meta.index
  core.handedCommit = meta.index
  core.snapshot = meta
}
