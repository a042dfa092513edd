/** One real etcd for tests: Debian's etcd-server, in a directory of its own, with a gRPC connection to it. */
import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Client, ServiceError } from '@grpc/grpc-js'
import { credentials, status } from '@grpc/grpc-js'
import type { Plain } from './etcd-proto.ts'
import { kvClientConstructor, leaseClientConstructor } from './etcd-proto.ts'

export type EtcdService = 'KV' | 'Lease'
export type Refusal = { readonly code: number; readonly message: string }
export type EtcdAnswer = { readonly response: Plain } | { readonly refusal: Refusal }

export interface EtcdServer {
  readonly version: string
  call(service: EtcdService, method: string, request: Plain): Promise<EtcdAnswer>
  close(): Promise<void>
}

/** The first line of `etcd --version`, or undefined where it is not installed; throws then where CI promised it. */
export function etcdVersion(): string | undefined {
  try {
    return execFileSync('etcd', ['--version'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).split('\n')[0]
  } catch {
    if (process.env['CI'] === 'true') throw new Error('etcd is not installed, and CI=true: .ci/run must install it')
    return undefined
  }
}

export async function startEtcdServer(): Promise<EtcdServer> {
  const version = etcdVersion()
  if (version === undefined) throw new Error('etcd is not installed')
  // Nothing here outlives the test: where there is a file system in memory, its syncs cost nothing.
  const directory = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'skein-etcd-'))
  const [client, peer] = await Promise.all([freePort(), freePort()])
  const url = `http://127.0.0.1:${client}`
  const peerUrl = `http://127.0.0.1:${peer}`
  const flags = `--name=e --data-dir=${directory} --log-level=error --initial-cluster=e=${peerUrl}
    --listen-client-urls=${url} --advertise-client-urls=${url}
    --listen-peer-urls=${peerUrl} --initial-advertise-peer-urls=${peerUrl}`
  const child = spawn('etcd', flags.split(/\s+/), { stdio: ['ignore', 'ignore', 'pipe'] })
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said = (said + text).slice(-4_000)))
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const channel = `127.0.0.1:${client}`
  const KV = kvClientConstructor()
  const Lease = leaseClientConstructor()
  const clients = {
    KV: new KV(channel, credentials.createInsecure()),
    Lease: new Lease(channel, credentials.createInsecure()),
  }
  await ready(
    clients.KV,
    () => child.exitCode ?? child.signalCode,
    () => said,
  )

  return {
    version,
    call: (service, method, request) =>
      new Promise((resolve, reject) => {
        const unary = (clients[service] as unknown as Readonly<Record<string, Unary>>)[method] as Unary
        unary.call(clients[service], request, (error, response) => {
          if (error === null) return resolve({ response: response as Plain })
          if (error.code === status.UNAVAILABLE) return reject(new Error(`etcd has gone: ${error.details}\n${said}`))
          resolve({ refusal: { code: error.code, message: error.details } })
        })
      }),
    async close() {
      for (const one of Object.values(clients)) one.close()
      child.kill('SIGKILL')
      await exited
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

type Unary = (request: Plain, done: (error: ServiceError | null, response?: Plain) => void) => void

function ready(client: Client, ended: () => unknown, said: () => string): Promise<void> {
  return new Promise((resolve, reject) => {
    client.waitForReady(Date.now() + 15_000, (error) => {
      if (error === undefined) resolve()
      else reject(new Error(`etcd is not ready (exit ${String(ended())}): ${error.message}\n${said()}`))
    })
  })
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo
      server.close(() => resolve(port))
    })
  })
}
