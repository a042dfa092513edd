/**
 * Sessions: by which a Skein cluster recognises a write that it is sent twice, so that a write of unknown outcome can be
 * sent again and takes effect once. A session numbers its writes; the cluster keeps the results of the highest
 * RESULTS_PER_SESSION numbers.
 *
 * Promises: (1) no two open writes of a session are RESULTS_PER_SESSION or more numbers apart, so that the result of an
 * open write is never pushed out by its session's other writes; more writes at once use more sessions; (2) at most
 * MAX_SESSIONS; writes beyond what these hold go without one, and are then never sent again; (3) a session that the
 * cluster may have forgotten is not used again.
 */
import type { World } from '../world/index.ts'
import type { DescribeResponse } from '../wire/index.ts'
import { RESULTS_PER_SESSION, sessionIdAfter } from '../wire/index.ts'

const MAX_SESSIONS = 64
const RANDOM_BYTES = 16

/** One write's number in a session, until it is settled. */
export type Slot = { readonly session: Session; readonly sequence: number }

type Session = {
  readonly id: string
  readonly clusterId: bigint
  next: number
  /** In ascending order, as a Set keeps them. */
  readonly open: Set<number>
}

export interface Sessions {
  /** Undefined where all sessions are full of open writes. */
  take(server: DescribeResponse): Slot | undefined
  /** The write is over, whatever became of it: it will not be sent again. */
  settle(slot: Slot): void
  /** The cluster has forgotten it, or may have. */
  retire(session: Session): void
}

export function createSessions(world: World): Sessions {
  let sessions: Session[] = []

  const hasRoom = (session: Session): boolean => {
    const [lowest] = session.open
    return lowest === undefined || session.next - lowest < RESULTS_PER_SESSION
  }

  const open = (server: DescribeResponse): Session | undefined => {
    // Another cluster's sessions are of no use here: a client speaks with one.
    sessions = sessions.filter((session) => session.clusterId === server.clusterId || session.open.size > 0)
    if (sessions.length >= MAX_SESSIONS) return undefined
    const id = sessionIdAfter(server.appliedIndex, world.random.bytes(RANDOM_BYTES))
    const session: Session = { id, clusterId: server.clusterId, next: 1, open: new Set() }
    sessions.push(session)
    return session
  }

  return {
    take(server) {
      const usable = sessions.find((session) => session.clusterId === server.clusterId && hasRoom(session))
      const session = usable ?? open(server)
      if (session === undefined) return undefined
      const sequence = session.next++
      session.open.add(sequence)
      return { session, sequence }
    },
    settle({ session, sequence }) {
      session.open.delete(sequence)
    },
    retire(session) {
      sessions = sessions.filter((known) => known !== session)
    },
  }
}
