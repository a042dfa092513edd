/** etcd's documented behaviour of keys, revisions and compaction, one claim per test. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { text, utf8 } from '../base/index.ts'
import { deleteOp, putOp, rangeOp, shown, testStore, txnOp, txnRequest } from '../../test/mvcc-requests.ts'
import type { KeyValue } from '../wire/index.ts'
import { COMPARE_RESULT, COMPARE_TARGET, SORT_ORDER, SORT_TARGET } from '../wire/index.ts'
import { MAX_KEY_BYTES, openStore, validatePut } from './index.ts'
import { putRequest } from '../../test/mvcc-requests.ts'
import { spaceId } from '../base/index.ts'

const ALL = new Uint8Array([0])

/** create, mod and version of the only pair. */
function numbers(response: ReturnType<ReturnType<typeof testStore>['range']>): number[] {
  assert.ok(typeof response !== 'string')
  const kv = response.kvs[0] as KeyValue
  return [kv.createRevision, kv.modRevision, kv.version]
}

test('a new store is at revision 1', () => {
  const { store, range } = testStore()
  assert.equal(store.revision, 1)
  assert.deepEqual(range('a'), { kvs: [], more: false, count: 0 })
})

test('every put takes a revision; version counts the puts since creation', () => {
  const { store, put, range } = testStore()
  put('a', '1')
  put('b', '1')
  put('a', '2')
  assert.equal(store.revision, 4)
  assert.deepEqual(numbers(range('a')), [2, 4, 2])
  assert.deepEqual(numbers(range('b')), [3, 3, 1])
})

test('a key that is deleted and put again starts over', () => {
  const { put, range, deleteRange } = testStore()
  put('a', '1')
  put('a', '2')
  deleteRange('a')
  put('a', '3')
  assert.deepEqual(numbers(range('a')), [5, 5, 1])
})

test('a deletion takes one revision for all its keys, and none where there are no keys', () => {
  const { store, put, deleteRange } = testStore()
  put('a', '1')
  put('b', '1')
  const response = deleteRange('a', 'z', true)
  assert.ok(typeof response !== 'string')
  assert.equal(response.deleted, 2)
  assert.deepEqual(
    response.prevKvs.map((kv) => text(kv.key)),
    ['a', 'b'],
  )
  assert.equal(store.revision, 4)
  deleteRange('a', 'z')
  assert.equal(store.revision, 4)
})

test('a failed transaction without writes takes no revision', () => {
  const { store, txn } = testStore()
  txn([], [rangeOp('a')])
  txn([], [deleteOp('a')])
  assert.equal(store.revision, 1)
})

test('reads at old revisions see the state of that revision', () => {
  const { put, range, deleteRange } = testStore()
  put('a', '1') // 2
  put('b', '1') // 3
  put('a', '2') // 4
  deleteRange('a') // 5
  put('a', '3') // 6
  const at = (revision: number): string[] => shown(range('a', 'z', { revision }))
  assert.deepEqual(at(2), ['a=1'])
  assert.deepEqual(at(3), ['a=1', 'b=1'])
  assert.deepEqual(at(4), ['a=2', 'b=1'])
  assert.deepEqual(at(5), ['b=1'])
  assert.deepEqual(at(6), ['a=3', 'b=1'])
  assert.deepEqual(at(0), ['a=3', 'b=1'])
  assert.deepEqual(at(-7), ['a=3', 'b=1'])
  assert.deepEqual(at(7), ['ErrFutureRev'])
})

test('compaction: what is below cannot be read, what is at it can', () => {
  const { put, range, compact } = testStore()
  for (const value of ['1', '2', '3']) put('a', value)
  assert.equal(compact(5), 'ErrFutureRev')
  assert.equal(compact(3), 4)
  assert.equal(compact(3), 'ErrCompacted')
  assert.equal(compact(2), 'ErrCompacted')
  assert.deepEqual(shown(range('a', '', { revision: 2 })), ['ErrCompacted'])
  assert.deepEqual(shown(range('a', '', { revision: 3 })), ['a=2'])
})

