/** /health, /version and /metrics of real servers, asked by curl, as probes and scrapers ask. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { after, before, describe, test } from 'node:test'
import { promisify } from 'node:util'
import type { TestCluster } from './cluster.testkit.ts'
import { startCluster, until } from './cluster.testkit.ts'
import { missing } from './etcd.testkit.ts'
import { parseExposition } from './exposition.ts'

async function curl(...args: readonly string[]): Promise<{ code: number; type: string; body: string }> {
  const { stdout } = await promisify(execFile)('curl', ['-s', '-w', '\n%{http_code} %{content_type}', ...args])
  const at = stdout.lastIndexOf('\n')
  const [code, type] = stdout.slice(at + 1).split(/ (.*)/) as [string, string]
  return { code: Number(code), type, body: stdout.slice(0, at) }
}

describe('plain HTTP', { skip: missing('curl') }, () => {
  let cluster: TestCluster
  before(async () => {
    cluster = await startCluster(3)
  })
  after(async () => cluster?.close())
  const url = (path: string, server = 0): string => `http://${cluster.endpoints[server]}${path}`

  for (const version of ['--http1.1', '--http2-prior-knowledge']) {
    test(`/health, /version and what is not there (${version})`, async () => {
      const health = await curl(version, url('/health'))
      assert.deepEqual(
        [health.code, health.type, JSON.parse(health.body)],
        [200, 'application/json', { health: 'true' }],
      )
      const { body } = await curl(version, url('/version'))
      const said = JSON.parse(body) as Record<string, string>
      assert.match(said['etcdserver'] ?? '', /^3\.4\./)
      assert.equal(said['etcdcluster'], '3.4.0')
      assert.match(said['skein'] ?? '', /^\d+\.\d+\.\d+/)
      assert.equal((await curl(version, url('/nothing'))).code, 404)
      assert.equal((await curl(version, '-X', 'POST', url('/health'))).code, 405)
      assert.equal((await curl(version, url('/health?serializable=true'))).code, 200)
    })

    test(`/metrics is what a scraper reads (${version})`, async () => {
      const { code, type, body } = await curl(version, url('/metrics'))
      assert.equal(code, 200)
      assert.match(type, /^text\/plain; version=0\.0\.4/)
      const families = new Map(parseExposition(body).map((family) => [family.name, family]))
      assert.equal(families.get('etcd_server_has_leader')?.samples[0]?.value, 1)
      assert.equal(families.get('skein_link_sent_bytes_total')?.samples.length, 4)
      for (const { name, type: kind, samples } of families.values()) {
        assert.match(name, /^(etcd|skein|process|nodejs)_/)
        for (const sample of samples) assert.ok(kind !== 'counter' || sample.value >= 0, name)
      }
    })
  }

  test('/health without a leader is 503 and says why', async () => {
    // The last test: two of three servers go.
    await Promise.all(
      cluster.servers.slice(1).map((server) => new Promise<void>((resolve) => server.running.stop(resolve))),
    )
    await until(() => cluster.servers[0]?.running.status().leader === undefined)
    const { code, body } = await curl(url('/health'))
    assert.equal(code, 503)
    assert.equal((JSON.parse(body) as { health: string }).health, 'false')
    const { body: metrics } = await curl(url('/metrics'))
    const hasLeader = parseExposition(metrics).find((family) => family.name === 'etcd_server_has_leader')
    assert.equal(hasLeader?.samples[0]?.value, 0)
  })
})
