/**
 * Compaction in two steps: at once the compacted revision is recorded, so that older revisions cannot be read any more;
 * later what only they could show is removed, in slices. Of the versions below the compacted revision each key keeps its
 * newest, unless that is a deletion. The changes at the compacted revision itself are kept until the next compaction,
 * deletions too: who follows changes from there on must see them.
 *
 * A pass walks the revision index from where the last one ended, not from the beginning: what an earlier pass kept is
 * only superseded by a change that this pass meets. So a compaction costs what has changed, not what is stored.
 *
 * The record: compacted (what may not be read below), finished (to where versions were removed), target (to where the
 * pass under way removes), main and sub (how far it is). A pass that was interrupted goes on from there.
 * Source: etcd 3.4 `mvcc/kvstore_compaction.go`, `mvcc/key_index.go`.
 */
import type { SpaceId } from '../base/index.ts'
import { invariant } from '../base/index.ts'
import type { EngineReader, EngineWriter } from '../engine/index.ts'
import { metaKey, newestKey, revisionKey, revisionMain, revisionSub, supersededKey } from './keys.ts'
import { isTombstone, storedMain, storedSub } from './stored.ts'
import { supersededAt, visitSuperseded } from './versions.ts'

export type CompactionState = {
  readonly compacted: number
  readonly finished: number
  readonly target: number
  /** The next revision to look at. */
  readonly main: number
  readonly sub: number
}

/** etcd's: before the first compaction even revision 0 may be compacted. */
export const NEVER_COMPACTED = -1

const FORMAT = 2
const NUMBERS = 5

export function readCompaction(reader: EngineReader, space: SpaceId): CompactionState {
  const bytes = reader.get(metaKey(space))
  if (bytes === undefined) {
    return { compacted: NEVER_COMPACTED, finished: NEVER_COMPACTED, target: NEVER_COMPACTED, main: 0, sub: 0 }
  }
  invariant(bytes.length === 1 + NUMBERS * 8 && bytes[0] === FORMAT, 'compaction-record', `${bytes.length} bytes`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const number = (index: number): number => Number(view.getBigInt64(1 + index * 8))
  return { compacted: number(0), finished: number(1), target: number(2), main: number(3), sub: number(4) }
}

export function writeCompaction(writer: EngineWriter, space: SpaceId, state: CompactionState): void {
  const bytes = new Uint8Array(1 + NUMBERS * 8)
  bytes[0] = FORMAT
  const view = new DataView(bytes.buffer)
  const numbers = [state.compacted, state.finished, state.target, state.main, state.sub]
  for (const [index, value] of numbers.entries()) view.setBigInt64(1 + index * 8, BigInt(value))
  writer.put(metaKey(space), bytes)
}

/** Looks at up to `maxVersions` changes and removes the versions that they hide; returns the new state, written. */
export function scrubVersions(
  reader: EngineReader,
  writer: EngineWriter,
  space: SpaceId,
  state: CompactionState,
  maxVersions: number,
): CompactionState {
  if (state.finished >= state.compacted) return state
  const underWay = state.target > state.finished
  const target = underWay ? state.target : state.compacted
  const from = underWay ? state : { main: Math.max(0, state.finished), sub: 0 }
  const batch = readBatch(reader, space, from, target, maxVersions)
  for (const change of batch) scrubChange(reader, writer, space, change, target)
  const last = batch.at(-1)
  const next: CompactionState =
    last === undefined || batch.length < maxVersions
      ? { ...state, finished: target, target, main: 0, sub: 0 }
      : { ...state, target, main: last.main, sub: last.sub + 1 }
  writeCompaction(writer, space, next)
  return next
}

type Written = { readonly main: number; readonly sub: number; readonly key: Uint8Array }

function readBatch(
  reader: EngineReader,
  space: SpaceId,
  from: { readonly main: number; readonly sub: number },
  through: number,
  max: number,
): Written[] {
  const batch: Written[] = []
  const cursor = reader.scan(revisionKey(space, from.main, from.sub), revisionKey(space, through + 1, 0))
  while (batch.length < max && cursor.next()) {
    batch.push({ main: revisionMain(cursor.key), sub: revisionSub(cursor.key), key: cursor.value.subarray(1) })
  }
  cursor.close()
  return batch
}

function scrubChange(
  reader: EngineReader,
  writer: EngineWriter,
  space: SpaceId,
  { main, sub, key }: Written,
  target: number,
): void {
  const record = newestKey(space, key)
  const newest = reader.get(record)
  invariant(newest !== undefined, 'change-has-key', () => `${main}.${sub}`)
  const remove = (version: Uint8Array, ofMain: number, ofSub: number): void => {
    writer.remove(version)
    writer.remove(revisionKey(space, ofMain, ofSub))
  }
  const isNewest = storedMain(newest) <= target
  const shown = isNewest ? newest : supersededAt(reader, record, target)
  invariant(shown !== undefined, 'change-has-version', () => `${main}.${sub}`)
  if (storedMain(shown) === main && storedSub(shown) === sub) {
    // What is older of this key and still there is what an earlier pass kept: a version or two.
    const hidden: (readonly [record: Uint8Array, main: number, sub: number])[] = []
    visitSuperseded(reader, record, main - 1, (of, stored) => {
      hidden.push([of, storedMain(stored), storedSub(stored)])
    })
    for (const [of, ...revision] of hidden) remove(of, ...revision)
    if (main !== target && isTombstone(shown)) remove(isNewest ? record : supersededKey(record, main, sub), main, sub)
  } else if (main !== target) {
    remove(supersededKey(record, main, sub), main, sub)
  }
}
