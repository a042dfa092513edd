import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { test } from 'node:test'
import { type Rig, worldContract } from '../../../test/world-contract.ts'
import { InvariantViolation, type Result } from '../../base/index.ts'
import type { Connection, DiskFile, Listener } from '../index.ts'
import { parseAddress } from './addresses.ts'
import { splitSubjectAltNames } from './connection.ts'
import { streamDiagnostics } from './diagnostics.ts'
import { diskFailure, listenFailure, syncFailure } from './failures.ts'
import { openNodeWorld } from './index.ts'
import { type Lock, lockByFile } from './lock.ts'

const GIVE_UP_MS = 8000

function settle<T>(start: (done: (value: T) => void) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`nothing came within ${GIVE_UP_MS} ms`)), GIVE_UP_MS)
    start((value) => {
      clearTimeout(timer)
      resolve(value)
    })
  })
}

function temporary(): { readonly path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), 'skein-world-'))
  return { path, remove: () => rmSync(path, { recursive: true }) }
}

async function makeRig(): Promise<Rig> {
  const [one, two] = [temporary(), temporary()]
  const failures: InvariantViolation[] = []
  const onFail = (violation: InvariantViolation): void => void failures.push(violation)
  const here = openNodeWorld({ directory: one.path, onFail })
  const there = openNodeWorld({ directory: two.path, onFail })
  return {
    here,
    there,
    hereHost: '127.0.0.1',
    thereHost: '127.0.0.1',
    settle,
    async end() {
      here.stop()
      there.stop()
      one.remove()
      two.remove()
      assert.deepEqual(failures, [])
    },
  }
}

worldContract('node', makeRig)

test('an exception in a callback ends at onFail, and nothing is delivered afterwards', async () => {
  const delivered: string[] = []
  const violation = await settle<InvariantViolation>((done) => {
    const world = openNodeWorld({ onFail: done })
    world.clock.setTimer(0, () => {
      world.clock.setTimer(0, () => delivered.push('timer'))
      world.endOfTurn(() => delivered.push('end of turn'))
      world.disk.list('.', () => delivered.push('disk'))
      throw new TypeError('oops')
    })
  })
  await settle<void>((done) => setTimeout(done, 30))
  assert.equal(violation.invariant, 'uncaught')
  assert.match(violation.message, /TypeError: oops/)
  assert.deepEqual(delivered, [])
})

test('a broken invariant arrives at onFail as it is, once, and connections end', async () => {
  const failures: InvariantViolation[] = []
  const world = openNodeWorld({ onFail: (violation) => void failures.push(violation) })
  const peer = openNodeWorld({ onFail: assert.fail })
  const listener = await settle<Result<Listener>>((done) => {
    const accept = () => ({ onData: () => world.fail(new InvariantViolation('x', 'y')), onDrain() {}, onClose() {} })
    world.network.listen('127.0.0.1:0', {}, accept, done)
  })
  assert.ok(listener.ok)
  const { address } = listener.value
  await settle<void>((done) => {
    peer.network.dial(address, { timeoutMs: 1000 }, (result) => {
      assert.ok(result.ok)
      result.value.write(new Uint8Array(1))
      return { onData() {}, onDrain() {}, onClose: () => done() }
    })
  })
  world.fail(new InvariantViolation('later', ''))
  assert.deepEqual(
    failures.map((violation) => violation.invariant),
    ['x'],
  )
  const again = await settle<Result<Connection>>((done) => {
    peer.network.dial(address, { timeoutMs: 1000 }, (result) => {
      done(result)
      return undefined
    })
  })
  assert.ok(!again.ok && again.error.code === 'unreachable')
  peer.stop()
})

test('a dial that nobody answers gives up after its time', async () => {
  const world = openNodeWorld({ onFail: assert.fail })
  // A listener whose TLS handshake never begins, because the other side speaks none.
  const listener = await settle<Result<Listener>>((done) => {
    world.network.listen('127.0.0.1:0', {}, () => ({ onData() {}, onDrain() {}, onClose() {} }), done)
  })
  assert.ok(listener.ok)
  const { address } = listener.value
  const result = await settle<Result<Connection>>((done) => {
    world.network.dial(address, { tls: {}, timeoutMs: 50 }, (dialled) => {
      done(dialled)
      return undefined
    })
  })
  assert.ok(!result.ok)
  assert.match(result.error.message, /no answer within 50 ms/)
  world.stop()
})

