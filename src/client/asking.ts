/**
 * How the client asks: one server after another until one decides, within the call's deadline.
 *
 * | the attempt ended | read | write |
 * | --- | --- | --- |
 * | never sent (unreachable, refused stream) | next server | next server |
 * | refused for certain, can help to wait (too many requests, transfer, not leader) | after a pause | after a pause |
 * | refused for certain, this server cannot (no leader, stopping) | next server | next server |
 * | lost, timed out, unknown | next server | next server of the same Skein cluster, same session and number; else reported as unknown |
 * | any other answer | reported | reported; as unknown where an earlier attempt may have taken effect |
 *
 * After a round in which every server was unreachable or without a leader the call fails at once, unless a write's
 * outcome is open: then it goes on until the deadline, because any answer is better than none.
 */
import type { Failure } from '../base/index.ts'
import { EMPTY, failure, SkeinError } from '../base/index.ts'
import type { Metadata } from '../wire/index.ts'
import { GRPC_STATUS } from '../wire/index.ts'
import type { World } from '../world/index.ts'
import type { Introduced, ServerConnection } from './connection.ts'
import type { Verdict } from './errors.ts'
import { judge } from './errors.ts'
import type { Slot } from './sessions.ts'
import { createSessions } from './sessions.ts'

const FIRST_PAUSE_MS = 10
const LONGEST_PAUSE_MS = 500
/** A session that the cluster forgot is replaced this often before the call fails. */
const MAX_NEW_SESSIONS = 3

export type Asking = {
  readonly path: string
  readonly message: Uint8Array
  readonly writes: boolean
  readonly deadlineMs: number
}

export type AttemptEnd =
  | { readonly ok: true; readonly value: Uint8Array }
  | { readonly ok: false; readonly verdict: Verdict }

export interface Asker {
  /** The place of the server that answered last: where others begin as well. */
  readonly preferred: number
  /** Rejects with SkeinError. */
  ask(asking: Asking): Promise<Uint8Array>
  /** What waits is answered: where it may have taken effect as unknown. Later calls are refused. */
  close(): void
  /** Asks exactly this server, once. */
  askOne(connection: ServerConnection, asking: Asking): Promise<AttemptEnd>
}

export function createAsker(
  world: World,
  metadata: Metadata,
  connections: readonly ServerConnection[],
  resendWrites: boolean,
): Asker {
  const sessions = createSessions(world)
  /** The server that answered last is asked first. */
  let preferred = 0
  let isClosed = false

  const attempt = (
    connection: ServerConnection,
    asking: Asking,
    choose: (server: Introduced) => Metadata | undefined,
  ): Promise<AttemptEnd> =>
    new Promise((resolve) => {
      connection.call({ ...asking, metadata: choose }, (ended) => {
        if (ended.status.code === GRPC_STATUS.ok && ended.outcome === 'answered')
          resolve({ ok: true, value: ended.message ?? EMPTY })
        else resolve({ ok: false, verdict: judge(connection.address, ended, asking.writes) })
      })
    })

  const pause = (times: number, deadlineMs: number): Promise<void> => {
    const most = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(times, 10))
    const left = deadlineMs - world.clock.monotonicMs()
    const ms = Math.max(0, Math.min(most * (0.5 + world.random.fraction() / 2), left))
    return new Promise((resolve) => void world.clock.setTimer(ms, resolve))
  }

  /** One write's claim on a session, and whether an attempt of it may have taken effect. */
  const createClaim = (): Claim => {
    let slot: Slot | undefined
    let open: Failure | undefined
    const release = (): void => {
      if (slot !== undefined) sessions.settle(slot)
      slot = undefined
    }
    return {
      get open() {
        return open
      },
      get isRepeatable() {
        return slot !== undefined
      },
      choose(server) {
        const isOpen = open !== undefined
        if (server === undefined || !resendWrites) {
          if (!isOpen) release()
          return isOpen ? undefined : metadata
        }
        if (slot !== undefined && slot.session.clusterId !== server.clusterId) {
          if (isOpen) return undefined
          release()
        }
        if (slot === undefined && !isOpen) slot = sessions.take(server)
        if (slot === undefined) return isOpen ? undefined : metadata
        return new Map([...metadata, ['skein-session', slot.session.id], ['skein-seq', String(slot.sequence)]])
      },
      mayHaveEffect(error) {
        open ??= error
      },
      renew() {
        if (slot !== undefined) sessions.retire(slot.session)
        release()
      },
      release,
    }
  }

  const ask = async (asking: Asking): Promise<Uint8Array> => {
    const claim = createClaim()
    try {
      return await askAround(asking, claim)
    } finally {
      claim.release()
    }
  }

  const askAround = async (asking: Asking, claim: Claim): Promise<Uint8Array> => {
    const { deadlineMs, writes } = asking
    const choose = writes ? claim.choose : (): Metadata => metadata
    let at = preferred
    let hopeless = 0
    let pauses = 0
    let sincePause = 0
    let renewals = 0
    for (;;) {
      if (isClosed) throw new SkeinError(finalError(failure('connection-lost', 'the client is closed'), claim.open))
      const connection = connections[at] as ServerConnection
      const end = await attempt(connection, asking, choose)
      if (end.ok) {
        preferred = at
        return end.value
      }
      const { error, mayHaveEffect, again, isHopeless } = end.verdict
      if (mayHaveEffect) claim.mayHaveEffect(error)
      if (isClosed) continue
      if (error.code === 'session-stale' && claim.open === undefined && renewals++ < MAX_NEW_SESSIONS) {
        // Its first attempt, so it has no effect: the session has been forgotten meanwhile.
        claim.renew()
        connection.forgetIntroduction()
        continue
      }
      hopeless = isHopeless ? hopeless + 1 : 0
      const isOver = world.clock.monotonicMs() >= deadlineMs
      const isLost = claim.open !== undefined && !claim.isRepeatable
      const nobody = claim.open === undefined && hopeless >= connections.length
      if (again === 'never' || isOver || isLost || nobody) throw new SkeinError(finalError(error, claim.open))
      at = (at + 1) % connections.length
      if (again === 'elsewhere' && ++sincePause < connections.length) continue
      sincePause = 0
      await pause(pauses++, deadlineMs)
    }
  }

  return {
    get preferred() {
      return preferred
    },
    ask,
    askOne: (connection, asking) => attempt(connection, asking, () => metadata),
    close() {
      isClosed = true
      for (const connection of connections) connection.close()
    },
  }
}

interface Claim {
  /** Why an earlier attempt may have taken effect, where one may. */
  readonly open: Failure | undefined
  readonly isRepeatable: boolean
  readonly choose: (server: Introduced) => Metadata | undefined
  mayHaveEffect(error: Failure): void
  renew(): void
  release(): void
}

/** A refusal says nothing about an earlier attempt that may still be under way. */
function finalError(last: Failure, open: Failure | undefined): Failure {
  if (open === undefined || last.code === 'outcome-unknown') return last
  return failure('outcome-unknown', `${open.message}; asked again: ${last.message}`, open.details)
}
