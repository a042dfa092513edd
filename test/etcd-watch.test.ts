/**
 * etcd's Watch through grpc-js, on a Skein cluster and on real etcd, the same steps one after the other: what is said
 * must be equal, but for what is a cluster's own.
 */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { Client, credentials } from '@grpc/grpc-js'
import type { TestCluster } from './cluster.testkit.ts'
import { startCluster, until } from './cluster.testkit.ts'
import type { Plain } from './etcd-proto.ts'
import { etcdService } from './etcd-proto.ts'
import type { WatchAnswer } from './etcd-watch.testkit.ts'
import { plainAnswers, WatchClient } from './etcd-watch.testkit.ts'
import type { EtcdCluster } from './etcd.testkit.ts'
import { missing, startEtcd } from './etcd.testkit.ts'

const bytes = (text: string): Buffer => Buffer.from(text, 'latin1')
const range = (key: string, end?: string): Plain => ({
  key: bytes(key),
  ...(end !== undefined && { rangeEnd: bytes(end) }),
})
const create = (key: string, more: Plain = {}): Plain => ({ createRequest: { key: bytes(key), ...more } })
const createRange = (key: string, end: string, more: Plain = {}): Plain =>
  create(key, { rangeEnd: bytes(end), ...more })
const cancel = (watchId: number): Plain => ({ cancelRequest: { watchId: String(watchId) } })
const put = (key: string, value: string): Plain => ({ requestPut: { key: bytes(key), value: bytes(value) } })
const del = (key: string, end?: string): Plain => ({ requestDeleteRange: range(key, end) })

/** The same for a server of either kind: a watch stream, and calls to change what is watched. */
class Side {
  readonly #kv: Client
  readonly #address: string
  readonly streams: WatchClient[] = []
  /** The store's revision when the test began: numbers in tests are counted from it. */
  base = 0

  constructor(address: string) {
    this.#address = address
    this.#kv = new Client(address, credentials.createInsecure(), { 'grpc.max_send_message_length': -1 })
  }

  async call(method: string, request: Plain): Promise<number> {
    const definition = etcdService('KV')[method]
    assert.ok(definition)
    const response = await new Promise<Plain>((resolve, reject) => {
      this.#kv.makeUnaryRequest(
        definition.path,
        definition.requestSerialize,
        definition.responseDeserialize,
        request,
        (error, answer) => (error === null && answer !== undefined ? resolve(answer) : reject(error ?? new Error())),
      )
    })
    return Number((response['header'] as { revision: string }).revision)
  }

  put(key: string, value: string): Promise<number> {
    return this.call('Put', { key: bytes(key), value: bytes(value) })
  }

  del(key: string, end?: string): Promise<number> {
    return this.call('DeleteRange', range(key, end))
  }

  txn(...success: Plain[]): Promise<number> {
    return this.call('Txn', { compare: [], success, failure: [] })
  }

  compact(revision: number): Promise<number> {
    return this.call('Compact', { revision: String(revision), physical: true })
  }

  watch(metadata?: Readonly<Record<string, string>>): WatchClient {
    const stream = new WatchClient(this.#address, metadata)
    this.streams.push(stream)
    return stream
  }

  closeStreams(): void {
    for (const stream of this.streams.splice(0)) stream.close()
  }

  close(): void {
    this.closeStreams()
    this.#kv.close()
  }
}

const events = (answers: readonly WatchAnswer[]): number => answers.reduce((sum, { events: of }) => sum + of.length, 0)
const countOf = (count: number) => (answers: readonly WatchAnswer[]) => answers.length >= count
const eventCount = (count: number) => (answers: readonly WatchAnswer[]) => events(answers) >= count

