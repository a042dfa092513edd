import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { logIndex, utf8 } from '../base/index.ts'
import type { SpaceId } from '../base/index.ts'
import { RESULTS_PER_SESSION, sessionIdAfter } from '../wire/index.ts'
import { createSortedEngine } from '../../test/sorted-engine.ts'
import { earlierResult, MAX_RESULT_BYTES, MAX_SESSIONS, remember } from './sessions.ts'

const SPACE = 1 as SpaceId

function createTable(): {
  apply(id: string, sequence: number, body?: Uint8Array): string
  readonly applied: number
} {
  const engine = createSortedEngine()
  let index = 0
  return {
    get applied() {
      return index
    },
    /** What the applier does with a request: `new` where it took effect now, else what an earlier one was answered. */
    apply(id, sequence, body = utf8(`${id}#${sequence}`)) {
      index++
      const session = { id: utf8(id), sequence }
      const earlier = earlierResult(engine, SPACE, session)
      if (earlier !== undefined) return earlier.ok ? `again at ${earlier.value.revision}` : earlier.error.code
      remember(engine, engine.writer, SPACE, session, logIndex(index), { body, revision: index })
      return 'new'
    },
  }
}

describe('sessions', () => {
  test('a request that comes again gets the first answer, whatever came between', () => {
    const table = createTable()
    assert.equal(table.apply('a', 2), 'new')
    assert.equal(table.apply('a', 1), 'new')
    assert.equal(table.apply('b', 1), 'new')
    assert.equal(table.apply('a', 1), 'again at 2')
    assert.equal(table.apply('a', 2), 'again at 1')
  })

  test('within a window of open requests every order of arrival is new once; what fell out of it is refused', () => {
    const table = createTable()
    // The highest number of the window first, the lowest last: the client keeps no wider window.
    for (let sequence = RESULTS_PER_SESSION; sequence >= 1; sequence--) assert.equal(table.apply('a', sequence), 'new')
    for (let sequence = 1; sequence <= RESULTS_PER_SESSION; sequence++)
      assert.match(table.apply('a', sequence), /^again/)
    assert.equal(table.apply('a', RESULTS_PER_SESSION + 1), 'new')
    assert.equal(table.apply('a', 1), 'session-stale')
    assert.match(table.apply('a', 2), /^again/)
  })

  test('an answer that is too large is remembered as a fact', () => {
    const table = createTable()
    assert.equal(table.apply('a', 1, new Uint8Array(MAX_RESULT_BYTES + 1)), 'new')
    assert.equal(table.apply('a', 1), 'session-stale')
  })

  test('a session that may have been forgotten is refused, and one opened since is new', () => {
    const table = createTable()
    const old = sessionIdAfter(table.applied, utf8('old'))
    const idle = sessionIdAfter(table.applied, utf8('idle'))
    assert.equal(table.apply(old, 1), 'new')
    // So many others that the first is forgotten.
    for (let i = 0; i < MAX_SESSIONS; i++) table.apply(sessionIdAfter(table.applied, utf8(`n${i}`)), 1)
    // Sent again, it must not take effect a second time.
    assert.equal(table.apply(old, 1), 'session-stale')
    // This one never was used; nobody can tell, and its client opens another.
    assert.equal(table.apply(idle, 1), 'session-stale')
    const fresh = sessionIdAfter(table.applied, utf8('fresh'))
    assert.equal(table.apply(fresh, 1), 'new')
    assert.match(table.apply(fresh, 1), /^again/)
  })

  test('without forgetting, an unknown session is new however old its id', () => {
    const table = createTable()
    for (let i = 0; i < 100; i++) table.apply(`x${i}`, 1)
    assert.equal(table.apply(sessionIdAfter(0, utf8('late')), 1), 'new')
  })
})
