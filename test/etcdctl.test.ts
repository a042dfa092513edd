/**
 * Debian's etcdctl 3.4 against a Skein cluster and against a real etcd cluster, the same commands one after the other:
 * what it prints and how it exits must be equal, but for ids, addresses and terms.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { after, before, describe, test } from 'node:test'
import type { TestCluster } from './cluster.testkit.ts'
import { startCluster } from './cluster.testkit.ts'
import type { EtcdCluster } from './etcd.testkit.ts'
import { missing, startEtcd } from './etcd.testkit.ts'

type Row = readonly [args: string, stdin?: string]

/** One command a row, in an order in which each finds what the ones before it left. */
const TABLE: readonly Row[] = [
  ['put greeting hello'],
  ['get greeting'],
  ['get greeting -w fields'],
  ['get nothing'],
  ['put greeting hallo --prev-kv'],
  ['put greeting --ignore-value=false', 'from stdin'],
  ['get greeting --print-value-only'],
  ['get greeting --hex'],
  ['put greeting --ignore-value --prev-kv'],
  ['put absent --ignore-value'],
  ['put greeting x --ignore-lease'],
  ['put leased x --lease=12345'],
  ['put a 1'],
  ['put b 2'],
  ['put c 3'],
  ['put b 22'],
  ['put ab 12'],
  ['get a c'],
  ['get a --prefix'],
  ['get b --from-key'],
  ['get "" --prefix --keys-only'],
  ['get "" --prefix --limit=2'],
  ['get "" --prefix --limit=2 -w fields'],
  ['get "" --prefix --order=DESCEND --sort-by=KEY'],
  ['get "" --prefix --order=ASCEND --sort-by=MODIFY'],
  ['get "" --prefix --order=DESCEND --sort-by=CREATE'],
  ['get "" --prefix --order=DESCEND --sort-by=VERSION --limit=1'],
  ['get "" --prefix --order=ASCEND --sort-by=VALUE'],
  ['get b --rev=5'],
  ['get a --prefix --rev=7 -w fields'],
  ['get b --rev=999'],
  ['get b --consistency=s'],
  ['get b --consistency=l'],
  ['get a -w json'],
  ['put "" empty'],
  ['del a'],
  ['del a'],
  ['get a'],
  ['put a again'],
  ['get a -w fields'],
  ['del b --prev-kv'],
  ['put p/1 x'],
  ['put p/2 y'],
  ['put p/3 z'],
  ['del p/1 p/3 --prev-kv'],
  ['del p/ --prefix'],
  ['put z/1 x'],
  ['put z/2 y'],
  ['del z/ --from-key --prev-kv'],
  ['txn', 'value("c") = "3"\n\nput c 33\nget c\n\nget greeting\n\n'],
  ['txn', 'value("c") = "3"\n\nput c 333\n\nget c\ndel nothing\n\n'],
  ['txn', 'mod("c") > "1"\nversion("c") = "2"\ncreate("c") < "100"\n\nput txn/1 a\nput txn/2 b\n\n\n'],
  ['txn', 'version("missing") = "0"\n\nput made yes\n\n\n'],
  ['txn', 'value("missing") = ""\n\nput made no\n\nget made\n\n'],
  ['txn', 'mod("c") != "0"\n\ndel txn/ --prefix\nget txn/ --prefix\n\n\n'],
  ['txn', '\nput same 1\nput same 2\n\n\n'],
  ['txn', 'lease("c") = "0"\n\nget c\n\n\n'],
  ['get c -w fields'],
  ['compaction 8'],
  ['get greeting --rev=3'],
  ['get greeting --rev=8'],
  ['compaction 8'],
  ['compaction 99999'],
  ['compaction 10 --physical'],
  ['get "" --prefix'],
  ['get greeting -w json'],
]

/** Splits at spaces; a pair of quotes is an empty argument. */
function argv(line: string): string[] {
  return line.split(' ').map((arg) => (arg === '""' ? '' : arg))
}

type Outcome = { readonly status: number | null; readonly stdout: string; readonly stderr: string }

