/** Majorities, also of two configurations at once: what is decided needs both halves of a joint one. */
import type { MemberId } from '../base/index.ts'
import type { Config } from './types.ts'

export type Outcome = 'won' | 'lost' | 'pending'

/** Votes of one half: undefined has not answered. */
function half(voters: readonly MemberId[], vote: (id: MemberId) => boolean | undefined): Outcome {
  if (voters.length === 0) return 'won'
  let yes = 0
  let no = 0
  for (const id of voters) {
    const answer = vote(id)
    if (answer === true) yes++
    else if (answer === false) no++
  }
  const majority = Math.floor(voters.length / 2) + 1
  if (yes >= majority) return 'won'
  return voters.length - no < majority ? 'lost' : 'pending'
}

export function tally(config: Config, vote: (id: MemberId) => boolean | undefined): Outcome {
  const incoming = half(config.voters, vote)
  const outgoing = half(config.votersOutgoing, vote)
  if (incoming === 'lost' || outgoing === 'lost') return 'lost'
  return incoming === 'won' && outgoing === 'won' ? 'won' : 'pending'
}

export function hasQuorum(config: Config, has: (id: MemberId) => boolean): boolean {
  return tally(config, has) === 'won'
}

/** The largest number that a majority of `voters` has reached; Infinity for an empty half. */
function reachedByHalf(voters: readonly MemberId[], value: (id: MemberId) => number): number {
  if (voters.length === 0) return Number.POSITIVE_INFINITY
  const values = voters.map(value).sort((a, b) => b - a)
  return values[Math.floor(voters.length / 2)] as number
}

/** The largest number that a majority of each half has reached: the commit rule, and the lease's. */
export function reachedByQuorum(config: Config, value: (id: MemberId) => number): number {
  return Math.min(reachedByHalf(config.voters, value), reachedByHalf(config.votersOutgoing, value))
}