/** Each test's story, told to both sides; what it returns must be equal. Keys begin with the test's own letter. */
const STORIES: Readonly<Record<string, (side: Side) => Promise<unknown>>> = {
  'a key: put, put again, deleted, not there any more': async (side) => {
    const stream = side.watch()
    stream.send(create('a'))
    await stream.until(countOf(1))
    await side.put('a', '1')
    await stream.until(eventCount(1))
    await side.put('ab', 'not this one')
    await side.put('a', '2')
    await stream.until(eventCount(2))
    await side.del('a')
    await stream.until(eventCount(3))
    await side.del('a')
    await side.put('a', '3')
    return stream.until(eventCount(4))
  },
  'prev_kv: created, changed, deleted, created again': async (side) => {
    const stream = side.watch()
    stream.send(create('b', { prevKv: true }))
    await stream.until(countOf(1))
    for (const step of [
      () => side.put('b', '1'),
      () => side.put('b', '2'),
      () => side.del('b'),
      () => side.put('b', '3'),
    ]) {
      const before = stream.answers.length
      await step()
      await stream.until(countOf(before + 1))
    }
    return stream.answers
  },
  'ranges: a prefix, from a key on, an interval, a key with a zero byte': async (side) => {
    const stream = side.watch()
    stream.send(createRange('c', 'd', { watchId: '11' }))
    stream.send(createRange('cm', '\0', { watchId: '12' }))
    stream.send(createRange('ca', 'cc', { watchId: '13' }))
    stream.send(create('c\0', { watchId: '14' }))
    await stream.until(countOf(4))
    let total = 0
    for (const [key, told] of [
      ['ca', 2],
      ['cc', 1],
      ['cm', 2],
      ['c\0', 2],
      ['\xff', 1],
      ['c', 1],
    ] as const) {
      await side.put(key, '1')
      await stream.until(eventCount((total += told)))
    }
    return byWatch(stream.answers)
  },
  'a transaction: its events in one answer, in order': async (side) => {
    const stream = side.watch()
    stream.send(createRange('d', 'e', { prevKv: true }))
    await stream.until(countOf(1))
    await side.txn(put('d1', 'x'), put('d3', 'y'), put('d2', 'z'))
    await stream.until(eventCount(3))
    await side.txn(del('d1', 'd3'), put('d9', 'z'), put('d3', 'yy'))
    return stream.until(eventCount(7))
  },
  'from a revision in the past: everything since': async (side) => {
    for (let i = 0; i < 5; i++) await side.put(`e${i % 2}`, String(i))
    await side.del('e0')
    await side.put('e0', 'again')
    const stream = side.watch()
    stream.send(createRange('e', 'f', { startRevision: String(side.base + 2), prevKv: true }))
    await stream.until(eventCount(6))
    await side.put('e5', 'new')
    return merged(await stream.until(eventCount(7)))
  },
  'from a revision in the future: nothing before it': async (side) => {
    const stream = side.watch()
    stream.send(create('f', { startRevision: String(side.base + 3) }))
    await stream.until(countOf(1))
    for (const value of ['1', '2', '3', '4']) await side.put('f', value)
    return merged(await stream.until(eventCount(2)))
  },
  'from a negative revision: before the first one everything is compacted': async (side) => {
    const stream = side.watch()
    stream.send(create('neg', { startRevision: '-7' }))
    return stream.until(countOf(2))
  },
  'filters: no puts, no deletions, neither': async (side) => {
    const stream = side.watch()
    stream.send(create('g', { filters: [0], watchId: '1' }))
    stream.send(create('g', { filters: [1], watchId: '2' }))
    stream.send(create('g', { filters: [0, 1], watchId: '3' }))
    stream.send(create('g', { watchId: '4' }))
    await stream.until(countOf(4))
    await side.put('g', '1')
    await stream.until(eventCount(2))
    await side.del('g')
    await stream.until(eventCount(4))
    return byWatch(stream.answers)
  },
  'ids: given, chosen, chosen around the given, taken, free again after a cancel': async (side) => {
    const stream = side.watch()
    for (const watchId of ['1', '0', '0', '1', '-5', '0']) {
      const before = stream.answers.length
      stream.send(create('h', { watchId }))
      await stream.until(countOf(before + 1))
    }
    stream.send(cancel(1))
    stream.send(cancel(77))
    stream.send(create('h', { watchId: '1' }))
    return stream.until(countOf(8))
  },
  'refused: an empty range, an end before the beginning': async (side) => {
    const stream = side.watch()
    stream.send(createRange('i', 'i'))
    stream.send(createRange('j', 'i'))
    stream.send(createRange('j', 'i', { watchId: '9' }))
    stream.send(createRange('i', 'j', { watchId: '9' }))
    return stream.until(countOf(4))
  },
  'no key at all, and a request without anything in it': async (side) => {
    const stream = side.watch()
    stream.send({})
    stream.send({ createRequest: {} })
    stream.send({ createRequest: { rangeEnd: bytes('\0') } })
    await stream.until(countOf(2))
    await side.put('k', '1')
    return stream.until(eventCount(1))
  },
  'cancelled: nothing more is told': async (side) => {
    const stream = side.watch()
    stream.send(create('l', { watchId: '1' }))
    stream.send(create('l', { watchId: '2' }))
    await stream.until(countOf(2))
    stream.send(cancel(1))
    await stream.until(countOf(3))
    await side.put('l', '1')
    return stream.until(eventCount(1))
  },
  'compacted: below, at and above the compacted revision': async (side) => {
    for (const value of ['1', '2', '3', '4']) await side.put('m', value)
    await side.compact(side.base + 3)
    const stream = side.watch()
    stream.send(create('m', { startRevision: String(side.base + 2), watchId: '1' }))
    await stream.until(countOf(2))
    stream.send(create('m', { startRevision: String(side.base + 3), watchId: '2', prevKv: true }))
    await stream.until(eventCount(2))
    stream.send(create('m', { startRevision: String(side.base + 4), watchId: '3', prevKv: true }))
    await stream.until(eventCount(3))
    stream.send(create('m', { watchId: '1' }))
    stream.send(cancel(1))
    return stream.until(countOf(8))
  },
  'fragments: what is large comes in parts, of one watch that allows it': async (side) => {
    const stream = side.watch()
    stream.send(createRange('o', 'p', { fragment: true, watchId: '1' }))
    stream.send(createRange('o', 'p', { watchId: '2' }))
    stream.send(createRange('o', 'p', { fragment: true, prevKv: true, watchId: '3' }))
    await stream.until(countOf(3))
    for (let i = 0; i < 6; i++) await side.put(`o${i}`, 'x'.repeat(700_000))
    await stream.until(eventCount(18))
    await side.del('o', 'p')
    return byWatch((await stream.until(eventCount(36))).slice(3).filter((answer) => answer.events[0]?.type === 1))
  },
  'progress: asked for, with nothing to tell': async (side) => {
    const stream = side.watch()
    stream.send(create('q'))
    await stream.until(countOf(1))
    await side.put('q0', 'not watched')
    stream.send({ progressRequest: {} })
    return stream.until(countOf(2))
  },
  'progress: told now and then to who asked for it at creation': async (side) => {
    const stream = side.watch()
    stream.send(create('r', { progressNotify: true, watchId: '1' }))
    stream.send(create('r', { watchId: '2' }))
    await stream.until(countOf(2))
    await side.put('r0', 'not watched')
    const wanted = String(side.base + 1)
    return (await stream.until((answers) => answers.slice(2).some(({ header }) => header['revision'] === wanted)))
      .slice(2)
      .filter(({ header }) => header['revision'] === wanted)
      .slice(0, 1)
  },
  'many streams and many watches on each': async (side) => {
    const streams = [side.watch(), side.watch(), side.watch()]
    for (const stream of streams) {
      for (let i = 0; i < 20; i++) stream.send(create(`s${i % 4}`))
      await stream.until(countOf(20))
    }
    await side.put('s2', '1')
    for (const stream of streams) await stream.until(eventCount(5))
    return streams.map((stream) => byWatch(stream.answers))
  },
  'with hasleader, where there is one': async (side) => {
    const stream = side.watch({ hasleader: 'true' })
    stream.send(create('t'))
    await stream.until(countOf(1))
    await side.put('t', '1')
    return stream.until(eventCount(1))
  },
}

