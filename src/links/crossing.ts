/**
 * Which connection counts where both sides may dial, decided by the acceptor from what a proven dialler says. Pure.
 *
 * A dialler that has restarted, that dials anew, or that has lost the very session which is open here, replaces it; a
 * dial that was on its way when this session opened does not: its dialler has it, and gives the dial up. Where both have
 * said their last word, the dial of the lower id stands and the higher gives its own up.
 */
import { equalBytes } from '../base/index.ts'

/** Of the dialler: its process, its count of dials, the session of this lane that it had last. */
export type Offer = { readonly process: Uint8Array; readonly attempt: number; readonly last: Uint8Array }

/** The session that is open here: with which process, and dialled by whom, there at which count. */
export type Standing = {
  readonly id: Uint8Array
  readonly process: Uint8Array
  readonly dialledBy: 'us' | 'them'
  readonly attempt: number
}

/** `committedTo` is the process to which this side's own dial has said its last word. */
export function considerOffer(
  offer: Offer,
  standing: Standing | undefined,
  committedTo: Uint8Array | undefined,
  isLower: boolean,
): 'accept' | 'busy' {
  if (standing === undefined) {
    return isLower && committedTo !== undefined && equalBytes(committedTo, offer.process) ? 'busy' : 'accept'
  }
  if (!equalBytes(standing.process, offer.process)) return 'accept'
  // It dials one at a time: a later dial says that the earlier one's session is gone there.
  if (standing.dialledBy === 'them') return offer.attempt > standing.attempt ? 'accept' : 'busy'
  return equalBytes(offer.last, standing.id) ? 'accept' : 'busy'
}
