/**
 * Whether a peer is the instance that it was before. The first instance to prove itself is the one; nothing goes on
 * before the owner has persisted it. A question that outlives its handshake is withdrawn, and the next one asks the
 * owner anew, so that a persisting that failed is tried again.
 */
import { equalBytes, type MemberId } from '../base/index.ts'
import type { Admission } from './context.ts'
import type { LinksHandlers } from './types.ts'

export interface PeerAdmission extends Admission {
  readonly instance: Uint8Array | undefined
}

export function createAdmission(
  peer: MemberId,
  known: Uint8Array | undefined,
  onInstance: LinksHandlers['onInstance'],
): PeerAdmission {
  let persisted = known
  let candidate = known
  const waiting = new Set<(admitted: boolean) => void>()

  return {
    get instance() {
      return persisted
    },
    ask(instance, answer) {
      candidate ??= instance
      if (persisted !== undefined || !equalBytes(candidate, instance)) {
        answer(equalBytes(candidate, instance))
        return () => {}
      }
      const isFirst = waiting.size === 0
      waiting.add(answer)
      if (isFirst) {
        onInstance(peer, instance, () => {
          persisted = instance
          const answers = [...waiting]
          waiting.clear()
          for (const tell of answers) tell(true)
        })
      }
      return () => void waiting.delete(answer)
    },
  }
}
