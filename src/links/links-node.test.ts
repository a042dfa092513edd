import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { memberId } from '../base/index.ts'
import type { TlsOptions } from '../world/index.ts'
import { type NodeWorld, openNodeWorld } from '../world/node/index.ts'
import { createLinks, type Lane, type Links } from './index.ts'
import { optionsOf, serve } from './links.testkit.ts'

/** One member on real sockets. */
type Real = {
  readonly world: NodeWorld
  readonly links: Links
  readonly address: string
  readonly frames: { lane: Lane; frame: Uint8Array }[]
}

const WITHIN_MS = 10_000

/** Resolves when `condition` holds; asked at every event of the members. */
function signals(): { tell: () => void; until: (condition: () => boolean, what: string) => Promise<void> } {
  let waiting: (() => void)[] = []
  return {
    tell() {
      const now = waiting
      waiting = []
      for (const check of now) check()
    },
    until: (condition, what) =>
      new Promise((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`not within ${WITHIN_MS} ms: ${what}`)), WITHIN_MS)
        const check = (): void => {
          if (!condition()) {
            waiting.push(check)
            return
          }
          clearTimeout(timer)
          resolve()
        }
        check()
      }),
  }
}

async function open(t: TestContext, at: number, tell: () => void, tls?: TlsOptions): Promise<Real> {
  const world = openNodeWorld({
    onFail: (violation) => {
      throw violation
    },
  })
  t.after(() => world.stop())
  const frames: Real['frames'] = []
  const { links, accept } = createLinks(
    world,
    optionsOf(memberId(BigInt(at)), new Uint8Array(16).fill(at), { handshakeTimeoutMs: 5000, tls }),
    {
      onFrame(_from, lane, frame) {
        frames.push({ lane, frame })
        tell()
      },
      onUp: tell,
      onDown: tell,
      onDrain: tell,
      onInstance: (_peer, _instance, done) => void world.clock.setTimer(1, done),
      onRefused: (_peer, reason) => assert.fail(reason.message),
    },
  )
  const address = await new Promise<string>((resolve) => serve(world, '127.0.0.1:0', accept, resolve, tls))
  return { world, links, address, frames }
}

async function exchange(t: TestContext, tls?: TlsOptions): Promise<void> {
  const { tell, until } = signals()
  const [a, b] = [await open(t, 1, tell, tls), await open(t, 2, tell, tls)]
  const [idA, idB] = [memberId(1n), memberId(2n)]
  a.links.setPeers([{ id: idB, address: b.address, instance: undefined }])
  b.links.setPeers([{ id: idA, address: a.address, instance: undefined }])
  const isUp = (): boolean =>
    (['control', 'bulk'] as const).every((lane) => a.links.isUp(idB, lane) && b.links.isUp(idA, lane))
  await until(isUp, 'both lanes up')

  // Big frames one way, as fast as they go, and many small ones both ways.
  const big = new Uint8Array(1_000_000).map((_, i) => i * 31)
  let sent = 0
  const pump = (): void => {
    while (sent < 40 && a.links.send(idB, 'bulk', [Uint8Array.of(sent), big]) === 'sent') sent++
  }
  for (let i = 0; i < 1000; i++) {
    a.links.send(idB, 'control', [Uint8Array.of(i & 255)])
    b.links.send(idA, 'control', [Uint8Array.of(i & 255)])
  }
  await until(() => {
    pump()
    return b.frames.length === 1040 && a.frames.length === 1000
  }, 'all frames')
  const small = Array.from({ length: 1000 }, (_, i) => i & 255)
  for (const { frames } of [a, b]) {
    assert.deepEqual(
      frames.filter(({ lane }) => lane === 'control').map(({ frame }) => frame[0]),
      small,
    )
  }
  const bulk = b.frames.filter(({ lane }) => lane === 'bulk')
  for (const [i, { frame }] of bulk.entries()) {
    assert.equal(frame[0], i)
    assert.equal(Buffer.compare(frame.subarray(1), big), 0)
  }

  // The other process ends without a word to its code, and a new one takes its place.
  b.world.stop()
  await until(() => !a.links.isUp(idB, 'control') && !a.links.isUp(idB, 'bulk'), 'a hears of the end')
  const again = await open(t, 2, tell, tls)
  again.links.setPeers([{ id: idA, address: a.address, instance: undefined }])
  await until(() => a.links.isUp(idB, 'control') && again.links.isUp(idA, 'control'), 'up again')
  a.links.send(idB, 'control', [big])
  await until(() => again.frames.length === 1, 'the frame after the restart')
}

test('real sockets: frames of all sizes both ways, back-pressure, and a restart', (t) => exchange(t))

const lacksOpenssl = process.env['CI'] !== 'true' && spawnSync('openssl', ['version']).status !== 0

test('real sockets with TLS', { skip: lacksOpenssl && 'needs openssl' }, async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'skein-links-'))
  t.after(() => rmSync(directory, { recursive: true }))
  const key = join(directory, 'key.pem')
  const cert = join(directory, 'cert.pem')
  const request = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2']
  const names = ['-subj', '/CN=member', '-addext', 'subjectAltName=IP:127.0.0.1,DNS:localhost']
  execFileSync('openssl', [...request, ...names, '-keyout', key, '-out', cert], { stdio: 'ignore' })
  const pem = { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') }
  await exchange(t, { ...pem, ca: pem.cert, serverName: 'localhost', requestClientCert: true })
})
