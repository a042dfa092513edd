/** Clusters as real processes for the benchmarks: Skein's through its own command line, etcd's from Debian's package. */
import type { ChildProcess } from 'node:child_process'
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export type Cluster = {
  readonly name: string
  readonly endpoints: readonly string[]
  readonly pids: readonly number[]
  stop(): Promise<void>
}

const CLI = fileURLToPath(new URL('../src/cli/main.js', import.meta.url))

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise<void>((resolve) => server.close(() => resolve()))
  if (address === null || typeof address === 'string') throw new Error('no port was given')
  return address.port
}

async function ports(count: number): Promise<number[]> {
  const found: number[] = []
  while (found.length < count) {
    const port = await freePort()
    if (!found.includes(port)) found.push(port)
  }
  return found
}

/** What the cluster's processes have spent of the processors so far, from Linux' proc file system. */
export function cpuMs(cluster: Cluster): number {
  let ticks = 0
  for (const pid of cluster.pids) {
    // The second field is the program's name in brackets; the times are fields 14 and 15, in hundredths of a second.
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
    ticks += Number(fields[11]) + Number(fields[12])
  }
  return ticks * 10
}

export async function startSkein(count: number): Promise<Cluster> {
  const directory = mkdtempSync(join(tmpdir(), 'skein-bench-'))
  const keyFile = join(directory, 'cluster-key')
  writeFileSync(keyFile, `${randomBytes(32).toString('hex')}\n`, { mode: 0o600 })
  const chosen = await ports(count)
  const cluster = chosen.map((port, i) => `S${i + 1}=127.0.0.1:${port}`).join(',')
  const children = chosen.map((port, i) =>
    spawn(
      process.execPath,
      [
        ...[CLI, 'server', '--name', `S${i + 1}`, '--data', join(directory, `S${i + 1}`)],
        ...['--listen', `127.0.0.1:${port}`, '--cluster', cluster, '--cluster-key-file', keyFile],
      ],
      { stdio: ['ignore', 'ignore', 'inherit'] },
    ),
  )
  return ready(
    `skein (Node.js ${process.versions.node})`,
    directory,
    chosen.map((port) => `127.0.0.1:${port}`),
    children,
  )
}

export async function startEtcd(count: number): Promise<Cluster> {
  const directory = mkdtempSync(join(tmpdir(), 'etcd-bench-'))
  const chosen = await ports(count * 2)
  const client = (i: number): string => `http://127.0.0.1:${chosen[i]}`
  const peer = (i: number): string => `http://127.0.0.1:${chosen[count + i]}`
  const all = Array.from({ length: count }, (_, i) => i)
  const children = all.map((i) =>
    spawn(
      'etcd',
      [
        ...['--name', `e${i}`, '--data-dir', join(directory, `e${i}`), '--log-level', 'error'],
        ...['--listen-client-urls', client(i), '--advertise-client-urls', client(i)],
        ...['--listen-peer-urls', peer(i), '--initial-advertise-peer-urls', peer(i)],
        ...['--initial-cluster', all.map((j) => `e${j}=${peer(j)}`).join(','), '--quota-backend-bytes', '8589934592'],
      ],
      { stdio: 'ignore' },
    ),
  )
  return ready(
    'etcd',
    directory,
    all.map((i) => `127.0.0.1:${chosen[i]}`),
    children,
  )
}

async function ready(
  name: string,
  directory: string,
  endpoints: readonly string[],
  children: readonly ChildProcess[],
): Promise<Cluster> {
  const cluster: Cluster = {
    name,
    endpoints,
    pids: children.map((child) => child.pid ?? 0),
    async stop() {
      await Promise.all(
        children.map(
          (child) =>
            new Promise<void>((resolve) => {
              if (child.exitCode !== null || child.signalCode !== null) return resolve()
              child.once('exit', () => resolve())
              child.kill('SIGKILL')
            }),
        ),
      )
      rmSync(directory, { recursive: true, force: true })
    },
  }
  const end = Date.now() + 20_000
  const healthy = async (endpoint: string): Promise<boolean> =>
    fetch(`http://${endpoint}/health`)
      .then((response) => response.ok)
      .catch(() => false)
  while (!(await Promise.all(endpoints.map(healthy))).every(Boolean)) {
    if (Date.now() > end) {
      await cluster.stop()
      throw new Error(`${name} did not become healthy within 20 s`)
    }
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  return cluster
}
