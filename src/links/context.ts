/** What the parts of one member's links share. */
import type { MemberId } from '../base/index.ts'
import type { World } from '../world/index.ts'
import type { Party } from './handshake.ts'
import type { Refusals } from './refusals.ts'
import type { LinksHandlers, LinksOptions } from './types.ts'

export type Context = {
  readonly world: World
  readonly options: LinksOptions
  readonly handlers: LinksHandlers
  readonly party: Party
  readonly refusals: Refusals
  /** The number of the next dial of this process. */
  nextAttempt(): number
  /** `flush` runs once at the end of the turn. */
  flushSoon(flush: () => void): void
}

/** The check of a peer's instance id against the one that is known, or will be once it is persisted. */
export interface Admission {
  /** Answers when it is known, be it at once. The returned function withdraws the question. */
  ask(instance: Uint8Array, answer: (admitted: boolean) => void): () => void
}

/** Whom a link leads to. */
export type Remote = { readonly id: MemberId; readonly address: () => string; readonly admission: Admission }
