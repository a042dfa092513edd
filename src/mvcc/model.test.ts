/**
 * Random requests to the store and to a model of it that keeps the whole state of every revision, together with what
 * must not be seen: removal of compacted versions in slices, reads in slices that stay open over writes, snapshots,
 * reopening the store and restarting the engine. Needs nothing installed, and runs over every engine.
 *
 * SKEIN_MVCC_RUNS scales the number of runs; a failure prints the line that reproduces it, and the shortest sequence.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Result } from '../base/index.ts'
import { groupId, logIndex, spaceId, toHex } from '../base/index.ts'
import type { Engine, EngineReader, EngineSnapshot } from '../engine/index.ts'
import { openEngine } from '../engine/index.ts'
import { openNodeWorld } from '../world/node/index.ts'
import { Model } from '../../test/mvcc-model.ts'
import type { Operation, Revisions } from '../../test/mvcc-operations.testkit.ts'
import { KNOWN_LEASE, operation, placed, rangeRead } from '../../test/mvcc-operations.testkit.ts'
import type { Batch } from '../../test/mvcc-requests.ts'
import { execute, nameOf, readRange } from '../../test/mvcc-requests.ts'
import { createSortedEngine } from '../../test/sorted-engine.ts'
import {
  decodeCompactionResponse,
  decodeDeleteRangeResponse,
  decodePutResponse,
  decodeRangeResponse,
  decodeTxnResponse,
} from '../wire/index.ts'
import type { RangeRequest } from '../wire/index.ts'
import type { Answered, MvccStore, RangeCursor } from './index.ts'
import { openStore } from './index.ts'
import { revisionKey, revisionMain, versionsEnd, versionsStart } from './keys.ts'

const SCALE = Number(process.env['SKEIN_MVCC_RUNS'] ?? 200) / 200
const SEED = Number(process.env['SKEIN_MVCC_SEED'] ?? 1)
const LEASES: ReadonlySet<bigint> = new Set([KNOWN_LEASE])
const SPACE = spaceId(3)
const GROUP = groupId(1)

type Action =
  | { readonly type: 'ask'; readonly operation: Operation; readonly slice: number }
  | { readonly type: 'scrub'; readonly maxVersions: number }
  | { readonly type: 'begin'; readonly operation: Operation & { readonly type: 'range' } }
  | { readonly type: 'step'; readonly which: number; readonly slice: number }
  | { readonly type: 'snapshot' }
  | { readonly type: 'readSnapshot'; readonly operation: Operation & { readonly type: 'range' } }
  | { readonly type: 'reopen' | 'restart' }

const slice = fc.integer({ min: 1, max: 4 })
const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 30, arbitrary: fc.record({ type: fc.constant('ask' as const), operation, slice }) },
  {
    weight: 6,
    arbitrary: fc.record({ type: fc.constant('scrub' as const), maxVersions: fc.integer({ min: 1, max: 6 }) }),
  },
  { weight: 3, arbitrary: fc.record({ type: fc.constant('begin' as const), operation: rangeRead }) },
  { weight: 6, arbitrary: fc.record({ type: fc.constant('step' as const), which: fc.nat({ max: 5 }), slice }) },
  { weight: 1, arbitrary: fc.constant({ type: 'snapshot' as const }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constant('readSnapshot' as const), operation: rangeRead }) },
  { weight: 1, arbitrary: fc.constantFrom({ type: 'reopen' as const }, { type: 'restart' as const }) },
)

/** An engine under test. `snapshot` and `restart` are left out where it has none. */
type Subject = {
  readonly reader: EngineReader
  readonly batch: Batch
  readonly snapshot?: () => Result<EngineSnapshot>
  readonly restart?: () => Promise<Subject>
  readonly close: () => Promise<void>
}

function sortedSubject(): Promise<Subject> {
  const engine = createSortedEngine()
  return Promise.resolve({ reader: engine, batch: (write) => write(engine.writer), close: () => Promise.resolve() })
}

async function engineSubject(kind: 'lmdb' | 'memory', directory: string): Promise<Subject> {
  const world = openNodeWorld({
    onFail(violation) {
      throw violation
    },
  })
  const engine = await new Promise<Engine>((resolve, reject) => {
    const options = {
      directory,
      // Small, so that pairs move between the engine's layers while they are read.
      checkpointBytes: 2_000,
      checkpointDelayMs: 1,
      maxOverlayBytes: 1_000_000,
      onPressure() {},
      onDurable() {},
    }
    openEngine(kind, world, options, (result) =>
      result.ok ? resolve(result.value) : reject(new Error(result.error.message)),
    )
  })
  const done = (start: (tell: (result: Result<void>) => void) => void): Promise<void> =>
    new Promise((resolve, reject) => {
      start((result) => (result.ok ? resolve() : reject(new Error(result.error.message))))
    })
  const close = async (): Promise<void> => {
    await done((tell) => engine.close(tell))
    world.stop()
  }
  return {
    reader: engine,
    batch<T>(
      write: Parameters<typeof engine.applyBatch>[2] extends (writer: infer W) => void ? (writer: W) => T : never,
    ) {
      let value: { readonly of: T } | undefined
      engine.applyBatch(GROUP, logIndex(engine.appliedIndex(GROUP) + 1), (writer) => {
        value = { of: write(writer) }
      })
      assert.ok(value !== undefined)
      return value.of
    },
    snapshot: () => engine.openSnapshot(),
    async restart() {
      await done((tell) => engine.checkpoint(tell))
      await close()
      return engineSubject(kind, directory)
    },
    close,
  }
}

