/**
 * etcd's calls through grpc-js, on a Skein cluster and on a real etcd cluster, the same calls one after the other: codes,
 * texts and messages must be equal, but for what is a cluster's own.
 */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { ServiceError } from '@grpc/grpc-js'
import { Client, credentials, Metadata } from '@grpc/grpc-js'
import type { TestCluster } from './cluster.testkit.ts'
import { startCluster, until } from './cluster.testkit.ts'
import type { Plain } from './etcd-proto.ts'
import { etcdService } from './etcd-proto.ts'
import type { EtcdCluster } from './etcd.testkit.ts'
import { missing, startEtcd } from './etcd.testkit.ts'

type Service = 'KV' | 'Cluster' | 'Maintenance'
type Answer = { readonly code: number; readonly details: string; readonly response: Plain | undefined }
type Options = { readonly metadata?: Readonly<Record<string, string>>; readonly timeoutMs?: number }
type Call = readonly [service: Service, method: string, request: Plain, options?: Options]

const bytes = (text: string): Buffer => Buffer.from(text)
const put = (key: string, value: string, more: Plain = {}): Plain => ({ key: bytes(key), value: bytes(value), ...more })
const key = (name: string, more: Plain = {}): Plain => ({ key: bytes(name), ...more })
const txn = (compare: Plain[], success: Plain[], failure: Plain[] = []): Plain => ({ compare, success, failure })
const opPut = (name: string, more: Plain = {}): Plain => ({ requestPut: put(name, 'v', more) })
const opRange = (name: string, more: Plain = {}): Plain => ({ requestRange: key(name, more) })
const opDelete = (name: string, more: Plain = {}): Plain => ({ requestDeleteRange: key(name, more) })
const many = (count: number, make: (i: number) => Plain): Plain[] => Array.from({ length: count }, (_, i) => make(i))
const exists = (name: string): Plain => ({ key: bytes(name), result: 1, target: 0, version: '0' })

