/** The client's watches on real sockets: on a Skein cluster and on real etcd alike, through failures and slow readers. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { SkeinError, text, utf8 } from '../src/base/index.ts'
import type { Client, Watch, WatchBatch, WatchOptions } from '../src/client/index.ts'
import { connectClient } from '../src/client/index.ts'
import type { NodeWorld } from '../src/world/node/index.ts'
import { openNodeWorld } from '../src/world/node/index.ts'
import type { TestCluster } from './cluster.testkit.ts'
import { startCluster } from './cluster.testkit.ts'
import type { EtcdCluster } from './etcd.testkit.ts'
import { missing, startEtcd } from './etcd.testkit.ts'

const PUT = { lease: 0n, prevKv: false, ignoreValue: false, ignoreLease: false }
const prefix = (of: string): Pick<WatchOptions, 'key' | 'rangeEnd'> => {
  const end = utf8(of)
  end[end.length - 1] = (end.at(-1) ?? 0) + 1
  return { key: utf8(of), rangeEnd: end }
}

/** Reads until `count` events were told. */
async function take(watch: Watch, count: number): Promise<WatchBatch[]> {
  const batches: WatchBatch[] = []
  const iterator = watch[Symbol.asyncIterator]()
  for (let left = count; left > 0;) {
    const step = await iterator.next()
    assert.ok(step.done !== true, 'the watch goes on')
    batches.push(step.value)
    left -= step.value.events.length
  }
  return batches
}

const shown = (batches: readonly WatchBatch[]): string[] =>
  batches.flatMap(({ events }) =>
    events.map(
      ({ type, kv, prevKv }) => `${type} ${text(kv.key)}=${text(kv.value)} was ${text(prevKv?.value ?? utf8('-'))}`,
    ),
  )

const STORIES: Readonly<Record<string, (client: Client) => Promise<unknown>>> = {
  'from now on, with what was before': async (client) => {
    const watch = client.watch({ ...prefix('a'), prevKv: true })
    await watch.started
    await client.put(utf8('a1'), utf8('x'))
    await client.put(utf8('b1'), utf8('not this'))
    await client.put(utf8('a1'), utf8('y'))
    await client.deleteRange({ key: utf8('a1') })
    const told = shown(await take(watch, 3))
    watch.close()
    return told
  },
  'a transaction is one batch; from a revision in the past': async (client) => {
    const { header } = await client.put(utf8('c0'), utf8('0'))
    const success = ['c1', 'c2', 'c3'].map(
      (key) => ({ type: 'put', put: { ...PUT, key: utf8(key), value: utf8('1') } }) as const,
    )
    await client.txn({ compare: [], success, failure: [] })
    const startRevision = (header?.revision ?? 0) + 1
    const watch = client.watch({ ...prefix('c'), startRevision })
    const batches = await take(watch, 3)
    assert.equal(watch.nextRevision, startRevision + 1)
    watch.close()
    return [batches.length, shown(batches)]
  },
  filters: async (client) => {
    const [puts, deletions] = [
      client.watch({ key: utf8('d'), noDelete: true }),
      client.watch({ key: utf8('d'), noPut: true }),
    ]
    await Promise.all([puts.started, deletions.started])
    await client.put(utf8('d'), utf8('1'))
    await client.deleteRange({ key: utf8('d') })
    const told = [shown(await take(puts, 1)), shown(await take(deletions, 1))]
    puts.close()
    deletions.close()
    return told
  },
  'compacted history is told as such, and where to go on': async (client) => {
    for (const value of ['1', '2', '3']) await client.put(utf8('e'), utf8(value))
    const last = (await client.get(utf8('e')))?.modRevision ?? 0
    await client.compact(last)
    const watch = client.watch({ key: utf8('e'), startRevision: last - 2 })
    await watch.started
    const failed = await take(watch, 1).catch((error: unknown) => error)
    assert.ok(failed instanceof SkeinError)
    const again = client.watch({ key: utf8('e'), startRevision: Number(failed.details?.['compactRevision']) })
    const told = shown(await take(again, 1))
    again.close()
    return [failed.code, told]
  },
  'what cannot be watched is refused': async (client) => {
    const watch = client.watch({ key: utf8('b'), rangeEnd: utf8('a') })
    const [started, told] = await Promise.allSettled([watch.started, take(watch, 1)])
    return [started, told].map((result) => (result.status === 'rejected' ? (result.reason as SkeinError).code : 'ok'))
  },
  'who reads slowly misses nothing': async (client) => {
    const watch = client.watch(prefix('f'))
    await watch.started
    const value = utf8('x'.repeat(40_000))
    for (let i = 0; i < 200; i++) await client.put(utf8(`f${i % 3}`), value)
    const batches = await take(watch, 200)
    watch.close()
    return shown(batches).length
  },
  'leaving the loop ends the watch; so does close': async (client) => {
    const watch = client.watch({ key: utf8('g') })
    await watch.started
    await client.put(utf8('g'), utf8('1'))
    let told = 0
    for await (const { events } of watch) {
      told += events.length
      break
    }
    const other = client.watch({ key: utf8('g') })
    const ended = other[Symbol.asyncIterator]().next()
    await other.started
    other.close()
    return [told, (await ended).done, (await watch[Symbol.asyncIterator]().next()).done]
  },
}

