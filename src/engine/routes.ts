/**
 * Which slot of the store holds which keys. A restore fills a slot of its own and then takes over its interval by a
 * change of this small record: that is what makes it atomic, however large it is. What an interval held before becomes
 * garbage in its old slot, where nothing looks for it, until it is removed.
 *
 * Record: format u8, count u32 of routes, then per route slot u16, start length u16, start; count u32 of garbage, then per
 * item slot u16, start length u16, start, end length u16, end. Big-endian.
 */
import { compareBytes, EMPTY, invariant } from '../base/index.ts'

/** Keys [start, end) are in `slot`. */
export type RoutePart = { readonly slot: number; readonly start: Uint8Array; readonly end: Uint8Array }

/** Each route ends where the next one starts; the first starts at the empty key. */
type Route = { readonly slot: number; readonly start: Uint8Array }

export type Routes = { readonly routes: readonly Route[]; readonly garbage: readonly RoutePart[] }

const FORMAT = 1
/** Above every key. */
export const TOP: Uint8Array = new Uint8Array(2048).fill(255)

export function wholeRoute(slot: number): Routes {
  return { routes: [{ slot, start: EMPTY }], garbage: [] }
}

function endOf({ routes }: Routes, at: number): Uint8Array {
  return routes[at + 1]?.start ?? TOP
}

export function slotOf({ routes }: Routes, key: Uint8Array): number {
  let at = routes.length - 1
  while (at > 0 && compareBytes((routes[at] as Route).start, key) > 0) at--
  return (routes[at] as Route).slot
}

/** The parts of [start, end), in key order; at least one. */
export function partsOf(all: Routes, start: Uint8Array, end: Uint8Array): RoutePart[] {
  const { routes } = all
  if (routes.length === 1) return [{ slot: (routes[0] as Route).slot, start, end }]
  const parts: RoutePart[] = []
  for (let at = 0; at < routes.length; at++) {
    const { slot, start: routeStart } = routes[at] as Route
    const routeEnd = endOf(all, at)
    const from = compareBytes(routeStart, start) > 0 ? routeStart : start
    const to = compareBytes(routeEnd, end) < 0 ? routeEnd : end
    if (compareBytes(from, to) < 0) parts.push({ slot, start: from, end: to })
  }
  if (parts.length === 0) parts.push({ slot: slotOf(all, start), start, end: start })
  return parts
}

/** Routes [start, end) to `slot`; what was there becomes garbage. */
export function reroute(all: Routes, start: Uint8Array, end: Uint8Array, slot: number): Routes {
  const routes: Route[] = []
  const add = (next: Route): void => {
    if (routes.at(-1)?.slot !== next.slot) routes.push(next)
  }
  for (const part of partsOf(all, EMPTY, start)) if (compareBytes(part.start, part.end) < 0) add(part)
  add({ slot, start })
  if (compareBytes(end, TOP) < 0) for (const part of partsOf(all, end, TOP)) add(part)
  return {
    routes: routes.map((route) => ({ slot: route.slot, start: route.start })),
    garbage: [...all.garbage, ...partsOf(all, start, end)],
  }
}

export function encodeRoutes({ routes, garbage }: Routes): Uint8Array {
  let sizeBytes = 9
  for (const { start } of routes) sizeBytes += 4 + start.length
  for (const { start, end } of garbage) sizeBytes += 6 + start.length + end.length
  const bytes = new Uint8Array(sizeBytes)
  const view = new DataView(bytes.buffer)
  let at = 5
  const u16 = (value: number): void => {
    view.setUint16(at, value)
    at += 2
  }
  const key = (value: Uint8Array): void => {
    u16(value.length)
    bytes.set(value, at)
    at += value.length
  }
  bytes[0] = FORMAT
  view.setUint32(1, routes.length)
  for (const { slot, start } of routes) {
    u16(slot)
    key(start)
  }
  view.setUint32(at, garbage.length)
  at += 4
  for (const { slot, start, end } of garbage) {
    u16(slot)
    key(start)
    key(end)
  }
  return bytes
}

/** Undefined where the bytes are no such record. */
export function decodeRoutes(bytes: Uint8Array): Routes | undefined {
  try {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    let at = 5
    const u16 = (): number => {
      at += 2
      return view.getUint16(at - 2)
    }
    const key = (): Uint8Array => {
      const length = u16()
      at += length
      invariant(at <= bytes.length, 'routes-record')
      return bytes.slice(at - length, at)
    }
    invariant(bytes[0] === FORMAT, 'routes-record')
    const routes: Route[] = []
    for (let count = view.getUint32(1); count > 0; count--) routes.push({ slot: u16(), start: key() })
    const garbage: RoutePart[] = []
    at += 4
    for (let count = view.getUint32(at - 4); count > 0; count--) garbage.push({ slot: u16(), start: key(), end: key() })
    return routes.length > 0 && at === bytes.length ? { routes, garbage } : undefined
  } catch {
    return undefined
  }
}
