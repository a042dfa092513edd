/**
 * From requests to replicas: finds the space's range, waits for linearizability, reads in slices. One range per space
 * today; the lookup by key comes with sharding.
 */
import type { Failure, Result } from '../base/index.ts'
import { err, failure } from '../base/index.ts'
import type { Replica } from '../replica/index.ts'
import type { World } from '../world/index.ts'
import type { Answer, Read, Write } from './requests.ts'

/** Time that a read takes before others get their turn, and records between two looks at the clock. */
const SLICE_MS = 5
const RECORDS_PER_LOOK = 250
/** And not more than these, where time stands still. */
const LOOKS_PER_SLICE = 40

export interface Router {
  write(write: Write, done: (result: Result<Answer>) => void): void
  read(read: Read, done: (result: Result<Answer>) => void): void
  /** Reads under way are refused: the state will not be there any more. */
  close(): void
}

export function createRouter(
  world: World,
  requestTimeoutMs: number,
  find: (space: string) => Replica | undefined,
): Router {
  const deadline = (asked: number): number => Math.min(asked, world.clock.monotonicMs() + requestTimeoutMs)

  let closed = false

  const unknown = (space: string): Failure =>
    failure('space-unknown', `there is no space ${JSON.stringify(space)}; this cluster has "default"`)

  const readSlices = (
    read: Read,
    replica: Replica,
    deadlineMs: number,
    done: (result: Result<Answer>) => void,
  ): void => {
    const { store } = replica
    const cursor = store.range(read.request)
    const slice = (): void => {
      if (closed) return done(err(failure('stopping', 'this server is shutting down')))
      if (read.cancelled()) return done(err(failure('timed-out', 'the client has gone')))
      // A received snapshot has replaced the state: begin again on the new one.
      if (replica.store !== store) return readSlices(read, replica, deadlineMs, done)
      const startMs = world.clock.monotonicMs()
      for (let looks = 0; looks < LOOKS_PER_SLICE; looks++) {
        if (cursor.step(RECORDS_PER_LOOK)) return done(cursor.result())
        if (world.clock.monotonicMs() - startMs >= SLICE_MS) break
      }
      if (world.clock.monotonicMs() > deadlineMs)
        return done(err(failure('timed-out', 'the range was not read before the deadline: ask for less, with a limit')))
      world.endOfTurn(slice)
    }
    slice()
  }

  return {
    write(write, done) {
      const replica = find(write.space)
      if (replica === undefined) return done(err(unknown(write.space)))
      replica.propose(
        { kind: write.kind, bytes: write.bytes, session: write.session, deadlineMs: deadline(write.deadlineMs) },
        done,
      )
    },
    read(read, done) {
      const replica = find(read.space)
      if (replica === undefined) return done(err(unknown(read.space)))
      const deadlineMs = deadline(read.deadlineMs)
      if (read.serializable) return readSlices(read, replica, deadlineMs, done)
      replica.linearizable(deadlineMs, (confirmed) => {
        if (confirmed.ok) readSlices(read, replica, deadlineMs, done)
        else done(confirmed)
      })
    },
    close() {
      closed = true
    },
  }
}