test('compaction at 0 is accepted once, as etcd does', () => {
  const { compact } = testStore()
  assert.equal(compact(-1), 'ErrCompacted')
  assert.equal(compact(0), 1)
  assert.equal(compact(0), 'ErrCompacted')
})

test('scrubbing removes superseded versions and deletions, and nothing that can be read', () => {
  const { engine, put, range, deleteRange, compact, scrub, store } = testStore()
  put('a', '1')
  put('a', '2')
  put('gone', '1')
  deleteRange('gone')
  put('a', '3')
  const before = engine.pairs.length
  assert.equal(compact(5), 6)
  assert.ok(store.scrubPending)
  scrub(1)
  assert.equal(store.scrubPending, false)
  // Of a its first version, of gone the put: with their index records four pairs. The deletion is the change at the
  // compacted revision itself, and stays until the next compaction.
  assert.equal(engine.pairs.length, before - 4 + 1)
  assert.deepEqual(shown(range('a', ALL, { revision: 5 })), ['a=2'])
  assert.deepEqual(shown(range('a', ALL)), ['a=3'])
  const told: string[] = []
  store.visitChanges(5, 6, (change) => {
    told.push(`${change.main} ${text(change.key)}`)
    return true
  })
  assert.deepEqual(told, ['5 gone', '6 a'])
  compact(6)
  scrub(1)
  // The last version of a, its index record, and the compaction's own record.
  assert.equal(engine.pairs.length, 3)
})

test('a scrub that was interrupted goes on after a restart, and a compaction meanwhile gets its own pass', () => {
  const { engine, put, compact, store } = testStore()
  for (let i = 0; i < 20; i++) put('a', `${i}`)
  compact(10)
  store.scrub(3, engine.writer)
  const again = testStore(engine)
  assert.equal(again.store.revision, 21)
  assert.equal(again.store.compactedRevision, 10)
  assert.ok(again.store.scrubPending)
  again.store.scrub(3, engine.writer)
  again.compact(15)
  again.scrub(3)
  const versions = (again.range('a', '', { revision: 15 }), engine.pairs.length)
  // Versions 15 to 21, each with its index record, and the compaction's own record.
  assert.equal(versions, 7 * 2 + 1)
})

test('the revision survives a restart even where compaction removed the newest change', () => {
  const { engine, put, deleteRange, compact, scrub } = testStore()
  put('a', '1')
  deleteRange('a')
  compact(3)
  scrub(10)
  assert.equal(openStore(engine, spaceId(0)).revision, 3)
})

test('a transaction sees its own writes, and its answers carry their revisions', () => {
  const { txn, put, store } = testStore()
  put('a', '1')
  const response = txn(
    [],
    [
      rangeOp('a', ALL),
      putOp('b', '1'),
      rangeOp('a', ALL),
      deleteOp('a'),
      rangeOp('a', ALL),
      rangeOp('a', '', { revision: 2 }),
    ],
  )
  assert.ok(typeof response !== 'string')
  const ranges = response.responses.map((op) => (op.type === 'range' ? shown(op.range) : op.type))
  assert.deepEqual(ranges, [['a=1'], 'put', ['a=1', 'b=1'], 'deleteRange', ['b=1'], ['a=1']])
  const revisions = response.responses.map((op) => (op.type === 'range' ? op.range.header?.revision : 0))
  assert.deepEqual(revisions, [2, 0, 3, 0, 3, 3])
  assert.equal(store.revision, 3)
})

