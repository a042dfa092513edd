/** What a refusal is called, on the side that refuses and on the side that hears it; and how often it is told. */
import { failure, type Failure, type MemberId } from '../base/index.ts'
import type { World } from '../world/index.ts'
import type { Claimed, Party } from './handshake.ts'
import { type Refusal, REFUSAL_CODES, type Grounds } from './handshake-messages.ts'

/** The same refusal of the same peer is told again after so long. */
const REPEAT_MS = 60_000
/** Different refusals that are told in that time, per peer and of all strangers together. */
const MOST_TOLD = 64

const hex = (id: bigint | undefined): string => (id === undefined ? 'unknown' : id.toString(16))
const range = (of: { readonly lowest?: number; readonly highest?: number }): string =>
  of.lowest === undefined ? 'unknown protocols' : `protocols ${of.lowest} to ${of.highest}`

/** This side refuses who is at `address`; `expected` is whom this side dialled. */
export function ourRefusal(
  reason: Grounds,
  address: string,
  claimed: Claimed,
  party: Party,
  expected: bigint | undefined,
): Failure {
  const member = hex(claimed.member ?? expected)
  const details = {
    address,
    by: 'us',
    reason,
    ...(claimed.member === undefined ? {} : { member: claimed.member }),
  }
  const say = (message: string): Failure => failure(REFUSAL_CODES[reason], message, details)
  switch (reason) {
    case 'wrong-cluster':
      return say(`${address} belongs to cluster ${hex(claimed.cluster)}, this server to ${hex(party.cluster)}`)
    case 'wrong-member':
      return expected === undefined
        ? say(`member ${member} at ${address} takes this server for another member`)
        : say(`${address} is member ${hex(claimed.member)}, not ${hex(expected)}`)
    case 'unknown-member':
      return say(`member ${member} at ${address} is not a member that this server knows`)
    case 'version':
      return say(`${address} speaks ${range(claimed)}, this server ${range(party)}`)
    case 'proof':
      return say(`${address}, which says it is member ${member}, does not have this cluster's key`)
    case 'instance':
      return say(`member ${member} at ${address} has another instance id than before: it has lost its disk`)
    default:
      return reason satisfies never
  }
}

/** The other side refused us; what it says is not proven. */
export function theirRefusal(refusal: Refusal & { readonly reason: Grounds }, address: string, party: Party): Failure {
  const { reason, member } = refusal
  const say = (why: string): Failure =>
    failure(REFUSAL_CODES[reason], `${address} refuses this server: ${why}`, { address, by: 'them', reason, member })
  switch (reason) {
    case 'wrong-cluster':
      return say(`it belongs to cluster ${hex(refusal.cluster)}, this server to ${hex(party.cluster)}`)
    case 'wrong-member':
      return say(`it is member ${hex(member)}, or reached another member than it dialled`)
    case 'unknown-member':
      return say('it does not know this server as a member')
    case 'version':
      return say(`it speaks ${range(refusal)}, this server ${range(party)}`)
    case 'proof':
      return say("this server does not have that cluster's key")
    case 'instance':
      return say('this server has another instance id than before: it has lost its disk')
    default:
      return reason satisfies never
  }
}

export interface Refusals {
  report(peer: MemberId | undefined, reason: Failure): void
  /** The peer is fine now: a new refusal is news. */
  forget(peer: MemberId): void
}

/** Tells each refusal once a minute per peer, or per host of a stranger; strangers' hosts are kept up to a number. */
export function createRefusals(world: World, tell: (peer: MemberId | undefined, reason: Failure) => void): Refusals {
  const toldMs = new Map<MemberId | undefined, Map<string, number>>()

  const isNews = (peer: MemberId | undefined, key: string, nowMs: number): boolean => {
    let ofPeer = toldMs.get(peer)
    if (ofPeer === undefined) toldMs.set(peer, (ofPeer = new Map()))
    const last = ofPeer.get(key)
    if (last !== undefined && nowMs - last < REPEAT_MS) return false
    if (ofPeer.size >= MOST_TOLD) for (const [old, atMs] of ofPeer) if (nowMs - atMs >= REPEAT_MS) ofPeer.delete(old)
    if (ofPeer.size >= MOST_TOLD) return false
    ofPeer.set(key, nowMs)
    return true
  }

  return {
    report(peer, reason) {
      const { address, by } = reason.details ?? {}
      // Without the port, which every connection has anew.
      const host = peer === undefined ? String(address).replace(/:\d+$/, '') : ''
      if (isNews(peer, `${reason.code} ${String(by)} ${host}`, world.clock.monotonicMs())) tell(peer, reason)
    },
    forget: (peer) => void toldMs.delete(peer),
  }
}
