/**
 * From the pairs of a range to its response. What is counted, filtered, sorted and cut follows etcd to the letter:
 *   - `count` is the number of keys in the range before filters and limit;
 *   - with a sort order or a filter everything is fetched, then pruned, then sorted, then cut to the limit;
 *   - without both only limit+1 pairs are fetched, so that a sort target without order sorts only those, ascending.
 * Where etcd leaves the order of equal entries to its sort, they are in key order here.
 * Bounds: MAX_RESPONSE_BYTES of pairs, MAX_SORTED_PAIRS while sorting; beyond, the range fails. With a limit the sort
 * holds little more than the limit, however many pairs there are.
 * Source: etcd 3.4 `applierV3backend.Range` in `etcdserver/apply.go`.
 */
import type { Failure, Result } from '../base/index.ts'
import { compareBytes, err, failure, ok } from '../base/index.ts'
import type { KeyValueLayout, RangeRequest } from '../wire/index.ts'
import { RangeBody, SORT_ORDER, SORT_TARGET } from '../wire/index.ts'
import { MAX_RESPONSE_BYTES, MAX_SORTED_PAIRS } from './limits.ts'
import type { Sorter } from './sort.ts'
import { createSorter } from './sort.ts'
import { STORED_LEAD, storedKey, storedLayout, storedValue } from './stored.ts'

/** A pair as it is stored, and what it is sorted by. */
type Entry = { readonly stored: Uint8Array; readonly by: number | Uint8Array }

export interface RangeCollector {
  /** Takes the next pair in key order; false where the range has failed. */
  add(stored: Uint8Array): boolean
  /** The response without its header. Failures: request-too-large. */
  finish(): Result<Uint8Array>
}

/** What becomes of the pairs of a range; reading them is somebody else's. */
export function createCollector(request: RangeRequest): RangeCollector {
  const { limit, sortOrder, sortTarget, countOnly, keysOnly } = request
  const filtered = isFiltered(request)
  const wanted = limit > 0 ? limit : Number.POSITIVE_INFINITY
  const fetchLimit = sortOrder === SORT_ORDER.none && !filtered ? wanted + 1 : Number.POSITIVE_INFINITY
  const order = orderOf(sortOrder, sortTarget)
  let count = 0
  let matched = 0
  let sortedBytes = 0
  let problem: Failure | undefined
  const body = new RangeBody()
  const dropped = (entry: Entry): void => {
    sortedBytes -= entry.stored.length
  }
  const sorter: Sorter<Entry> | undefined = order && createSorter(order, wanted, dropped)

  const sort = (stored: Uint8Array): void => {
    const by = sortedBy(sortTarget, stored)
    // A value that is neither sorted by nor answered is not held.
    const held = keysOnly && sortTarget !== SORT_TARGET.value ? withoutValue(stored) : stored
    sorter?.add({ stored: held, by })
    sortedBytes += held.length
    if (sortedBytes > MAX_RESPONSE_BYTES) sorter?.cutNow()
    if (sortedBytes > MAX_RESPONSE_BYTES)
      problem = tooLarge(`more than ${MAX_RESPONSE_BYTES} bytes`, MAX_RESPONSE_BYTES)
    if (sorter !== undefined && sorter.size > MAX_SORTED_PAIRS) {
      problem = tooLarge(`more than ${MAX_SORTED_PAIRS} pairs to sort`, MAX_SORTED_PAIRS)
    }
  }

  const answer = (stored: Uint8Array): void => {
    addPair(body, stored, keysOnly)
    if (body.sizeBytes > MAX_RESPONSE_BYTES) {
      problem = tooLarge(`more than ${MAX_RESPONSE_BYTES} bytes`, MAX_RESPONSE_BYTES)
    }
  }

  return {
    add(stored) {
      count++
      if (countOnly || count > fetchLimit) return true
      if (filtered && !passes(request, storedLayout(stored))) return true
      matched++
      if (sorter !== undefined) sort(stored)
      else if (matched <= wanted) answer(stored)
      return problem === undefined
    },
    finish() {
      if (problem === undefined && sorter !== undefined) for (const { stored } of sorter.finish()) answer(stored)
      return problem === undefined ? ok(body.finish(matched > wanted, count)) : err(problem)
    },
  }
}

/** The response's body for a range of one key. */
export function answerPoint(request: RangeRequest, stored: Uint8Array | undefined): Uint8Array {
  const body = new RangeBody()
  if (stored === undefined) return body.finish(false, 0)
  const shown = !request.countOnly && (!isFiltered(request) || passes(request, storedLayout(stored)))
  if (shown) addPair(body, stored, request.keysOnly)
  return body.finish(false, 1)
}

function addPair(body: RangeBody, stored: Uint8Array, keysOnly: boolean): void {
  if (!keysOnly) return body.add(stored, STORED_LEAD, stored.length)
  const { valueFieldFrom, valueEnd } = storedLayout(stored)
  body.add(stored, STORED_LEAD, stored.length, valueFieldFrom, valueEnd)
}

function isFiltered(request: RangeRequest): boolean {
  return (
    request.minModRevision !== 0 ||
    request.maxModRevision !== 0 ||
    request.minCreateRevision !== 0 ||
    request.maxCreateRevision !== 0
  )
}

function passes(request: RangeRequest, kv: KeyValueLayout): boolean {
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

function sortedBy(sortTarget: number, stored: Uint8Array): number | Uint8Array {
  switch (sortTarget) {
    case SORT_TARGET.version:
      return storedLayout(stored).version
    case SORT_TARGET.create:
      return storedLayout(stored).createRevision
    case SORT_TARGET.mod:
      return storedLayout(stored).modRevision
    case SORT_TARGET.value:
      return storedValue(stored)
    default:
      return storedKey(stored)
  }
}

function withoutValue(stored: Uint8Array): Uint8Array {
  const { valueFieldFrom, valueEnd } = storedLayout(stored)
  const short = new Uint8Array(stored.length - (valueEnd - valueFieldFrom))
  short.set(stored.subarray(0, valueFieldFrom))
  short.set(stored.subarray(valueEnd), valueFieldFrom)
  return short
}

function tooLarge(what: string, limit: number): Failure {
  return failure('request-too-large', `the range has ${what}: ask for less, with a limit or in parts`, { limit })
}
