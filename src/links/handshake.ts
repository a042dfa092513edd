/**
 * How two members prove to each other that they hold the cluster key, pure, in both roles:
 *
 *     dialler                                        acceptor
 *     hello: ids, lane, versions, nonce         ->
 *                                               <-   challenge: ids, versions, protocol chosen, nonce, proof
 *     finish: last session, proof               ->
 *                                               <-   ready: proof
 *
 * A proof is an HMAC by the cluster key over a label of its role and every byte said so far, so that nothing can be
 * reflected, replayed, mixed or downgraded: both sides' nonces, ids and version ranges are in it. Each side's owner is
 * asked (`proved`) before this side says its last word, and may refuse instead. The keys of the session come from all
 * of it. Messages are bounded; hostile bytes give `malformed`, never an exception. No secrecy: that is TLS's.
 */
import { concatBytes, EMPTY } from '../base/index.ts'
import {
  type Decoded,
  decodeMessage,
  encodeMessage,
  type Grounds,
  type Introduction,
  MAX_MESSAGE_BYTES,
  type Refusal,
  type RefusalReason,
  SESSION_BYTES,
} from './handshake-messages.ts'
import { MAGIC } from './recognise.ts'
import { equalProofs, PROOF_BYTES, prove } from './secrets.ts'
import type { Lane } from './types.ts'

/** What one side brings along. */
export type Party = {
  readonly cluster: bigint
  readonly self: bigint
  readonly instance: Uint8Array
  readonly process: Uint8Array
  readonly lowest: number
  readonly highest: number
  readonly key: Uint8Array
}

/** The other side, proven. */
export type Proven = {
  readonly member: bigint
  readonly instance: Uint8Array
  readonly process: Uint8Array
  readonly lane: Lane
  readonly protocol: number
  /** The dialler's count of dials. */
  readonly attempt: number
  /** Of the dialler: its last session of this lane; zeros for none. */
  readonly last: Uint8Array
}

/** What both sides share when the handshake is over. */
export type Agreement = {
  readonly id: Uint8Array
  readonly sendKey: Uint8Array
  readonly receiveKey: Uint8Array
  /** Bytes behind the handshake. */
  readonly rest: Uint8Array
}

export type Step =
  | { readonly type: 'wait' }
  | { readonly type: 'send'; readonly bytes: Uint8Array }
  | { readonly type: 'proved'; readonly who: Proven }
  | { readonly type: 'open'; readonly agreement: Agreement }
  /** `claimed` is what the other side says about itself, unproven; `bytes` tell it. */
  | { readonly type: 'refuse'; readonly reason: Grounds; readonly claimed: Claimed; readonly bytes: Uint8Array }
  | { readonly type: 'refused'; readonly refusal: Refusal }
  | { readonly type: 'malformed'; readonly message: string }

export type Claimed = {
  readonly member?: bigint
  readonly cluster?: bigint
  readonly lowest?: number
  readonly highest?: number
}

const LABEL = {
  challenge: 'skein link 1: acceptor',
  finish: 'skein link 1: dialler',
  ready: 'skein link 1: ready',
  session: 'skein link 1: session',
  toAcceptor: 'skein link 1: key to acceptor',
  toDialler: 'skein link 1: key to dialler',
} as const

const WAIT: Step = { type: 'wait' }
const NO_PROOF: Uint8Array = new Uint8Array(PROOF_BYTES)
export const NO_SESSION: Uint8Array = new Uint8Array(SESSION_BYTES)
/** More than this waiting here is no handshake. */
const MAX_WAITING_BYTES = 2 * (MAGIC.length + MAX_MESSAGE_BYTES)

export function encodeRefusal(party: Party, reason: RefusalReason): Uint8Array {
  const { cluster, self: member, lowest, highest } = party
  return encodeMessage({ type: 'refusal', reason, cluster, member, lowest, highest })
}

function introduce(party: Party, nonce: Uint8Array): Introduction {
  const { self: member, instance, process, lowest, highest } = party
  return { member, instance, process, lowest, highest, nonce }
}

/** The highest that both speak; undefined for none. */
function choose(a: { lowest: number; highest: number }, b: { lowest: number; highest: number }): number | undefined {
  const protocol = Math.min(a.highest, b.highest)
  return protocol >= Math.max(a.lowest, b.lowest) ? protocol : undefined
}

/** A message whose last field is the proof of all before it. */
function withProof(key: Uint8Array, label: string, said: readonly Uint8Array[], message: Uint8Array): Uint8Array {
  const proof = prove(key, label, [...said, message.subarray(0, -PROOF_BYTES)])
  message.set(proof, message.length - PROOF_BYTES)
  return message
}

function isProven(key: Uint8Array, label: string, said: readonly Uint8Array[], message: Uint8Array): boolean {
  const proof = prove(key, label, [...said, message.subarray(0, -PROOF_BYTES)])
  return equalProofs(proof, message.subarray(-PROOF_BYTES))
}

function agree(
  key: Uint8Array,
  said: readonly Uint8Array[],
  role: 'dialler' | 'acceptor',
  rest: Uint8Array,
): Agreement {
  const toAcceptor = prove(key, LABEL.toAcceptor, said)
  const toDialler = prove(key, LABEL.toDialler, said)
  return {
    id: prove(key, LABEL.session, said).subarray(0, SESSION_BYTES),
    sendKey: role === 'dialler' ? toAcceptor : toDialler,
    receiveKey: role === 'dialler' ? toDialler : toAcceptor,
    rest,
  }
}

