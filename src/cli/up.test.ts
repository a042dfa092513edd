/** `skein up` from start to end, as real processes: one cluster's life after another, on the same data. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { EMPTY, text } from '../base/index.ts'
import type { Ran, ReadyEvent } from './cli.testkit.ts'
import {
  freeRow,
  isAlive,
  MAIN,
  skein,
  startCluster,
  startSkein,
  temporaryDirectory,
  untilTrue,
  within,
} from './cli.testkit.ts'

type Cluster = Awaited<ReturnType<typeof startCluster>>
type StatusMember = { name: string; up: boolean; leader: boolean; process?: string; durableIndex?: number }
type Status = { leader?: string; up: number; members: StatusMember[] }

const statusOf = (ran: Ran): Status => JSON.parse(ran.stdout) as Status

describe('skein up', { concurrency: false }, () => {
  const temporary = temporaryDirectory()
  // Longer than the path of a unix socket may be.
  const data = join(temporary.path, 'd'.repeat(60), 'd'.repeat(60))
  const at = ['--data', data]
  let port = 0
  let cluster: Cluster
  /** The others are not to be damaged: with this one away they are the majority. */
  let lostItsDisk = ''
  const pidOf = (name: string): number => cluster.ready.servers.find((server) => server.name === name)?.pid as number
  const pids = (): number[] => [cluster.pid, ...cluster.ready.servers.map((server) => server.pid)]
  const allEnd = async (): Promise<void> => {
    await cluster.ended()
    await untilTrue('every process has ended', () => !pids().some(isAlive))
  }
  const follower = (): string =>
    cluster.ready.servers.find((server) => server.name !== cluster.ready.leader)?.name as string

  before(async () => {
    port = await freeRow(5)
    cluster = await startCluster(['--servers', '3', '--port', String(port), ...at, '--welcome'])
  })
  after(async () => {
    for (const pid of pids()) if (isAlive(pid)) process.kill(pid, 'SIGKILL')
    await cluster.ended()
    temporary.remove()
  })

  test('it is ready with a value that all have on disk, one port after the other', () => {
    const { ready } = cluster
    assert.deepEqual(
      ready.servers.map(({ name, address }) => `${name} ${address}`),
      [0, 1, 2].map((i) => `S${i + 1} 127.0.0.1:${port + i}`),
    )
    const { tookMs, ...proof } = ready.proof ?? {}
    assert.equal(typeof tookMs, 'number')
    assert.equal(proof['key'], 'User_Balance')
    assert.equal(proof['saved'], true)
    assert.deepEqual([proof['agreedBy'], proof['servers'], proof['quorum']], [3, 3, 2])
    assert.notEqual(proof['through'], proof['readThrough'])
  })

  test('its key and its control socket are its owner’s only', () => {
    for (const [file, mode] of [
      ['cluster-key', 0o600],
      ['control.sock', 0o600],
      ['cluster.json', 0o600],
      ['S1/server.log', 0o600],
      ['S1', 0o700],
    ] as const) {
      assert.equal(statSync(join(data, file)).mode & 0o777, mode, file)
    }
    assert.ok(statSync(join(data, 'control.sock')).isSocket())
  })

  test('put, get, del and txn, and what get says of a key that is not there', async () => {
    const put = await skein(['put', 'balance', '-5', ...at])
    assert.match(put.stdout, /^OK at revision \d+\n$/)
    assert.deepEqual(await skein(['get', 'balance', ...at]), { code: 0, stdout: 'balance\n-5\n', stderr: '' })
    const fromInput = await skein(['put', 'letter', ...at], { input: 'two\nlines' })
    assert.equal(fromInput.code, 0)
    assert.equal((await skein(['get', 'letter', '--value-only', ...at])).stdout, 'two\nlines')
    const txn = await skein(['txn', ...at], { input: 'value("balance") = "-5"\n\nput balance 7\n\nget balance\n' })
    assert.equal(txn.stdout, 'SUCCESS\n\nOK\n')
    const { stdout } = await skein(['get', 'balance', '--json', ...at])
    assert.equal((JSON.parse(stdout) as { kvs: { value: string }[] }).kvs[0]?.value, '7')
    await skein(['put', 'FF00', '--hex', ...at], { input: 'x' })
    const { kvs } = JSON.parse((await skein(['get', 'ff', '--hex', '--prefix', '--json', ...at])).stdout) as {
      kvs: Record<string, string>[]
    }
    assert.equal(kvs[0]?.['keyHex'], 'ff00')
    assert.equal((await skein(['del', 'ff00', '--hex', ...at])).stdout, '1\n')
    assert.match((await skein(['txn', ...at], { input: '\n' })).stderr, /standard input is empty/)
    assert.equal((await skein(['del', 'letter', ...at])).stdout, '1\n')
    const nothing = await skein(['get', 'letter', ...at])
    assert.deepEqual(nothing, { code: 2, stdout: '', stderr: 'skein: there is no key "letter"\n' })
  })

  test('bytes go in and out as they are', () => {
    const bytes = Uint8Array.from({ length: 256 }, (_, i) => i)
    const run = (words: string[], input = EMPTY): Uint8Array =>
      execFileSync(process.execPath, [MAIN, ...words, ...at], { input })
    run(['put', 'photo'], bytes)
    assert.deepEqual(Uint8Array.from(run(['get', 'photo', '--value-only'])), bytes)
    assert.equal(text(run(['get', 'phot', '--prefix', '--keys-only'])), 'photo\n')
    assert.equal(text(run(['del', 'photo'])), '1\n')
  })

  test('status is a table for people and an object for programs', async () => {
    const people = await skein(['status', ...at])
    assert.equal(people.code, 0)
    const lines = people.stdout.trimEnd().split('\n')
    assert.match(lines[0] ?? '', /^SERVER +ADDRESS +ROLE +TERM/)
    assert.equal(lines.filter((line) => / leader /.test(line)).length, 1)
    assert.equal(lines.filter((line) => / follower /.test(line)).length, 2)
    assert.equal(lines.at(-1), `${cluster.ready.leader} leads. 3 of 3 servers are up, 2 are needed: one more may fail.`)
    assert.ok(!people.stdout.includes('\u001B'))
    const programs = statusOf(await skein(['status', '--json', ...at]))
    assert.equal(programs.leader, cluster.ready.leader)
    assert.ok(
      programs.members.every((member) => member.up && member.process === 'up' && (member.durableIndex ?? 0) > 0),
    )
  })

  test('a second cluster on the same data, or on its ports, is refused with a way out', async () => {
    const same = await skein(['up', ...at])
    assert.equal(same.code, 1)
    assert.match(
      same.stderr,
      new RegExp(`is in use by process ${cluster.pid}\n  Stop that process, or choose another --data`),
    )
    const ports = await skein(['up', '--servers', '3', '--port', String(port + 2), '--data', join(temporary.path, 'x')])
    assert.equal(ports.code, 1)
    assert.match(ports.stderr, new RegExp(`port ${port + 2}, which S1 needs, is taken.*\n.*skein up --port \\d+`))
  })

  test('a killed server stays down, the others go on, and restart brings it back', async () => {
    const name = follower()
    const killed = await skein(['kill', name.toLowerCase(), ...at])
    assert.match(killed.stdout, new RegExp(`^${name} was killed. Bring it back with: skein restart ${name}`))
    assert.ok(!isAlive(pidOf(name)))
    assert.equal((await skein(['put', 'balance', '8', ...at])).code, 0)
    const status = await skein(['status', ...at])
    assert.match(status.stdout, new RegExp(`${name} .* down +bring it back: skein restart ${name}`))
    assert.match(status.stdout, /2 of 3 servers are up, 2 are needed: no further server may fail/)
    const again = await skein(['kill', name, ...at])
    assert.equal(again.code, 1)
    assert.match(again.stderr, new RegExp(`${name} does not run\n  Start it with: skein restart ${name}`))
    const back = await skein(['restart', name, '--json', ...at])
    assert.equal(back.code, 0)
    const { pid, state } = JSON.parse(back.stdout) as { pid: number; state: string }
    assert.equal(state, 'up')
    assert.ok(isAlive(pid))
    const { servers } = cluster.ready
    const ready: ReadyEvent = {
      ...cluster.ready,
      servers: servers.map((server) => (server.name === name ? { ...server, pid } : server)),
    }
    cluster = { ...cluster, ready }
    const address = servers.find((server) => server.name === name)?.address as string
    assert.equal((await skein(['get', 'balance', '--value-only', '--endpoints', address])).stdout, '8')
  })

  test('a paused server delays nobody, says so in the status, and goes on', async () => {
    const name = follower()
    assert.equal((await skein(['pause', name, ...at])).code, 0)
    assert.equal((await skein(['put', 'balance', '9', ...at])).code, 0)
    const status = await skein(['status', ...at])
    assert.match(status.stdout, new RegExp(`${name} .* paused +let it go on: skein resume ${name}`))
    assert.match((await skein(['pause', name, ...at])).stderr, /is paused already/)
    assert.equal((await skein(['resume', name, ...at])).code, 0)
    assert.match((await skein(['resume', name, ...at])).stderr, /is not paused/)
    const address = cluster.ready.servers.find((server) => server.name === name)?.address as string
    assert.equal((await skein(['get', 'balance', '--value-only', '--endpoints', address])).stdout, '9')
  })

  test('a server that nobody knows is told with those there are', async () => {
    const { code, stderr } = await skein(['kill', 'S9', ...at])
    assert.equal(code, 1)
    assert.match(stderr, /there is no server "S9"\n {2}Name one of S1, S2, S3/)
  })

  test('TERM to one of the servers ends everything, and up says which it was', async () => {
    const name = follower()
    process.kill(pidOf(name), 'SIGTERM')
    await allEnd()
    assert.match(cluster.stderr(), new RegExp(`stopping \\(${name} was told to stop`))
    assert.equal((await cluster.ended()).code, 0)
  })

  test('another number of servers than the data has is refused', async () => {
    const { code, stderr } = await skein(['up', '--servers', '5', ...at])
    assert.equal(code, 1)
    assert.match(stderr, /holds a cluster of 3 servers, not of 5\n {2}Leave out --servers, or choose another directory/)
  })

  test('a directory with something else in it is left alone', async () => {
    const other = join(temporary.path, 'other')
    mkdirSync(other)
    writeFileSync(join(other, 'holiday.jpg'), '')
    const { code, stderr } = await skein(['up', '--data', other])
    assert.equal(code, 1)
    assert.match(
      stderr,
      /is not empty and holds no cluster: it has holiday.jpg\n {2}Choose a new directory with --data/,
    )
  })

  test('commands for a cluster that does not run say how to start it', async () => {
    const kill = await skein(['kill', 'S1', ...at])
    assert.equal(kill.code, 4)
    assert.match(kill.stderr, /no cluster runs on .*\n {2}Start one with: skein up --data /)
    const get = await skein(['get', 'balance', ...at])
    assert.equal(get.code, 4)
    assert.match(
      get.stderr,
      new RegExp(
        `no server answers at any of 127.0.0.1:${port} to ${port + 2}: is it running\\?\n  Start one with: skein up --data `,
      ),
    )
    const status = await skein(['status', ...at])
    assert.equal(status.code, 4)
    assert.match(status.stdout, /No server answers. Start them with: skein up/)
  })

  test('a second start finds ports and data again; SIGKILL from outside is told, and repaired by nobody', async () => {
    cluster = await startCluster([...at, '--welcome'], { detached: true })
    assert.deepEqual(
      cluster.ready.servers.map((server) => server.address),
      [0, 1, 2].map((i) => `127.0.0.1:${port + i}`),
    )
    assert.equal(cluster.ready.proof?.['saved'], false)
    assert.equal(cluster.ready.proof?.['value'], '100')
    assert.equal((await skein(['get', 'balance', '--value-only', ...at])).stdout, '9')
    const name = follower()
    process.kill(pidOf(name), 'SIGKILL')
    const down = JSON.parse(await cluster.line(/"event":"server-down"/)) as Record<string, unknown>
    assert.deepEqual([down['server'], down['how']], [name, 'it was ended by SIGKILL'])
    const { members } = statusOf(await skein(['status', '--json', ...at]))
    assert.equal(members.find((member) => member.name === name)?.process, 'down')
  })

  test('Ctrl-C, which reaches the whole process group at once, ends everything', async () => {
    process.kill(-cluster.pid, 'SIGINT')
    await allEnd()
    assert.equal((await cluster.ended()).code, 0)
  })

  test('servers end when their supervisor is killed, a paused one too; and the next start is none the worse', async () => {
    cluster = await startCluster(at)
    assert.equal((await skein(['pause', follower(), ...at])).code, 0)
    process.kill(cluster.pid, 'SIGKILL')
    await allEnd()
    cluster = await startCluster(at)
    assert.equal((await skein(['get', 'balance', '--value-only', ...at])).stdout, '9')
    process.kill(cluster.pid, 'SIGTERM')
    await allEnd()
    assert.equal((await cluster.ended()).code, 0)
  })

  test('for people it prints a line that begins with ready; asked to stop while it starts, it stops', async () => {
    const plain = startSkein(['up', ...at])
    const ready = await plain.line(/^ready/)
    assert.match(ready, /^ready: 3 servers that act as one, S\d leads; 127.0.0.1:/)
    plain.child.stdout?.destroy()
    process.kill(plain.pid, 'SIGTERM')
    assert.equal((await plain.ended()).code, 0)

    const early = startSkein(['up', ...at])
    await within(
      new Promise<void>((resolve) => early.child.stderr?.once('data', () => resolve())),
      () => 'it did not say that it starts',
    )
    process.kill(early.pid, 'SIGTERM')
    assert.equal((await early.ended()).code, 0)
    assert.doesNotMatch(early.stdout(), /ready/)
  })

  test('a port that is taken between two servers names the one that needs it', async () => {
    const blocker = createServer()
    await new Promise<void>((resolve) => void blocker.listen(port + 1, '127.0.0.1', resolve))
    const { code, stderr } = await skein(['up', ...at])
    await new Promise<void>((resolve) => void blocker.close(() => resolve()))
    assert.equal(code, 1)
    assert.match(stderr, new RegExp(`port ${port + 1}, which S2 needs, is taken by another program`))
  })

  test('status waits for an election, and does not count a server that has lost its disk', async () => {
    cluster = await startCluster(at)
    const leader = cluster.ready.leader
    await skein(['kill', leader, ...at])
    const elected = statusOf(await skein(['status', '--json', ...at]))
    assert.ok(elected.leader !== undefined && elected.leader !== leader)
    rmSync(join(data, leader), { recursive: true })
    assert.equal((await skein(['restart', leader, ...at])).code, 0)
    const { code, stdout } = await skein(['status', ...at])
    assert.equal(code, 0)
    assert.match(stdout, new RegExp(`${leader} .* cut off +no leader known; see .*/${leader}/server.log`))
    assert.match(stdout, /2 of 3 servers take part, 2 are needed: no further server may fail/)
    const lost = await skein(['kill', 'leader', ...at])
    assert.equal(lost.code, 0)
    const left = await skein(['status', ...at])
    assert.equal(left.code, 4)
    assert.match(left.stdout, /1 of 3 servers take part and 2 are needed: nothing can be written. Bring back 1 more/)
    process.kill(cluster.pid, 'SIGTERM')
    await allEnd()
    lostItsDisk = leader
  })

  test('a first start that fails leaves no directory behind', async () => {
    const blocker = createServer()
    await new Promise<void>((resolve) => void blocker.listen(port + 1, '127.0.0.1', resolve))
    const fresh = join(temporary.path, 'fresh')
    const { code } = await skein(['up', '--servers', '2', '--port', String(port), '--data', fresh])
    await new Promise<void>((resolve) => void blocker.close(() => resolve()))
    assert.equal(code, 1)
    assert.ok(!existsSync(fresh))
  })

  test('a server that cannot start tells why itself, and the majority goes on without it', async () => {
    const bad = lostItsDisk
    writeFileSync(join(data, bad, 'identity.json'), '{')
    cluster = await startCluster(at)
    assert.deepEqual(
      cluster.ready.servers.map(({ name }) => name),
      ['S1', 'S2', 'S3'].filter((name) => name !== bad),
    )
    const told = JSON.parse(await cluster.line(/"event":"server-not-started"/)) as Record<string, unknown>
    assert.deepEqual([told['server'], told['code']], [bad, 'identity-damaged'])
    assert.ok(String(told['message']).includes(`${bad}/identity.json cannot be relied on: it is not JSON`))
    assert.match((await skein(['status', ...at])).stdout, /2 of 3 servers are up, 2 are needed: no further/)
    assert.match((await skein(['restart', bad, ...at])).stderr, /cannot be relied on/)
    process.kill(cluster.pid, 'SIGTERM')
    await allEnd()

    const people = startSkein(['up', ...at])
    assert.match(await people.line(/^ready/), /^ready: 2 of 3 servers that act as one, S\d leads; 127.0.0.1:/)
    assert.match(
      people.stderr(),
      new RegExp(`WARNING: ${bad} did not start[^\\n]*cannot be relied on[^\\n]*\\n.*\\n.*skein restart ${bad}`),
    )
    process.kill(people.pid, 'SIGTERM')
    assert.equal((await people.ended()).code, 0)
  })

  test('without a majority up fails with the reason, and nothing is left running', async () => {
    for (const name of ['S1', 'S2', 'S3']) writeFileSync(join(data, name, 'identity.json'), '{')
    const { code, stdout, stderr } = await skein(['up', ...at])
    assert.equal(code, 1)
    assert.equal(stdout, '')
    assert.match(stderr, /S1 did not start: .*S1\/identity\.json cannot be relied on.*; nor did S2, S3. 0 of 3 servers/)
    for (let i = 0; i < 3; i++) {
      const free = await new Promise((resolve) => {
        const server = createServer().once('error', () => resolve(false))
        server.listen(port + i, '127.0.0.1', () => server.close(() => resolve(true)))
      })
      assert.ok(free, `port ${port + i} is still taken`)
    }
  })
})
