/** A real disk that fills and empties: a small file system in memory under a real server. Needs the right to mount one. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { Skein, SkeinError } from '../src/index.ts'
import { freePorts } from './cluster.testkit.ts'

const run = (command: string, args: readonly string[]): boolean => spawnSync(command, args).status === 0

const mountTmpfs = (directory: string, sizeMb: number): boolean =>
  run('mount', ['-t', 'tmpfs', '-o', `size=${sizeMb}m`, 'tmpfs', directory])

function unmountable(): string | false {
  const directory = mkdtempSync(join(tmpdir(), 'skein-full-'))
  const can = mountTmpfs(directory, 1)
  if (can) run('umount', [directory])
  rmSync(directory, { recursive: true, force: true })
  return can ? false : 'a file system cannot be mounted here'
}

const story = 'a disk that fills and empties: writes are refused, reads go on, and nothing acknowledged is lost'
test(story, { skip: unmountable() }, async () => {
  const directory = mkdtempSync(join(tmpdir(), 'skein-full-'))
  assert.ok(mountTmpfs(directory, 40))
  // A server that a failed test leaves running would keep the process alive.
  const started: { stop(): Promise<void> }[] = []
  try {
    const [port] = await freePorts(1)
    const cluster = [{ name: 'S1', address: `127.0.0.1:${port}` }]
    const failures: string[] = []
    const server = await Skein.start(
      {
        name: 'S1',
        dataDirectory: join(directory, 'S1'),
        listen: `127.0.0.1:${port}`,
        cluster,
        clusterKey: new Uint8Array(32).fill(4),
        electionTimeoutMs: 500,
        tuning: { segmentBytes: 4 * 1024 * 1024, checkpointBytes: 2 * 1024 * 1024, checkpointDelayMs: 100 },
      },
      (event) => event.type === 'failed' && failures.push(event.violation.message),
    )
    started.push(server)
    const client = Skein.connect({ endpoints: [server.address], timeoutMs: 5_000 })
    const key = (n: number): Uint8Array => new TextEncoder().encode(`k${n}`)
    const value = (n: number): Uint8Array => new Uint8Array(300_000).fill(n % 251)
    const acknowledged: number[] = []
    let refusal: SkeinError | undefined
    for (let n = 0; n < 400 && refusal === undefined; n++) {
      try {
        await client.put(key(n), value(n))
        acknowledged.push(n)
      } catch (error) {
        assert.ok(error instanceof SkeinError, String(error))
        // What was already on its way when the disk filled may end either way.
        if (error.code === 'disk-full') refusal = error
        else
          assert.ok(error.code === 'timed-out' || error.code === 'outcome-unknown', `${error.code}: ${error.message}`)
      }
    }
    assert.equal(refusal?.code, 'disk-full')
    assert.ok(acknowledged.length > 10)
    const first = await client.get(key(0))
    assert.deepEqual(first?.value, value(0), 'reads go on')
    assert.deepEqual(failures, [], 'the server lives')

    assert.ok(run('mount', ['-o', 'remount,size=400m', directory]))
    const end = performance.now() + 30_000
    for (;;) {
      try {
        await client.put(key(9999), value(1))
        break
      } catch (error) {
        assert.ok(error instanceof SkeinError && performance.now() < end, String(error))
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
    }
    client.close()
    await server.stop()
    assert.ok(!readdirSync(join(directory, 'S1', 'engine')).includes('space.probe'), 'no probe is left behind')

    // From disk again: what was acknowledged is there.
    const again = await Skein.start({
      name: 'S1',
      dataDirectory: join(directory, 'S1'),
      listen: `127.0.0.1:${port}`,
      cluster,
      clusterKey: new Uint8Array(32).fill(4),
      electionTimeoutMs: 500,
    })
    started.push(again)
    const reader = Skein.connect({ endpoints: [again.address] })
    for (const n of acknowledged) {
      const kept = await reader.get(key(n))
      assert.deepEqual(kept?.value, value(n), `key ${n}`)
    }
    reader.close()
    await again.stop()
  } finally {
    await Promise.all(started.map((server) => server.stop()))
    run('umount', ['-l', directory])
    rmSync(directory, { recursive: true, force: true })
  }
})
