/**
 * An engine beside the simplest model of it: random steps, and after each crash the engine must hold exactly one of the
 * states that the model went through, none older than what was last said to be durable.
 */
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { type GroupId, groupId, logIndex, toHex } from '../base/index.ts'
import { type Bench, close, opened, settled } from './engine.testkit.ts'
import type { Engine, EngineCursor, EngineReader, EngineSnapshot } from './types.ts'

export type Write = { readonly key: Uint8Array; readonly value: Uint8Array | undefined }
export type Step =
  | { readonly type: 'batch'; readonly group: number; readonly writes: readonly Write[] }
  | { readonly type: 'checkpoint'; readonly wait: boolean }
  | { readonly type: 'pass'; readonly ms: number }
  | { readonly type: 'crash' }
  | { readonly type: 'reopen' }
  | { readonly type: 'look'; readonly start: Uint8Array; readonly end: Uint8Array; readonly reverse: boolean }
  | { readonly type: 'seek'; readonly keys: readonly Uint8Array[]; readonly reverse: boolean }
  | { readonly type: 'snapshot' }
  | { readonly type: 'stepCursor' }
  | {
      readonly type: 'restore'
      readonly group: number
      readonly start: Uint8Array
      readonly end: Uint8Array
      readonly pairs: readonly Write[]
      readonly ending: 'commit' | 'crash' | 'abort'
      readonly ms: number
    }

type Walk = { readonly cursor: EngineCursor; last: string; readonly reverse: boolean }

type State = { readonly pairs: ReadonlyMap<string, string>; readonly applied: ReadonlyMap<GroupId, number> }

const bytes = [0, 1, 97, 254, 255]
const key = fc.array(fc.constantFrom(...bytes), { minLength: 1, maxLength: 3 }).map((parts) => Uint8Array.from(parts))
const value = fc.integer({ min: 0, max: 300 }).map((size) => new Uint8Array(size).fill(size & 255))
const write = fc.record({ key, value: fc.option(value, { nil: undefined, freq: 4 }) })
const group = fc.integer({ min: 1, max: 2 })
const ms = fc.integer({ min: 0, max: 12 })

export const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 10, arbitrary: fc.record({ type: fc.constant('batch' as const), group, writes: fc.array(write) }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constant('checkpoint' as const), wait: fc.boolean() }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constant('pass' as const), ms }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('crash' as const) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('reopen' as const) }) },
  {
    weight: 4,
    arbitrary: fc.record({ type: fc.constant('look' as const), start: key, end: key, reverse: fc.boolean() }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ type: fc.constant('seek' as const), keys: fc.array(key), reverse: fc.boolean() }),
  },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('snapshot' as const) }) },
  { weight: 5, arbitrary: fc.record({ type: fc.constant('stepCursor' as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      type: fc.constant('restore' as const),
      group,
      start: key,
      end: key,
      pairs: fc.array(write),
      ending: fc.constantFrom('commit' as const, 'crash' as const, 'abort' as const),
      ms,
    }),
  },
)

const LOWEST = new Uint8Array(0)
const HIGHEST = new Uint8Array(5).fill(255)

function contents(reader: EngineReader): string[] {
  const pairs: string[] = []
  const cursor = reader.scan(LOWEST, HIGHEST)
  while (cursor.next()) pairs.push(`${toHex(cursor.key)}=${toHex(cursor.value)}`)
  cursor.close()
  return pairs
}

/** Hex keeps the order of bytes. */
function listed(state: State): string[] {
  return [...state.pairs].sort(([a], [b]) => (a < b ? -1 : 1)).map(([k, v]) => `${k}=${v}`)
}

