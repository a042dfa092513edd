/**
 * Puts and linearizable gets through gRPC, Skein and Debian's etcd side by side in one run: three members each, every
 * write fdatasync'ed by a majority, h2load against the leader. Both are warmed up by the same load first; then loads
 * alternate between the two, and each is repeated; the median counts. A load of puts counts only if the store's revision
 * grew by exactly the number of puts. Beside the rates stands what all servers of a cluster together spent of the
 * processors for a request, which depends less on what else the machine does.
 */
import { decodeRangeResponse, decodeStatusResponse, encodePutRequest, encodeRangeRequest } from '../src/wire/index.ts'
import type { Cluster } from './processes.ts'
import { cpuMs, startEtcd, startSkein } from './processes.ts'
import type { Measured } from './h2load.ts'
import { h2load, run } from './h2load.ts'
import { unary } from './unary.ts'

type Shape = { readonly connections: number; readonly perConnection: number; readonly requests: number }

const SHAPES: readonly Shape[] = [
  { connections: 1, perConnection: 1, requests: 3_000 },
  { connections: 100, perConnection: 1, requests: 40_000 },
  { connections: 100, perConnection: 10, requests: 100_000 },
]
const ROUNDS = 3
const WARM_UP: Shape = { connections: 100, perConnection: 1, requests: 20_000 }

const KEY = new TextEncoder().encode('bench/key')
const PUT = encodePutRequest({
  key: KEY,
  value: new Uint8Array(100).fill(120),
  lease: 0n,
  prevKv: false,
  ignoreValue: false,
  ignoreLease: false,
})
const GET = encodeRangeRequest({
  key: KEY,
  rangeEnd: new Uint8Array(0),
  limit: 0,
  revision: 0,
  sortOrder: 0,
  sortTarget: 0,
  serializable: false,
  keysOnly: false,
  countOnly: false,
  minModRevision: 0,
  maxModRevision: 0,
  minCreateRevision: 0,
  maxCreateRevision: 0,
})

async function leaderOf(cluster: Cluster): Promise<string> {
  for (const endpoint of cluster.endpoints) {
    const status = decodeStatusResponse(await unary(endpoint, '/etcdserverpb.Maintenance/Status', new Uint8Array(0)))
    if (status.ok && status.value.leader === status.value.header?.memberId) return endpoint
  }
  throw new Error(`${cluster.name}: nobody leads`)
}

async function revisionOf(endpoint: string): Promise<number> {
  const answer = decodeRangeResponse(await unary(endpoint, '/etcdserverpb.KV/Range', GET))
  if (!answer.ok || answer.value.header === undefined) throw new Error('the range was not answered')
  return answer.value.header.revision
}

type Costed = Measured & { readonly cpuUs: number }

/** Runs a load and adds what the cluster's processes spent on it. */
async function costed(cluster: Cluster, shape: Shape, load: () => Promise<Measured>): Promise<Costed> {
  const before = cpuMs(cluster)
  const measured = await load()
  return { ...measured, cpuUs: ((cpuMs(cluster) - before) * 1000) / shape.requests }
}

async function puts(endpoint: string, shape: Shape): Promise<Measured> {
  const before = await revisionOf(endpoint)
  const measured = await h2load({ endpoint, path: '/etcdserverpb.KV/Put', message: PUT, ...shape })
  const grown = (await revisionOf(endpoint)) - before
  if (grown !== shape.requests)
    throw new Error(`the revision grew by ${grown}, not by ${shape.requests}: the load does not count`)
  return measured
}

async function gets(endpoint: string, shape: Shape): Promise<Measured> {
  return h2load({ endpoint, path: '/etcdserverpb.KV/Range', message: GET, ...shape })
}

function median(rounds: readonly Costed[]): Costed {
  return [...rounds].sort((a, b) => a.perSecond - b.perSecond)[Math.floor(rounds.length / 2)] as Costed
}

function row(name: string, measured: Costed, ratio: string): string {
  const column = (value: number, width: number, digits: number): string => value.toFixed(digits).padStart(width)
  return `  ${name.padEnd(26)}${column(measured.perSecond, 10, 0)}/s  p50 ${column(measured.p50Ms, 8, 2)} ms  p99 ${column(measured.p99Ms, 8, 2)} ms  max ${column(measured.maxMs, 8, 2)} ms  cpu ${column(measured.cpuUs, 5, 0)} us  ${ratio}`
}

/** Prints the table; returns the ratios skein : etcd by load. */
export async function benchEtcd(quick: boolean): Promise<ReadonlyMap<string, number>> {
  const [etcdVersion] = (await run('etcd', ['--version'])).split('\n')
  const [h2loadVersion] = (await run('h2load', ['--version'])).split('\n')
  console.log(
    `3 members each on one machine, fdatasync on, ${etcdVersion}, ${h2loadVersion}, Node.js ${process.versions.node}`,
  )
  const ratios = new Map<string, number>()
  const skein = await startSkein(3)
  const etcd = await startEtcd(3)
  try {
    const endpoints = { skein: await leaderOf(skein), etcd: await leaderOf(etcd) }
    for (const load of [puts, gets]) {
      for (const name of ['etcd', 'skein'] as const)
        await load(endpoints[name], quick ? { ...WARM_UP, requests: 1_000 } : WARM_UP)
    }
    for (const [what, load] of [
      ['puts', puts],
      ['gets', gets],
    ] as const) {
      for (const shape of SHAPES) {
        const scaled = quick ? { ...shape, requests: Math.ceil(shape.requests / 20) } : shape
        const rounds: { skein: Costed[]; etcd: Costed[] } = { skein: [], etcd: [] }
        for (let round = 0; round < (quick ? 1 : ROUNDS); round++) {
          rounds.etcd.push(await costed(etcd, scaled, () => load(endpoints.etcd, scaled)))
          rounds.skein.push(await costed(skein, scaled, () => load(endpoints.skein, scaled)))
        }
        const ours = median(rounds.skein)
        const theirs = median(rounds.etcd)
        const ratio = ours.perSecond / theirs.perSecond
        const name = `${what} ${shape.connections}x${shape.perConnection} in flight`
        ratios.set(name, ratio)
        console.log(`${name}, ${scaled.requests} requests`)
        console.log(row('etcd', theirs, ''))
        console.log(row('skein', ours, `${ratio.toFixed(2)} times etcd`))
      }
    }
  } finally {
    await Promise.all([skein.stop(), etcd.stop()])
  }
  return ratios
}
