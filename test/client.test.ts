/**
 * The client on real sockets: against real etcd, a Skein cluster, and servers that are down, deaf or gone in the middle.
 */
import assert from 'node:assert/strict'
import type { AddressInfo, Server, Socket } from 'node:net'
import { connect, createServer } from 'node:net'
import { after, before, describe, test } from 'node:test'
import { SkeinError, text, utf8 } from '../src/base/index.ts'
import type { Client, ClientOptions } from '../src/client/index.ts'
import { connectClient } from '../src/client/index.ts'
import { COMPARE_RESULT, COMPARE_TARGET } from '../src/wire/index.ts'
import type { NodeWorld } from '../src/world/node/index.ts'
import { openNodeWorld } from '../src/world/node/index.ts'
import type { TestCluster } from './cluster.testkit.ts'
import { freePorts, startCluster, until } from './cluster.testkit.ts'
import type { EtcdCluster } from './etcd.testkit.ts'
import { missing, startEtcd } from './etcd.testkit.ts'

const EMPTY = new Uint8Array(0)
const PUT = { lease: 0n, prevKv: false, ignoreValue: false, ignoreLease: false }

function openWorld(): NodeWorld {
  return openNodeWorld({
    onFail: (violation) => {
      throw violation
    },
  })
}

async function codeOf(call: Promise<unknown>): Promise<string> {
  try {
    await call
    return 'ok'
  } catch (error) {
    if (!(error instanceof SkeinError)) throw error
    return error.code
  }
}

/** Passes bytes on between clients and a server, until told otherwise. */
async function startProxy(
  target: string,
): Promise<{ address: string; mute(): void; dropAnswers(): void; cut(): void; close(): void }> {
  const [host, port] = target.split(':') as [string, string]
  let passes = true
  let cutsAtAnswer = false
  const sockets = new Set<Socket>()
  const server: Server = createServer((client) => {
    const upstream = connect(Number(port), host)
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => sockets.delete(socket))
    }
    client.on('data', (data) => {
      if (passes) upstream.write(data)
    })
    upstream.on('data', (data) => {
      if (cutsAtAnswer) {
        client.destroy()
        upstream.destroy()
      } else if (passes) client.write(data)
    })
    client.on('close', () => upstream.destroy())
    upstream.on('close', () => client.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const cut = (): void => {
    for (const socket of sockets) socket.destroy()
  }
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    mute: () => (passes = false),
    dropAnswers: () => (cutsAtAnswer = true),
    cut,
    close() {
      cut()
      server.close()
    },
  }
}

/** Everything that a client can be asked, the same on every etcd v3 cluster. */
async function exercise(client: Client, endpoints: readonly string[]): Promise<unknown[]> {
  const seen: unknown[] = []
  const key = utf8('client/a')
  const first = await client.put(key, utf8('1'))
  const base = first.header?.revision ?? 0
  const again = await client.put(key, utf8('2'), { prevKv: true })
  seen.push(text(again.prevKv?.value ?? EMPTY), (again.header?.revision ?? 0) - base)
  seen.push(text((await client.get(key))?.value ?? EMPTY), await client.get(utf8('client/none')))
  const compare = {
    key,
    rangeEnd: EMPTY,
    result: COMPARE_RESULT.equal,
    target: COMPARE_TARGET.value,
    operand: { type: 'value', value: utf8('2') },
  } as const
  const success = [{ type: 'put', put: { ...PUT, key: utf8('client/b'), value: utf8('x') } }] as const
  seen.push((await client.txn({ compare: [compare], success, failure: [] })).succeeded)
  const range = await client.range({ key: utf8('client/'), rangeEnd: utf8('client0'), keysOnly: true })
  seen.push(
    range.kvs.map((kv) => [text(kv.key), kv.version, kv.modRevision - base]),
    range.count,
  )
  seen.push((await client.deleteRange({ key, prevKv: true })).deleted)
  await client.compact(base + 1)
  seen.push(await codeOf(client.range({ key, revision: base })))
  seen.push(await codeOf(client.range({ key, revision: base + 999 })))
  seen.push(await codeOf(client.put(EMPTY, EMPTY)))
  seen.push(await codeOf(client.put(key, EMPTY, { lease: 99n })))
  const { members } = await client.memberList()
  seen.push(members.map((member) => member.name).sort())
  const statuses = await Promise.all(endpoints.map(async (endpoint) => client.status(endpoint)))
  const { leader } = statuses[0] as (typeof statuses)[number]
  seen.push(statuses.every((status) => status.leader === leader))
  const other = members.find((member) => member.id !== leader)
  assert.ok(other)
  await client.moveLeader(other.id)
  seen.push(await codeOf(client.moveLeader(12_345n)))
  return seen
}