/** Collects bytes until a message is whole. */
function createInbox(): {
  take(bytes: Uint8Array, first: boolean): Decoded
  /** What has not been taken, and forgets it. */
  rest(): Uint8Array
} {
  let waiting: Uint8Array = EMPTY
  return {
    take(bytes, first) {
      waiting = waiting.length === 0 ? bytes : concatBytes([waiting, bytes])
      const decoded = decodeMessage(waiting, first)
      if (decoded.type === 'message') waiting = waiting.subarray(decoded.raw.length)
      return decoded.type === 'need-more' && waiting.length > MAX_WAITING_BYTES ? { type: 'malformed' } : decoded
    },
    rest() {
      const rest = waiting
      waiting = EMPTY
      return rest
    },
  }
}

const malformed = (message: string): Step => ({ type: 'malformed', message })

export interface DiallerHandshake {
  /** To be sent first. */
  readonly hello: Uint8Array
  receive(bytes: Uint8Array): Step
  /** After `proved`: the bytes to send. */
  finish(last: Uint8Array): Uint8Array
}

export function createDiallerHandshake(
  party: Party,
  to: bigint,
  lane: Lane,
  attempt: number,
  nonce: Uint8Array,
): DiallerHandshake {
  const { cluster, key } = party
  const hello = encodeMessage({ type: 'hello', lane, cluster, to, attempt, ...introduce(party, nonce) })
  const inbox = createInbox()
  let said: readonly Uint8Array[] = [hello]
  let stage: 'challenge' | 'asking' | 'ready' = 'challenge'

  return {
    hello,
    receive(bytes) {
      // Nobody has anything to say while the owner decides, but for an end.
      const decoded = inbox.take(bytes, false)
      if (decoded.type === 'need-more') return WAIT
      if (decoded.type !== 'message') return malformed('what answers is no member')
      const { message, raw } = decoded
      if (message.type === 'refusal') return { type: 'refused', refusal: message }
      if (stage === 'challenge' && message.type === 'challenge') {
        const { member, lowest, highest, protocol, instance, process } = message
        const refuse = (reason: Grounds): Step => ({
          type: 'refuse',
          reason,
          claimed: { member, lowest, highest },
          bytes: encodeRefusal(party, reason),
        })
        if (!isProven(key, LABEL.challenge, said, raw)) return refuse('proof')
        if (member !== to) return refuse('wrong-member')
        if (choose(party, message) !== protocol) return refuse('version')
        said = [...said, raw]
        stage = 'asking'
        return { type: 'proved', who: { member, instance, process, lane, protocol, attempt, last: NO_SESSION } }
      }
      if (stage === 'ready' && message.type === 'ready') {
        if (!isProven(key, LABEL.ready, said, raw)) return malformed('the last proof is wrong')
        return { type: 'open', agreement: agree(key, said, 'dialler', inbox.rest()) }
      }
      return malformed(`a ${message.type} out of turn`)
    },
    finish(last) {
      const finish = withProof(key, LABEL.finish, said, encodeMessage({ type: 'finish', last, proof: NO_PROOF }))
      said = [...said, finish]
      stage = 'ready'
      return finish
    },
  }
}

export interface AcceptorHandshake {
  receive(bytes: Uint8Array): Step
  /** After `proved`: the bytes to send, and the session that is now open here. */
  accept(): { readonly bytes: Uint8Array; readonly agreement: Agreement }
}

export function createAcceptorHandshake(party: Party, nonce: Uint8Array): AcceptorHandshake {
  const { key } = party
  const inbox = createInbox()
  let said: readonly Uint8Array[] = []
  let stage: 'hello' | 'finish' | 'asking' = 'hello'
  let proven: Omit<Proven, 'last'> | undefined

  const refuse = (reason: Grounds, claimed: Claimed): Step => ({
    type: 'refuse',
    reason,
    claimed,
    bytes: encodeRefusal(party, reason),
  })

  return {
    receive(bytes) {
      const decoded = inbox.take(bytes, stage === 'hello')
      if (decoded.type === 'need-more') return WAIT
      if (decoded.type === 'other-version') return refuse('version', {})
      if (decoded.type !== 'message') return malformed('a message that no member sends')
      const { message, raw } = decoded
      if (message.type === 'refusal') return { type: 'refused', refusal: message }
      if (stage === 'hello' && message.type === 'hello') {
        const { member, cluster, lowest, highest, instance, process, lane, attempt } = message
        const claimed = { member, cluster, lowest, highest }
        if (cluster !== party.cluster) return refuse('wrong-cluster', claimed)
        if (message.to !== party.self || member === party.self) return refuse('wrong-member', claimed)
        const protocol = choose(party, message)
        if (protocol === undefined) return refuse('version', claimed)
        const bare = encodeMessage({ type: 'challenge', protocol, proof: NO_PROOF, ...introduce(party, nonce) })
        const challenge = withProof(key, LABEL.challenge, [raw], bare)
        said = [raw, challenge]
        proven = { member, instance, process, lane, protocol, attempt }
        stage = 'finish'
        return { type: 'send', bytes: challenge }
      }
      if (stage === 'finish' && message.type === 'finish' && proven !== undefined) {
        if (!isProven(key, LABEL.finish, said, raw)) return refuse('proof', { member: proven.member })
        said = [...said, raw]
        stage = 'asking'
        return { type: 'proved', who: { ...proven, last: message.last } }
      }
      return malformed(`a ${message.type} out of turn`)
    },
    accept() {
      const bytes = withProof(key, LABEL.ready, said, encodeMessage({ type: 'ready', proof: NO_PROOF }))
      return { bytes, agreement: agree(key, said, 'acceptor', inbox.rest()) }
    },
  }
}
