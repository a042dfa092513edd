/**
 * `skein demo`: five real servers on temporary data lose three and forget nothing. Every sentence that it prints was checked
 * before; it ends with 0 only if all of them were so. Cleans up after itself, also when it is interrupted.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SkeinError } from '../base/index.ts'
import { openNodeWorld } from '../world/node/index.ts'
import type { Connect } from './client-session.ts'
import { withWorld } from './client-session.ts'
import type { ClusterDirectory } from './cluster-directory.ts'
import { openClusterDirectory, serverName } from './cluster-directory.ts'
import { tellStory } from './demo-story.ts'
import { EXIT, usage } from './exit.ts'
import type { Parsed } from './options.ts'
import type { Output } from './output.ts'
import type { Supervisor } from './supervisor.ts'
import { createSupervisor } from './supervisor.ts'
import { listenForStop } from './until-stopped.ts'
import { SCRIPT } from './up.ts'

const SERVERS = 5
/** Ports that were free a moment ago may be taken by others before the servers listen. */
const MOST_ATTEMPTS = 3
const INTERRUPTED = 130

export async function demo(parsed: Parsed, output: Output): Promise<number> {
  if (parsed.positionals.length > 0) usage('skein demo takes no arguments')
  const signals = listenForStop()
  const directory = mkdtempSync(join(tmpdir(), 'skein-demo-'))
  const world = openNodeWorld({
    onFail: (violation) => {
      throw violation
    },
  })
  const running: { supervisor?: Supervisor; cluster?: ClusterDirectory } = {}
  try {
    running.cluster = await openClusterDirectory(world, directory, { servers: SERVERS, port: undefined })
    const { cluster } = running
    await cluster.save()
    const told = withWorld(async (connect) => {
      running.supervisor = await startSomewhere(cluster, directory, output)
      await story(running.supervisor, connect, output)
      return EXIT.ok
    })
    const interrupted = signals.asked.then((why) => {
      output.progress(`skein: stopping (${why})`)
      return INTERRUPTED
    })
    told.catch(() => undefined)
    return await Promise.race([told, interrupted])
  } finally {
    await running.supervisor?.stop()
    running.cluster?.release()
    world.stop()
    rmSync(directory, { recursive: true, force: true })
    signals.release()
  }
}

async function story(supervisor: Supervisor, connect: Connect, output: Output): Promise<void> {
  const began = performance.now()
  let step = 0
  await tellStory(supervisor, connect, {
    chapter(title) {
      step++
      if (!output.json) output.print(`${step}. ${title}`)
    },
    tell(sentence, facts) {
      if (output.json) output.object({ step, ...facts, told: sentence })
      else output.print(`   ${sentence}`)
    },
  })
  const seconds = (performance.now() - began) / 1000
  if (output.json) output.object({ event: 'done', seconds: Number(seconds.toFixed(1)) })
  else output.print(`All of it was checked, in ${seconds.toFixed(1)} s.`)
}

async function startSomewhere(cluster: ClusterDirectory, directory: string, output: Output): Promise<Supervisor> {
  for (let attempt = 1; ; attempt++) {
    const ports = await freePorts(SERVERS)
    const supervisor = createSupervisor({
      script: SCRIPT,
      servers: ports.map((port, i) => ({ name: serverName(i), address: `127.0.0.1:${port}` })),
      directory,
      keyFile: cluster.keyFile,
      token: cluster.token,
      logLevel: 'info',
      onDown: (name, how) => output.progress(`${name} is down: ${how}`),
      onStopAsked: () => process.kill(process.pid, 'SIGTERM'),
      onLine: (line) => output.progress(line),
    })
    try {
      const [failed] = await supervisor.startAll()
      if (failed !== undefined) throw failed.error
      return supervisor
    } catch (error) {
      await supervisor.stop()
      if (!(error instanceof SkeinError) || error.code !== 'address-in-use' || attempt === MOST_ATTEMPTS) throw error
    }
  }
}

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer()
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject)
        server.listen({ host: '127.0.0.1', port: 0 }, resolve)
      })
      return server
    }),
  )
  return Promise.all(
    servers.map(async (server) => {
      const address = server.address()
      await new Promise<void>((resolve) => void server.close(() => resolve()))
      return typeof address === 'object' && address !== null ? address.port : 0
    }),
  )
}
