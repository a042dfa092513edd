/**
 * One change as watchers see it. Encoded at most twice, with and without what was there before, however many watch it;
 * what was there before is looked up only if somebody wants it.
 */
import { EMPTY } from '../base/index.ts'
import { encodeEventField, encodeKeyValue } from '../wire/index.ts'

export class WatchEvent {
  readonly main: number
  readonly key: Uint8Array
  /** The encoded pair; undefined where the key was deleted. */
  readonly kv: Uint8Array | undefined
  readonly #before: () => Uint8Array | undefined
  #plain: Uint8Array | undefined = undefined
  #withPrev: Uint8Array | undefined = undefined

  /** `before`: the encoded pair that this change replaced or deleted. */
  constructor(main: number, key: Uint8Array, kv: Uint8Array | undefined, before: () => Uint8Array | undefined) {
    this.main = main
    this.key = key
    this.kv = kv
    this.#before = before
  }

  /** About what it takes in memory and on the wire. */
  get sizeBytes(): number {
    return this.key.length + (this.kv?.length ?? 0) + 16
  }

  /** The field of a WatchResponse, tag included. The same array each time. */
  encoded(withPrev: boolean): Uint8Array {
    if (!withPrev) return (this.#plain ??= this.#encode(undefined))
    if (this.#withPrev === undefined) {
      const before = this.#before()
      this.#withPrev = before === undefined ? this.encoded(false) : this.#encode(before)
    }
    return this.#withPrev
  }

  #encode(before: Uint8Array | undefined): Uint8Array {
    return encodeEventField(this.kv === undefined, this.kv ?? tombstone(this.key, this.main), before)
  }
}

/** Of a deletion etcd tells the key and the revision. */
function tombstone(key: Uint8Array, main: number): Uint8Array {
  return encodeKeyValue({ key, createRevision: 0, modRevision: main, version: 0, value: EMPTY, lease: 0n })
}
