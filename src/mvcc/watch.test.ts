/**
 * The watch hub against a model that keeps every event: random writes, compactions, watchers of all kinds over streams
 * that stop reading and go on, and states that take the store's place. And the bounds of a turn.
 *
 * SKEIN_WATCH_RUNS scales the number of runs; a failure prints the line that reproduces it, and the shortest sequence.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { compareBytes, concatBytes, EMPTY, spaceId, text, utf8 } from '../base/index.ts'
import { createSortedEngine } from '../../test/sorted-engine.ts'
import type { RequestOp, WatchedEvent } from '../wire/index.ts'
import { decodeWatchResponse } from '../wire/index.ts'
import type { MvccOperation, MvccStore, WatchEvent, WatchHub, WatchSpec, WatchStream } from './index.ts'
import { createWatchHub, openStore } from './index.ts'
import { MAX_CHANGES_PER_SLICE, MAX_SLICE_BYTES } from './limits.ts'

const RUNS = Number(process.env['SKEIN_WATCH_RUNS'] ?? 400)
const SEED = Number(process.env['SKEIN_WATCH_SEED'] ?? 1)
const SPACE = spaceId(5)
const KEYS = ['a', 'aa', 'ab', 'b', 'ba', 'c'] as const
const STREAMS = 3

type Told = {
  readonly main: number
  readonly key: string
  readonly value: string | undefined
  readonly prev: string | undefined
}

/** A store with its hub, as a replica keeps them. */
class Subject {
  readonly engine = createSortedEngine()
  store: MvccStore
  readonly hub: WatchHub
  wakes = 0

  constructor() {
    this.store = this.#open()
    this.hub = createWatchHub(this.store, () => this.wakes++)
  }

  #open(): MvccStore {
    return openStore(this.engine, SPACE, { onWritten: (changes) => this.hub.record(changes) })
  }

  apply(operation: MvccOperation): boolean {
    return this.store.apply(operation, this.engine.writer).ok
  }

  put(key: string, value: string): void {
    assert.ok(this.apply({ type: 'put', request: putOf(key, value) }))
  }

  /** As after a received snapshot. */
  replace(): void {
    this.store = this.#open()
    this.hub.replaced(this.store)
  }

  drain(): void {
    for (let turns = 0; this.hub.turn(); turns++) assert.ok(turns < 10_000, 'the hub comes to an end')
  }
}

function putOf(key: string, value: string): Extract<MvccOperation, { type: 'put' }>['request'] {
  return { key: utf8(key), value: utf8(value), lease: 0n, prevKv: false, ignoreValue: false, ignoreLease: false }
}

function decodedEvents(events: readonly WatchEvent[], withPrev: boolean): readonly WatchedEvent[] {
  const response = decodeWatchResponse(concatBytes(events.map((event) => event.encoded(withPrev))))
  assert.ok(response.ok)
  return response.value.events
}

const spec = (key: string, more: Partial<WatchSpec> = {}): WatchSpec => ({
  ...{ key: utf8(key), rangeEnd: EMPTY, startRevision: 0, watchId: 0, noPut: false, noDelete: false },
  ...more,
})

type Action =
  | { readonly type: 'put'; readonly key: string }
  | { readonly type: 'delete'; readonly key: string; readonly end: string }
  | { readonly type: 'txn'; readonly keys: readonly string[]; readonly deleted: string }
  | { readonly type: 'compact'; readonly back: number; readonly scrubs: boolean }
  | { readonly type: 'scrub' }
  | {
      readonly type: 'watch'
      readonly stream: number
      readonly range: readonly [string, string]
      readonly back: number
      readonly filter: number
    }
  | { readonly type: 'cancel'; readonly which: number }
  | { readonly type: 'block' | 'resume'; readonly stream: number }
  | { readonly type: 'turn' }
  | { readonly type: 'replace' }