test('TLS that cannot be set up is a value', async () => {
  const world = openNodeWorld({ onFail: assert.fail })
  const tls = { cert: 'no certificate', key: 'no key' }
  const result = await settle<Result<Listener>>((done) => {
    world.network.listen('127.0.0.1:0', { tls }, () => assert.fail(), done)
  })
  assert.ok(!result.ok && result.error.code === 'invalid-request')
  world.stop()
})

test('files are private, and a lock of a stopped world is free again', async () => {
  const directory = temporary()
  const first = openNodeWorld({ directory: directory.path, onFail: assert.fail })
  await settle((done) => first.disk.makeDirectory('a/b', done))
  await settle((done) => first.disk.replace('a/b/f', [new Uint8Array(3)], done))
  assert.equal(statSync(join(directory.path, 'a')).mode & 0o777, 0o700)
  assert.equal(statSync(join(directory.path, 'a/b/f')).mode & 0o777, 0o600)
  assert.ok((await settle<Result<unknown>>((done) => first.disk.lock('a', done))).ok)
  const second = openNodeWorld({ directory: directory.path, onFail: assert.fail })
  const refused = await settle<Result<unknown>>((done) => second.disk.lock('a', done))
  assert.ok(!refused.ok)
  assert.equal(refused.error.code, 'data-in-use')
  assert.match(refused.error.message, new RegExp(`process ${process.pid}`))
  first.stop()
  await settle<void>((done) => setImmediate(done))
  assert.ok((await settle<Result<unknown>>((done) => second.disk.lock('a', done))).ok)
  second.stop()
  directory.remove()
})

test('a lock ends with its process, however that ends', async () => {
  const directory = temporary()
  const script = `const { openNodeWorld } = await import(process.argv[1])
    const world = openNodeWorld({ onFail() {} })
    world.disk.lock(process.argv[2], (result) => console.log(result.ok ? 'locked' : 'refused'))
    setInterval(() => {}, 1000)`
  const face = new URL('./index.js', import.meta.url).href
  const child = spawn(process.execPath, ['--input-type=module', '-e', script, face, directory.path])
  const told = await settle<string>((done) => child.stdout.once('data', (line: Buffer) => done(line.toString().trim())))
  assert.equal(told, 'locked')
  const world = openNodeWorld({ onFail: assert.fail })
  const take = (): Promise<Result<unknown>> => settle((done) => world.disk.lock(directory.path, done))
  const refused = await take()
  assert.ok(!refused.ok && refused.error.details?.['processId'] === child.pid)
  const ended = settle<void>((done) => child.once('exit', () => done()))
  child.kill('SIGKILL')
  await ended
  assert.ok((await take()).ok)
  world.stop()
  directory.remove()
})

test('a file is closed only when what was asked of it has ended', async () => {
  const directory = temporary()
  const world = openNodeWorld({ directory: directory.path, onFail: assert.fail })
  await settle((done) => world.disk.replace('f', [new Uint8Array(4 << 20).fill(7)], done))
  for (let round = 0; round < 20; round++) {
    const order: string[] = []
    const opened = await settle<Result<DiskFile>>((done) => world.disk.open('f', { create: false }, done))
    assert.ok(opened.ok)
    const file = opened.value
    const reads = settle<void>((done) => {
      for (let i = 0; i < 8; i++) {
        file.read(i, 4 << 20, (read) => {
          assert.ok(read.ok && read.value.length === (4 << 20) - i)
          if (order.push('read') === 8) done()
        })
      }
    })
    await settle<void>((done) =>
      file.close((closed) => {
        assert.ok(closed.ok)
        order.push('closed')
        done()
      }),
    )
    await reads
    assert.equal(order.at(-1), 'closed')
  }
  world.stop()
  directory.remove()
})

test('the lock by file excludes the living and takes over from the dead', async () => {
  const directory = temporary()
  const take = (): Promise<Result<Lock>> => settle((done) => lockByFile(directory.path, done))
  const first = await take()
  assert.ok(first.ok)
  const second = await take()
  assert.ok(!second.ok && second.error.code === 'data-in-use')
  first.value.release()
  for (const dead of ['', '999999999 5\n', `${process.pid} 5\n`]) {
    writeFileSync(join(directory.path, 'LOCK'), dead)
    const heir = await take()
    assert.ok(heir.ok)
    assert.ok(!(await take()).ok)
    heir.value.release()
  }
  directory.remove()
})