/** Each finds what the ones before it left. */
const TABLE: readonly Call[] = [
  ['KV', 'Range', key('')],
  ['KV', 'Range', key('absent')],
  ['KV', 'Put', put('', 'x')],
  ['KV', 'Put', put('a', '1')],
  ['KV', 'Put', put('b', '1')],
  ['KV', 'Put', put('b', '2', { prevKv: true })],
  ['KV', 'Put', put('c', '')],
  ['KV', 'Put', put('a', 'x', { ignoreValue: true })],
  ['KV', 'Put', put('a', '', { ignoreValue: true, prevKv: true })],
  ['KV', 'Put', put('absent', '', { ignoreValue: true })],
  ['KV', 'Put', put('absent', 'x', { ignoreLease: true })],
  ['KV', 'Put', put('a', 'x', { ignoreLease: true, lease: '5' })],
  ['KV', 'Put', put('a', 'x', { lease: '5' })],
  ['KV', 'Put', put('a', 'x', { lease: '-5' })],
  ['KV', 'Put', put('a', 'x'.repeat(1_580_000))],
  ['KV', 'Range', key('a')],
  ['KV', 'Range', key('a', { rangeEnd: bytes('\0') })],
  ['KV', 'Range', key('\0', { rangeEnd: bytes('\0') })],
  ['KV', 'Range', key('', { rangeEnd: bytes('\0') })],
  ['KV', 'Range', key('b', { rangeEnd: bytes('a') })],
  ['KV', 'Range', key('a', { rangeEnd: bytes('z'), limit: '-1' })],
  ['KV', 'Range', key('a', { rangeEnd: bytes('z'), limit: '2' })],
  ['KV', 'Range', key('a', { rangeEnd: bytes('z'), countOnly: true })],
  ['KV', 'Range', key('a', { rangeEnd: bytes('z'), countOnly: true, limit: '1' })],
  ['KV', 'Range', key('a', { rangeEnd: bytes('z'), keysOnly: true })],
  ['KV', 'Range', key('a', { rangeEnd: bytes('z'), sortOrder: 2, sortTarget: 3 })],
  ['KV', 'Range', key('a', { rangeEnd: bytes('z'), sortOrder: 1, sortTarget: 4, limit: '2' })],
  ['KV', 'Range', key('a', { rangeEnd: bytes('z'), sortOrder: 7 })],
  ['KV', 'Range', key('a', { rangeEnd: bytes('z'), minModRevision: '4' })],
  ['KV', 'Range', key('a', { rangeEnd: bytes('z'), maxCreateRevision: '3', limit: '1' })],
  ['KV', 'Range', key('a', { revision: '2' })],
  ['KV', 'Range', key('a', { revision: '99999' })],
  ['KV', 'Range', key('a', { revision: '-1' })],
  ['KV', 'Range', key('a', { serializable: true })],
  ['KV', 'DeleteRange', key('')],
  ['KV', 'DeleteRange', key('absent')],
  ['KV', 'DeleteRange', key('c', { prevKv: true })],
  ['KV', 'DeleteRange', key('b', { rangeEnd: bytes('a') })],
  ['KV', 'Txn', txn([], [])],
  ['KV', 'Txn', txn([exists('a')], [opRange('a'), opPut('t')], [opPut('no')])],
  ['KV', 'Txn', txn([exists('absent')], [opPut('no')], [opDelete('t', { prevKv: true })])],
  ['KV', 'Txn', txn([{ key: bytes('a'), result: 0, target: 4, lease: '0' }], [opRange('a')])],
  ['KV', 'Txn', txn([{ key: bytes('a'), result: 3, target: 4, lease: '0' }], [opRange('a')])],
  ['KV', 'Txn', txn([{ key: bytes('a'), rangeEnd: bytes('z'), result: 1, target: 2, modRevision: '1' }], [])],
  ['KV', 'Txn', txn([exists('')], [])],
  ['KV', 'Txn', txn([], [opPut('')])],
  ['KV', 'Txn', txn([], [opRange('')])],
  ['KV', 'Txn', txn([], [], [opDelete('')])],
  ['KV', 'Txn', txn([], [{}])],
  ['KV', 'Txn', txn([], [opPut('a', { ignoreValue: true })])],
  ['KV', 'Txn', txn([], [opPut('a', { ignoreLease: true, lease: '3' })])],
  ['KV', 'Txn', txn([], [opPut('a', { lease: '3' })])],
  ['KV', 'Txn', txn([], [{ requestPut: { key: bytes('absent'), ignoreValue: true } }])],
  ['KV', 'Txn', txn([], [opPut('same'), opPut('same')])],
  ['KV', 'Txn', txn([], [opPut('same')], [opPut('same')])],
  ['KV', 'Txn', txn([], [opPut('same'), opDelete('sa', { rangeEnd: bytes('sb') })])],
  ['KV', 'Txn', txn([], [opDelete('same'), opDelete('same')])],
  ['KV', 'Txn', txn([], [opPut('same'), { requestTxn: txn([], [opPut('same')]) }])],
  ['KV', 'Txn', txn([], [{ requestTxn: txn([exists('a')], [opPut('nested'), opRange('nested')], []) }, opRange('a')])],
  ['KV', 'Txn', txn([], [{ requestTxn: txn([], [{}]) }])],
  [
    'KV',
    'Txn',
    txn(
      [],
      many(128, (i) => opPut(`m${i}`)),
    ),
  ],
  [
    'KV',
    'Txn',
    txn(
      [],
      many(129, (i) => opPut(`m${i}`)),
    ),
  ],
  [
    'KV',
    'Txn',
    txn(
      [],
      [],
      many(129, (i) => opPut(`m${i}`)),
    ),
  ],
  [
    'KV',
    'Txn',
    txn(
      many(129, () => exists('a')),
      [],
    ),
  ],
  [
    'KV',
    'Txn',
    txn(
      [],
      [
        {
          requestTxn: txn(
            [],
            many(129, (i) => opPut(`m${i}`)),
          ),
        },
      ],
    ),
  ],
  ['KV', 'Txn', txn([], [opRange('a', { revision: '99999' })])],
  ['KV', 'Compact', { revision: '99999' }],
  ['KV', 'Compact', { revision: '3' }],
  ['KV', 'Compact', { revision: '3' }],
  ['KV', 'Compact', { revision: '2' }],
  ['KV', 'Compact', { revision: '0' }],
  ['KV', 'Compact', { revision: '-1' }],
  ['KV', 'Compact', { revision: '5', physical: true }],
  ['KV', 'Range', key('a', { revision: '2' })],
  ['KV', 'Range', key('a', { revision: '5' })],
  ['KV', 'Txn', txn([], [opRange('a', { revision: '2' })])],
  ['KV', 'Range', key('a'), { metadata: { hasleader: 'true' } }],
  ['KV', 'Range', key('a'), { metadata: { 'client-api-version': '3.4.23' } }],
  ['Maintenance', 'MoveLeader', { targetID: '0' }],
  ['Maintenance', 'MoveLeader', { targetID: '12345' }],
]