const key = fc.constantFrom(...KEYS)
const stream = fc.nat({ max: STREAMS - 1 })
const range = fc.constantFrom(
  ...(['a ', 'aa ', 'b ', 'a b', 'b c', 'aa ac', 'ab \0', '\0 \0', 'a \0'] as const).map(
    (pair) => pair.split(' ') as [string, string],
  ),
)
const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 12, arbitrary: fc.record({ type: fc.constant('put' as const), key }) },
  {
    weight: 3,
    arbitrary: fc.record({ type: fc.constant('delete' as const), key, end: fc.constantFrom('', 'b', '\0') }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      type: fc.constant('txn' as const),
      keys: fc.uniqueArray(fc.constantFrom('a', 'aa', 'b', 'c'), { minLength: 1, maxLength: 3 }),
      deleted: fc.constantFrom('ab', 'ba'),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ type: fc.constant('compact' as const), back: fc.nat({ max: 4 }), scrubs: fc.boolean() }),
  },
  { weight: 2, arbitrary: fc.constant({ type: 'scrub' as const }) },
  {
    weight: 6,
    arbitrary: fc.record({
      ...{ type: fc.constant('watch' as const), stream, range },
      ...{ back: fc.integer({ min: -3, max: 12 }), filter: fc.nat({ max: 8 }) },
    }),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('cancel' as const), which: fc.nat({ max: 10 }) }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constantFrom('block' as const, 'resume' as const), stream }) },
  { weight: 10, arbitrary: fc.constant({ type: 'turn' as const }) },
  { weight: 1, arbitrary: fc.constant({ type: 'replace' as const }) },
)

type Watched = {
  readonly id: number
  readonly stream: number
  readonly spec: WatchSpec
  readonly from: number
  readonly told: Told[]
  over: 'compacted' | 'cancelled' | undefined
}

class Run {
  readonly #subject = new Subject()
  /** By revision: its events, by key. */
  readonly #events: Told[][] = [[], []]
  readonly #live = new Map<string, string>()
  readonly #watched: Watched[] = []
  readonly #blocked = Array.from({ length: STREAMS }, () => false)
  readonly #streams: readonly WatchStream[]
  #inTurn = false
  #values = 0

  constructor() {
    this.#streams = Array.from({ length: STREAMS }, (_, at) =>
      this.#subject.hub.open({
        onEvents: (id, events, revision) => this.#told(at, id, events, revision),
        onCompacted: (id, compacted) => {
          const watched = this.#find(at, id)
          // Whatever it was told before; the next revision must really be gone.
          const next = Math.max(watched.from, (watched.told.at(-1)?.main ?? 0) + 1)
          assert.ok(next < compacted, `told that ${next} is compacted at ${compacted}`)
          assert.equal(compacted, this.#subject.store.compactedRevision)
          watched.over = 'compacted'
        },
        onSynced: (revision) => {
          assert.equal(revision, this.#subject.store.revision)
          for (const watched of this.#watched) if (watched.stream === at) this.#complete(watched)
        },
      }),
    )
  }