test('operating errors become codes', () => {
  const error = (code: string): Error => Object.assign(new Error(code), { code })
  assert.equal(diskFailure('write', 'f', error('ENOSPC')).code, 'disk-full')
  assert.equal(diskFailure('write', 'f', error('EDQUOT')).code, 'disk-full')
  assert.equal(diskFailure('write', 'f', error('EIO')).code, 'disk-failed')
  assert.equal(diskFailure('open', 'f', error('EACCES')).code, 'permission-denied')
  assert.equal(diskFailure('open', 'f', error('EEXIST')).code, 'already-exists')
  assert.deepEqual(diskFailure('write', 'f', error('EIO')).details, { operation: 'write', path: 'f', errno: 'EIO' })
  for (const code of ['ENOSPC', 'EIO', 'EDQUOT']) {
    const failure = syncFailure('fdatasync', 'f', error(code))
    assert.deepEqual([failure.code, failure.retryable], ['disk-failed', false], 'a failed sync is never retried')
  }
  assert.equal(listenFailure('a:1', error('EACCES')).code, 'permission-denied')
  assert.equal(listenFailure('a:1', error('EADDRNOTAVAIL')).code, 'invalid-request')
})

test('addresses and certificate names', () => {
  assert.deepEqual(parseAddress('[::1]:80'), { host: '::1', port: 80 })
  assert.deepEqual(parseAddress('s1.example:0'), { host: 's1.example', port: 0 })
  assert.equal(parseAddress('::1:80'), undefined)
  assert.deepEqual(splitSubjectAltNames('DNS:a, IP Address:127.0.0.1, URI:x://y'), ['a', '127.0.0.1', 'x://y'])
  assert.deepEqual(splitSubjectAltNames('DNS:"a, DNS:b", DNS:c'), ['a, DNS:b', 'c'])
})

test('diagnostics: JSON lines from a level on, with bigints, and lost lines are counted', async () => {
  const stream = new PassThrough({ highWaterMark: 1 })
  const diagnostics = streamDiagnostics(stream, 'info', { server: 's1' })
  diagnostics.log('debug', 'not-written')
  assert.equal(diagnostics.enabled('debug'), false)
  for (let i = 0; i < 30; i++) diagnostics.log('info', 'big', { id: 2n ** 63n, text: 'x'.repeat(100_000) })
  const lines: { event: string; server: string; id?: string; dropped?: number }[] = []
  let rest = ''
  stream.on('data', (chunk: Buffer) => {
    const parts = (rest + chunk.toString()).split('\n')
    rest = parts.pop() ?? ''
    for (const part of parts) lines.push(JSON.parse(part) as (typeof lines)[number])
  })
  await settle<void>((done) => setTimeout(done, 20))
  diagnostics.log('warn', 'last')
  await settle<void>((done) => setTimeout(done, 20))
  const kept = lines.filter((line) => line.event === 'big').length
  assert.ok(kept >= 10 && kept < 30)
  assert.equal(lines[0]?.id, '9223372036854775808')
  assert.equal(lines[0]?.server, 's1')
  assert.deepEqual(
    lines.slice(kept).map((line) => [line.event, line.dropped]),
    [
      ['log-lines-dropped', 30 - kept],
      ['last', undefined],
    ],
  )
})

test('a file written in pieces by replace holds them all', async () => {
  const directory = temporary()
  const world = openNodeWorld({ directory: directory.path, onFail: assert.fail })
  const parts = Array.from({ length: 2500 }, (_, i) => new Uint8Array([i & 0xff]))
  await settle((done) => world.disk.replace('f', parts, done))
  const content = readFileSync(join(directory.path, 'f'))
  assert.equal(content.length, 2500)
  assert.ok(content.every((byte, i) => byte === (i & 0xff)))
  world.stop()
  directory.remove()
})

test(
  'a directory that cannot be made because its parent takes none is an error, and no endless attempt',
  { skip: process.platform === 'linux' ? false : 'there is no /proc' },
  async () => {
    const world = openNodeWorld({ onFail: assert.fail })
    for (const path of ['/proc/x', '/proc/x/y']) {
      const made = await settle<Result<void>>((done) => world.disk.makeDirectory(path, done))
      assert.ok(!made.ok && made.error.message.includes('/proc/x'), path)
    }
    world.stop()
  },
)

test('a timer that is due at once still has a turn of its own', async () => {
  const world = openNodeWorld({ onFail: assert.fail })
  for (let i = 0; i < 200; i++) {
    let isSet = false
    // Shorter than the call that sets it.
    world.clock.setTimer(1e-6, () => assert.ok(isSet))
    isSet = true
  }
  await settle<void>((done) => void world.clock.setTimer(5, done))
  world.stop()
})