const EXPECTED: Readonly<Record<string, unknown>> = {
  'from now on, with what was before': ['put a1=x was -', 'put a1=y was x', 'delete a1= was y'],
  'a transaction is one batch; from a revision in the past': [
    1,
    ['put c1=1 was -', 'put c2=1 was -', 'put c3=1 was -'],
  ],
  filters: [['put d=1 was -'], ['delete d= was -']],
  'compacted history is told as such, and where to go on': ['compacted', ['put e=3 was -']],
  'what cannot be watched is refused': ['invalid-request', 'invalid-request'],
  'who reads slowly misses nothing': 200,
  'leaving the loop ends the watch; so does close': [1, true, true],
}

describe("the client's watches", () => {
  let world: NodeWorld
  let skein: TestCluster
  let client: Client
  before(async () => {
    world = openNodeWorld({
      onFail: (violation) => {
        throw violation
      },
    })
    skein = await startCluster(3)
    client = connectClient(world, { endpoints: skein.endpoints })
  })
  after(async () => {
    client?.close()
    await skein?.close()
    world?.stop()
  })

  for (const [name, story] of Object.entries(STORIES))
    test(name, async () => assert.deepEqual(await story(client), EXPECTED[name]))

  test('a server that stops: the watch goes on at another, without a gap', async () => {
    const three = await startCluster(3)
    const [first, ...others] = three.servers
    const watcher = connectClient(world, { endpoints: three.endpoints })
    const writer = connectClient(world, { endpoints: others.map(({ address }) => address) })
    const watch = watcher.watch(prefix('k'))
    await watch.started
    for (let i = 0; i < 60; i++) {
      await writer.put(utf8(`k${i}`), utf8('1'))
      if (i === 20) await new Promise<void>((resolve) => first?.running.stop(resolve))
    }
    const told = shown(await take(watch, 60))
    assert.deepEqual(
      told,
      Array.from({ length: 60 }, (_, i) => `put k${i}=1 was -`),
    )
    watcher.close()
    writer.close()
    await three.close()
  })

  describe('against real etcd', { skip: missing('etcd') }, () => {
    let etcd: EtcdCluster
    let theirs: Client
    before(async () => {
      etcd = await startEtcd(1)
      theirs = connectClient(world, { endpoints: etcd.endpoints })
    })
    after(async () => {
      theirs?.close()
      await etcd?.close()
    })
    for (const [name, story] of Object.entries(STORIES))
      test(name, async () => assert.deepEqual(await story(theirs), EXPECTED[name]))
  })
})