/** Answers to several watches may come in any order. */
function byWatch(answers: readonly WatchAnswer[]): readonly WatchAnswer[] {
  return answers
    .map((answer, at) => ({ answer, at }))
    .sort((a, b) => Number(a.answer.watchId) - Number(b.answer.watchId) || a.at - b.at)
    .map(({ answer }) => answer)
}

/** For stories in which revisions that follow each other closely may come in one answer or in several. */
function merged(answers: readonly WatchAnswer[]): unknown {
  return { first: answers[0], events: answers.flatMap((answer) => answer.events) }
}

const skip = missing('etcd')

describe("etcd's Watch through gRPC", { skip }, () => {
  let skein: TestCluster
  let etcd: EtcdCluster
  let ours: Side
  let theirs: Side
  before(async () => {
    ;[skein, etcd] = await Promise.all([
      startCluster(3, { tuning: { watchProgressMs: 150 } }),
      startEtcd(1, ['--experimental-watch-progress-notify-interval=150ms']),
    ])
    ours = new Side(skein.servers.find((server) => server !== skein.leader())?.address as string)
    theirs = new Side(etcd.endpoints[0] as string)
  })
  after(async () => {
    ours?.close()
    theirs?.close()
    await Promise.all([skein?.close(), etcd?.close()])
  })

  for (const [name, story] of Object.entries(STORIES)) {
    test(`as etcd: ${name}`, async () => {
      const [expected, actual] = await Promise.all(
        [theirs, ours].map(async (side) => {
          side.base = await side.put('base', name)
          const told = await story(side)
          side.closeStreams()
          return plainAnswers(told as readonly WatchAnswer[])
        }),
      )
      assert.deepEqual(actual, expected)
    })
  }

  test('a deletion at the very revision that was compacted is told (etcd 3.4.23 loses it)', async () => {
    await ours.put('n', '1')
    const revision = await ours.del('n')
    await ours.compact(revision)
    const stream = ours.watch()
    stream.send(create('n', { startRevision: String(revision), prevKv: true }))
    const [, answer] = await stream.until(eventCount(1))
    assert.equal(answer?.events[0]?.type, 1)
    assert.equal(answer?.events[0]?.kv.modRevision, String(revision))
    ours.closeStreams()
  })

  test('bytes that are no request end the stream; a space that there is not is refused', async () => {
    const garbage = new WatchClient(skein.endpoints[0] as string)
    garbage.sendRaw(Buffer.from([0x0a, 0x7f, 1]))
    assert.equal((await garbage.ended()).code, 13)
    garbage.close()
    const nowhere = new WatchClient(skein.endpoints[0] as string, { 'skein-space': 'nowhere' })
    nowhere.send(create('x'))
    assert.match((await nowhere.ended()).details, /there is no space "nowhere"/)
    nowhere.close()
  })

  test('who does not read holds nobody up, misses nothing, and is told every revision in one piece', async () => {
    const revision = await ours.put('base', 'slow')
    const [slow, quick] = [ours.watch(), ours.watch()]
    slow.send(createRange('w', 'x'))
    quick.send(createRange('w', 'x'))
    await Promise.all([slow.until(countOf(1)), quick.until(countOf(1))])
    slow.pause()
    const value = 'y'.repeat(100_000)
    for (let i = 0; i < 150; i++) await ours.txn(put(`w${i}`, value), put(`wx${i}`, String(i)))
    await quick.until(eventCount(300))
    // It must be behind now: not all of fifteen megabytes fits into what lies between it and the server.
    slow.resume()
    for (const stream of [slow, quick]) {
      const answers = await stream.until(eventCount(300))
      const told = answers.flatMap(({ events: of }) => of)
      assert.deepEqual(
        told.map(({ kv }) => [kv.key.toString(), Number(kv.modRevision) - revision]),
        Array.from({ length: 150 }, (_, i) => [
          [`w${i}`, i + 1],
          [`wx${i}`, i + 1],
        ]).flat(),
      )
      for (const { events: of } of answers)
        if (of.length > 0) assert.equal(of.at(-1)?.kv.key.toString().startsWith('wx'), true)
    }
    ours.closeStreams()
  })

  test('answers to other calls on the same connection do not keep events waiting', async () => {
    const stream = ours.watch()
    await ours.put('zz', 'x'.repeat(500_000))
    stream.send(create('y'))
    await stream.until(countOf(1))
    const load = { isOn: true }
    let answers = 0
    // More than the connection carries: there is always an answer that waits.
    const reading = Array.from({ length: 16 }, async () => {
      while (load.isOn) {
        await stream.range('zz')
        answers++
      }
    })
    for (let i = 0; i < 10; i++) {
      await until(() => answers >= i * 8)
      const before = answers
      await ours.put('y', String(i))
      await stream.until(eventCount(i + 1))
      // Those that were under way, and some that were faster: an event does not wait for all that there is to say.
      assert.ok(answers - before <= 64, `${answers - before} answers went before one event`)
    }
    load.isOn = false
    await Promise.all(reading)
    ours.closeStreams()
  })

  test('hasleader: a server that has lost its leader ends the stream with the text of etcd', async () => {
    const alone = await startCluster(3, { electionTimeoutMs: 200, heartbeatIntervalMs: 40 })
    const [first, ...others] = alone.servers
    const [wanting, patient] = [
      new WatchClient(first?.address as string, { hasleader: 'true' }),
      new WatchClient(first?.address as string),
    ]
    for (const stream of [wanting, patient]) {
      stream.send(create('a'))
      await stream.until(countOf(1))
    }
    await Promise.all(others.map(({ running }) => new Promise<void>((resolve) => running.stop(resolve))))
    assert.deepEqual(await wanting.ended(), { code: 14, details: 'etcdserver: no leader' })
    const late = new WatchClient(first?.address as string, { hasleader: 'true' })
    assert.deepEqual(await late.ended(), { code: 14, details: 'etcdserver: no leader' })
    patient.send(create('b'))
    await patient.until(countOf(2))
    await new Promise<void>((resolve) => first?.running.stop(resolve))
    assert.deepEqual(await patient.ended(), { code: 14, details: 'etcdserver: server stopped' })
    for (const stream of [wanting, patient, late]) stream.close()
    await alone.close()
  })
})
