/**
 * From requests to replicas: finds the space's range, waits for linearizability, reads in slices. One range per space
 * today; the lookup by key comes with sharding.
 *
 * All reads of a turn share one slice of time, however many there are. What is not finished in it goes on in later turns:
 * first what has not been looked at yet, then the long ones in rotation, at least one look of those a turn.
 */
import type { Failure, Result } from '../base/index.ts'
import { err, failure, ok } from '../base/index.ts'
import type { Replica, WatchSink, WatchStream } from '../replica/index.ts'
import type { World } from '../world/index.ts'
import type { Answer, Read, Write } from './requests.ts'

/** Time that all reads of a turn take together before others get their turn, and records between two looks at the clock. */
const SLICE_MS = 5
const RECORDS_PER_LOOK = 250
/** And not more than these, where time stands still. */
const LOOKS_PER_SLICE = 40
/** Reads under way; more are refused. */
const MAX_READS = 65_536

export interface Router {
  write(write: Write, done: (result: Result<Answer>) => void): void
  read(read: Read, done: (result: Result<Answer>) => void): void
  watch(space: string, sink: WatchSink): Result<WatchStream>
  /** Reads under way are refused: the state will not be there any more. */
  close(): void
}

/** What is needed of a replica. */
export type Source = Pick<Replica, 'propose' | 'linearizable'> & {
  readonly store: Pick<Replica['store'], 'range'>
  readonly watches: Pick<Replica['watches'], 'open'>
}

/** A read that is under way. */
type Job = {
  readonly read: Read
  readonly source: Source
  readonly deadlineMs: number
  readonly done: (result: Result<Answer>) => void
  store: Source['store']
  cursor: ReturnType<Source['store']['range']>
}

export function createRouter(
  world: Pick<World, 'clock' | 'endOfTurn'>,
  requestTimeoutMs: number,
  find: (space: string) => Source | undefined,
): Router {
  const deadline = (asked: number): number => Math.min(asked, world.clock.monotonicMs() + requestTimeoutMs)

  let closed = false

  const unknown = (space: string): Failure =>
    failure('space-unknown', `there is no space ${JSON.stringify(space)}; this cluster has "default"`)

  /** Not looked at yet, and begun, each in its order. */
  let fresh: Job[] = []
  let begun: Job[] = []
  /** Of this turn: since when reads take its time, undefined before the first; and what is left of the looks. */
  let sinceMs: number | undefined
  let looksLeft = LOOKS_PER_SLICE

  /** Whether this turn has time for another look. Its end begins a new slice. */
  const hasTime = (): boolean => {
    if (sinceMs !== undefined) return looksLeft > 0 && world.clock.monotonicMs() - sinceMs < SLICE_MS
    sinceMs = world.clock.monotonicMs()
    looksLeft = LOOKS_PER_SLICE
    world.endOfTurn(goOn)
    return true
  }

  /** The answer, or undefined where there is more to read. */
  const look = (job: Job): Result<Answer> | undefined => {
    if (closed) return err(failure('stopping', 'this server is shutting down'))
    if (job.read.cancelled()) return err(failure('timed-out', 'the client has gone'))
    const { store } = job.source
    if (store !== job.store) {
      // A received snapshot has replaced the state: begin again on the new one.
      job.store = store
      job.cursor = store.range(job.read.request)
    }
    looksLeft--
    if (job.cursor.step(RECORDS_PER_LOOK)) return job.cursor.result()
    if (world.clock.monotonicMs() <= job.deadlineMs) return undefined
    return err(failure('timed-out', 'the range was not read before the deadline: ask for less, with a limit'))
  }

  /** One look; what is not finished then waits for its next one. */
  const advance = (job: Job): void => {
    const result = look(job)
    if (result === undefined) begun.push(job)
    else job.done(result)
  }

  const goOn = (): void => {
    sinceMs = undefined
    if (fresh.length + begun.length === 0) return
    const [longest] = begun.splice(0, 1)
    hasTime()
    if (longest !== undefined) advance(longest)
    let next = 0
    while (next < fresh.length && hasTime()) advance(fresh[next++] as Job)
    fresh = fresh.slice(next)
    next = 0
    while (next < begun.length && hasTime()) advance(begun[next++] as Job)
    begun = begun.slice(next)
  }

  const start = (read: Read, source: Source, deadlineMs: number, done: (result: Result<Answer>) => void): void => {
    if (fresh.length + begun.length >= MAX_READS)
      return done(err(failure('too-many-requests', `${MAX_READS} reads are under way at this server`)))
    const { store } = source
    const job: Job = { read, source, deadlineMs, done, store, cursor: store.range(read.request) }
    if (hasTime()) advance(job)
    else fresh.push(job)
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
      if (read.serializable) return start(read, replica, deadlineMs, done)
      replica.linearizable(deadlineMs, (confirmed) => {
        if (confirmed.ok) start(read, replica, deadlineMs, done)
        else done(confirmed)
      })
    },
    watch(space, sink) {
      const replica = find(space)
      return replica === undefined ? err(unknown(space)) : ok(replica.watches.open(sink))
    },
    close() {
      closed = true
    },
  }
}