test('conditions of nested transactions are decided on the state before the transaction', () => {
  const { txn, range } = testStore()
  const missing = {
    result: COMPARE_RESULT.equal,
    target: COMPARE_TARGET.version,
    key: utf8('a'),
    rangeEnd: utf8(''),
    operand: undefined,
  }
  const response = txn([], [putOp('a', '1'), txnOp(txnRequest([missing], [putOp('b', 'then')], [putOp('b', 'else')]))])
  assert.ok(typeof response !== 'string')
  assert.deepEqual(shown(range('b')), ['b=then'])
  const nested = response.responses[1]
  assert.ok(nested?.type === 'txn')
  assert.deepEqual(nested.txn.header, { clusterId: 0n, memberId: 0n, revision: 0, raftTerm: 0 })
})

test('a condition on a missing key: revisions and versions are 0, its value equals nothing', () => {
  const { txn } = testStore()
  const compare = (target: number, result: number) => ({
    result,
    target,
    key: utf8('a'),
    rangeEnd: utf8(''),
    operand: undefined,
  })
  const succeeded = (target: number, result: number): boolean => {
    const response = txn([compare(target, result)], [])
    assert.ok(typeof response !== 'string')
    return response.succeeded
  }
  for (const target of [COMPARE_TARGET.version, COMPARE_TARGET.create, COMPARE_TARGET.mod, COMPARE_TARGET.lease]) {
    assert.equal(succeeded(target, COMPARE_RESULT.equal), true)
    assert.equal(succeeded(target, COMPARE_RESULT.greater), false)
  }
  for (const result of Object.values(COMPARE_RESULT)) assert.equal(succeeded(COMPARE_TARGET.value, result), false)
})

test('a transaction that fails while it runs leaves no trace', () => {
  const { engine, txn, put, store } = testStore()
  put('b', '1')
  const before = engine.pairs.map((pair) => pair.key)
  // etcd does not see that the unbounded deletion takes the key that ignore_value needs, and would end itself here.
  const answer = txn([], [putOp('c', '1'), deleteOp('a', ALL), putOp('b', '', { ignoreValue: true })])
  assert.equal(answer, 'ErrKeyNotFound')
  assert.equal(store.revision, 2)
  assert.deepEqual(
    engine.pairs.map((pair) => pair.key),
    before,
  )
})

test('ignore_value and ignore_lease keep what was there and need a key', () => {
  const { put, range } = testStore(undefined, new Set([7n]))
  assert.equal(put('a', '', { ignoreValue: true }), 'ErrKeyNotFound')
  put('a', '1', { lease: 7n })
  put('a', '2', { ignoreLease: true })
  put('a', '', { ignoreValue: true, lease: 0n })
  const response = range('a')
  assert.ok(typeof response !== 'string')
  assert.deepEqual(shown(response), ['a=2'])
  assert.equal(response.kvs[0]?.lease, 0n)
  assert.equal(put('a', '1', { lease: 8n }), 'ErrLeaseNotFound')
})

test('prev_kv of a put is the pair before it', () => {
  const { put } = testStore()
  assert.deepEqual(put('a', '1', { prevKv: true }), {})
  const response = put('a', '2', { prevKv: true })
  assert.ok(typeof response !== 'string' && response.prevKv !== undefined)
  assert.equal(text(response.prevKv.value), '1')
})

test('a sort target without order sorts only the pairs that the limit fetched, as etcd does', () => {
  const { put, range } = testStore()
  for (const key of ['a', 'b', 'c', 'd']) put(key, key)
  put('a', 'a')
  const byMod = { sortTarget: SORT_TARGET.mod, limit: 1 }
  assert.deepEqual(shown(range('a', ALL, byMod)), ['b=b'])
  assert.deepEqual(shown(range('a', ALL, { ...byMod, sortOrder: SORT_ORDER.descend })), ['a=a'])
})

test('count is of all keys in the range, whatever the limit and the filters', () => {
  const { put, range } = testStore()
  for (const key of ['a', 'b', 'c', 'd']) put(key, key)
  const limited = range('a', ALL, { limit: 2 })
  assert.ok(typeof limited !== 'string')
  assert.deepEqual([limited.count, limited.more, limited.kvs.length], [4, true, 2])
  const filtered = range('a', ALL, { minModRevision: 5 })
  assert.ok(typeof filtered !== 'string')
  assert.deepEqual([filtered.count, filtered.more, filtered.kvs.length], [4, false, 1])
})

