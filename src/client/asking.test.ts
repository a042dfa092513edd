/** What is asked again, where and how: the table of asking.ts, against servers that answer as they are told to. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { SkeinError, text, utf8 } from '../base/index.ts'
import { createSimulation } from '../lab/index.ts'
import type { Metadata } from '../wire/index.ts'
import { GRPC_STATUS } from '../wire/index.ts'
import { yieldMacrotask } from '../world/node/index.ts'
import { createAsker } from './asking.ts'
import type { Ended, Introduced, ServerConnection } from './connection.ts'

const SKEIN = { clusterId: 1n, memberId: 1n, appliedIndex: 5 }
const OTHER = { clusterId: 2n, memberId: 1n, appliedIndex: 5 }
const ETCD: Introduced = undefined

type Seen = { readonly server: string; readonly session: string | undefined; readonly sequence: string | undefined }
type Scripted = { readonly who: Introduced; readonly answers: readonly Ended[] }

const ok: Ended = { status: { code: 0, message: '' }, outcome: 'answered', message: utf8('yes') }
const lost: Ended = {
  status: { code: GRPC_STATUS.unavailable, message: 'gone' },
  outcome: 'unknown',
  message: undefined,
}
const down: Ended = { ...lost, outcome: 'not-processed' }
const skeinSays = (code: string): Ended => ({
  ...{ outcome: 'answered', message: undefined },
  status: { code: GRPC_STATUS.unavailable, message: code, metadata: new Map([['skein-code', code]]) },
})
const etcdSays = (code: number, message: string): Ended => ({
  ...{ outcome: 'answered', message: undefined },
  status: { code, message: `etcdserver: ${message}` },
})

/** Asks once, and tells what came of it and what each server saw. The last answer of a server is repeated. */
async function asked(
  writes: boolean,
  servers: Readonly<Record<string, Scripted>>,
  timeoutMs = 5_000,
  resendWrites = true,
): Promise<{ result: string; message: string; seen: readonly Seen[]; tookMs: number }> {
  const simulation = createSimulation({ seed: 1, yieldMacrotask })
  const { world } = simulation.process('client')
  const seen: Seen[] = []
  const connections = Object.entries(servers).map(([server, { who, answers }]): ServerConnection => {
    let count = 0
    return {
      address: server,
      call(call, done) {
        const metadata: Metadata | undefined = call.metadata(who)
        const answer = metadata === undefined ? down : (answers[Math.min(count++, answers.length - 1)] as Ended)
        if (metadata !== undefined)
          seen.push({ server, session: metadata.get('skein-session'), sequence: metadata.get('skein-seq') })
        world.clock.setTimer(1, () => done(answer))
      },
      stream: () => () => {},
      forgetIntroduction() {},
      close() {},
    }
  })
  return simulation.runAsync(async () => {
    const asker = createAsker(world, new Map(), connections, resendWrites)
    const deadlineMs = world.clock.monotonicMs() + timeoutMs
    const startMs = simulation.nowMs
    try {
      const value = await asker.ask({ path: '/x', message: new Uint8Array(0), writes, deadlineMs })
      return { result: text(value), message: '', seen, tookMs: simulation.nowMs - startMs }
    } catch (error) {
      if (!(error instanceof SkeinError)) throw error
      return { result: error.code, message: error.message, seen, tookMs: simulation.nowMs - startMs }
    }
  })
}

const servers = (seen: readonly Seen[]): string => seen.map(({ server }) => server).join('')

