/**
 * The leader's own log and the commit rule: appending, counting, and what a commit sets off (leaving a joint
 * configuration, stepping aside, letting more proposals in).
 */
import type { LogIndex } from '../base/index.ts'
import { invariant, logIndex } from '../base/index.ts'
import { isJoint, isVoter, leave } from './config.ts'
import { encodeConfig } from './config-codec.ts'
import type { Core } from './core.ts'
import { send } from './core.ts'
import type { Progress } from './progress.ts'
import { reachedByQuorum } from './quorum.ts'
import { replicate, updatePeers } from './replication.ts'
import { becomeFollower } from './roles.ts'
import type { Config } from './types.ts'

/** One batch of 'normal' entries at the end of the leader's log. Returns the first index. */
export function appendData(core: Core, data: readonly Uint8Array[]): LogIndex {
  const firstIndex = logIndex(core.log.lastIndex + 1)
  const { term } = core
  core.log.append(data.map((part, i) => ({ index: (firstIndex + i) as LogIndex, term, type: 'normal', data: part })))
  return firstIndex
}

/** The configuration is in force from here on (dissertation 4.1). */
export function appendConfig(core: Core, config: Config): LogIndex {
  const index = logIndex(core.log.lastIndex + 1)
  core.log.append([{ index, term: core.term, type: 'config', data: encodeConfig(config) }])
  updatePeers(core, true)
  return index
}

/** An index counts where a quorum, of both halves of a joint configuration, has it durably. */
export function maybeCommit(core: Core): void {
  if (core.role !== 'leader') return
  const { log, progress } = core
  const reached = reachedByQuorum(log.config, (id) =>
    id === core.id ? log.persisted : (progress.get(id)?.match ?? 0),
  ) as LogIndex
  // Only entries of the current term are committed by counting (Raft 5.4.2, figure 8).
  if (reached > core.commit && log.termAt(reached) === core.term) commitTo(core, reached)
}

export function commitTo(core: Core, index: LogIndex): void {
  if (index <= core.commit) return
  const { log } = core
  // A follower that does not have what it acknowledged has lost its disk, and must not go on.
  invariant(index <= log.lastIndex, 'commit-within-log', () => `commit ${index}, last ${log.lastIndex}`)
  const configWasOpen = log.configIndex > core.commit
  core.commit = index
  if (core.role !== 'leader') return
  let settled = 0
  for (; settled < core.uncommitted.length; settled++) {
    const batch = core.uncommitted[settled] as Core['uncommitted'][number]
    if (batch.last > index) break
    core.uncommittedBytes -= batch.sizeBytes
  }
  if (settled === core.uncommitted.length) core.uncommitted.length = 0
  else if (settled > 0) core.uncommitted.splice(0, settled)
  if (log.configIndex > index) return
  if (configWasOpen) {
    // Those that the configuration leaves out are told before they are forgotten.
    replicate(core)
    updatePeers(core, true)
  }
  const { config } = log
  if (isJoint(config)) {
    if (config.autoLeave) appendConfig(core, leave(config))
  } else if (!isVoter(config, core.id)) stepAside(core)
}

/** The committed configuration has no place for this leader: whoever is furthest takes over (dissertation 4.2.2). */
function stepAside(core: Core): void {
  let best: Progress | undefined
  for (const peer of core.progress.values()) {
    if (isVoter(core.log.config, peer.id) && (best === undefined || peer.match > best.match)) best = peer
  }
  if (best !== undefined) send(core, best.id, { type: 'timeoutNow' })
  becomeFollower(core, core.term, undefined)
}