const DECODE = {
  range: decodeRangeResponse,
  put: decodePutResponse,
  deleteRange: decodeDeleteRangeResponse,
  txn: decodeTxnResponse,
  compact: decodeCompactionResponse,
} as const

function decoded(type: Operation['type'], result: Result<Answered>): object {
  if (!result.ok) return { error: nameOf(result) }
  const response = DECODE[type](result.value.body)
  assert.ok(response.ok)
  return { response: response.value, revision: result.value.revision }
}

class Run {
  readonly #model = new Model(LEASES)
  #subject: Subject
  #store: MvccStore
  #cursors: { readonly cursor: RangeCursor; readonly request: RangeRequest }[] = []
  #snapshot: { readonly of: EngineSnapshot; readonly at: Revisions } | undefined

  constructor(subject: Subject) {
    this.#subject = subject
    this.#store = this.#open(subject.reader)
  }

  get subject(): Subject {
    return this.#subject
  }

  #open(reader: EngineReader): MvccStore {
    return openStore(reader, SPACE, { leases: LEASES })
  }

  get #revisions(): Revisions {
    return { current: this.#model.revision, compacted: this.#model.compacted }
  }

  async act(action: Action): Promise<void> {
    switch (action.type) {
      case 'ask':
        return this.#ask(placed(action.operation, this.#revisions), action.slice)
      case 'scrub':
        if (this.#store.scrubPending) this.#subject.batch((writer) => this.#store.scrub(action.maxVersions, writer))
        return
      case 'begin': {
        const { request } = placed(action.operation, this.#revisions) as Operation & { readonly type: 'range' }
        if (request.revision <= this.#model.revision)
          this.#cursors.push({ cursor: this.#store.range(request), request })
        return
      }
      case 'step':
        return this.#step(action.which, action.slice)
      case 'snapshot':
        return this.#takeSnapshot()
      case 'readSnapshot':
        return this.#readSnapshot(action.operation)
      case 'reopen':
        this.#cursors = []
        this.#store = this.#open(this.#subject.reader)
        return
      case 'restart':
        return this.#restart()
      default:
        return action satisfies never
    }
  }

  #ask(asked: Operation, sliced: number): void {
    const answer = decoded(asked.type, execute(this.#store, this.#subject.batch, asked, sliced))
    assert.deepEqual(answer, this.#model.execute(asked), JSON.stringify(asked, jsonable))
    assert.equal(this.#store.revision, this.#model.revision)
    assert.equal(this.#store.compactedRevision, this.#model.compacted)
  }

  #step(which: number, sliced: number): void {
    const open = this.#cursors[which % Math.max(1, this.#cursors.length)]
    if (open === undefined || !open.cursor.step(sliced)) return
    this.#cursors = this.#cursors.filter((other) => other !== open)
    const result = open.cursor.result()
    if (!result.ok) {
      assert.equal(nameOf(result), 'ErrCompacted')
      // A read of the latest may give up as well, but only after several compactions met it.
      assert.ok(open.request.revision < this.#model.compacted)
      return
    }
    const answer = decoded('range', result)
    const { revision } = result.value
    assert.deepEqual(answer, { response: this.#model.rangeAt(open.request, revision), revision })
  }

  #takeSnapshot(): void {
    this.#snapshot?.of.close()
    const taken = this.#subject.snapshot?.()
    this.#snapshot = taken?.ok === true ? { of: taken.value, at: this.#revisions } : undefined
  }

  #readSnapshot(drawn: Operation): void {
    if (this.#snapshot === undefined) return
    const { of, at } = this.#snapshot
    const { request } = placed(drawn, at) as Operation & { readonly type: 'range' }
    const { current, compacted } = at
    const then = this.#open(of.reader)
    assert.deepEqual([then.revision, then.compactedRevision], [current, compacted])
    const answer = decoded('range', readRange(then, request))
    if (request.revision > current) assert.deepEqual(answer, { error: 'ErrFutureRev' })
    else if (request.revision > 0 && request.revision < compacted) assert.deepEqual(answer, { error: 'ErrCompacted' })
    else assert.deepEqual(answer, { response: this.#model.rangeAt(request, current), revision: current })
  }

  async #restart(): Promise<void> {
    if (this.#subject.restart === undefined) return
    this.#cursors = []
    this.#snapshot?.of.close()
    this.#snapshot = undefined
    this.#subject = await this.#subject.restart()
    this.#store = this.#open(this.#subject.reader)
  }

  /** All that can still be read, and what is left in the engine once everything else was removed. */
  finish(): void {
    while (this.#store.scrubPending) this.#subject.batch((writer) => this.#store.scrub(3, writer))
    for (let revision = Math.max(1, this.#model.compacted); revision <= this.#model.revision; revision++) {
      this.#ask({ type: 'range', request: { ...EVERYTHING, revision } }, 2)
    }
    const from = Math.max(2, this.#model.compacted)
    const kept = new Set<string>()
    this.#store.visitChanges(from, this.#model.revision, ({ main, sub }) => {
      kept.add(`${main}.${sub}`)
      return true
    })
    for (let revision = from; revision <= this.#model.revision; revision++) {
      assert.ok(kept.has(`${revision}.0`), `the changes at ${revision}`)
    }
    this.#nothingHidden()
    this.#snapshot?.of.close()
  }

  /** Of what is below the compacted revision each key has one version at most, and no deletion; nothing is left over. */
  #nothingHidden(): void {
    const count = (start: Uint8Array, end: Uint8Array, visit: (key: Uint8Array, value: Uint8Array) => void): number => {
      const cursor = this.#subject.reader.scan(start, end)
      let pairs = 0
      for (; cursor.next(); pairs++) visit(cursor.key, cursor.value)
      cursor.close()
      return pairs
    }
    const versions = count(versionsStart(SPACE, new Uint8Array(0)), versionsEnd(SPACE), () => undefined)
    const { compacted } = this.#model
    const seen = new Map<string, number>()
    const changes = count(revisionKey(SPACE, 0, 0), revisionKey(SPACE, compacted + 1, 0), (record, value) => {
      const key = toHex(value.subarray(1))
      assert.ok(!seen.has(key) || seen.get(key) === compacted, `a hidden version of ${key}`)
      assert.ok(value[0] === 0 || revisionMain(record) === compacted, `a hidden deletion of ${key}`)
      seen.set(key, revisionMain(record))
    })
    const later = count(revisionKey(SPACE, compacted + 1, 0), revisionKey(SPACE, 2 ** 40, 0), () => undefined)
    assert.equal(versions, changes + later)
  }
}

const EVERYTHING: RangeRequest = {
  key: new Uint8Array([0]),
  rangeEnd: new Uint8Array([0]),
  limit: 0,
  revision: 0,
  sortOrder: 0,
  sortTarget: 0,
  serializable: false,
  keysOnly: false,
  countOnly: false,
  minModRevision: 0,
  maxModRevision: 0,
  minCreateRevision: 0,
  maxCreateRevision: 0,
}

const jsonable = (_: string, value: unknown): unknown => (typeof value === 'bigint' ? `${value}` : value)

async function check(name: string, runs: number, open: () => Promise<Subject>): Promise<void> {
  const property = fc.asyncProperty(fc.array(action, { minLength: 1, maxLength: 60, size: 'max' }), async (actions) => {
    const run = new Run(await open())
    try {
      for (const each of actions) await run.act(each)
      run.finish()
    } finally {
      await run.subject.close()
    }
  })
  const path = process.env['SKEIN_MVCC_PATH']
  const numRuns = Math.max(1, Math.round(runs * SCALE))
  const details = await fc.check(property, { seed: SEED, numRuns, ...(path !== undefined && { path }) })
  if (!details.failed) return
  const line = `SKEIN_MVCC_SEED=${details.seed} SKEIN_MVCC_PATH=${details.counterexamplePath} node scripts/test.mjs mvcc/model`
  assert.fail(
    `over ${name}: ${String(details.errorInstance)}\nreproduce: ${line}\n${fc.stringify(details.counterexample)}`,
  )
}

test('over a sorted array the store does what the model does', () => check('a sorted array', 400, sortedSubject))

for (const [kind, runs] of [
  ['memory', 60],
  ['lmdb', 25],
] as const) {
  test(`over the ${kind} engine, with checkpoints, snapshots and restarts, the store does what the model does`, async () => {
    const root = mkdtempSync(join(tmpdir(), 'skein-mvcc-'))
    try {
      await check(kind, runs, () => engineSubject(kind, mkdtempSync(join(root, 'run-'))))
    } finally {
      rmSync(root, { recursive: true, force: true })
    }
  })
}
