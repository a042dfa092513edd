/**
 * Watchers by what they watch, so that a change finds its watchers without asking all of them: single keys and prefixes
 * by lookup, other ranges one by one, equal ones as one.
 */
import { compareBytes } from '../base/index.ts'

/** `[key, rangeEnd)` in etcd's terms: an empty end means one key, a single zero byte no bound. */
export type WatchedRange = { readonly key: Uint8Array; readonly rangeEnd: Uint8Array }

type Ranged<W> = WatchedRange & { readonly watchers: Set<W> }

export class WatchGroup<W extends { readonly range: WatchedRange }> {
  readonly #keys = new Map<string, Set<W>>()
  readonly #prefixes = new Map<string, Set<W>>()
  /** How many prefixes there are of each length. */
  readonly #lengths = new Map<number, number>()
  readonly #ranges = new Map<string, Ranged<W>>()
  readonly #all = new Set<W>()

  get size(): number {
    return this.#all.size
  }

  all(): Iterable<W> {
    return this.#all
  }

  add(watcher: W): void {
    const { key, rangeEnd } = watcher.range
    this.#all.add(watcher)
    if (rangeEnd.length === 0) return addTo(this.#keys, latin1(key, key.length), watcher)
    if (isPrefix(key, rangeEnd)) {
      const name = latin1(key, key.length)
      if (!this.#prefixes.has(name)) this.#lengths.set(key.length, (this.#lengths.get(key.length) ?? 0) + 1)
      return addTo(this.#prefixes, name, watcher)
    }
    const name = rangeName(watcher.range)
    const known = this.#ranges.get(name)
    if (known === undefined) this.#ranges.set(name, { key, rangeEnd, watchers: new Set([watcher]) })
    else known.watchers.add(watcher)
  }

  delete(watcher: W): boolean {
    if (!this.#all.delete(watcher)) return false
    const { key, rangeEnd } = watcher.range
    if (rangeEnd.length === 0) {
      deleteFrom(this.#keys, latin1(key, key.length), watcher)
    } else if (isPrefix(key, rangeEnd)) {
      if (deleteFrom(this.#prefixes, latin1(key, key.length), watcher)) {
        const left = (this.#lengths.get(key.length) ?? 1) - 1
        if (left === 0) this.#lengths.delete(key.length)
        else this.#lengths.set(key.length, left)
      }
    } else {
      const name = rangeName(watcher.range)
      const known = this.#ranges.get(name)
      known?.watchers.delete(watcher)
      if (known?.watchers.size === 0) this.#ranges.delete(name)
    }
    return true
  }

  /** Visits each watcher of `key` once. */
  match(key: Uint8Array, visit: (watcher: W) => void): void {
    if (this.#keys.size > 0) for (const watcher of this.#keys.get(latin1(key, key.length)) ?? []) visit(watcher)
    for (const length of this.#lengths.keys()) {
      if (length <= key.length) for (const watcher of this.#prefixes.get(latin1(key, length)) ?? []) visit(watcher)
    }
    for (const range of this.#ranges.values()) if (contains(range, key)) for (const w of range.watchers) visit(w)
  }
}

function contains({ key: start, rangeEnd }: WatchedRange, key: Uint8Array): boolean {
  return compareBytes(key, start) >= 0 && (isUnbounded(rangeEnd) || compareBytes(key, rangeEnd) < 0)
}

export function isUnbounded(rangeEnd: Uint8Array): boolean {
  return rangeEnd.length === 1 && rangeEnd[0] === 0
}

/** Whether the range is that of all keys that begin with `key`: its end differs from it by one more in the last byte. */
function isPrefix(key: Uint8Array, rangeEnd: Uint8Array): boolean {
  const last = key.length - 1
  if (rangeEnd.length !== key.length || (key[last] as number) + 1 !== rangeEnd[last]) return false
  for (let i = 0; i < last; i++) if (key[i] !== rangeEnd[i]) return false
  return true
}

function rangeName({ key, rangeEnd }: WatchedRange): string {
  return `${key.length}:${latin1(key, key.length)}${latin1(rangeEnd, rangeEnd.length)}`
}

function addTo<W>(map: Map<string, Set<W>>, name: string, watcher: W): void {
  const known = map.get(name)
  if (known === undefined) map.set(name, new Set([watcher]))
  else known.add(watcher)
}

/** True where it was the last one of that name. */
function deleteFrom<W>(map: Map<string, Set<W>>, name: string, watcher: W): boolean {
  const known = map.get(name)
  known?.delete(watcher)
  return known?.size === 0 && map.delete(name)
}

/** One character for each byte. */
function latin1(bytes: Uint8Array, length: number): string {
  let text = ''
  for (let i = 0; i < length; i++) text += String.fromCharCode(bytes[i] as number)
  return text
}
