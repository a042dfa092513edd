/**
 * Others' clients and servers, on real sockets: @grpc/grpc-js as client of the port and as server of our client, and
 * etcdctl (grpc-go), h2load, nghttp and curl where they are installed (in CI they must be).
 */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import * as grpc from '@grpc/grpc-js'
import { text, utf8 } from '../base/index.ts'
import { createServerConnection } from '../client/connection.ts'
import type { Ended } from '../client/connection.ts'
import type { NodeWorld } from '../world/node/index.ts'
import { openNodeWorld } from '../world/node/index.ts'
import type { Port } from './index.ts'
import type { Kit } from './port.testkit.ts'
import { HEALTH, listen, makeKit } from './port.testkit.ts'

const bytes = (value: Buffer): Buffer => value
const shape = (
  path: string,
  requestStream: boolean,
  responseStream: boolean,
): grpc.MethodDefinition<Buffer, Buffer> => ({
  path,
  requestStream,
  responseStream,
  requestSerialize: bytes,
  requestDeserialize: bytes,
  responseSerialize: bytes,
  responseDeserialize: bytes,
})
const METHODS = {
  Echo: shape('/test.Test/Echo', false, false),
  Wait: shape('/test.Test/Wait', false, false),
  Fail: shape('/test.Test/Fail', false, false),
  Nothing: shape('/test.Test/Nothing', false, false),
  Count: shape('/test.Test/Count', false, true),
  Chat: shape('/test.Test/Chat', true, true),
}
type Unary = (
  message: Buffer,
  metadata: grpc.Metadata,
  options: grpc.CallOptions,
  done: (error: grpc.ServiceError | null, answer?: Buffer) => void,
) => grpc.ClientUnaryCall
type TestClient = grpc.Client & {
  readonly Echo: Unary
  readonly Wait: Unary
  readonly Fail: Unary
  readonly Nothing: Unary
  readonly Count: (message: Buffer) => grpc.ClientReadableStream<Buffer>
  readonly Chat: () => grpc.ClientDuplexStream<Buffer, Buffer>
}