test('keys with zero bytes keep their order and are not mixed up', () => {
  const { put, range, deleteRange } = testStore()
  const keys = ['a', 'a\0', 'a\0\0', 'a\0\u0001', 'a\u0001', 'a\u0002', 'aa']
  for (const key of keys.toReversed()) put(key, '')
  const listed = range('a', ALL, { keysOnly: true })
  assert.ok(typeof listed !== 'string')
  assert.deepEqual(
    listed.kvs.map((kv) => text(kv.key)),
    keys,
  )
  deleteRange('a\0')
  assert.deepEqual(shown(range('a\0')), [])
  assert.deepEqual(shown(range('a')), ['a='])
})

test('a key above the limit is refused, and may still bound a range', () => {
  const { put, range, deleteRange } = testStore()
  const longest = new Uint8Array(MAX_KEY_BYTES).fill(97)
  const tooLong = new Uint8Array(MAX_KEY_BYTES + 1).fill(97)
  assert.deepEqual(validatePut(putRequest(longest, '')), { ok: true, value: undefined })
  assert.equal(put(tooLong, ''), 'invalid-request')
  put(longest, '1')
  put('b', '2')
  const count = (key: Uint8Array | string, end: Uint8Array | string): number => {
    const response = range(key, end, { countOnly: true })
    assert.ok(typeof response !== 'string')
    return response.count
  }
  assert.equal(count(tooLong, ''), 0)
  assert.equal(count(tooLong, ALL), 1)
  assert.equal(count('a', tooLong), 1)
  assert.equal(count('a', longest), 0)
  const zeros = new Uint8Array(MAX_KEY_BYTES / 2 + 1)
  assert.equal(put(zeros, ''), 'invalid-request')
  assert.equal(count(ALL, zeros), 0)
  deleteRange(tooLong)
  assert.equal(count('a', ALL), 2)
})

test('a slice of a read after a compaction: a named revision fails, the latest begins again', () => {
  const { engine, store, put, compact, scrub } = testStore()
  for (let i = 0; i < 9; i++) put(`k${i}`, '1')
  const latest = store.range({ ...rangeAll(), revision: 0 })
  const named = store.range({ ...rangeAll(), revision: 10 })
  assert.equal(latest.step(2), false)
  assert.equal(named.step(2), false)
  for (let i = 0; i < 9; i++) put(`k${i}`, '2')
  compact(19)
  scrub(100)
  while (!latest.step(2));
  while (!named.step(2));
  const read = latest.result()
  assert.ok(read.ok)
  assert.equal(read.value.revision, 19)
  assert.equal(named.result().ok, false)
  assert.ok(engine.pairs.length > 0)
})

test('two spaces in one engine know nothing of each other', () => {
  const { engine, put, range } = testStore()
  const other = openStore(engine, spaceId(65535))
  put('a', '1')
  assert.equal(other.revision, 1)
  other.apply({ type: 'put', request: putRequest('a', 'other') }, engine.writer)
  assert.deepEqual(shown(range('a', ALL)), ['a=1'])
})

test('changes are told in order, with deletions', () => {
  const { store, put, deleteRange, txn } = testStore()
  put('a', '1')
  txn([], [putOp('b', '1'), putOp('c', '1')])
  deleteRange('a')
  const told: string[] = []
  store.visitChanges(2, 4, (change) => {
    told.push(`${change.main}.${change.sub} ${text(change.key)}${change.kv === undefined ? ' deleted' : ''}`)
    return true
  })
  assert.deepEqual(told, ['2.0 a', '3.0 b', '3.1 c', '4.0 a deleted'])
})

function rangeAll(): Parameters<ReturnType<typeof testStore>['store']['range']>[0] {
  const op = rangeOp('a', ALL)
  assert.ok(op.type === 'range')
  return op.range
}