describe('client', () => {
  let skein: TestCluster
  const world = openWorld()
  const clients: Client[] = []
  const open = (options: ClientOptions): Client => {
    const client = connectClient(world, options)
    clients.push(client)
    return client
  }
  before(async () => {
    skein = await startCluster(3)
  })
  after(async () => {
    for (const client of clients) client.close()
    await skein?.close()
    world.stop()
  })

  describe('against real etcd', { skip: missing('etcd') }, () => {
    let etcd: EtcdCluster
    before(async () => {
      etcd = await startEtcd(3)
    })
    after(async () => etcd?.close())

    test('every call does what it does on Skein', async () => {
      const theirs = await exercise(open({ endpoints: etcd.endpoints }), etcd.endpoints)
      const ours = await exercise(open({ endpoints: skein.endpoints }), skein.endpoints)
      assert.deepEqual(ours, theirs)
    })

    test('a write whose answer is lost is not sent to etcd again: its outcome is unknown', async () => {
      const proxy = await startProxy(etcd.endpoints[0] as string)
      const client = open({ endpoints: [proxy.address, etcd.endpoints[1] as string] })
      await client.put(utf8('lost'), utf8('0'))
      proxy.dropAnswers()
      assert.equal(await codeOf(client.put(utf8('lost'), utf8('1'))), 'outcome-unknown')
      proxy.close()
      const kv = await open({ endpoints: etcd.endpoints }).get(utf8('lost'))
      assert.ok((kv?.version ?? 0) <= 2)
    })
  })

  test('an endpoint that is down, and one that accepts and never answers, are passed over', async () => {
    const [down] = await freePorts(1)
    const deaf = await startProxy(skein.endpoints[0] as string)
    deaf.mute()
    const client = open({ endpoints: [`127.0.0.1:${down}`, deaf.address, ...skein.endpoints] })
    await client.put(utf8('passed'), utf8('over'))
    assert.equal(text((await client.get(utf8('passed')))?.value ?? EMPTY), 'over')
    deaf.close()
  })

  test('nobody there: the call fails at once and says who was asked', async () => {
    const [one, other] = await freePorts(2)
    const client = open({ endpoints: [`127.0.0.1:${one}`, `127.0.0.1:${other}`], timeoutMs: 60_000 })
    await assert.rejects(client.put(utf8('x'), EMPTY), (error) => {
      assert.ok(error instanceof SkeinError)
      assert.equal(error.code, 'unreachable')
      assert.match(error.message, /no server answers at 127\.0\.0\.1:/)
      return true
    })
  })

  test('a server that falls silent is given up, and what was asked of it is asked elsewhere, once', async () => {
    const proxy = await startProxy(skein.endpoints[0] as string)
    const client = open({ endpoints: [proxy.address, skein.endpoints[1] as string] })
    await client.put(utf8('silent'), utf8('0'))
    proxy.mute()
    await client.put(utf8('silent'), utf8('1'))
    const kv = await client.get(utf8('silent'))
    assert.deepEqual([kv?.version, text(kv?.value ?? EMPTY)], [2, '1'])
    proxy.close()
  })

  test('writes whose answers are lost are sent again and take effect once', async () => {
    for (let round = 0; round < 20; round++) {
      const proxy = await startProxy(skein.endpoints[round % 3] as string)
      const client = open({ endpoints: [proxy.address, ...skein.endpoints] })
      const key = utf8(`once/${round}`)
      await client.put(key, utf8('0'))
      proxy.dropAnswers()
      const answers = await Promise.all(Array.from({ length: 40 }, (_, i) => client.put(key, utf8(`${i}`))))
      const revisions = new Set(answers.map((answer) => answer.header?.revision))
      assert.equal(revisions.size, 40)
      assert.equal((await client.get(key))?.version, 41)
      client.close()
      proxy.close()
    }
  })

  test('many calls at once over one connection, larger than all its windows', async () => {
    const client = open({ endpoints: skein.endpoints.slice(0, 1), timeoutMs: 60_000 })
    const value = new Uint8Array(1_400_000).fill(7)
    await Promise.all(Array.from({ length: 12 }, (_, i) => client.put(utf8(`large/${i}`), value)))
    await Promise.all(Array.from({ length: 2_000 }, (_, i) => client.put(utf8(`small/${i}`), utf8(`${i}`))))
    const range = await client.range({ key: utf8('large/'), rangeEnd: utf8('large0') })
    assert.equal(range.kvs.length, 12)
    assert.ok(range.kvs.every((kv) => kv.value.length === value.length && kv.value[value.length - 1] === 7))
    assert.equal((await client.range({ key: utf8('small/'), rangeEnd: utf8('small0'), countOnly: true })).count, 2_000)
    await client.deleteRange({ key: utf8('large/'), rangeEnd: utf8('large0') })
  })

  test('a deadline ends a read as timed-out and a sent write as unknown', async () => {
    const proxy = await startProxy(skein.endpoints[0] as string)
    const client = open({ endpoints: [proxy.address] })
    await client.put(utf8('late'), utf8('0'))
    proxy.mute()
    const [read, write] = await Promise.all([
      codeOf(client.get(utf8('late'), { timeoutMs: 200 })),
      codeOf(client.put(utf8('late'), utf8('1'), { timeoutMs: 200 })),
    ])
    assert.deepEqual([read, write], ['timed-out', 'outcome-unknown'])
    proxy.close()
  })

  test('close ends what is open, and later calls', async () => {
    const proxy = await startProxy(skein.endpoints[0] as string)
    const client = open({ endpoints: [proxy.address] })
    await client.put(utf8('closing'), utf8('0'))
    proxy.mute()
    const read = codeOf(client.get(utf8('closing')))
    const write = codeOf(client.put(utf8('closing'), utf8('1')))
    client.close()
    assert.deepEqual([await read, await write], ['connection-lost', 'outcome-unknown'])
    assert.equal(await codeOf(client.get(utf8('closing'))), 'connection-lost')
    proxy.close()
  })

  test('a stopping server: not one of many writes is lost or done twice', async () => {
    // The last test: the leader stops for good.
    const client = open({ endpoints: skein.endpoints })
    const key = utf8('stopping')
    const leader = skein.leader()
    assert.ok(leader)
    let acknowledged = 0
    const state = { isRunning: true }
    const writers = Array.from({ length: 8 }, async (_, w) => {
      for (let i = 0; state.isRunning; i++) {
        await client.put(key, utf8(`${w}/${i}`))
        acknowledged++
      }
    })
    await until(() => acknowledged > 50)
    await new Promise<void>((resolve) => leader.running.stop(resolve))
    const before = acknowledged
    await until(() => acknowledged > before + 50)
    state.isRunning = false
    await Promise.all(writers)
    assert.equal((await client.get(key))?.version, acknowledged)
  })
})
