/**
 * One write in the making: the puts, deletions and ranges that share one main revision. Later ones see earlier ones.
 * Everything that can fail leaves the write as it was or is followed by `undo`.
 * Source: etcd 3.4 `mvcc/kvstore_txn.go`, `etcdserver/apply.go`.
 */
import type { Failure, Result, SpaceId } from '../base/index.ts'
import { EMPTY, err, failure, invariant, ok } from '../base/index.ts'
import type { EngineReader, EngineWriter } from '../engine/index.ts'
import type { DeleteRangeRequest, KeyValue, PutRequest, RangeRequest } from '../wire/index.ts'
import { encodeDeleteRangeBody, encodeKeyValue, encodePutBody, rangeEntrySize } from '../wire/index.ts'
import { revisionKey, revisionValue, TOMBSTONE, versionKey } from './keys.ts'
import { MAX_RECORDS_PER_WRITE, MAX_RESPONSE_BYTES } from './limits.ts'
import { createCollector } from './range.ts'
import { checkKeyLength } from './validate.ts'
import { liveVersion, storedKeyValue, versionInterval, visitLive } from './versions.ts'

export class Write {
  readonly #reader: EngineReader
  readonly #writer: EngineWriter
  readonly #space: SpaceId
  readonly #before: number
  #changes = 0
  #records = 0
  #responseBytes = 0

  /** `before`: the store's revision. */
  constructor(reader: EngineReader, writer: EngineWriter, space: SpaceId, before: number) {
    this.#reader = reader
    this.#writer = writer
    this.#space = space
    this.#before = before
  }

  /** The revision that this write has reached: the next one as soon as it changed something. */
  get revision(): number {
    return this.#changes === 0 ? this.#before : this.#before + 1
  }

  /** The encoded pair of `key` before this write. */
  earlier(key: Uint8Array): Uint8Array | undefined {
    return liveVersion(this.#reader, this.#space, key, this.#before)
  }

  /** Visits the pairs of a range before this write; false in the visitor ends it. */
  visitEarlier(key: Uint8Array, rangeEnd: Uint8Array, visit: (kv: Uint8Array) => boolean): Failure | undefined {
    return this.#visit(key, rangeEnd, this.#before, visit)
  }

  /** Returns the response's body. Failures: invalid-request (ErrKeyNotFound, or a key that is too long). */
  put(request: PutRequest): Result<Uint8Array> {
    const problem = checkKeyLength(request.key)
    if (problem !== undefined) return err(problem)
    const main = this.#before + 1
    const stored = liveVersion(this.#reader, this.#space, request.key, main)
    if (stored === undefined && (request.ignoreValue || request.ignoreLease)) return err(keyNotFound())
    const previous: KeyValue | undefined = stored === undefined ? undefined : storedKeyValue(stored)
    const kv: KeyValue = {
      key: request.key,
      createRevision: previous === undefined ? main : previous.createRevision,
      modRevision: main,
      version: previous === undefined ? 1 : previous.version + 1,
      value: request.ignoreValue && previous !== undefined ? previous.value : request.value,
      lease: request.ignoreLease && previous !== undefined ? previous.lease : request.lease,
    }
    this.#change(request.key, encodeKeyValue(kv), false)
    return this.#response(request.prevKv ? encodePutBody(stored) : EMPTY)
  }

  /** Returns the response's body. Failures: request-too-large. */
  deleteRange(request: DeleteRangeRequest): Result<Uint8Array> {
    const found: Uint8Array[] = []
    let sizeBytes = 0
    const problem = this.#visit(request.key, request.rangeEnd, this.revision, (kv) => {
      found.push(kv)
      if (request.prevKv) sizeBytes += rangeEntrySize(kv)
      return sizeBytes <= MAX_RESPONSE_BYTES
    })
    if (problem !== undefined) return err(problem)
    if (sizeBytes > MAX_RESPONSE_BYTES) return err(tooLarge(`answer has more than ${MAX_RESPONSE_BYTES} bytes`))
    for (const kv of found) this.#change(storedKeyValue(kv).key, TOMBSTONE, true)
    return this.#response(encodeDeleteRangeBody(found.length, request.prevKv ? found : []))
  }

  /** Returns the response's body, at this write's revision or an earlier one. Failures: request-too-large. */
  range(request: RangeRequest): Result<Uint8Array> {
    const main = request.revision > 0 ? request.revision : this.revision
    const collector = createCollector(request)
    const problem = this.#visit(request.key, request.rangeEnd, main, (kv) => collector.add(kv))
    if (problem !== undefined) return err(problem)
    const body = collector.finish()
    return body.ok ? this.#response(body.value) : body
  }

  /** Takes all changes back. */
  undo(): void {
    const main = this.#before + 1
    for (let sub = 0; sub < this.#changes; sub++) {
      const index = revisionKey(this.#space, main, sub)
      const value = this.#reader.get(index)
      invariant(value !== undefined, 'revision-indexed', () => `${main}.${sub}`)
      this.#writer.remove(index)
      this.#writer.remove(versionKey(this.#space, value.subarray(1), main, sub))
    }
    this.#changes = 0
  }

  #change(key: Uint8Array, value: Uint8Array, deletion: boolean): void {
    const main = this.#before + 1
    const sub = this.#changes++
    this.#writer.put(versionKey(this.#space, key, main, sub), value)
    this.#writer.put(revisionKey(this.#space, main, sub), revisionValue(key, deletion))
  }

  #visit(key: Uint8Array, rangeEnd: Uint8Array, main: number, visit: (kv: Uint8Array) => boolean): Failure | undefined {
    const left = MAX_RECORDS_PER_WRITE - this.#records
    let seen = 0
    const rest = visitLive(this.#reader, versionInterval(this.#space, key, rangeEnd), main, left, (kv) => {
      seen++
      return visit(kv)
    })
    this.#records += seen
    return rest === undefined ? undefined : tooLarge(`write looks at more than ${MAX_RECORDS_PER_WRITE} records`)
  }

  #response(body: Uint8Array): Result<Uint8Array> {
    this.#responseBytes += body.length
    if (this.#responseBytes <= MAX_RESPONSE_BYTES) return ok(body)
    return err(tooLarge(`answer has more than ${MAX_RESPONSE_BYTES} bytes`))
  }
}

export function keyNotFound(): Failure {
  const text = 'ignore_value or ignore_lease is set and the key does not exist'
  return failure('invalid-request', text, { etcd: 'ErrKeyNotFound' })
}

function tooLarge(what: string): Failure {
  return failure('request-too-large', `the ${what}: do it in parts`)
}
