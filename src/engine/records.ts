/** The engine's own records in the store: its format, each group's applied index (f64, big-endian), and the routes. */
import type { GroupId, LogIndex, Result } from '../base/index.ts'
import { err, failure, groupId, logIndex, ok } from '../base/index.ts'
import { decodeRoutes, encodeRoutes, type Routes, wholeRoute } from './routes.ts'
import { FIRST_DATA_SLOT, META_SLOT, type Store, type StoreTransaction } from './store.ts'

const FORMAT = 1
/** Keys: one byte of kind; an index's is followed by its group. */
const FORMAT_KEY: Uint8Array = Uint8Array.of(1)
const ROUTES_KEY: Uint8Array = Uint8Array.of(2)
const INDEX_KIND = 3
const INDEX_KEY_BYTES = 5
const INDEX_BYTES = 8
const MOST_GROUPS = 1_000_000

export type Records = { readonly applied: Map<GroupId, LogIndex>; readonly routes: Routes }

/** Failures: engine-damaged, data-newer. */
export function readRecords(store: Store, path: string): Result<Records> {
  const damaged = (what: string): Result<Records> => err(failure('engine-damaged', `${path}: ${what}`, { file: path }))
  const format = store.get(META_SLOT, FORMAT_KEY)
  if (format !== undefined && (format[0] ?? 0) > FORMAT)
    return err(failure('data-newer', `${path} has format ${format[0]}; this version knows up to ${FORMAT}`))
  const record = store.get(META_SLOT, ROUTES_KEY)
  const routes = record === undefined ? wholeRoute(FIRST_DATA_SLOT) : decodeRoutes(record)
  if (routes === undefined) return damaged('its record of routes cannot be read')
  const beyond = [...routes.routes, ...routes.garbage].some(({ slot }) => slot < FIRST_DATA_SLOT || slot >= store.slots)
  if (beyond) return damaged('its record of routes names a slot that does not exist')
  const applied = new Map<GroupId, LogIndex>()
  const options = { reverse: false, exclusive: false, limit: MOST_GROUPS }
  for (const { key, value } of store.read(META_SLOT, Uint8Array.of(INDEX_KIND), options)) {
    if (key[0] !== INDEX_KIND) break
    const index = value.length === INDEX_BYTES ? viewOf(value).getFloat64(0) : -1
    if (key.length !== INDEX_KEY_BYTES || !Number.isSafeInteger(index) || index < 0)
      return damaged("a group's index cannot be read")
    applied.set(groupId(viewOf(key).getUint32(1)), logIndex(index))
  }
  return ok({ applied, routes })
}

export function putIndex(transaction: StoreTransaction, group: GroupId, index: LogIndex): void {
  const key = new Uint8Array(INDEX_KEY_BYTES)
  key[0] = INDEX_KIND
  viewOf(key).setUint32(1, group)
  const value = new Uint8Array(INDEX_BYTES)
  viewOf(value).setFloat64(0, index)
  transaction.put(META_SLOT, key, value)
}

/** With the first routes goes the format: a store without either has been only appended to in format 1. */
export function putRoutes(transaction: StoreTransaction, routes: Routes): void {
  transaction.put(META_SLOT, FORMAT_KEY, Uint8Array.of(FORMAT))
  transaction.put(META_SLOT, ROUTES_KEY, encodeRoutes(routes))
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
