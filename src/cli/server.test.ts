/** `skein server`: what it refuses, and one that runs by itself. */
import assert from 'node:assert/strict'
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { freeRow, skein, startSkein, temporaryDirectory } from './cli.testkit.ts'
import { parseCluster } from './server.ts'

const temporary = temporaryDirectory()
const file = (name: string): string => join(temporary.path, name)
let port = 0
before(async () => {
  port = await freeRow(2)
  assert.equal((await skein(['keygen', file('key')])).code, 0)
})
after(() => temporary.remove())

const server = (over: Readonly<Record<string, string>>, ...flags: string[]): string[] => {
  const options = {
    name: 'a',
    cluster: `a=127.0.0.1:${port}`,
    'cluster-key-file': file('key'),
    data: file('data'),
    ...over,
  }
  return ['server', ...Object.entries(options).flatMap(([name, value]) => [`--${name}`, value]), ...flags]
}

test('keygen makes a key for its owner only, and never over another', async () => {
  assert.match(readFileSync(file('key'), 'utf8'), /^[0-9a-f]{64}\n$/)
  assert.equal(statSync(file('key')).mode & 0o777, 0o600)
  const { code, stderr } = await skein(['keygen', file('key')])
  assert.equal(code, 1)
  assert.match(stderr, /exists already, and a key is never overwritten/)
})

test('a server alone: serves, stops on TERM, logs as JSON', async () => {
  const running = startSkein(server({}))
  await running.line(new RegExp(`^serving a at 127.0.0.1:${port}$`))
  const endpoints = ['--endpoints', `127.0.0.1:${port}`]
  assert.equal((await skein(['put', 'k', 'v', ...endpoints])).code, 0)
  assert.equal((await skein(['get', 'k', '--value-only', ...endpoints])).stdout, 'v')
  const second = await skein(server({ cluster: `a=127.0.0.1:${port + 1}` }))
  assert.equal(second.code, 1)
  assert.match(second.stderr, new RegExp(`data is in use by process ${running.pid}\n  Stop that process`))
  const samePort = await skein(server({ data: file('other') }))
  assert.equal(samePort.code, 1)
  assert.match(samePort.stderr, /address-in-use/)
  running.child.kill('SIGTERM')
  assert.deepEqual(await running.ended(), { code: 0, signal: null })
  const events = readFileSync(join(file('data'), 'server.log'), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => (JSON.parse(line) as { event: string }).event)
  for (const event of ['serving', 'asked-to-stop', 'stopped']) assert.ok(events.includes(event), event)
})

test('data of another server is refused', async () => {
  const { code, stderr } = await skein(server({ name: 'b', cluster: `b=127.0.0.1:${port}` }))
  assert.equal(code, 1)
  assert.match(stderr, /holds server a of cluster .*\n {2}Point --data at the right directory/)
})

test('a public address without TLS is refused unless --insecure says that it is wanted', async () => {
  const { code, stderr } = await skein(server({ listen: `0.0.0.0:${port}`, data: file('public') }))
  assert.equal(code, 1)
  assert.match(stderr, /0\.0\.0\.0:\d+ can be reached from other machines[\s\S]*--insecure[\s\S]*insecure-address/)
  assert.ok(!existsSync(join(file('public'), 'identity.json')))
})

test('what is missing or malformed is told with an example', async () => {
  writeFileSync(file('bad-key'), 'secret\n')
  const cases: [args: string[], code: number, message: RegExp][] = [
    [['server'], 3, /skein server needs --name, for instance --name s1/i],
    [['server', '--name', 'a'], 3, /skein server needs --cluster, for instance/],
    [['server', '--name', 'a', '--cluster', 'a=h:1'], 3, /skein server needs --cluster-key-file/],
    [server({ name: 'z' }), 3, /--cluster names a, but not this server, z/],
    [server({ cluster: 'a' }), 3, /--cluster wants NAME=HOST:PORT,NAME=HOST:PORT,…; "a" is not of that form/],
    [server({ dial: 'b' }), 3, /--dial wants NAME=HOST:PORT/],
    [server({ dial: 'b=127.0.0.1:1' }), 3, /--dial names b, which --cluster does not/],
    [server({ engine: 'paper' }), 3, /--engine must be lmdb or memory, not "paper"/],
    [server({ 'log-level': 'loud' }), 3, /--log-level must be one of/],
    [server({ 'tls-cert': file('key') }), 3, /--tls-cert and --tls-key go together/],
    [server({ 'cluster-key-file': file('none') }), 1, /--cluster-key-file names .*none, and there is no such file/],
    [server({ 'cluster-key-file': file('bad-key') }), 1, /must hold 64 hex digits[\s\S]*Make one with: skein keygen/],
    [server({ data: file('key') }), 1, /the data directory .* cannot be made/],
    [server({ 'heartbeat-interval-ms': '900' }), 1, /at most a fifth of the election timeout/],
  ]
  await Promise.all(
    cases.map(async ([args, code, message]) => {
      const ran = await skein(args)
      assert.match(ran.stderr, message)
      assert.equal(ran.code, code, ran.stderr)
    }),
  )
})

test('a list of servers is names and addresses', () => {
  assert.deepEqual(parseCluster('cluster', 's1=10.0.0.1:7701, s2=[::1]:7702'), [
    { name: 's1', address: '10.0.0.1:7701' },
    { name: 's2', address: '[::1]:7702' },
  ])
})