/** Waits until `condition` holds; the test runner's own limit is what ends a wait in vain. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => void setTimeout(resolve, 5))
}

let world: NodeWorld
let kit: Kit
let port: Port
let at: number
before(async () => {
  world = openNodeWorld({
    onFail(violation) {
      throw violation
    },
  })
  kit = makeKit()
  port = await listen(world, kit)
  at = Number(port.address.split(':').at(-1))
})
after(() => world.stop())

function failureOf(
  call: (done: (error: grpc.ServiceError | null, answer?: Buffer) => void) => void,
): Promise<grpc.ServiceError> {
  return new Promise((resolve, reject) => {
    call((error, answer) => {
      if (error === null) reject(new Error(`answered with ${answer?.length} bytes`))
      else resolve(error)
    })
  })
}

describe('@grpc/grpc-js is the client', () => {
  let client: TestClient
  before(() => {
    const Client = grpc.makeGenericClientConstructor(METHODS, 'test')
    client = new Client(port.address, grpc.credentials.createInsecure(), {
      'grpc.max_receive_message_length': -1,
    }) as unknown as TestClient
  })
  after(() => client.close())
  const NONE = new grpc.Metadata()
  const echo = (message: Buffer): Promise<Buffer> =>
    new Promise((resolve, reject) => {
      client.Echo(message, NONE, {}, (error, answer) => {
        if (answer === undefined) reject(error ?? new Error('nothing came'))
        else resolve(answer)
      })
    })

  test('unary, from nothing to megabytes, many at once', async () => {
    const sizes = [0, 1, 100, 16_379, 16_384, 65_536, 3_000_000]
    const messages = [...sizes, ...sizes].map((size) => Buffer.alloc(size, size & 0xff))
    const answers = await Promise.all(messages.map(echo))
    answers.forEach((answer, i) => assert.ok(answer.equals(messages[i] as Buffer), `message ${i}`))
  })

  test('an error with message, metadata both ways, binary too', async () => {
    const metadata = new grpc.Metadata()
    metadata.set('why', 'because')
    metadata.set('raw-bin', Buffer.from([0, 255, 1]))
    const error = await failureOf((done) => client.Fail(Buffer.alloc(0), metadata, {}, done))
    assert.equal(error.code, grpc.status.FAILED_PRECONDITION)
    assert.equal(error.details, '100% ünmöglich: because')
    assert.deepEqual(error.metadata.get('skein-code'), ['not-leader'])
  })

  test('an unknown method is UNIMPLEMENTED', async () => {
    const error = await failureOf((done) => client.Nothing(Buffer.alloc(1), NONE, {}, done))
    assert.equal(error.code, grpc.status.UNIMPLEMENTED)
  })

  test('a message that is too large is RESOURCE_EXHAUSTED, and the connection lives on', async () => {
    const error = await failureOf((done) => client.Echo(Buffer.alloc(9 << 20), NONE, {}, done))
    assert.equal(error.code, grpc.status.RESOURCE_EXHAUSTED)
    assert.equal((await echo(Buffer.from('x'))).toString(), 'x')
  })

  test('compressed requests are UNIMPLEMENTED', async () => {
    const Client = grpc.makeGenericClientConstructor(METHODS, 'test')
    const zipping = new Client(port.address, grpc.credentials.createInsecure(), {
      'grpc.default_compression_algorithm': grpc.compressionAlgorithms.gzip,
    }) as unknown as TestClient
    const error = await failureOf((done) => zipping.Echo(Buffer.alloc(1000), NONE, {}, done))
    assert.equal(error.code, grpc.status.UNIMPLEMENTED)
    assert.match(error.details, /gzip/)
    zipping.close()
  })

  test('a deadline', async () => {
    const before = kit.waiting.length
    const error = await failureOf((done) => client.Wait(Buffer.alloc(1), NONE, { deadline: Date.now() + 200 }, done))
    assert.equal(error.code, grpc.status.DEADLINE_EXCEEDED)
    await until(() => kit.waiting[before]?.cancelled === true)
  })

  test('a cancelled call is cancelled at the server', async () => {
    const before = kit.waiting.length
    let call: grpc.ClientUnaryCall | undefined
    const failed = failureOf((done) => {
      call = client.Wait(Buffer.alloc(1), NONE, {}, done)
    })
    await until(() => kit.waiting.length > before)
    call?.cancel()
    assert.equal((await failed).code, grpc.status.CANCELLED)
    await until(() => kit.waiting[before]?.cancelled === true)
  })

  test('server streaming with back-pressure: twenty megabytes, read slowly at first', async () => {
    const stream = client.Count(Buffer.from([0, 0, 0x4e, 0x20]))
    let count = 0
    for await (const message of stream) {
      assert.equal((message as Buffer).length, 1000)
      count++
      if (count < 10) await new Promise((resolve) => void setTimeout(resolve, 5))
    }
    assert.equal(count, 20_000)
    assert.ok(kit.streamEvents.includes('writable'))
  })

  test('bidirectional streaming, message by message', async () => {
    const chat = client.Chat()
    const heard: string[] = []
    chat.on('data', (message: Buffer) => {
      heard.push(message.toString())
      if (heard.length < 5) chat.write(Buffer.from(`word ${heard.length}`))
      else chat.end()
    })
    chat.write(Buffer.from('word 0'))
    const [status] = (await once(chat, 'status')) as [grpc.StatusObject]
    assert.equal(status.code, grpc.status.OK)
    assert.deepEqual(
      heard,
      [0, 1, 2, 3, 4].map((i) => `word ${i}`),
    )
  })

  test('a thousand calls, a hundred at a time', async () => {
    for (let round = 0; round < 10; round++)
      await Promise.all(Array.from({ length: 100 }, (_, i) => echo(Buffer.from(String(i)))))
    assert.equal(port.stats().openCalls, 0)
  })
})

describe('@grpc/grpc-js is the server', () => {
  let server: grpc.Server
  let address: string
  before(async () => {
    server = new grpc.Server({ 'grpc.max_receive_message_length': -1 })
    server.addService(METHODS, {
      Echo: (call: grpc.ServerUnaryCall<Buffer, Buffer>, done: grpc.sendUnaryData<Buffer>) => done(null, call.request),
      Wait: () => {},
      Fail(call: grpc.ServerUnaryCall<Buffer, Buffer>, done: grpc.sendUnaryData<Buffer>) {
        const metadata = new grpc.Metadata()
        metadata.set('skein-code', String(call.metadata.get('why')[0]))
        done({ code: grpc.status.ABORTED, details: '50% größer', metadata })
      },
    })
    const bound = await new Promise<number>((resolve, reject) => {
      server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, number) => {
        if (error === null) resolve(number)
        else reject(error)
      })
    })
    address = `127.0.0.1:${bound}`
  })
  after(() => server.forceShutdown())

  const metadata = new Map([['why', 'not-leader']])
  const asker = (): ((path: string, message: Uint8Array, timeoutMs?: number) => Promise<Ended>) & { close(): void } => {
    const connection = createServerConnection(world, address, undefined, 1000)
    const ask = (path: string, message: Uint8Array, timeoutMs = 20_000): Promise<Ended> =>
      new Promise((done) => {
        const deadlineMs = world.clock.monotonicMs() + timeoutMs
        connection.call({ path: `/test.Test/${path}`, metadata: () => metadata, message, deadlineMs }, done)
      })
    return Object.assign(ask, { close: () => connection.close() })
  }

  test('unary, from nothing to megabytes, more at once than the server takes', async () => {
    const ask = asker()
    const sizes = [0, 1, 100, 16_379, 65_536, 3_000_000]
    const messages = Array.from({ length: 240 }, (_, i) =>
      new Uint8Array(i < 12 ? (sizes[i % 6] as number) : i).fill(i),
    )
    const answers = await Promise.all(messages.map((message) => ask('Echo', message)))
    answers.forEach((answer, i) => {
      assert.deepEqual([answer.status.code, answer.status.message, answer.outcome], [0, 'OK', 'answered'])
      assert.ok(Buffer.from(answer.message ?? utf8('none')).equals(messages[i] as Uint8Array), `message ${i}`)
    })
    ask.close()
  })

  test('an error with message and metadata; an unknown method; a deadline', async () => {
    const ask = asker()
    const failed = await ask('Fail', utf8('x'))
    assert.deepEqual([failed.status.code, failed.status.message, failed.outcome], [10, '50% größer', 'answered'])
    assert.equal(failed.status.metadata?.get('skein-code'), 'not-leader')
    assert.equal((await ask('Unheard', utf8('x'))).status.code, 12)
    const late = await ask('Wait', utf8('x'), 100)
    // Both sides watch the deadline: either may be the first to say so.
    assert.equal(late.status.code, 4)
    assert.notEqual(late.outcome, 'not-processed')
    assert.equal((await ask('Echo', utf8('x'))).status.code, 0)
    ask.close()
  })
})

// Programs

type Ran = { readonly code: number | null; readonly out: string }

function run(command: string, args: readonly string[]): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { env: { ...process.env, ETCDCTL_API: '3' } })
    let out = ''
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (more: Buffer) => void (out += more.toString()))
    child.on('error', reject)
    child.on('close', (code) => resolve({ code, out }))
  })
}

const absent: ReadonlySet<string> = new Set(
  ['curl', 'nghttp', 'h2load', 'etcdctl'].filter((command) => spawnSync(command, ['--version']).error !== undefined),
)

/** Runs a program that may be absent, but not in CI. */
function program(name: string, command: string, args: () => readonly string[], check: (ran: Ran) => void): void {
  const mayBeAbsent = absent.has(command) && process.env['CI'] !== 'true'
  test(name, mayBeAbsent ? { skip: `${command} is not installed` } : {}, async () => check(await run(command, args())))
}

