/**
 * From the pairs of a range to its response. What is counted, filtered, sorted and cut follows etcd to the letter:
 *   - `count` is the number of keys in the range before filters and limit;
 *   - with a sort order or a filter everything is fetched, then pruned, then sorted, then cut to the limit;
 *   - without both only limit+1 pairs are fetched, so that a sort target without order sorts only those, ascending.
 * Where etcd leaves the order of equal entries to its sort, they are in key order here.
 * Source: etcd 3.4 `applierV3backend.Range` in `etcdserver/apply.go`.
 */
import type { Failure, Result } from '../base/index.ts'
import { compareBytes, EMPTY, err, failure, ok } from '../base/index.ts'
import type { KeyValue, RangeRequest } from '../wire/index.ts'
import { encodeKeyValue, encodeRangeBody, rangeEntrySize, SORT_ORDER, SORT_TARGET } from '../wire/index.ts'
import { MAX_RESPONSE_BYTES, MAX_SORTED_PAIRS } from './limits.ts'
import type { Sorter } from './sort.ts'
import { createSorter } from './sort.ts'
import { storedKeyValue } from './versions.ts'

/** A pair as it is stored, and what it is sorted by. */
type Entry = { readonly kv: Uint8Array; readonly by: number | Uint8Array }

export interface RangeCollector {
  /** Takes the next pair in key order; false where the range has failed. */
  add(kv: Uint8Array): boolean
  readonly problem: Failure | undefined
  /** The response without its header. */
  finish(): Result<Uint8Array>
}

/** What becomes of the pairs of a range; reading them is somebody else's. */
export function createCollector(request: RangeRequest): RangeCollector {
  const { limit, sortOrder, sortTarget, countOnly } = request
  const filtered =
    request.minModRevision !== 0 ||
    request.maxModRevision !== 0 ||
    request.minCreateRevision !== 0 ||
    request.maxCreateRevision !== 0
  const wanted = limit > 0 ? limit : Number.POSITIVE_INFINITY
  const fetchLimit = sortOrder === SORT_ORDER.none && !filtered ? wanted + 1 : Number.POSITIVE_INFINITY
  const order = orderOf(sortOrder, sortTarget)
  // Values that are only sorted by are dropped at the end, others at once.
  const stripEarly = request.keysOnly && sortTarget !== SORT_TARGET.value
  let count = 0
  let matched = 0
  let sizeBytes = 0
  let problem: Failure | undefined
  const kept: Uint8Array[] = []
  const dropped = (entry: Entry): void => {
    sizeBytes -= rangeEntrySize(entry.kv)
  }
  const sorter: Sorter<Entry> | undefined = order && createSorter(order, wanted, dropped)

  const keep = (stored: Uint8Array, decoded: KeyValue | undefined): void => {
    const kv = stripEarly ? withoutValue(decoded ?? storedKeyValue(stored)) : stored
    sizeBytes += rangeEntrySize(kv)
    if (sorter === undefined) {
      kept.push(kv)
    } else {
      sorter.add({ kv, by: sortedBy(sortTarget, decoded ?? storedKeyValue(stored)) })
      if (sorter.size > MAX_SORTED_PAIRS) {
        problem = tooLarge(`more than ${MAX_SORTED_PAIRS} pairs to sort`, MAX_SORTED_PAIRS)
      }
    }
    if (sizeBytes > MAX_RESPONSE_BYTES) sorter?.cutNow()
    if (sizeBytes > MAX_RESPONSE_BYTES) problem = tooLarge(`more than ${MAX_RESPONSE_BYTES} bytes`, MAX_RESPONSE_BYTES)
  }

  return {
    get problem() {
      return problem
    },
    add(kv) {
      count++
      if (countOnly || count > fetchLimit) return true
      const decoded = filtered ? storedKeyValue(kv) : undefined
      if (decoded !== undefined && !passes(request, decoded)) return true
      matched++
      if (sorter !== undefined || matched <= wanted) keep(kv, decoded)
      return problem === undefined
    },
    finish() {
      if (problem !== undefined) return err(problem)
      let kvs: readonly Uint8Array[] = kept
      if (sorter !== undefined) kvs = sorter.finish().map((entry) => entry.kv)
      if (request.keysOnly && !stripEarly) kvs = kvs.map((kv) => withoutValue(storedKeyValue(kv)))
      return ok(encodeRangeBody(kvs, matched > wanted, count))
    },
  }
}

function passes(request: RangeRequest, kv: KeyValue): boolean {
  const { minModRevision, maxModRevision, minCreateRevision, maxCreateRevision } = request
  if (maxModRevision !== 0 && kv.modRevision > maxModRevision) return false
  if (minModRevision !== 0 && kv.modRevision < minModRevision) return false
  if (maxCreateRevision !== 0 && kv.createRevision > maxCreateRevision) return false
  return minCreateRevision === 0 || kv.createRevision >= minCreateRevision
}

/** How entries are sorted, or undefined where they come in the right order. */
function orderOf(sortOrder: number, sortTarget: number): ((a: Entry, b: Entry) => number) | undefined {
  const byKey = sortTarget === SORT_TARGET.key
  if (sortOrder === SORT_ORDER.none ? byKey : sortOrder === SORT_ORDER.ascend && byKey) return undefined
  switch (sortOrder) {
    case SORT_ORDER.none:
    case SORT_ORDER.ascend:
      return compareEntries
    case SORT_ORDER.descend:
      return (a, b) => compareEntries(b, a)
    default:
      // An order that etcd does not know fetches everything and sorts nothing.
      return undefined
  }
}

function compareEntries(a: Entry, b: Entry): number {
  if (typeof a.by === 'number') return a.by - (b.by as number)
  return compareBytes(a.by, b.by as Uint8Array)
}

function sortedBy(sortTarget: number, kv: KeyValue): number | Uint8Array {
  switch (sortTarget) {
    case SORT_TARGET.version:
      return kv.version
    case SORT_TARGET.create:
      return kv.createRevision
    case SORT_TARGET.mod:
      return kv.modRevision
    case SORT_TARGET.value:
      return kv.value
    default:
      return kv.key
  }
}

function withoutValue(kv: KeyValue): Uint8Array {
  return encodeKeyValue({ ...kv, value: EMPTY })
}

function tooLarge(what: string, limit: number): Failure {
  return failure('request-too-large', `the range has ${what}: ask for less, with a limit or in parts`, { limit })
}