export async function runModel(bench: Bench, steps: readonly Step[]): Promise<void> {
  const options = { checkpointDelayMs: 7, checkpointBytes: 3000 }
  let engine = await opened(bench, options)
  /** All states since the oldest that may be found after a crash. */
  let history: State[] = [{ pairs: new Map(), applied: new Map() }]
  let snapshots: { readonly snapshot: EngineSnapshot; readonly state: State }[] = []
  let walk: Walk | undefined
  const now = (): State => history.at(-1) as State
  const push = (state: State): void => void history.push(state)

  const forget = (): void => {
    snapshots = []
    walk = undefined
  }
  /** After an opening: the engine must hold one of the states of the history. */
  const recover = async (): Promise<void> => {
    forget()
    engine = await opened(bench, options)
    const found = contents(engine)
    const at = history.findLastIndex(
      (state) =>
        JSON.stringify(listed(state)) === JSON.stringify(found) &&
        [1, 2].every((id) => engine.appliedIndex(groupId(id)) === (state.applied.get(groupId(id)) ?? 0)),
    )
    assert.ok(at >= 0, `after the crash there is none of the ${history.length} states that may be: ${found.join(' ')}`)
    for (const id of [1, 2]) assert.equal(engine.durableIndex(groupId(id)), engine.appliedIndex(groupId(id)))
    history = [history[at] as State]
  }
  const crash = async (): Promise<void> => {
    const durable = [1, 2].map((id) => engine.durableIndex(groupId(id)))
    await bench.crash()
    await recover()
    for (const id of [1, 2]) assert.ok(engine.appliedIndex(groupId(id)) >= (durable[id - 1] ?? 0), 'durableIndex lied')
  }

  for (const action of steps) {
    switch (action.type) {
      case 'batch': {
        const id = groupId(action.group)
        const index = engine.appliedIndex(id) + 1
        const pairs = new Map(now().pairs)
        engine.applyBatch(id, logIndex(index), (writer) => {
          for (const { key: k, value: v } of action.writes) {
            if (v === undefined) {
              writer.remove(k)
              pairs.delete(toHex(k))
            } else {
              writer.put(k, v)
              pairs.set(toHex(k), toHex(v))
            }
          }
        })
        push({ pairs, applied: new Map(now().applied).set(id, index) })
        break
      }
      case 'checkpoint': {
        const { length } = history
        if (action.wait) {
          await settled<void>(bench, (done) => engine.checkpoint(done))
          history = history.slice(length - 1)
        } else engine.checkpoint(() => {})
        break
      }
      case 'pass':
        await bench.pass(action.ms)
        break
      case 'crash':
        await crash()
        break
      case 'reopen':
        await close(bench, engine)
        await recover()
        break
      case 'look': {
        const [from, to] = [toHex(action.start), toHex(action.end)]
        const cursor = engine.scan(action.start, action.end, { reverse: action.reverse })
        const found: string[] = []
        while (cursor.next()) found.push(`${toHex(cursor.key)}=${toHex(cursor.value)}`)
        cursor.close()
        const expected = listed({ ...now(), pairs: new Map([...now().pairs].filter(([k]) => k >= from && k < to)) })
        assert.deepEqual(found, action.reverse ? expected.reverse() : expected)
        const got = engine.get(action.start)
        assert.equal(got && toHex(got), now().pairs.get(from))
        for (const { snapshot, state } of snapshots) assert.deepEqual(contents(snapshot.reader), listed(state))
        break
      }
      case 'seek': {
        const cursor = engine.scan(LOWEST, HIGHEST, { reverse: action.reverse })
        const ordered = [...now().pairs.keys()].sort()
        for (const k of action.keys) {
          const hex = toHex(k)
          const expected: string | undefined = action.reverse
            ? ordered.findLast((candidate) => candidate <= hex)
            : ordered.find((candidate) => candidate >= hex)
          assert.equal(cursor.seek(k) ? toHex(cursor.key) : undefined, expected)
        }
        cursor.close()
        break
      }
      case 'snapshot': {
        if (snapshots.length === 3) snapshots.shift()?.snapshot.close()
        const snapshot = engine.openSnapshot()
        assert.ok(snapshot.ok)
        snapshots.push({ snapshot: snapshot.value, state: now() })
        break
      }
      case 'stepCursor': {
        if (walk === undefined) {
          const reverse = now().pairs.size % 2 === 1
          walk = { cursor: engine.scan(LOWEST, HIGHEST, { reverse }), last: reverse ? 'g' : '', reverse }
        }
        const { last, reverse, cursor }: Walk = walk
        const ordered = [...now().pairs.keys()].sort()
        const expected: string | undefined = reverse ? ordered.findLast((k) => k < last) : ordered.find((k) => k > last)
        const found = cursor.next() ? toHex(cursor.key) : undefined
        assert.equal(found, expected)
        if (found === undefined) walk = undefined
        else {
          assert.equal(toHex(cursor.value), now().pairs.get(found))
          walk.last = found
        }
        break
      }
      case 'restore': {
        const [start, end] = [toHex(action.start), toHex(action.end)]
        if (start >= end) break
        const id = groupId(action.group)
        const staged = engine.openRestore(id, action.start, action.end)
        const put = new Map<string, Write>()
        for (const item of action.pairs) {
          const hex = toHex(item.key)
          if (hex >= start && hex < end) put.set(hex, item)
        }
        for (const [, item] of [...put].sort(([a], [b]) => (a < b ? -1 : 1))) staged.add(item.key, item.value ?? LOWEST)
        if (action.ending === 'abort') {
          staged.abort()
          break
        }
        const index = engine.appliedIndex(id) + 5
        const pairs = new Map([...now().pairs].filter(([k]) => k < start || k >= end))
        for (const [hex, item] of put) pairs.set(hex, toHex(item.value ?? LOWEST))
        const after = { pairs, applied: new Map(now().applied).set(id, index) }
        if (action.ending === 'crash') {
          staged.commit(logIndex(index), () => {})
          await bench.pass(action.ms)
          push(after)
          await crash()
          break
        }
        await settled<void>(bench, (done) => staged.commit(logIndex(index), done))
        push(after)
        history = [after]
        break
      }
      default:
        action satisfies never
    }
  }
  assert.deepEqual(contents(engine), listed(now()))
}

/** Steps for a property; long enough to reach what needs several. */
export const steps: fc.Arbitrary<Step[]> = fc.array(step, { minLength: 1, maxLength: 60, size: 'max' })

export type { Engine }
