/** Clusters of real servers inside the test process: real sockets on loopback, real files in a temporary directory. */
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { RunningServer, ServerOptions } from '../src/server/index.ts'
import { startServer } from '../src/host/index.ts'
import { openNodeWorld } from '../src/world/node/index.ts'

export type TestServer = { readonly name: string; readonly address: string; readonly running: RunningServer }

export type TestCluster = {
  readonly servers: readonly TestServer[]
  readonly endpoints: readonly string[]
  readonly directory: string
  leader(): TestServer | undefined
  close(): Promise<void>
}

/** Ports that were free a moment ago. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer()
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      return server
    }),
  )
  return Promise.all(
    servers.map(async (server) => {
      const address = server.address()
      await new Promise<void>((resolve) => server.close(() => resolve()))
      if (address === null || typeof address === 'string') throw new Error('no port was given')
      return address.port
    }),
  )
}

/** Starts `count` servers and waits until all of them know the same leader. */
export async function startCluster(count: number, options: Partial<ServerOptions> = {}): Promise<TestCluster> {
  const directory = mkdtempSync(join(tmpdir(), 'skein-test-'))
  const ports = await freePorts(count)
  const members = ports.map((port, i) => ({ name: `S${i + 1}`, address: `127.0.0.1:${port}` }))
  const servers = await Promise.all(
    members.map(async (member): Promise<TestServer> => {
      const world = openNodeWorld({
        onFail: (violation) => {
          throw violation
        },
      })
      const running = await new Promise<RunningServer>((resolve, reject) => {
        startServer(
          world,
          {
            name: member.name,
            dataDirectory: join(directory, member.name),
            listen: member.address,
            cluster: members,
            clusterKey: new Uint8Array(32).fill(7),
            ...options,
          },
          () => {},
          (result) => (result.ok ? resolve(result.value) : reject(new Error(result.error.message))),
        )
      })
      return { name: member.name, address: member.address, running }
    }),
  )
  const leader = (): TestServer | undefined => servers.find((server) => server.running.status().role === 'leader')
  await until(() => {
    const known = servers.map((server) => server.running.status().leader)
    return known.every((id) => id !== undefined && id === known[0])
  })
  return {
    servers,
    endpoints: servers.map((server) => server.address),
    directory,
    leader,
    async close() {
      await Promise.all(servers.map((server) => new Promise<void>((resolve) => server.running.stop(resolve))))
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

/** Looks every few milliseconds until the condition holds; rejects after the limit. */
export async function until(condition: () => boolean, limitMs = 15_000): Promise<void> {
  const end = Date.now() + limitMs
  while (!condition()) {
    if (Date.now() > end)
      throw new Error(`the condition did not come true within ${limitMs} ms: ${condition.toString()}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
