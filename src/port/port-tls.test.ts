/** The port behind TLS, on real sockets: node:http2 negotiates h2, and our client asks. */
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import http2 from 'node:http2'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { text, utf8 } from '../base/index.ts'
import type { Ended } from '../client/connection.ts'
import { createServerConnection } from '../client/connection.ts'
import { openNodeWorld } from '../world/node/index.ts'
import { HEALTH, listen, makeKit } from './port.testkit.ts'

const lacksOpenssl = process.env['CI'] !== 'true' && spawnSync('openssl', ['version']).status !== 0

test(
  'TLS: h2 by ALPN, a gRPC call, and who speaks in the clear is sent away',
  { skip: lacksOpenssl && 'needs openssl' },
  async (t) => {
    const directory = mkdtempSync(join(tmpdir(), 'skein-port-'))
    t.after(() => rmSync(directory, { recursive: true }))
    const [key, cert] = [join(directory, 'key.pem'), join(directory, 'cert.pem')]
    const request = [
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:prime256v1',
      '-nodes',
      '-days',
      '2',
    ]
    const names = ['-subj', '/CN=port', '-addext', 'subjectAltName=IP:127.0.0.1,DNS:localhost']
    execFileSync('openssl', [...request, ...names, '-keyout', key, '-out', cert], { stdio: 'ignore' })
    const pem = { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') }
    const world = openNodeWorld({
      onFail(violation) {
        throw violation
      },
    })
    t.after(() => world.stop())
    const port = await listen(world, makeKit(), { tls: pem })

    const session = http2.connect(`https://${port.address}`, { ca: pem.cert, servername: 'localhost' })
    const probe = session.request({ ':path': '/health' })
    let body = ''
    for await (const piece of probe) body += String(piece)
    assert.equal(body, HEALTH)
    assert.equal(session.alpnProtocol, 'h2')
    session.close()

    const client = createServerConnection(world, port.address, { ca: pem.cert, serverName: 'localhost' }, 5000)
    const ended = await new Promise<Ended>((done) => {
      const deadlineMs = world.clock.monotonicMs() + 10_000
      client.call({ path: '/test.Test/Echo', metadata: () => new Map(), message: utf8('hello'), deadlineMs }, done)
    })
    assert.deepEqual([ended.status.code, text(ended.message ?? utf8(''))], [0, 'hello'])
    client.close()

    const plain = http2.connect(`http://${port.address}`)
    plain.on('error', () => {})
    await once(plain, 'close')
  },
)
