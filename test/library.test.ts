/** The library as an application uses it: servers inside this process, a client beside them, errors as SkeinError. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { type Client, Skein, SkeinError } from '../src/index.ts'
import { freePorts, until } from './cluster.testkit.ts'

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

test('the library: three embedded servers, a client, a graceful end, and the data again after a restart', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'skein-library-'))
  const ports = await freePorts(3)
  const cluster = ports.map((port, i) => ({ name: `S${i + 1}`, address: `127.0.0.1:${port}` }))
  // A server that a failed test leaves running would keep the process alive.
  const started: { stop(): Promise<void> }[] = []
  const startAll = async () => {
    const servers = await Promise.all(
      cluster.map(({ name, address }) =>
        Skein.start({
          name,
          dataDirectory: join(directory, name),
          listen: address,
          cluster,
          clusterKey: new Uint8Array(32).fill(3),
          electionTimeoutMs: 500,
        }),
      ),
    )
    started.push(...servers)
    // A server serves before anybody leads, and a busy machine takes its time over the first election.
    await until(() => servers.every((server) => server.status().leader !== undefined))
    return servers
  }
  try {
    const servers = await startAll()
    const client = Skein.connect({ endpoints: servers.map((server) => server.address) })
    const put = await client.put(bytes('User_Balance'), bytes('100'))
    assert.equal(put.header?.revision, 2)
    const kv = await client.get(bytes('User_Balance'))
    assert.equal(new TextDecoder().decode(kv?.value), '100')
    assert.equal(await client.get(bytes('nobody')), undefined)
    await assert.rejects(client.range({ key: bytes('User_Balance'), revision: 99 }), (error) => {
      assert.ok(error instanceof SkeinError)
      assert.equal(error.code, 'future-revision')
      assert.equal(error.retryable, false)
      assert.ok(error.hint.length > 0)
      return true
    })
    await client.put('text', 'größe')
    assert.deepEqual((await client.get('text'))?.value, bytes('größe'))
    await assert.rejects(client.put('large', new Uint8Array(3_000_000)), (error) => {
      return error instanceof SkeinError && error.code === 'request-too-large'
    })
    client.close()

    const [first] = cluster
    assert.ok(first !== undefined)
    await assert.rejects(
      Skein.start({
        name: first.name,
        dataDirectory: join(directory, first.name),
        listen: '127.0.0.1:0',
        cluster,
        clusterKey: new Uint8Array(32).fill(3),
      }),
      (error) => error instanceof SkeinError && error.code === 'data-in-use',
    )
    await Promise.all(servers.map((server) => server.stop()))

    const again = await startAll()
    const second = Skein.connect({ endpoints: again.map((server) => server.address) })
    const kept = await second.get(bytes('User_Balance'))
    assert.equal(new TextDecoder().decode(kept?.value), '100')
    second.close()
    await Promise.all(again.map((server) => server.stop()))
  } finally {
    await Promise.all(started.map((server) => server.stop()))
    rmSync(directory, { recursive: true, force: true })
  }
})

test('the library: what is not understood is refused with a reason, also where no type checker looked', async () => {
  const untyped = Skein as unknown as { start(options: unknown): Promise<unknown>; connect(options: unknown): Client }
  for (const options of [
    {},
    { name: 'S1', dataDirectory: 'd' },
    { name: 'S1', dataDirectory: 'd', listen: ':1', cluster: [] },
  ]) {
    await assert.rejects(
      untyped.start(options),
      (error) => error instanceof SkeinError && error.code === 'invalid-request',
    )
  }
  assert.throws(
    () => untyped.connect({}),
    (error) => error instanceof SkeinError && error.code === 'invalid-request',
  )
  const client = untyped.connect({ endpoints: ['127.0.0.1:1'] })
  for (const value of [undefined, null, 7, [1, 2]] as unknown as string[]) {
    await assert.rejects(
      client.put('k', value),
      (error) => error instanceof SkeinError && error.code === 'invalid-request',
    )
    await assert.rejects(client.get(value), (error) => error instanceof SkeinError && error.code === 'invalid-request')
  }
  client.close()
})

test('the library: a client whose endpoints are all dead says so with a code and a hint', async () => {
  const [port] = await freePorts(1)
  const client = Skein.connect({ endpoints: [`127.0.0.1:${port}`], timeoutMs: 2_000 })
  await assert.rejects(client.get(bytes('k')), (error) => {
    assert.ok(error instanceof SkeinError)
    assert.equal(error.code, 'unreachable')
    assert.equal(error.retryable, true)
    return true
  })
  client.close()
})
