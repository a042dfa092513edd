import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { TestCluster } from '../../test/cluster.testkit.ts'
import { startCluster } from '../../test/cluster.testkit.ts'
import { utf8 } from '../base/index.ts'
import type { Client } from '../client/index.ts'
import { connectClient } from '../client/index.ts'
import type { NodeWorld } from '../world/node/index.ts'
import { openNodeWorld } from '../world/node/index.ts'
import { skein, startSkein, untilTrue } from './cli.testkit.ts'

describe('skein watch', () => {
  let cluster: TestCluster
  let world: NodeWorld
  let client: Client
  let at: readonly string[]
  before(async () => {
    cluster = await startCluster(1)
    world = openNodeWorld({
      onFail(violation) {
        throw violation
      },
    })
    client = connectClient(world, { endpoints: cluster.endpoints })
    at = ['--endpoints', cluster.endpoints.join(',')]
  })
  after(async () => {
    client?.close()
    world?.stop()
    await cluster?.close()
  })

  test('prints what was and what happens, and ends with 0 when asked to', async () => {
    const { header } = await client.put(utf8('a1'), utf8('one'))
    const running = startSkein(['watch', 'a', '--prefix', '--prev', '--rev', String(header?.revision), ...at])
    await running.line(/^one$/)
    await client.put(utf8('a1'), utf8('two'))
    await client.put(utf8('b'), utf8('not watched'))
    await client.deleteRange({ key: utf8('a1') })
    await running.line(/^DELETE$/)
    await untilTrue('the deletion is printed', () => running.stdout().endsWith('DELETE\na1\ntwo\na1\n\n'))
    running.child.kill('SIGINT')
    assert.deepEqual(await running.ended(), { code: 0, signal: null })
    assert.equal(running.stdout(), 'PUT\na1\none\nPUT\na1\none\na1\ntwo\nDELETE\na1\ntwo\na1\n\n')
    assert.match(running.stderr(), /^skein: watching from revision \d+; Ctrl-C ends it\n$/)
  })

  test('as JSON, one event a line; only deletions', async () => {
    const { header } = await client.put(utf8('c'), utf8('1'))
    await client.deleteRange({ key: utf8('c') })
    const running = startSkein(['watch', 'c', '--no-put', '--rev', String(header?.revision), '--json', ...at])
    const event = JSON.parse(await running.line(/./)) as Record<string, unknown>
    assert.deepEqual([event['type'], event['key'], event['modRevision']], ['delete', 'c', (header?.revision ?? 0) + 1])
    running.child.kill('SIGTERM')
    assert.equal((await running.ended()).code, 0)
  })

  test('compacted history is an error that says where to go on; a wrong range is refused', async () => {
    for (const value of ['1', '2', '3']) await client.put(utf8('d'), utf8(value))
    const revision = (await client.get(utf8('d')))?.modRevision ?? 0
    await client.compact(revision)
    const gone = await skein(['watch', 'd', '--rev', String(revision - 1), ...at])
    assert.equal(gone.code, 1)
    assert.match(gone.stderr, new RegExp(`compacted at ${revision}`))
    assert.equal((await skein(['watch', 'b', 'a', ...at])).code, 1)
    assert.equal((await skein(['watch', ...at])).code, 3)
  })
})
