/** Debian's etcd beside ours, and whether programs from outside are there. */
import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePorts } from './cluster.testkit.ts'

/** False with a reason for node:test's `skip` where a program is missing; throws where CI promised it. */
export function missing(program: string): string | false {
  try {
    execFileSync('which', [program], { stdio: 'pipe' })
    return false
  } catch {
    if (process.env['CI'] === 'true')
      throw new Error(`${program} is not installed, and CI=true: .ci/run must install it`)
    return `${program} is not installed`
  }
}

export type EtcdCluster = {
  readonly endpoints: readonly string[]
  /** SIGKILL to one member. */
  kill(member: number): Promise<void>
  close(): Promise<void>
}

/** Starts Debian's etcd with `count` members on loopback, and waits until it is healthy. `flags` are added to each. */
export async function startEtcd(count: number, flags: readonly string[] = []): Promise<EtcdCluster> {
  const directory = mkdtempSync(join(tmpdir(), 'skein-etcd-'))
  const ports = await freePorts(count * 2)
  const peers = Array.from({ length: count }, (_, i) => `S${i + 1}=http://127.0.0.1:${ports[count + i]}`)
  const children = Array.from({ length: count }, (_, i) =>
    spawn(
      'etcd',
      [
        ...['--name', `S${i + 1}`, '--data-dir', join(directory, `S${i + 1}`), '--log-level', 'error'],
        ...[
          '--listen-client-urls',
          `http://127.0.0.1:${ports[i]}`,
          '--advertise-client-urls',
          `http://127.0.0.1:${ports[i]}`,
        ],
        ...['--listen-peer-urls', `http://127.0.0.1:${ports[count + i]}`],
        ...['--initial-advertise-peer-urls', `http://127.0.0.1:${ports[count + i]}`],
        ...['--initial-cluster', peers.join(','), '--initial-cluster-state', 'new'],
        ...flags,
      ],
      { stdio: 'ignore' },
    ),
  )
  const endpoints = Array.from({ length: count }, (_, i) => `127.0.0.1:${ports[i]}`)
  const end = Date.now() + 15_000
  for (;;) {
    const healthy = await Promise.all(
      endpoints.map((endpoint) =>
        fetch(`http://${endpoint}/health`)
          .then((response) => response.ok)
          .catch(() => false),
      ),
    )
    if (healthy.every(Boolean)) break
    if (Date.now() > end) throw new Error('etcd did not become healthy within 15 s')
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  const kill = async (member: number): Promise<void> => {
    const child = children[member]
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    await new Promise<void>((resolve) => {
      child.once('exit', () => resolve())
      child.kill('SIGKILL')
    })
  }
  return {
    endpoints,
    kill,
    async close() {
      await Promise.all(children.map((_, member) => kill(member)))
      rmSync(directory, { recursive: true, force: true })
    },
  }
}