const url = (path: string): string => `http://127.0.0.1:${at}${path}`

describe('programs', () => {
  const directory = mkdtempSync(join(tmpdir(), 'skein-interop-'))
  const body = join(directory, 'message')
  writeFileSync(body, Buffer.from([0, 0, 0, 0, 5, ...utf8('hello')]))
  const large = join(directory, 'large')
  writeFileSync(large, Buffer.alloc(1 << 20))
  after(() => rmSync(directory, { recursive: true }))
  const GRPC = ['-H', 'content-type: application/grpc', '-H', 'te: trailers']

  for (const version of ['--http1.1', '--http2-prior-knowledge']) {
    program(
      `curl ${version}: a probe`,
      'curl',
      () => ['-s', version, url('/health'), ...(version === '--http1.1' ? [url('/health')] : [])],
      ({ code, out }) => {
        // Debian's curl 7.88 cannot reuse a connection of prior knowledge, whoever serves it.
        assert.deepEqual([code, out], [0, version === '--http1.1' ? HEALTH + HEALTH : HEALTH])
      },
    )
    program(
      `curl ${version}: HEAD`,
      'curl',
      () => ['-s', version, '-I', url('/health')],
      ({ out }) => {
        assert.match(out, /^HTTP\/(?:1\.1|2) 200[\s\S]*content-length: 17\r\n\r\n$/)
      },
    )
    program(
      `curl ${version}: not found`,
      'curl',
      () => ['-s', version, '-o', '/dev/null', '-w', '%{http_code}', url('/nothing')],
      ({ out }) => {
        assert.equal(out, '404')
      },
    )
    program(
      `curl ${version}: another method`,
      'curl',
      () => ['-s', version, '-i', '-X', 'DELETE', url('/health')],
      ({ out }) => {
        assert.match(out, /^HTTP\/(?:1\.1|2) 405[\s\S]*allow: GET, HEAD/)
      },
    )
  }
  program(
    'curl: a POST that is not gRPC is 415',
    'curl',
    () => ['-s', '--http2-prior-knowledge', '-o', '/dev/null', '-w', '%{http_code}', '-d', 'x', url('/test.Test/Echo')],
    ({ out }) => {
      assert.equal(out, '415')
    },
  )
  program(
    'nghttp: an upload that is not wanted is answered before its end',
    'nghttp',
    () => ['-v', '-d', large, url('/health')],
    ({ out }) => {
      assert.match(out, /:status: 415/)
      assert.match(out, /recv RST_STREAM frame[^\n]*\n\s+\(error_code=NO_ERROR/)
    },
  )
  program(
    'curl: a whole gRPC call',
    'curl',
    () => ['-s', '--http2-prior-knowledge', ...GRPC, '-D', '-', '--data-binary', `@${body}`, url('/test.Test/Echo')],
    ({ out }) => {
      assert.match(out, /^HTTP\/2 200[\s\S]*hello/)
      assert.match(out, /grpc-status: 0/)
    },
  )
  program(
    'nghttp: with padding, continuations and upload',
    'nghttp',
    () => ['-v', '-b', '50', ...GRPC, '--continuation', '-d', body, url('/test.Test/Echo')],
    ({ code, out }) => {
      assert.equal(code, 0)
      assert.match(out, /grpc-status: 0/)
      assert.doesNotMatch(out, /recv RST_STREAM|recv GOAWAY/)
    },
  )
  program(
    'nghttp: tiny windows',
    'nghttp',
    () => ['-v', '-w', '4', '-W', '6', '-n', '-m', '20', url('/health')],
    ({ code, out }) => {
      assert.equal(code, 0)
      assert.equal(out.match(/recv DATA frame/g)?.length, 40)
    },
  )
  for (const [clients, inFlight] of [
    [1, 1],
    [2, 100],
  ] as const) {
    program(
      `h2load: ${clients} x ${inFlight}`,
      'h2load',
      () => ['-n', '4000', '-c', String(clients), '-m', String(inFlight), ...GRPC, '-d', body, url('/test.Test/Echo')],
      ({ out }) => {
        assert.match(out, /4000 succeeded, 0 failed, 0 errored/)
        assert.match(out, /status codes: 4000 2xx/)
      },
    )
  }

  program(
    'etcdctl (grpc-go): a put',
    'etcdctl',
    () => [`--endpoints=127.0.0.1:${at}`, 'put', 'key', 'x'.repeat(50_000)],
    ({ code, out }) => {
      assert.deepEqual([code, out], [0, 'OK\n'])
    },
  )
  program(
    'etcdctl (grpc-go): a get',
    'etcdctl',
    () => [`--endpoints=127.0.0.1:${at}`, 'get', 'key', '--prefix'],
    ({ code, out }) => {
      assert.deepEqual([code, out], [0, ''])
    },
  )
  program(
    'etcdctl (grpc-go): a call that is not served',
    'etcdctl',
    () => [`--endpoints=127.0.0.1:${at}`, 'member', 'list'],
    ({ code, out }) => {
      assert.notEqual(code, 0)
      assert.match(out, /unknown method \/etcdserverpb.Cluster\/MemberList/)
    },
  )

  test('a client that vanishes in the middle of a frame leaves nothing behind', async () => {
    await until(() => port.stats().connections === 0)
    const socket = net.connect(at, '127.0.0.1')
    await once(socket, 'connect')
    socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x50')
    await until(() => port.stats().connections === 1)
    socket.resetAndDestroy()
    await until(() => port.stats().connections === 0)
    assert.equal(text(kit.peers[0] ?? utf8('')), '')
  })
})