  #find(at: number, id: number): Watched {
    const watched = this.#watched.find((each) => each.stream === at && each.id === id && each.over === undefined)
    assert.ok(watched, `watch ${id} of stream ${at} is told something, and is over`)
    return watched
  }

  #told(at: number, id: number, events: readonly WatchEvent[], revision: number): boolean {
    assert.ok(this.#inTurn, 'told from inside of a turn only')
    assert.ok(events.length > 0)
    const watched = this.#find(at, id)
    const last = watched.told.at(-1)?.main ?? 0
    const plain = decodedEvents(events, false)
    const withPrev = decodedEvents(events, true)
    for (const [i, event] of withPrev.entries()) {
      const { kv, prevKv, type } = event
      assert.ok(kv)
      assert.ok(kv.modRevision > last && kv.modRevision <= revision, `${kv.modRevision} after ${last}, in ${revision}`)
      assert.deepEqual(text(plain[i]?.kv?.key ?? EMPTY), text(kv.key))
      assert.equal(plain[i]?.prevKv, undefined)
      watched.told.push({
        main: kv.modRevision,
        key: text(kv.key),
        value: type === 1 ? undefined : text(kv.value),
        prev: prevKv === undefined ? undefined : text(prevKv.value),
      })
    }
    // Up to this revision it has been told everything, whole revisions.
    this.#complete(watched, revision)
    return !this.#blocked[at]
  }

  /** It has been told exactly what there is for it up to `through`. */
  #complete(watched: Watched, through: number = this.#subject.store.revision): void {
    if (watched.over !== undefined) return
    const { noPut, noDelete, key: start, rangeEnd } = watched.spec
    const inRange = (of: Uint8Array): boolean =>
      rangeEnd.length === 0
        ? compareBytes(of, start) === 0
        : compareBytes(of, start) >= 0 && (text(rangeEnd) === '\0' || compareBytes(of, rangeEnd) < 0)
    const expected = this.#events
      .slice(Math.max(0, watched.from), through + 1)
      .flat()
      .filter((event) => inRange(utf8(event.key)) && !(event.value === undefined ? noDelete : noPut))
    const { compactedRevision } = this.#subject.store
    assert.equal(watched.told.length, expected.length)
    for (const [i, event] of expected.entries()) {
      const told = watched.told[i] as Told
      // At or below the compacted revision what was before may be gone.
      const prev = event.main <= compactedRevision && told.prev === undefined ? undefined : event.prev
      assert.deepEqual(told, { ...event, prev })
    }
  }

  #commit(events: Told[]): void {
    if (events.length > 0) this.#events.push(events)
    for (const { key: of, value } of events) {
      if (value === undefined) this.#live.delete(of)
      else this.#live.set(of, value)
    }
    assert.equal(this.#subject.store.revision, this.#events.length - 1)
  }

  act(what: Action): void {
    const { store, hub } = this.#subject
    const main = this.#events.length
    switch (what.type) {
      case 'put': {
        const value = `v${this.#values++}`
        this.#subject.put(what.key, value)
        return this.#commit([{ main, key: what.key, value, prev: this.#live.get(what.key) }])
      }
      case 'delete': {
        const request = { key: utf8(what.key), rangeEnd: utf8(what.end), prevKv: false }
        assert.ok(this.#subject.apply({ type: 'deleteRange', request }))
        const gone = [...this.#live.keys()].filter((each) =>
          what.end === '' ? each === what.key : each >= what.key && (what.end === '\0' || each < what.end),
        )
        return this.#commit(
          gone.sort().map((each) => ({ main, key: each, value: undefined, prev: this.#live.get(each) })),
        )
      }
      case 'txn': {
        const value = `v${this.#values++}`
        const success: RequestOp[] = what.keys.map((each) => ({ type: 'put', put: putOf(each, value) }))
        success.push({ type: 'deleteRange', deleteRange: { key: utf8(what.deleted), rangeEnd: EMPTY, prevKv: false } })
        assert.ok(this.#subject.apply({ type: 'txn', request: { compare: [], success, failure: [] } }))
        const events: Told[] = what.keys.map((each) => ({ main, key: each, value, prev: this.#live.get(each) }))
        const prev = this.#live.get(what.deleted)
        if (prev !== undefined) events.push({ main, key: what.deleted, value: undefined, prev })
        return this.#commit(events)
      }
      case 'compact': {
        const revision = Math.max(1, store.revision - what.back)
        this.#subject.apply({ type: 'compact', request: { revision, physical: false } })
        if (what.scrubs) while (store.scrubPending) store.scrub(100, this.#subject.engine.writer)
        return
      }
      case 'scrub':
        if (store.scrubPending) store.scrub(2, this.#subject.engine.writer)
        return
      case 'watch': {
        const startRevision = what.back === -3 ? 0 : Math.max(1, store.revision - what.back)
        const asked = spec(what.range[0], {
          ...{ rangeEnd: utf8(what.range[1]), startRevision },
          ...{ noPut: what.filter === 0, noDelete: what.filter === 1 },
        })
        const created = this.#streams[what.stream]?.create(asked)
        assert.ok(created?.ok)
        const from = startRevision === 0 ? store.revision + 1 : startRevision
        this.#watched.push({ id: created.value, stream: what.stream, spec: asked, from, told: [], over: undefined })
        return
      }
      case 'cancel': {
        const watched = this.#watched[what.which]
        if (watched === undefined || watched.over === 'cancelled') return
        assert.equal(this.#streams[watched.stream]?.cancel(watched.id), true)
        watched.over = 'cancelled'
        return
      }
      case 'block':
        this.#blocked[what.stream] = true
        return
      case 'resume':
        this.#blocked[what.stream] = false
        this.#streams[what.stream]?.resume()
        return
      case 'turn':
        this.#inTurn = true
        hub.turn()
        this.#inTurn = false
        return
      case 'replace':
        return this.#subject.replace()
      default:
        what satisfies never
    }
  }

  finish(): void {
    for (let at = 0; at < STREAMS; at++) {
      this.act({ type: 'resume', stream: at })
      this.#streams[at]?.whenSynced()
    }
    this.#inTurn = true
    this.#subject.drain()
    this.#inTurn = false
    for (const watched of this.#watched) {
      this.#complete(watched)
      const isSynced = this.#streams[watched.stream]?.isSynced(watched.id)
      assert.equal(isSynced, watched.over === undefined)
    }
    for (const each of this.#streams) each.close()
    assert.deepEqual(this.#subject.hub.stats(), { watchers: 0, behind: 0, streams: 0 })
  }
}

test('every watcher is told all that happened, once, in order and whole, or that it is compacted', () => {
  const property = fc.property(fc.array(action, { minLength: 1, maxLength: 80, size: 'max' }), (actions) => {
    const run = new Run()
    for (const each of actions) run.act(each)
    run.finish()
  })
  const path = process.env['SKEIN_WATCH_PATH']
  const details = fc.check(property, { seed: SEED, numRuns: RUNS, ...(path !== undefined && { path }) })
  if (!details.failed) return
  const line = `SKEIN_WATCH_SEED=${details.seed} SKEIN_WATCH_PATH=${details.counterexamplePath} node scripts/test.mjs mvcc/watch`
  assert.fail(`${String(details.errorInstance)}\nreproduce: ${line}\n${fc.stringify(details.counterexample)}`)
})

type Heard = { readonly count: number; readonly revision: number; readonly bytes: number }

function listen(subject: Subject, heard: Heard[], takes: () => boolean = () => true): WatchStream {
  return subject.hub.open({
    onEvents(_id, events, revision) {
      heard.push({ count: events.length, revision, bytes: events.reduce((sum, event) => sum + event.sizeBytes, 0) })
      return takes()
    },
    onCompacted: () => assert.fail('nothing is compacted'),
    onSynced() {},
  })
}

test('history is told in slices, however much there is', () => {
  const subject = new Subject()
  const many = MAX_CHANGES_PER_SLICE * 3 + 10
  for (let i = 0; i < many; i++) subject.put(`k${i % 7}`, String(i))
  const heard: Heard[] = []
  assert.ok(listen(subject, heard).create(spec('k', { rangeEnd: utf8('l'), startRevision: 1 })).ok)
  assert.equal(subject.wakes, 1)
  let turns = 1
  while (subject.hub.turn()) turns++
  assert.equal(turns, 4)
  assert.deepEqual(
    heard.map(({ count }) => count),
    [MAX_CHANGES_PER_SLICE, MAX_CHANGES_PER_SLICE, MAX_CHANGES_PER_SLICE, 10],
  )
  assert.deepEqual([heard[0]?.revision, heard[3]?.revision], [MAX_CHANGES_PER_SLICE + 1, many + 1])
})

test('a slice ends after about a megabyte; a revision is never cut', () => {
  const subject = new Subject()
  const value = 'x'.repeat(300_000)
  const puts = (n: number): RequestOp[] =>
    Array.from({ length: n }, (_, i): RequestOp => ({ type: 'put', put: putOf(`k${i}`, value) }))
  for (const n of [1, 1, 1, 1, 1, 12, 1])
    assert.ok(subject.apply({ type: 'txn', request: { compare: [], success: puts(n), failure: [] } }))
  const heard: Heard[] = []
  assert.ok(listen(subject, heard).create(spec('k', { rangeEnd: utf8('l'), startRevision: 1 })).ok)
  subject.drain()
  assert.deepEqual(
    heard.map(({ count }) => count),
    [4, 13, 1],
  )
  assert.ok((heard[0] as Heard).bytes < MAX_SLICE_BYTES * 2)
})

test('a burst of writes in one turn is read again rather than kept, and told whole', () => {
  const subject = new Subject()
  const heard: Heard[] = []
  assert.ok(listen(subject, heard).create(spec('k', { rangeEnd: utf8('l') })).ok)
  const many = MAX_CHANGES_PER_SLICE + 500
  for (let i = 0; i < many; i++) subject.put(`k${i}`, String(i))
  subject.drain()
  assert.equal(
    heard.reduce((sum, { count }) => sum + count, 0),
    many,
  )
  assert.deepEqual(subject.hub.stats(), { watchers: 1, behind: 0, streams: 1 })
})

test('an event is encoded once for all its watchers', () => {
  const subject = new Subject()
  const seen: Uint8Array[] = []
  const stream0 = subject.hub.open({
    onEvents(_id, events) {
      for (const event of events) seen.push(event.encoded(false))
      return true
    },
    onCompacted() {},
    onSynced() {},
  })
  for (let i = 0; i < 50; i++) assert.ok(stream0.create(spec('k', i % 2 === 0 ? {} : { rangeEnd: utf8('\0') })).ok)
  subject.put('k', '1')
  subject.drain()
  assert.equal(seen.length, 50)
  assert.equal(new Set(seen).size, 1)
})

test('a stream that takes nothing holds nothing, and does not hold up the others', () => {
  const subject = new Subject()
  const [slow, quick]: [Heard[], Heard[]] = [[], []]
  let takes = false
  const behind = listen(subject, slow, () => takes)
  assert.ok(behind.create(spec('k')).ok)
  assert.ok(listen(subject, quick).create(spec('k')).ok)
  for (let i = 0; i < 100; i++) {
    subject.put('k', String(i))
    subject.drain()
  }
  assert.deepEqual([slow.length, quick.length], [1, 100])
  assert.equal(subject.hub.stats().behind, 1)
  assert.equal(subject.hub.turn(), false, 'nothing is done for it meanwhile')
  takes = true
  behind.resume()
  subject.drain()
  assert.deepEqual(slow[1], { count: 99, revision: 101, bytes: slow[1]?.bytes })
  assert.equal(subject.hub.stats().behind, 0)
})

test('the refusals of etcd: an empty range, an id that is taken', () => {
  const subject = new Subject()
  const on = listen(subject, [])
  const messages = [
    on.create(spec('b', { rangeEnd: utf8('a') })),
    on.create(spec('b', { watchId: 3 })),
    on.create(spec('c', { watchId: 3 })),
  ].map((result) => (result.ok ? result.value : result.error.message))
  assert.deepEqual(messages, [
    'mvcc: watcher range is empty',
    3,
    'mvcc: duplicate watch ID provided on the WatchStream',
  ])
})

test('a key that one transaction deletes and puts: what was before is what was before the transaction', () => {
  const subject = new Subject()
  subject.put('k', 'old')
  const told: WatchedEvent[][] = []
  const on = subject.hub.open({
    onEvents(_id, events) {
      told.push([...decodedEvents(events, true)])
      return true
    },
    onCompacted() {},
    onSynced() {},
  })
  assert.ok(on.create(spec('k')).ok)
  const success: RequestOp[] = [
    { type: 'deleteRange', deleteRange: { key: utf8('k'), rangeEnd: utf8('\0'), prevKv: false } },
    { type: 'put', put: putOf('k', 'new') },
  ]
  assert.ok(subject.apply({ type: 'txn', request: { compare: [], success, failure: [] } }))
  subject.drain()
  // Once from history as well.
  assert.ok(on.create(spec('k', { startRevision: 3 })).ok)
  subject.drain()
  assert.equal(told.length, 2)
  for (const events of told) {
    assert.deepEqual(
      events.map(({ type, prevKv }) => [type, text(prevKv?.value ?? EMPTY)]),
      [
        [1, 'old'],
        [0, 'old'],
      ],
    )
  }
})
