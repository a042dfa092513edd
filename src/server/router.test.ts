import assert from 'node:assert/strict'
import { test } from 'node:test'
import { failure, err, ok, utf8 } from '../base/index.ts'
import type { Read } from './requests.ts'
import { createRouter, type Source } from './router.ts'

/** The longest turn that the laws allow. */
const TURN_MS = 20

type RangeRequest = Read['request']

const REQUEST: RangeRequest = {
  key: utf8('a'),
  rangeEnd: utf8('z'),
  limit: 0,
  revision: 0,
  sortOrder: 0,
  sortTarget: 0,
  serializable: true,
  keysOnly: false,
  countOnly: false,
  minModRevision: 0,
  maxModRevision: 0,
  minCreateRevision: 0,
  maxCreateRevision: 0,
}

/** A world whose clock moves only where a look is said to take time, and a store of which each range takes `looks`. */
function scene(): {
  readonly read: (looks: number, done: (code: string) => void, cancelled?: () => boolean) => void
  readonly close: () => void
  readonly replaceStore: () => void
  /** Runs turns until nothing is asked for any more; how long each took. */
  readonly turns: () => readonly number[]
} {
  let nowMs = 0
  let atEnd: (() => void)[] = []
  const looksOf = new Map<RangeRequest, number>()
  const storeOf = (): Source['store'] => ({
    range(request) {
      let left = looksOf.get(request) ?? 0
      return {
        step() {
          nowMs += 1
          return --left <= 0
        },
        result: () => ok({ body: new Uint8Array(0), revision: 1 }),
      }
    },
  })
  let store = storeOf()
  const source: Source = {
    get store() {
      return store
    },
    propose: (_request, answer) => answer(err(failure('internal', 'nothing is written here'))),
    linearizable: (_deadlineMs, answer) => answer(ok()),
    watches: { open: () => assert.fail('nothing is watched here') },
  }
  const router = createRouter(
    {
      clock: { monotonicMs: () => nowMs, wallMs: () => nowMs, setTimer: () => assert.fail('no timers here') },
      endOfTurn: (callback) => void atEnd.push(callback),
    },
    1_000_000,
    () => source,
  )
  return {
    read(looks, done, cancelled = () => false) {
      const request = { ...REQUEST }
      looksOf.set(request, looks)
      router.read({ space: 'default', request, serializable: true, deadlineMs: 1_000_000, cancelled }, (result) =>
        done(result.ok ? 'ok' : result.error.code),
      )
    },
    close: () => router.close(),
    replaceStore: () => (store = storeOf()),
    turns() {
      const lengths: number[] = [nowMs]
      while (atEnd.length > 0) {
        const startMs = nowMs
        const callbacks = atEnd
        atEnd = []
        for (const callback of callbacks) callback()
        lengths.push(nowMs - startMs)
      }
      return lengths
    },
  }
}

test('a thousand long reads of one turn make no long turn, and all are answered', () => {
  const { read, turns } = scene()
  const answers: string[] = []
  for (let i = 0; i < 1000; i++) read(10, (code) => answers.push(code))
  const lengths = turns()
  assert.deepEqual(
    answers,
    Array.from({ length: 1000 }, () => 'ok'),
  )
  assert.ok(Math.max(...lengths) <= TURN_MS, `a turn of ${Math.max(...lengths)} ms`)
})

test('short reads do not wait for the long ones that came before', () => {
  const { read, turns } = scene()
  const order: string[] = []
  for (let i = 0; i < 20; i++) read(1000, () => order.push('long'))
  for (let i = 0; i < 50; i++) read(1, () => order.push('short'))
  turns()
  assert.deepEqual(order, [...Array.from({ length: 50 }, () => 'short'), ...Array.from({ length: 20 }, () => 'long')])
})

test('a long read gets on while short ones come without end', () => {
  const { read, turns } = scene()
  const order: string[] = []
  let more = 5000
  const again = (): void => {
    order.push('short')
    if (more-- > 0) read(1, again)
  }
  read(1, again)
  read(100, () => order.push('long'))
  turns()
  assert.ok(order.indexOf('long') < 1000, `after ${order.indexOf('long')} short ones`)
})

test('a read begins again where the state was replaced, and ends where the client or the server goes', () => {
  const { read, turns, close, replaceStore } = scene()
  const answers: string[] = []
  read(100, (code) => answers.push(code))
  replaceStore()
  turns()
  assert.deepEqual(answers, ['ok'])
  read(
    100,
    (code) => answers.push(code),
    () => true,
  )
  read(100, (code) => answers.push(code))
  close()
  turns()
  assert.deepEqual(answers, ['ok', 'timed-out', 'stopping'])
})