function etcdctl(endpoints: readonly string[], args: readonly string[], input = ''): Outcome {
  const { status, stdout, stderr } = spawnSync('etcdctl', [`--endpoints=${endpoints.join(',')}`, ...args], {
    input,
    encoding: 'utf8',
    env: { ...process.env, ETCDCTL_API: '3' },
    timeout: 20_000,
  })
  return { status, stdout, stderr }
}

/** Ids, terms, addresses and times are the cluster's own. */
function normalise(outcome: Outcome): Outcome {
  const clean = (text: string): string =>
    text
      .replace(/"(ClusterID|MemberID|RaftTerm)" : \d+/g, '"$1" : N')
      .replace(/"(cluster_id|member_id|raft_term)":\d+/g, '"$1":N')
      .replace(/"ts":"[^"]*"/g, '"ts":"T"')
      .replace(/"caller":"[^"]*"/g, '"caller":"C"')
      .replace(/127\.0\.0\.1:\d+/g, 'ADDRESS')
      .replace(/endpoint:\/\/client-[0-9a-f-]+/g, 'endpoint://CLIENT')
  return { status: outcome.status, stdout: clean(outcome.stdout), stderr: clean(outcome.stderr) }
}

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

  for (const [args, stdin] of TABLE) {
    test(`${args}${stdin === undefined ? '' : ` < ${JSON.stringify(stdin)}`}`, async () => {
      const expected = normalise(etcdctl(etcd.endpoints, argv(args), stdin))
      // The servers run in this process: etcdctl must run beside it.
      const actual = normalise(await beside(skein.endpoints, argv(args), stdin))
      assert.deepEqual(actual, expected)
    })
  }

  test('member list', async () => {
    const outcome = await beside(skein.endpoints, ['member', 'list', '-w', 'json'])
    const { members } = JSON.parse(outcome.stdout)
    const listed = members.map(
      (member: { name: string; clientURLs: string[] }) => `${member.name} ${member.clientURLs.join()}`,
    )
    assert.deepEqual(new Set(listed), new Set(skein.servers.map((server) => `${server.name} http://${server.address}`)))
  })

  test('endpoint status', async () => {
    const outcome = await beside(skein.endpoints, ['endpoint', 'status', '-w', 'json'])
    const rows: { Endpoint: string; Status: { leader: bigint; raftTerm: number; version: string } }[] = JSON.parse(
      outcome.stdout,
    )
    assert.deepEqual(rows.map((row) => row.Endpoint).sort(), [...skein.endpoints].sort())
    assert.equal(new Set(rows.map((row) => row.Status.leader)).size, 1)
    assert.equal(outcome.status, 0)
  })

  test('endpoint health', async () => {
    const outcome = await beside(skein.endpoints, ['endpoint', 'health'])
    assert.equal(outcome.status, 0, outcome.stderr)
    const said = outcome.stdout + outcome.stderr
    for (const endpoint of skein.endpoints) assert.match(said, new RegExp(`${endpoint} is healthy`))
  })

  test('move-leader', async () => {
    const leader = skein.leader()
    const follower = skein.servers.find((server) => server !== leader)
    assert.ok(leader !== undefined && follower !== undefined)
    const target = follower.running.memberId.toString(16)
    const refused = await beside([follower.address], ['move-leader', target])
    assert.notEqual(refused.status, 0)
    const moved = await beside(skein.endpoints, ['move-leader', target])
    assert.equal(moved.status, 0, moved.stderr)
    assert.match(moved.stdout, /Leadership transferred from/)
    assert.equal(follower.running.status().role, 'leader')
  })
})

async function beside(endpoints: readonly string[], args: readonly string[], input = ''): Promise<Outcome> {
  const { spawn } = await import('node:child_process')
  return new Promise((resolve) => {
    const child = spawn('etcdctl', [`--endpoints=${endpoints.join(',')}`, ...args], {
      env: { ...process.env, ETCDCTL_API: '3' },
    })
    let stdout = ''
    let stderr = ''
    child.stdout.on('data', (data: Buffer) => (stdout += data.toString()))
    child.stderr.on('data', (data: Buffer) => (stderr += data.toString()))
    child.on('close', (status) => resolve({ status, stdout, stderr }))
    child.stdin.on('error', () => {})
    child.stdin.end(input)
  })
}