describe('what the client asks again', () => {
  test('who is not reached is passed over, by reads and writes', async () => {
    for (const writes of [true, false]) {
      const { result, seen } = await asked(writes, {
        a: { who: ETCD, answers: [down] },
        b: { who: ETCD, answers: [ok] },
      })
      assert.deepEqual([result, servers(seen)], ['yes', 'ab'])
    }
  })

  test('a write is not sent again where that is not wanted, and has no session; one that was not taken is', async () => {
    const b = { who: SKEIN, answers: [ok] }
    const unknown = await asked(true, { a: { who: SKEIN, answers: [lost] }, b }, 5_000, false)
    assert.deepEqual([unknown.result, servers(unknown.seen)], ['outcome-unknown', 'a'])
    assert.deepEqual(unknown.seen[0]?.session, undefined)
    const taken = await asked(true, { a: { who: SKEIN, answers: [down] }, b }, 5_000, false)
    assert.deepEqual([taken.result, servers(taken.seen)], ['yes', 'ab'])
  })

  test('nobody is reached, or nobody leads: one round, then the error', async () => {
    for (const answer of [down, skeinSays('no-leader')]) {
      const { result, seen } = await asked(true, {
        a: { who: SKEIN, answers: [answer] },
        b: { who: SKEIN, answers: [answer] },
      })
      assert.deepEqual([result, servers(seen)], [answer === down ? 'unreachable' : 'no-leader', 'ab'])
    }
  })

  test('a refusal that will pass is asked again after a pause, until it passes or the deadline', async () => {
    for (const refusal of ['too-many-requests', 'transfer-in-progress', 'not-leader']) {
      const answers = [skeinSays(refusal), skeinSays(refusal), ok]
      const { result, seen, tookMs } = await asked(true, { a: { who: SKEIN, answers } })
      assert.deepEqual([result, servers(seen)], ['yes', 'aaa'])
      assert.ok(tookMs > 3)
      // Nothing took effect: it is one request all the same.
      assert.equal(new Set(seen.map(({ session, sequence }) => `${session} ${sequence}`)).size, 1)
    }
    const { result, tookMs, seen } = await asked(true, { a: { who: SKEIN, answers: [skeinSays('too-many-requests')] } })
    assert.equal(result, 'too-many-requests')
    assert.ok(tookMs >= 5_000 && tookMs < 6_000, `${tookMs} ms`)
    assert.ok(seen.length < 40, `${seen.length} attempts`)
  })

  test('a lost read is asked elsewhere', async () => {
    const { result, seen } = await asked(false, { a: { who: ETCD, answers: [lost] }, b: { who: SKEIN, answers: [ok] } })
    assert.deepEqual([result, servers(seen)], ['yes', 'ab'])
    assert.equal(seen[1]?.session, undefined)
  })

  test('a write lost at etcd is never asked again', async () => {
    for (const answer of [
      lost,
      etcdSays(GRPC_STATUS.unavailable, 'request timed out'),
      etcdSays(GRPC_STATUS.unavailable, 'server stopped'),
      etcdSays(GRPC_STATUS.unavailable, 'leader changed'),
      etcdSays(GRPC_STATUS.unknown, 'raft proposal dropped'),
      etcdSays(GRPC_STATUS.deadlineExceeded, 'context deadline exceeded'),
    ]) {
      const { result, seen } = await asked(true, {
        a: { who: ETCD, answers: [answer] },
        b: { who: ETCD, answers: [ok] },
      })
      assert.deepEqual([result, servers(seen)], ['outcome-unknown', 'a'], answer.status.message)
      assert.equal(seen[0]?.session, undefined)
    }
  })

  test('a write lost at Skein is asked again under its session and number', async () => {
    for (const answer of [lost, skeinSays('timed-out'), skeinSays('outcome-unknown')]) {
      const { result, seen } = await asked(true, {
        a: { who: SKEIN, answers: [answer] },
        b: { who: SKEIN, answers: [ok] },
      })
      assert.deepEqual([result, servers(seen)], ['yes', 'ab'])
      assert.match(seen[0]?.session ?? '', /^after-5-/)
      assert.deepEqual({ ...seen[1], server: 'a' }, seen[0])
    }
  })

  test('and only within the cluster that had it first', async () => {
    const { result, seen } = await asked(true, {
      a: { who: SKEIN, answers: [lost] },
      b: { who: ETCD, answers: [ok] },
      c: { who: OTHER, answers: [ok] },
      d: { who: SKEIN, answers: [ok] },
    })
    assert.deepEqual([result, servers(seen)], ['yes', 'ad'])
  })

  test('a refusal after a lost attempt says nothing about that one', async () => {
    const { result, message } = await asked(true, {
      a: { who: SKEIN, answers: [lost] },
      b: { who: SKEIN, answers: [skeinSays('invalid-request')] },
    })
    assert.equal(result, 'outcome-unknown')
    assert.match(message, /gone; asked again: .*invalid-request/)
  })

  test('while a lost write is open, it goes on until the deadline though nobody is there', async () => {
    const { result, tookMs } = await asked(true, { a: { who: SKEIN, answers: [lost, down] } }, 3_000)
    assert.equal(result, 'outcome-unknown')
    assert.ok(tookMs >= 3_000)
    const later = await asked(true, { a: { who: SKEIN, answers: [lost, down, down, down, ok] } }, 3_000)
    assert.equal(later.result, 'yes')
  })

  test('a session that the cluster has forgotten is replaced, where nothing was lost', async () => {
    const { result, seen } = await asked(true, { a: { who: SKEIN, answers: [skeinSays('session-stale'), ok] } })
    assert.deepEqual([result, servers(seen)], ['yes', 'aa'])
    assert.notEqual(seen[0]?.session, seen[1]?.session)
    const lostFirst = await asked(true, { a: { who: SKEIN, answers: [lost, skeinSays('session-stale'), ok] } })
    assert.deepEqual([lostFirst.result, servers(lostFirst.seen)], ['outcome-unknown', 'aa'])
    const always = await asked(true, { a: { who: SKEIN, answers: [skeinSays('session-stale')] } })
    assert.deepEqual([always.result, servers(always.seen)], ['session-stale', 'aaaa'])
  })

  test('an answer is final', async () => {
    for (const code of ['invalid-request', 'compacted', 'request-too-large', 'space-unknown', 'disk-full']) {
      const { result, seen } = await asked(true, { a: { who: SKEIN, answers: [skeinSays(code), ok] } })
      assert.deepEqual([result, servers(seen)], [code, 'a'])
    }
  })
})
