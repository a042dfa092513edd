/**
 * How fast gRPC is here: a unary call with a small message and a constant answer, (1) from state machine to state machine in
 * one thread, (2) with h2load against the port, and (3) with h2load against node:http2 that answers the same bytes. (2)
 * and (3) take turns in one run, so that what else the machine does falls on both.
 *
 *   node dist/bench/wire.js [REQUESTS]
 */
import { spawnSync } from 'node:child_process'
import { fork } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import http2 from 'node:http2'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openPort } from '../src/port/index.ts'
import type { GrpcLimits } from '../src/wire/index.ts'
import { createGrpcClient, createGrpcServer } from '../src/wire/index.ts'
import { openNodeWorld } from '../src/world/node/index.ts'

const LIMITS: GrpcLimits = {
  maxMessageBytes: 4 << 20,
  maxConcurrentCalls: 1000,
  maxHeaderListBytes: 65_536,
  callWindowBytes: 1 << 20,
  connectionWindowBytes: 8 << 20,
  maxOutputBytes: 64 << 20,
}
const MESSAGE = new Uint8Array(100).fill(7)
const ANSWER = new Uint8Array(30).fill(9)

/** Calls a second, client and server together in one thread. */
function stateMachines(calls: number): number {
  const server = createGrpcServer(LIMITS, {
    onCall() {},
    onMessage() {},
    onHalfClose: (id) => server.respond(id, [ANSWER]),
    onCancel() {},
    onWritable() {},
    onHttp() {},
  })
  const counts = { ended: 0 }
  const client = createGrpcClient(LIMITS, {
    onMessage() {},
    onEnd: () => void counts.ended++,
    onWritable() {},
    onClosing(reason) {
      throw new Error(reason?.message)
    },
  })
  const metadata = new Map<string, string>()
  const exchange = (): void => {
    let moved = true
    while (moved) {
      moved = false
      const there = client.takeOutput()
      if (there !== undefined) server.receive(there, 0)
      const back = server.takeOutput()
      if (back !== undefined) client.receive(back, 0)
      moved = there !== undefined || back !== undefined
    }
  }
  exchange()
  const start = process.hrtime.bigint()
  for (let sent = 0; sent < calls; sent += 100) {
    for (let i = 0; i < 100; i++) {
      const id = client.open('/etcdserverpb.KV/Put', metadata, 5000)
      if (id !== undefined) client.sendMessage(id, MESSAGE, true)
    }
    exchange()
  }
  return (counts.ended * 1e9) / Number(process.hrtime.bigint() - start)
}

function serveSkein(): void {
  const world = openNodeWorld({
    onFail(violation) {
      throw violation
    },
  })
  openPort(
    world,
    { listen: '127.0.0.1:0', tls: undefined, grpc: LIMITS, maxConnections: 1000, recogniseTimeoutMs: 5000 },
    {
      unary: new Map([['/etcdserverpb.KV/Put', (_message, call) => call.respond([ANSWER])]]),
      http: () => undefined,
      peer: undefined,
    },
    () => 'no',
    (result) => {
      if (!result.ok) throw new Error(result.error.message)
      process.send?.(Number(result.value.address.split(':').at(-1)))
    },
  )
}

function serveNode(): void {
  const answer = Buffer.concat([Buffer.from([0, 0, 0, 0, ANSWER.length]), ANSWER])
  const server = http2.createServer({ settings: { maxConcurrentStreams: 1000 } })
  server.on('stream', (stream) => {
    stream.on('data', () => {})
    stream.on('end', () => {
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }))
      stream.end(answer)
    })
  })
  server.listen(0, '127.0.0.1', () => {
    const address = server.address()
    if (address !== null && typeof address === 'object') process.send?.(address.port)
  })
}

type Served = { readonly port: number; end(): void }

function serveIn(kind: 'skein' | 'node'): Promise<Served> {
  const child = fork(process.argv[1] as string, ['--serve', kind])
  return new Promise((resolve, reject) => {
    child.once('message', (port) => resolve({ port: Number(port), end: () => child.kill() }))
    child.once('error', reject)
  })
}

type Load = { readonly perSecond: number; readonly failed: number }

function load(port: number, requests: number, clients: number, inFlight: number, bodyPath: string): Load {
  const { stdout } = spawnSync(
    'h2load',
    [
      ...['-n', String(requests), '-c', String(clients), '-m', String(inFlight), '-d', bodyPath],
      ...['-H', 'content-type: application/grpc', '-H', 'te: trailers'],
      `http://127.0.0.1:${port}/etcdserverpb.KV/Put`,
    ],
    { encoding: 'utf8' },
  )
  const perSecond = Number(/, ([\d.]+) req\/s/.exec(stdout)?.[1] ?? Number.NaN)
  const succeeded = Number(/(\d+) succeeded/.exec(stdout)?.[1] ?? 0)
  return { perSecond, failed: requests - succeeded }
}

async function main(requests: number): Promise<void> {
  stateMachines(20_000)
  console.log(`state machine to state machine: ${Math.round(stateMachines(requests))} calls/s (both in one thread)`)
  const directory = mkdtempSync(join(tmpdir(), 'skein-wire-'))
  const body = join(directory, 'message')
  writeFileSync(body, Buffer.concat([Buffer.from([0, 0, 0, 0, MESSAGE.length]), MESSAGE]))
  const [skein, node] = [await serveIn('skein'), await serveIn('node')]
  try {
    for (const [clients, inFlight] of [
      [1, 1],
      [1, 100],
      [10, 100],
    ] as const) {
      const count = inFlight === 1 ? Math.ceil(requests / 10) : requests
      const totals = { skein: 0, node: 0, failed: 0 }
      for (let round = 0; round < 3; round++) {
        for (const [kind, served] of [
          ['skein', skein],
          ['node', node],
        ] as const) {
          const { perSecond, failed } = load(served.port, count, clients, inFlight, body)
          totals[kind] += perSecond / 3
          totals.failed += failed
        }
      }
      const ratio = (totals.skein / totals.node).toFixed(2)
      console.log(
        `h2load ${clients} x ${inFlight}: skein ${Math.round(totals.skein)}/s, node:http2 ${Math.round(totals.node)}/s, ratio ${ratio}, failed ${totals.failed}`,
      )
    }
  } finally {
    skein.end()
    node.end()
    rmSync(directory, { recursive: true })
  }
}

if (process.argv[2] !== '--serve') await main(Number(process.argv[2] ?? 100_000))
else if (process.argv[3] === 'skein') serveSkein()
else serveNode()
