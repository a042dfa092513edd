/**
 * A space's versioned store over an engine. Its state is the engine's: what is kept beside it, the current and the
 * compacted revision, is read back when it is opened.
 */
import type { Result, SpaceId } from '../base/index.ts'
import { EMPTY, err, ok } from '../base/index.ts'
import type { EngineReader, EngineWriter } from '../engine/index.ts'
import type { CompactionRequest, DeleteRangeRequest, PutRequest, RangeRequest, TxnRequest } from '../wire/index.ts'
import { readCompaction, scrubVersions, writeCompaction } from './compaction.ts'
import { revisionKey, revisionMain, revisionSub } from './keys.ts'
import type { RangeCursor } from './range-cursor.ts'
import { openRange } from './range-cursor.ts'
import { revisionCompacted, revisionInFuture } from './revisions.ts'
import type { Leases } from './transaction.ts'
import { checkLease, runTransaction } from './transaction.ts'
import { encodedKeyValue, isTombstone } from './stored.ts'
import { liveVersion, versionAt } from './versions.ts'
import { Write } from './write.ts'

/** A validated request that changes the store. */
export type MvccOperation =
  | { readonly type: 'put'; readonly request: PutRequest }
  | { readonly type: 'deleteRange'; readonly request: DeleteRangeRequest }
  | { readonly type: 'txn'; readonly request: TxnRequest }
  | { readonly type: 'compact'; readonly request: CompactionRequest }

/** An encoded response without its header, and the store's revision after it. */
export type Answered = { readonly body: Uint8Array; readonly revision: number }

/** One change of one key. `kv` is the encoded KeyValue, undefined for a deletion. */
export type Change = {
  readonly main: number
  readonly sub: number
  readonly key: Uint8Array
  readonly kv: Uint8Array | undefined
}

/** One change as it was written, for watchers: what is stored now, and what was before. */
export type WrittenChange = {
  readonly main: number
  readonly key: Uint8Array
  readonly stored: Uint8Array
  readonly before: Uint8Array | undefined
}

export interface MvccStore {
  /** Of the newest change; 1 in a new store. */
  readonly revision: number
  /** Revisions below it cannot be read. -1 before the first compaction. */
  readonly compactedRevision: number
  /**
   * Applies a request: the same requests in the same order give the same answers and the same state everywhere. Takes
   * one revision if it changes a key. Must be called inside the engine's `applyBatch` with its writer. A failure leaves
   * no trace. Failures: invalid-request (ErrKeyNotFound, or a key that is too long), lease-not-found, compacted,
   * future-revision, request-too-large.
   */
  apply(operation: MvccOperation, writer: EngineWriter): Result<Answered>
  /** Reads a range in slices. Failures of its result: compacted, future-revision, request-too-large. */
  range(request: RangeRequest): RangeCursor
  /** Whether compaction left versions to be removed. */
  readonly scrubPending: boolean
  /** Looks at up to `maxVersions` of them, inside `applyBatch`; true once there are no more. Not part of the log. */
  scrub(maxVersions: number, writer: EngineWriter): boolean
  /**
   * Visits the changes from revision `from` to `through`, oldest first, until `visit` returns false. Those that were
   * compacted away are left out: ask for nothing at or below `compactedRevision`.
   */
  visitChanges(from: number, through: number, visit: (change: Change) => boolean): void
  /** The encoded KeyValue of a key as it was at a revision that can be read. */
  valueAt(key: Uint8Array, revision: number): Uint8Array | undefined
}

export type StoreOptions = {
  /** Leases that puts may name; none where left out. */
  readonly leases?: Leases
  /** Told of the changes of each write that takes a revision, in order, from inside `apply`. */
  readonly onWritten?: (changes: readonly WrittenChange[]) => void
}

const NO_LEASES: Leases = { has: () => false }

/** Opens a space's store; a space without records is a new one, at revision 1. */
export function openStore(engine: EngineReader, space: SpaceId, options: StoreOptions = {}): MvccStore {
  const leases = options.leases ?? NO_LEASES
  let compaction = readCompaction(engine, space)
  // Compaction may have removed the newest revision itself, a deletion: the revision never goes below it.
  let revision = Math.max(1, newestRevision(engine, space), compaction.compacted)

  const change = (writer: EngineWriter, make: (write: Write) => Result<Uint8Array>): Result<Answered> => {
    const write = new Write(engine, writer, space, revision)
    const body = make(write)
    if (!body.ok) {
      write.undo()
      return body
    }
    const isChange = write.revision !== revision
    revision = write.revision
    if (isChange) options.onWritten?.(write.changes())
    return ok({ body: body.value, revision })
  }

  const compact = (asked: number, writer: EngineWriter): Result<Answered> => {
    if (asked <= compaction.compacted) return err(revisionCompacted(asked, compaction.compacted))
    if (asked > revision) return err(revisionInFuture(asked, revision))
    compaction = { ...compaction, compacted: asked }
    writeCompaction(writer, space, compaction)
    return ok({ body: EMPTY, revision })
  }

  const store: MvccStore = {
    get revision() {
      return revision
    },
    get compactedRevision() {
      return compaction.compacted
    },
    get scrubPending() {
      return compaction.finished < compaction.compacted
    },
    apply(operation, writer) {
      switch (operation.type) {
        case 'put': {
          const problem = checkLease(operation.request, leases)
          return problem === undefined ? change(writer, (write) => write.put(operation.request)) : err(problem)
        }
        case 'deleteRange':
          return change(writer, (write) => write.deleteRange(operation.request))
        case 'txn':
          return change(writer, (write) => runTransaction(write, operation.request, store, leases))
        case 'compact':
          return compact(operation.request.revision, writer)
        default:
          return operation satisfies never
      }
    },
    range: (request) => openRange(engine, space, store, request),
    scrub(maxVersions, writer) {
      compaction = scrubVersions(engine, writer, space, compaction, maxVersions)
      return compaction.finished >= compaction.compacted
    },
    visitChanges(from, through, visit) {
      const cursor = engine.scan(revisionKey(space, from, 0), revisionKey(space, through + 1, 0))
      while (cursor.next()) {
        const main = revisionMain(cursor.key)
        const sub = revisionSub(cursor.key)
        const key = cursor.value.subarray(1)
        const stored = versionAt(engine, space, key, main, sub)
        if (stored === undefined) continue
        if (!visit({ main, sub, key, kv: isTombstone(stored) ? undefined : encodedKeyValue(stored) })) break
      }
      cursor.close()
    },
    valueAt(key, at) {
      const stored = liveVersion(engine, space, key, at)
      return stored === undefined ? undefined : encodedKeyValue(stored)
    },
  }
  return store
}

function newestRevision(engine: EngineReader, space: SpaceId): number {
  const cursor = engine.scan(revisionKey(space, 0, 0), revisionKey(space, Number.MAX_SAFE_INTEGER, 0), {
    reverse: true,
  })
  const newest = cursor.next() ? revisionMain(cursor.key) : 0
  cursor.close()
  return newest
}
