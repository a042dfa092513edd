/**
 * Debian's etcdctl 3.4 against a Skein cluster and against a real etcd cluster, the same commands one after the other:
 * what it prints and how it exits must be equal, but for ids, addresses and terms. The commands are in etcdctl-table.ts.
 */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { TestCluster } from './cluster.testkit.ts'
import { startCluster, until } from './cluster.testkit.ts'
import type { EtcdCluster } from './etcd.testkit.ts'
import { missing, startEtcd } from './etcd.testkit.ts'
import { SAME, SAME_OF_ALL, UNSERVED } from './etcdctl-table.ts'
import { etcdctl, normalised, normalisedSet } from './etcdctl.testkit.ts'

const skip = missing('etcdctl') || missing('etcd')

describe('etcdctl 3.4', { skip }, () => {
  let skein: TestCluster
  let etcd: EtcdCluster
  before(async () => {
    ;[skein, etcd] = await Promise.all([startCluster(3), startEtcd(3)])
  })
  after(async () => {
    await Promise.all([skein?.close(), etcd?.close()])
  })

  for (const [line, stdin] of SAME) {
    const shown =
      stdin === undefined ? '' : ` < ${JSON.stringify(stdin.length > 80 ? `${stdin.slice(0, 60)}…` : stdin)}`
    test(`as etcd: ${line}${shown}`, async () => {
      // One endpoint, so that a serializable read finds what the row before it wrote.
      const [expected, actual] = await Promise.all([
        etcdctl(etcd.endpoints.slice(0, 1), line, stdin),
        etcdctl(skein.endpoints.slice(0, 1), line, stdin),
      ])
      assert.deepEqual(normalised(line, actual), normalised(line, expected))
    })
  }

  for (const line of SAME_OF_ALL) {
    test(`as etcd: ${line}`, async () => {
      const [expected, actual] = await Promise.all([etcdctl(etcd.endpoints, line), etcdctl(skein.endpoints, line)])
      assert.deepEqual(normalisedSet(line, actual), normalisedSet(line, expected))
    })
  }

  for (const [line, method] of UNSERVED) {
    test(`not served yet: ${line}`, async () => {
      const { status, stdout, stderr } = await etcdctl(skein.endpoints.slice(0, 1), line)
      assert.notEqual(status, 0)
      assert.match(stdout + stderr, new RegExp(`code = Unimplemented .*etcdserverpb.${method}`))
    })
  }

  test('member list shows names and addresses', async () => {
    const { stdout } = await etcdctl(skein.endpoints, 'member list -w json')
    const { members } = JSON.parse(stdout) as { members: { name: string; clientURLs: string[] }[] }
    assert.deepEqual(
      members.map((member) => `${member.name} ${member.clientURLs.join()}`).sort(),
      skein.servers.map((server) => `${server.name} http://${server.address}`).sort(),
    )
  })

  test('move-leader: refused without the leader among the endpoints, as by etcd', async () => {
    const [expected, actual] = await Promise.all([
      moveAway(etcd.endpoints, async (endpoints) => etcdctl(endpoints, 'endpoint status -w json'), false),
      moveAway(skein.endpoints, async (endpoints) => etcdctl(endpoints, 'endpoint status -w json'), false),
    ])
    assert.deepEqual(actual, expected)
  })

  test('move-leader: done once the other leads, and said as etcd says it', async () => {
    const [expected, actual] = await Promise.all([
      moveAway(etcd.endpoints, async (endpoints) => etcdctl(endpoints, 'endpoint status -w json'), true),
      moveAway(skein.endpoints, async (endpoints) => etcdctl(endpoints, 'endpoint status -w json'), true),
    ])
    assert.deepEqual(actual, expected)
    await until(() => new Set(skein.servers.map((server) => server.running.status().leader)).size === 1)
  })
})

type StatusRow = {
  readonly Endpoint: string
  readonly Status: { readonly header: { readonly member_id: string }; readonly leader: string }
}

/** Hands leadership to a member that does not lead; with all endpoints, or only with that member's. */
async function moveAway(
  endpoints: readonly string[],
  status: (endpoints: readonly string[]) => Promise<{ stdout: string }>,
  all: boolean,
): Promise<unknown> {
  const read = async (): Promise<StatusRow[]> => {
    // The ids do not fit a JavaScript number: keep them as text.
    const { stdout } = await status(endpoints)
    return JSON.parse(stdout.replace(/"(member_id|leader)":(\d+)/g, '"$1":"$2"')) as StatusRow[]
  }
  const before = await read()
  const other = before.find((row) => row.Status.header.member_id !== row.Status.leader) as StatusRow
  const id = BigInt(other.Status.header.member_id).toString(16)
  const outcome = await etcdctl(all ? endpoints : [other.Endpoint], `move-leader ${id}`)
  const after = (await read()).find((row) => row.Endpoint === other.Endpoint) as StatusRow
  return {
    ...normalisedSet('move-leader', outcome),
    leads: after.Status.header.member_id === after.Status.leader,
  }
}
