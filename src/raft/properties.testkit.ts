/**
 * The properties of the Raft paper's figure 3, linearizable reads, and the durability of what is committed, watched over
 * every Ready of every server. A breach throws, and says which property it was.
 */
import type { MemberId } from '../base/index.ts'
import type { Server } from './server.testkit.ts'
import { configIn, diskTerm, mirrorTerm, mix } from './server.testkit.ts'
import type { Config, Entry, Ready } from './types.ts'

export type Checker = {
  onReady(server: Server, ready: Ready): void
  onApply(server: Server, entry: Entry, digest: number): void
  /** A read was asked: its answer must not be older than anything that was committed by now. */
  onAsk(server: Server, context: number): void
  onCrash(server: Server): void
  readonly committed: number
  readonly reads: number
  readonly leaders: number
}

function breach(property: string, detail: string): never {
  throw new Error(`${property}: ${detail}`)
}

function holds(
  voters: readonly MemberId[],
  servers: ReadonlyMap<MemberId, Server>,
  index: number,
  term: number,
): boolean {
  if (voters.length === 0) return true
  let count = 0
  for (const id of voters) {
    const server = servers.get(id)
    if (server === undefined) continue
    if (server.disk.base.index > index || diskTerm(server.disk, index) === term) count++
  }
  return count > voters.length / 2
}

function quorumHolds(config: Config, servers: ReadonlyMap<MemberId, Server>, index: number, term: number): boolean {
  return holds(config.voters, servers, index, term) && holds(config.votersOutgoing, servers, index, term)
}

/** Configurations that may have been in force when a commit was decided: not every commit makes a Ready at once. */
function configsOf(server: Server, newest: Config): Config[] {
  const inLog = server.mirror.filter(({ type }) => type === 'config').map((entry) => configIn(entry))
  return [newest, server.mirrorBase.config, ...inLog]
}

export function createChecker(servers: ReadonlyMap<MemberId, Server>): Checker {
  const leaders = new Map<number, MemberId>()
  /** Per index and term: the entry's fingerprint and the term before it. Two logs that share it agree up to it. */
  const entries = new Map<string, { readonly print: number; readonly before: number | undefined }>()
  /** The term of the committed entry at each index, and the state after it. */
  const committed: number[] = [0]
  const digests: (number | undefined)[] = [0]
  const seenCommit = new Map<MemberId, number>()
  const leads = new Map<MemberId, { readonly term: number; last: number }>()
  const asked = new Map<string, number>()
  let reads = 0

  const logMatching = (server: Server, entry: Entry): void => {
    const key = `${entry.index}/${entry.term}`
    const print = mix(entry.type === 'config' ? 1 : 0, entry)
    const before = mirrorTerm(server, entry.index - 1)
    const known = entries.get(key)
    if (known === undefined) entries.set(key, { print, before })
    else if (known.print !== print || (before !== undefined && known.before !== before)) {
      breach('log matching', `entry ${key} at ${server.id} differs, or what is before it`)
    }
  }

  const leading = (server: Server, term: number, ready: Ready): void => {
    const other = leaders.get(term)
    if (other === undefined) leaders.set(term, server.id)
    else if (other !== server.id) breach('election safety', `${other} and ${server.id} both lead term ${term}`)
    const last = server.mirrorBase.index + server.mirror.length
    const before = leads.get(server.id)
    if (before?.term === term) {
      const first = ready.entries[0]
      if (first !== undefined && first.index <= before.last) {
        breach('leader append-only', `${server.id} rewrites ${first.index}, its log ended at ${before.last}`)
      }
      before.last = last
      return
    }
    leads.set(server.id, { term, last })
    const newest = committed.length - 1
    const held = mirrorTerm(server, newest)
    if ((committed[newest] as number) < term && server.mirrorBase.index < newest && held !== committed[newest]) {
      breach('leader completeness', `${server.id} leads term ${term} with term ${held} at committed index ${newest}`)
    }
  }

  const committing = (server: Server, commit: number, isLeader: boolean, config: Config): void => {
    const through = Math.min(commit, server.mirrorBase.index + server.mirror.length)
    const from = Math.max(seenCommit.get(server.id) ?? 0, server.mirrorBase.index) + 1
    for (let index = from; index <= through; index++) {
      const term = mirrorTerm(server, index) as number
      const known = committed[index]
      if (known === undefined) {
        if (index !== committed.length) breach('state machine safety', `a gap before committed index ${index}`)
        const held = (one: Config): boolean => quorumHolds(one, servers, index, term)
        if (isLeader && !configsOf(server, config).some(held)) {
          breach('durable commit', `${server.id} commits ${index} of term ${term}, which no majority has on disk`)
        }
        committed.push(term)
      } else if (known !== term) {
        breach('state machine safety', `${server.id} commits term ${term} at ${index}, which has term ${known}`)
      }
    }
    seenCommit.set(server.id, Math.max(through, from - 1))
  }

  return {
    onReady(server, ready) {
      for (const entry of ready.entries) logMatching(server, entry)
      const status = server.raft.status()
      if (status.role === 'leader') leading(server, status.term, ready)
      else leads.delete(server.id)
      committing(server, status.commit, status.role === 'leader', status.config)
      for (const { context, index } of ready.reads) {
        const key = `${server.id}/${context}`
        const least = asked.get(key)
        if (least === undefined) breach('linearizable reads', `${key} was not asked, or answered before`)
        if (index < least)
          breach('linearizable reads', `${key} reads at ${index}, ${least} was committed before it began`)
        asked.delete(key)
        reads++
      }
      for (const context of ready.readsRefused) asked.delete(`${server.id}/${context}`)
    },
    onApply(server, entry, digest) {
      if (committed[entry.index] !== entry.term) {
        breach('state machine safety', `${server.id} applies ${entry.index}/${entry.term}, not committed`)
      }
      const known = digests[entry.index]
      if (known === undefined) digests[entry.index] = digest
      else if (known !== digest) breach('state machine safety', `${server.id} has another state after ${entry.index}`)
    },
    onAsk(server, context) {
      asked.set(`${server.id}/${context}`, committed.length - 1)
    },
    onCrash(server) {
      seenCommit.delete(server.id)
      leads.delete(server.id)
      for (const key of asked.keys()) if (key.startsWith(`${server.id}/`)) asked.delete(key)
    },
    get committed() {
      return committed.length - 1
    },
    get reads() {
      return reads
    },
    get leaders() {
      return leaders.size
    },
  }
}