const EVERY_CALL: readonly Call[] = [
  ['KV', 'Range', key('a')],
  ['KV', 'Put', put('a', '1')],
  ['KV', 'DeleteRange', key('a')],
  ['KV', 'Txn', txn([], [])],
  ['Cluster', 'MemberList', {}],
  ['Maintenance', 'Status', {}],
]

function connect(address: string): Client {
  return new Client(address, credentials.createInsecure(), {
    'grpc.max_send_message_length': -1,
    'grpc.max_receive_message_length': -1,
  })
}

function raw(
  client: Client,
  path: string,
  message: Buffer,
  options: Options = {},
): Promise<Answer & { body?: Buffer }> {
  const metadata = new Metadata()
  for (const [name, value] of Object.entries(options.metadata ?? {})) metadata.set(name, value)
  return new Promise((resolve) => {
    client.makeUnaryRequest(
      path,
      (sent: Buffer) => sent,
      (received: Buffer) => received,
      message,
      metadata,
      { deadline: Date.now() + (options.timeoutMs ?? 20_000) },
      (error: ServiceError | null, body?: Buffer) =>
        resolve({ code: error?.code ?? 0, details: error?.details ?? '', response: undefined, ...(body && { body }) }),
    )
  })
}

async function ask(client: Client, [service, method, request, options]: Call): Promise<Answer> {
  const definition = etcdService(service)[method]
  assert.ok(definition)
  const { body, ...answer } = await raw(client, definition.path, definition.requestSerialize(request), options)
  return body === undefined ? answer : { ...answer, response: definition.responseDeserialize(body) }
}

async function answerOf(client: Client, call: Call): Promise<Plain> {
  const { code, details, response } = await ask(client, call)
  assert.equal(code, 0, details)
  assert.ok(response)
  return response
}

function serialised(method: string, request: Plain): Buffer {
  const definition = etcdService('KV')[method]
  assert.ok(definition)
  return definition.requestSerialize(request)
}

/** Ids and terms are the cluster's own. */
function normalised(answer: Answer): unknown {
  return JSON.parse(
    JSON.stringify(answer, (name, value: unknown) =>
      ['clusterId', 'memberId', 'raftTerm'].includes(name) ? typeof value : value,
    ),
  )
}

const shown = ([service, method, request, options]: Call): string =>
  `${service}.${method} ${JSON.stringify(request, (_name, value: { type?: string; data?: number[] } | string) =>
    typeof value === 'object' && value.type === 'Buffer'
      ? Buffer.from(value.data ?? [])
          .toString('latin1')
          .slice(0, 20)
      : value,
  ).slice(0, 150)} ${options === undefined ? '' : JSON.stringify(options)}`

const skip = missing('etcd')

