/** Configurations and the steps between them (dissertation chapter 4). */
import type { MemberId, Result } from '../base/index.ts'
import { err, failure, ok } from '../base/index.ts'
import type { Config, ConfigChange } from './types.ts'

const byId = (a: bigint, b: bigint): number => (a < b ? -1 : a > b ? 1 : 0)

function sorted(ids: Iterable<MemberId>): MemberId[] {
  return [...new Set(ids)].sort(byId)
}

export function isJoint(config: Config): boolean {
  return config.votersOutgoing.length > 0
}

export function isVoter(config: Config, id: MemberId): boolean {
  return config.voters.includes(id) || config.votersOutgoing.includes(id)
}

/** Everybody who gets the log: voters old and new, learners. */
export function membersOf(config: Config): MemberId[] {
  return sorted([...config.voters, ...config.votersOutgoing, ...config.learners, ...config.learnersNext])
}

/**
 * The configuration to append for a change: the final one where at most one voter is added or removed (their majorities
 * then overlap), else a joint one. Failure config-change-refused where a change is under way or makes no sense.
 */
export function enter(config: Config, change: ConfigChange): Result<Config> {
  const refuse = (why: string): Result<Config> => err(failure('config-change-refused', why))
  if (isJoint(config)) return refuse('another membership change is under way')
  const voters = sorted(change.voters)
  const learners = sorted(change.learners)
  if (voters.length === 0) return refuse('a group needs at least one voter')
  if (learners.some((id) => voters.includes(id))) return refuse('a member cannot be voter and learner at once')
  const added = voters.filter((id) => !config.voters.includes(id))
  const removed = config.voters.filter((id) => !voters.includes(id))
  if (added.length + removed.length <= 1 && !removed.some((id) => learners.includes(id))) {
    return ok({ voters, votersOutgoing: [], learners, learnersNext: [], autoLeave: false })
  }
  return ok({
    voters,
    votersOutgoing: config.voters,
    learners: learners.filter((id) => !config.voters.includes(id)),
    // A voter of the old half cannot be a learner yet.
    learnersNext: learners.filter((id) => config.voters.includes(id)),
    autoLeave: true,
  })
}

/** The final configuration of a joint one. */
export function leave(config: Config): Config {
  return {
    voters: config.voters,
    votersOutgoing: [],
    learners: sorted([...config.learners, ...config.learnersNext]),
    learnersNext: [],
    autoLeave: false,
  }
}
