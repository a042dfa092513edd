/**
 * One write in the making: the puts, deletions and ranges that share one main revision. Later ones see earlier ones.
 * Everything that can fail leaves the write as it was or is followed by `undo`.
 * Source: etcd 3.4 `mvcc/kvstore_txn.go`, `etcdserver/apply.go`.
 */
import type { Failure, Result, SpaceId } from '../base/index.ts'
import { EMPTY, err, failure, ok } from '../base/index.ts'
import type { EngineReader, EngineWriter } from '../engine/index.ts'
import type { DeleteRangeRequest, KeyValue, PutRequest, RangeRequest } from '../wire/index.ts'
import { encodeDeleteRangeBody, encodePutBody } from '../wire/index.ts'
import { newestKey, revisionKey, revisionValue, supersededKey } from './keys.ts'
import { MAX_RECORDS_PER_WRITE, MAX_RESPONSE_BYTES } from './limits.ts'
import { answerPoint, createCollector } from './range.ts'
import {
  encodedKeyValue,
  encodeStored,
  encodeTombstone,
  isTombstone,
  storedKey,
  storedKeyValue,
  storedLayout,
  storedMain,
  storedSub,
} from './stored.ts'
import type { WrittenChange } from './store.ts'
import { checkKeyLength } from './validate.ts'
import { liveVersion, versionInterval, visitLive } from './versions.ts'

/** What it takes to take a change back: the record of the key's newest version, and what was there. */
type Changed = {
  readonly record: Uint8Array
  readonly before: Uint8Array | undefined
  readonly key: Uint8Array
  readonly stored: Uint8Array
}

export class Write {
  readonly #reader: EngineReader
  readonly #writer: EngineWriter
  readonly #space: SpaceId
  readonly #before: number
  readonly #changed: Changed[] = []
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
    return this.#changed.length === 0 ? this.#before : this.#before + 1
  }

  /** What this write has changed so far, in order. */
  changes(): readonly WrittenChange[] {
    const main = this.#before + 1
    return this.#changed.map(({ key, stored, before }) => ({ main, key, stored, before }))
  }

  /** What is stored of `key` before this write. */
  earlier(key: Uint8Array): Uint8Array | undefined {
    return liveVersion(this.#reader, this.#space, key, this.#before)
  }

  /** Visits the pairs of a range before this write; false in the visitor ends it. */
  visitEarlier(key: Uint8Array, rangeEnd: Uint8Array, visit: (stored: Uint8Array) => boolean): Failure | undefined {
    return this.#visit(key, rangeEnd, this.#before, visit)
  }

  /** Returns the response's body. Failures: invalid-request (ErrKeyNotFound, or a key that is too long). */
  put(request: PutRequest): Result<Uint8Array> {
    const problem = checkKeyLength(request.key)
    if (problem !== undefined) return err(problem)
    const main = this.#before + 1
    const record = newestKey(this.#space, request.key)
    const before = this.#reader.get(record)
    const stored = before === undefined || isTombstone(before) ? undefined : before
    if (stored === undefined && (request.ignoreValue || request.ignoreLease)) return err(keyNotFound())
    const earlier = stored && storedLayout(stored)
    const kept = stored && (request.ignoreValue || request.ignoreLease) ? storedKeyValue(stored) : undefined
    const kv: KeyValue = {
      key: request.key,
      createRevision: earlier === undefined ? main : earlier.createRevision,
      modRevision: main,
      version: earlier === undefined ? 1 : earlier.version + 1,
      value: kept !== undefined && request.ignoreValue ? kept.value : request.value,
      lease: kept !== undefined && request.ignoreLease ? kept.lease : request.lease,
    }
    this.#change(request.key, record, before, encodeStored(kv, this.#changed.length), false)
    return this.#response(request.prevKv ? encodePutBody(stored && encodedKeyValue(stored)) : EMPTY)
  }

  /** Returns the response's body. Failures: request-too-large. */
  deleteRange(request: DeleteRangeRequest): Result<Uint8Array> {
    const found: Uint8Array[] = []
    let sizeBytes = 0
    const problem = this.#visit(request.key, request.rangeEnd, this.revision, (stored) => {
      found.push(stored)
      if (request.prevKv) sizeBytes += stored.length
      return sizeBytes <= MAX_RESPONSE_BYTES
    })
    if (problem !== undefined) return err(problem)
    if (sizeBytes > MAX_RESPONSE_BYTES) return err(tooLarge(`answer has more than ${MAX_RESPONSE_BYTES} bytes`))
    const main = this.#before + 1
    for (const stored of found) {
      const key = storedKey(stored)
      this.#change(key, newestKey(this.#space, key), stored, encodeTombstone(main, this.#changed.length), true)
    }
    return this.#response(encodeDeleteRangeBody(found.length, request.prevKv ? found.map(encodedKeyValue) : []))
  }

  /** Returns the response's body, at this write's revision or an earlier one. Failures: request-too-large. */
  range(request: RangeRequest): Result<Uint8Array> {
    const main = request.revision > 0 ? request.revision : this.revision
    if (request.rangeEnd.length === 0) {
      return this.#response(answerPoint(request, liveVersion(this.#reader, this.#space, request.key, main)))
    }
    const collector = createCollector(request)
    const problem = this.#visit(request.key, request.rangeEnd, main, (stored) => collector.add(stored))
    if (problem !== undefined) return err(problem)
    const body = collector.finish()
    return body.ok ? this.#response(body.value) : body
  }

  /** Takes all changes back, the last one first. */
  undo(): void {
    const main = this.#before + 1
    for (let sub = this.#changed.length - 1; sub >= 0; sub--) {
      const { record, before } = this.#changed[sub] as Changed
      this.#writer.remove(revisionKey(this.#space, main, sub))
      if (before === undefined) {
        this.#writer.remove(record)
      } else {
        this.#writer.remove(supersededKey(record, storedMain(before), storedSub(before)))
        this.#writer.put(record, before)
      }
    }
    this.#changed.length = 0
  }

  #change(
    key: Uint8Array,
    record: Uint8Array,
    before: Uint8Array | undefined,
    stored: Uint8Array,
    deletion: boolean,
  ): void {
    const index = revisionKey(this.#space, this.#before + 1, this.#changed.length)
    this.#changed.push({ record, before, key, stored })
    if (before !== undefined) this.#writer.put(supersededKey(record, storedMain(before), storedSub(before)), before)
    this.#writer.put(record, stored)
    this.#writer.put(index, revisionValue(key, deletion))
  }

  #visit(
    key: Uint8Array,
    rangeEnd: Uint8Array,
    main: number,
    visit: (stored: Uint8Array) => boolean,
  ): Failure | undefined {
    if (rangeEnd.length === 0) {
      const stored = liveVersion(this.#reader, this.#space, key, main)
      if (stored !== undefined) visit(stored)
      return undefined
    }
    const left = MAX_RECORDS_PER_WRITE - this.#records
    let seen = 0
    const rest = visitLive(this.#reader, versionInterval(this.#space, key, rangeEnd), main, left, (stored) => {
      seen++
      return visit(stored)
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
