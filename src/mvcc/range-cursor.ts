/**
 * A range read at one revision, in slices: consistent however many turns it takes, because versions are never changed
 * and what compaction removes is not looked for. If the store is compacted past the revision meanwhile, a read of a
 * named revision fails, and a read of the latest begins again at the latest. Holds no engine cursor between slices, so
 * that it can simply be dropped.
 */
import type { Failure, Result, SpaceId } from '../base/index.ts'
import { err, invariant, ok } from '../base/index.ts'
import type { EngineReader } from '../engine/index.ts'
import type { RangeRequest } from '../wire/index.ts'
import type { Interval } from './keys.ts'
import { answerPoint, createCollector } from './range.ts'
import { revisionCompacted, revisionInFuture } from './revisions.ts'
import { liveVersion, versionInterval, visitLive } from './versions.ts'

/** How often a read of the latest revision begins again before it fails. */
const MAX_RESTARTS = 3

export interface RangeCursor {
  /** Looks at up to `maxRecords` records (at least 1); true once the result is there. */
  step(maxRecords: number): boolean
  /** After a true `step`: the response without its header, and the store's revision for it. */
  result(): Result<{ readonly body: Uint8Array; readonly revision: number }>
}

/** What a read needs to know of its store, as of now. */
export type RevisionView = { readonly revision: number; readonly compactedRevision: number }

export function openRange(
  reader: EngineReader,
  space: SpaceId,
  store: RevisionView,
  request: RangeRequest,
): RangeCursor {
  // Most reads are of one key: one lookup and nothing to collect.
  if (request.rangeEnd.length === 0) return new PointCursor(reader, space, store, request)
  let revision = store.revision
  let main = request.revision > 0 ? request.revision : revision
  let interval: Interval | undefined
  let collector = createCollector(request)
  let restarts = 0
  let problem: Failure | undefined
  if (main > revision) problem = revisionInFuture(main, revision)
  else interval = versionInterval(space, request.key, request.rangeEnd)

  const begin = (): void => {
    revision = main = store.revision
    collector = createCollector(request)
    interval = versionInterval(space, request.key, request.rangeEnd)
  }

  return {
    step(maxRecords) {
      if (problem !== undefined || interval === undefined) return true
      if (main < store.compactedRevision) {
        if (request.revision > 0 || restarts === MAX_RESTARTS) {
          problem = revisionCompacted(main, store.compactedRevision)
          return true
        }
        restarts++
        begin()
      }
      const rest = visitLive(reader, interval, main, Math.max(1, maxRecords), (stored) => collector.add(stored))
      interval = rest === undefined ? undefined : { start: rest, end: interval.end }
      return interval === undefined
    },
    result() {
      invariant(problem !== undefined || interval === undefined, 'range-finished')
      if (problem !== undefined) return err(problem)
      const body = collector.finish()
      return body.ok ? ok({ body: body.value, revision }) : body
    },
  }
}

class PointCursor implements RangeCursor {
  readonly #reader: EngineReader
  readonly #space: SpaceId
  readonly #store: RevisionView
  readonly #request: RangeRequest

  constructor(reader: EngineReader, space: SpaceId, store: RevisionView, request: RangeRequest) {
    this.#reader = reader
    this.#space = space
    this.#store = store
    this.#request = request
  }

  step(): boolean {
    return true
  }

  result(): Result<{ readonly body: Uint8Array; readonly revision: number }> {
    const { revision, compactedRevision } = this.#store
    const asked = this.#request.revision
    if (asked > revision) return err(revisionInFuture(asked, revision))
    const main = asked > 0 ? asked : revision
    if (main < compactedRevision) return err(revisionCompacted(main, compactedRevision))
    const stored = liveVersion(this.#reader, this.#space, this.#request.key, main)
    return ok({ body: answerPoint(this.#request, stored), revision })
  }
}
