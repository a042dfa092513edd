/** A follower that is brought up by snapshot, over real sockets and with lmdb on real files; then the end of all at once. */
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { utf8 } from '../src/base/index.ts'
import { connectClient } from '../src/client/index.ts'
import { startServer } from '../src/host/index.ts'
import type { RunningServer } from '../src/server/index.ts'
import { openNodeWorld } from '../src/world/node/index.ts'
import { freePorts } from './cluster.testkit.ts'

const TUNING = { keepEntries: 50, checkpointBytes: 65_536, checkpointDelayMs: 50, segmentBytes: 262_144 }
const KEYS = 1_500

async function until(what: string, condition: () => boolean): Promise<void> {
  for (let i = 0; i < 3_000; i++) {
    if (condition()) return
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  assert.fail(`it never came: ${what}`)
}

test('three servers with lmdb: one falls behind, comes back by snapshot, and all stop together', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'skein-snapshot-'))
  const members = (await freePorts(3)).map((port, i) => ({ name: `S${i + 1}`, address: `127.0.0.1:${port}` }))
  const events: string[] = []
  const failures: unknown[] = []
  const start = (name: string): Promise<RunningServer> =>
    new Promise((resolve, reject) => {
      const world = openNodeWorld({
        onFail: (violation) => failures.push(violation),
        diagnostics: { enabled: () => true, log: (_level, event) => void events.push(event) },
      })
      const address = members.find((member) => member.name === name)?.address ?? ''
      startServer(
        world,
        {
          name,
          dataDirectory: join(directory, name),
          listen: address,
          cluster: members,
          clusterKey: new Uint8Array(32).fill(7),
          electionTimeoutMs: 300,
          tuning: TUNING,
        },
        () => {},
        (result) => (result.ok ? resolve(result.value) : reject(new Error(result.error.message))),
      )
    })
  const stop = (server: RunningServer): Promise<void> => new Promise((resolve) => server.stop(resolve))
  const client = connectClient(openNodeWorld({ onFail: (violation) => failures.push(violation) }), {
    endpoints: members.map((member) => member.address),
  })
  try {
    const servers = await Promise.all(members.map((member) => start(member.name)))
    await until('a leader', () => servers.every((server) => server.status().leader !== undefined))
    const first = readdirSync(join(directory, 'S1', 'log')).sort()[0] ?? ''
    const behind = servers.findIndex((server) => server.status().role !== 'leader')
    await stop(servers[behind] as RunningServer)
    for (let key = 0; key < KEYS; key += 100) {
      await Promise.all(Array.from({ length: 100 }, (_, i) => client.put(utf8(`k${key + i}`), utf8('v'.repeat(200)))))
    }
    // The log is cut once the engine's checkpoint is durable: then its first segment goes.
    const isCut = (i: number): boolean =>
      !readdirSync(join(directory, `S${i + 1}`, 'log'))
        .sort()[0]
        ?.includes(first)
    await until('the logs were cut', () => servers.every((_, i) => i === behind || isCut(i)))
    const back = await start((members[behind] as { name: string }).name)
    const others = servers.filter((_, i) => i !== behind)
    await until('it caught up', () => back.status().revision === (others[0] as RunningServer).status().revision)
    assert.ok(events.includes('snapshot-begins'))
    const address = (members[behind] as { address: string }).address
    const own = connectClient(openNodeWorld({ onFail: (violation) => failures.push(violation) }), {
      endpoints: [address],
    })
    const range = await own.range({ key: utf8('k'), rangeEnd: utf8('l'), countOnly: true, serializable: true })
    assert.equal(range.count, KEYS)
    own.close()
    await Promise.all([...others, back].map(stop))
    // And once more from what is on the disks.
    const again = await Promise.all(members.map((member) => start(member.name)))
    await until('a leader again', () => again.every((server) => server.status().leader !== undefined))
    const all = await client.range({ key: utf8('k'), rangeEnd: utf8('l'), countOnly: true })
    assert.equal(all.count, KEYS)
    await Promise.all(again.map(stop))
    assert.deepEqual(failures, [])
  } finally {
    client.close()
    rmSync(directory, { recursive: true, force: true })
  }
})