describe("etcd's calls through gRPC", { skip }, () => {
  let skein: TestCluster
  let etcd: EtcdCluster
  let ours: Client
  let theirs: Client
  before(async () => {
    ;[skein, etcd] = await Promise.all([startCluster(3), startEtcd(3)])
    // The leader, so that MoveLeader's other refusals are seen.
    ours = connect(skein.leader()?.address as string)
    theirs = connect(await leaderOf(etcd.endpoints))
  })
  after(async () => {
    ours?.close()
    theirs?.close()
    await Promise.all([skein?.close(), etcd?.close()])
  })

  for (const call of TABLE) {
    test(`as etcd: ${shown(call)}`, async () => {
      const [expected, actual] = await Promise.all([ask(theirs, call), ask(ours, call)])
      assert.deepEqual(normalised(actual), normalised(expected))
    })
  }

  test('as etcd: MoveLeader asked of a follower', async () => {
    const leader = await leaderOf(etcd.endpoints)
    const [one, other] = [
      connect(etcd.endpoints.find((endpoint) => endpoint !== leader) as string),
      connect(skein.servers.find((server) => server !== skein.leader())?.address as string),
    ]
    const call: Call = ['Maintenance', 'MoveLeader', { targetID: '1' }]
    const [expected, actual] = await Promise.all([ask(one, call), ask(other, call)])
    assert.deepEqual(normalised(actual), normalised(expected))
    one.close()
    other.close()
  })

  test('as etcd: a method or service that does not exist, and bytes that are no message', async () => {
    for (const [path, message] of [
      ['/etcdserverpb.KV/Nope', Buffer.alloc(0)],
      ['/etcdserverpb.Nope/Nope', Buffer.alloc(0)],
      ['/etcdserverpb.KV/Range', Buffer.from([0x0a, 0x7f, 1])],
      ['/etcdserverpb.KV/Put', Buffer.from([0xff, 0xff, 0xff])],
    ] as const) {
      const [expected, actual] = await Promise.all([raw(theirs, path, message), raw(ours, path, message)])
      assert.equal(actual.code, expected.code, `${path}: ${actual.details}; etcd: ${expected.details}`)
    }
  })

  test('a request of the very limit is taken, and one byte more refused with the text of etcd', async () => {
    const limit = 1536 * 1024
    const sizeOf = (request: Plain): number => serialised('Put', request).length
    const overhead = sizeOf(put('big', 'x'.repeat(limit))) - limit
    const full = put('big', 'x'.repeat(limit - overhead))
    assert.equal(sizeOf(full), limit)
    assert.equal((await ask(ours, ['KV', 'Put', full])).code, 0)
    const more = put('big', 'x'.repeat(limit - overhead + 1))
    const refused = { code: 3, details: 'etcdserver: request is too large', response: undefined }
    assert.deepEqual(await ask(ours, ['KV', 'Put', more]), refused)
    assert.deepEqual(await ask(theirs, ['KV', 'Put', more]), refused)
    // etcd counts its envelope of up to 20 bytes too: what it takes, Skein takes.
    assert.equal((await ask(theirs, ['KV', 'Put', put('big', 'x'.repeat(limit - overhead - 20))])).code, 0)
  })

  test('every answer has a header with the cluster, the member, the revision and the term', async () => {
    for (const server of skein.servers) {
      const client = connect(server.address)
      for (const call of EVERY_CALL) {
        const { response } = await ask(client, call)
        const header = response?.['header'] as Record<string, string>
        const { memberId, status } = server.running
        assert.equal(header['memberId'], memberId.toString(), call[1])
        assert.equal(header['raftTerm'], String(status().term), call[1])
        assert.match(header['clusterId'] as string, /^[1-9]\d+$/)
        // As in etcd, the list of members is no part of the store and has no revision.
        if (call[0] !== 'Cluster') assert.ok(Number(header['revision']) > 1, call[1])
      }
      client.close()
    }
  })

  test('Status says what etcd says, and how far this server is durable', async () => {
    for (const server of skein.servers) {
      const client = connect(server.address)
      const { response } = await ask(client, ['Maintenance', 'Status', {}])
      const now = server.running.status()
      const { raftIndex, raftTerm, leader, version, errors, isLearner, ...rest } = response as Record<string, unknown>
      assert.deepEqual(
        { raftIndex, raftTerm, leader, errors, isLearner: isLearner ?? false },
        {
          raftIndex: String(now.durableIndex),
          raftTerm: String(now.term),
          leader: String(now.leader),
          errors: [],
          isLearner: false,
        },
      )
      assert.match(version as string, /^3\.4\.\d+$/)
      assert.ok(Number(rest['dbSize']) > 0)
      client.close()
    }
  })

  test('there is no authentication: tokens are ignored (etcd refuses those that it did not give)', async () => {
    const metadata = { authorization: 'Bearer nonsense', token: 'nonsense' }
    assert.equal((await ask(ours, ['KV', 'Range', key('a'), { metadata }])).code, 0)
    for (const method of ['AuthEnable', 'Authenticate', 'UserList', 'RoleList'])
      assert.equal((await raw(ours, `/etcdserverpb.Auth/${method}`, Buffer.alloc(0))).code, 12)
  })

  test('a space that does not exist is refused clearly', async () => {
    for (const call of EVERY_CALL.slice(0, 4)) {
      const answer = await ask(ours, [call[0], call[1], call[2], { metadata: { 'skein-space': 'nowhere' } }])
      assert.equal(answer.code, 5)
      assert.match(answer.details, /there is no space "nowhere"/)
    }
  })

  test('a malformed session is refused clearly', async () => {
    for (const metadata of [
      { 'skein-session': 'x' },
      { 'skein-seq': '1' },
      { 'skein-session': 'x', 'skein-seq': 'one' },
      { 'skein-session': 'x', 'skein-seq': '-1' },
      { 'skein-session': 'x', 'skein-seq': '9007199254740993' },
      { 'skein-session': 'x'.repeat(65), 'skein-seq': '1' },
    ]) {
      const answer = await ask(ours, ['KV', 'Put', put('s', '1'), { metadata }])
      assert.equal(answer.code, 3, JSON.stringify(metadata))
      assert.match(answer.details, /skein-session must have 1 to 64 bytes/)
    }
  })

  test('a write that comes twice in a session takes effect once, at whichever server it comes', async () => {
    const metadata = { 'skein-session': 'twice', 'skein-seq': '1' }
    const answers: unknown[] = []
    for (const server of skein.servers) {
      const client = connect(server.address)
      const response = await answerOf(client, ['KV', 'Put', put('twice', server.name), { metadata }])
      answers.push((response['header'] as Record<string, unknown>)['revision'])
      client.close()
    }
    assert.equal(new Set(answers).size, 1)
    const response = await answerOf(ours, ['KV', 'Range', key('twice')])
    const [kv] = response['kvs'] as { version: string; value: Buffer }[]
    assert.deepEqual([kv?.version, kv?.value.toString()], ['1', 'S1'])
  })

  test('hasleader: without a leader the call is refused at once, as by etcd', async () => {
    // The last test: two of three servers go.
    const [last] = skein.servers
    const [endpoint] = etcd.endpoints
    assert.ok(last && endpoint)
    await Promise.all([
      ...skein.servers.slice(1).map((server) => new Promise<void>((resolve) => server.running.stop(resolve))),
      etcd.kill(1),
      etcd.kill(2),
    ])
    const [one, other] = [connect(endpoint), connect(last.address)]
    await until(() => last.running.status().leader === undefined)
    const call: Call = ['KV', 'Range', key('a', { serializable: true }), { metadata: { hasleader: 'true' } }]
    let expected = await ask(one, call)
    for (const end = Date.now() + 15_000; expected.code === 0 && Date.now() < end;) expected = await ask(one, call)
    assert.deepEqual(normalised(await ask(other, call)), normalised(expected))
    assert.deepEqual([expected.code, expected.details], [14, 'etcdserver: no leader'])
    // Who does not ask for a leader reads on.
    assert.equal((await ask(other, ['KV', 'Range', key('a', { serializable: true })])).code, 0)
    const put1 = await ask(other, ['KV', 'Put', put('a', '2')])
    assert.deepEqual([put1.code, put1.details], [14, 'etcdserver: no leader'])
    const status = await ask(other, ['Maintenance', 'Status', {}])
    assert.deepEqual(status.response?.['errors'], ['etcdserver: no leader'])
    const late = await ask(other, ['KV', 'Range', key('a'), { timeoutMs: 1 }])
    assert.ok(late.code === 4 || late.code === 14, `code ${late.code}`)
    one.close()
    other.close()
  })
})

async function leaderOf(endpoints: readonly string[]): Promise<string> {
  for (const endpoint of endpoints) {
    const client = connect(endpoint)
    const { response } = await ask(client, ['Maintenance', 'Status', {}])
    client.close()
    const header = response?.['header'] as Record<string, unknown>
    if (header['memberId'] === response?.['leader']) return endpoint
  }
  throw new Error('no endpoint leads')
}
