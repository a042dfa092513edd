/**
 * `skein up`: a cluster of real processes on this machine, in the foreground. Never starts a server by itself again: what was
 * killed stays down until `skein restart`.
 */
import { createServer } from 'node:net'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { waitForLeader } from './agreement.ts'
import { withWorld } from './client-session.ts'
import type { ClusterDirectory } from './cluster-directory.ts'
import { DEFAULT_PORT, MAX_SERVERS, openClusterDirectory, serverAddress, serverName } from './cluster-directory.ts'
import type { Control, ControlAnswer, ControlRequest } from './control.ts'
import { openControl } from './control.ts'
import { EXIT, refuse, usage } from './exit.ts'
import { commandLine, DEFAULT_DATA } from './name.ts'
import type { OptionSpecs, Parsed } from './options.ts'
import { flag, option } from './options.ts'
import type { Output } from './output.ts'
import { LOG_LEVELS } from './server.ts'
import type { Supervisor } from './supervisor.ts'
import { createSupervisor } from './supervisor.ts'
import { listenForStop } from './until-stopped.ts'
import { prove, welcome } from './welcome.ts'
import { openNodeWorld } from '../world/node/index.ts'

export const UP_OPTIONS: OptionSpecs = {
  servers: option('N', 'how many, at the first start (default 5); an odd number tolerates most'),
  port: option('P', `server i listens on port P+i-1 (default ${DEFAULT_PORT}, later what it was before)`),
  data: option('DIR', `where everything lies (default ${DEFAULT_DATA})`),
  'log-level': option(
    'LEVEL',
    `of the servers’ logs, DIR/S1/server.log and so on: ${LOG_LEVELS.join(', ')} (default info)`,
  ),
  welcome: flag('saves a value, reads it back, and shows what to try next'),
}

const PATIENCE_MS = 5_000

/** The script that this process runs: the servers run the same. */
export const SCRIPT: string = fileURLToPath(new URL('main.js', import.meta.url))

export async function up(parsed: Parsed, output: Output): Promise<number> {
  if (parsed.positionals.length > 0) usage(`skein up takes options only, not ${JSON.stringify(parsed.positionals[0])}`)
  const directory = parsed.text('data') ?? DEFAULT_DATA
  const servers = parsed.number('servers', 1, MAX_SERVERS)
  const port = parsed.number('port', 1, 65_535)
  if (port !== undefined && port + (servers ?? 1) - 1 > 65_535)
    usage(`there are not enough ports above ${port} for ${servers} servers`)
  const logLevel = parsed.text('log-level') ?? 'info'
  if (!LOG_LEVELS.includes(logLevel))
    usage(`--log-level must be one of ${LOG_LEVELS.join(', ')}, not ${JSON.stringify(logLevel)}`)

  const signals = listenForStop()
  const world = openNodeWorld({
    onFail: (violation) => {
      throw violation
    },
  })
  let cluster: ClusterDirectory | undefined
  let supervisor: Supervisor | undefined
  let control: Control | undefined
  try {
    cluster = await openClusterDirectory(world, directory, { servers, port })
    await refuseTakenPorts(cluster, directory)
    const running = createSupervisor({
      script: SCRIPT,
      servers: Array.from({ length: cluster.servers }, (_, i) => ({
        name: serverName(i),
        address: serverAddress(cluster as ClusterDirectory, i),
      })),
      directory,
      keyFile: cluster.keyFile,
      token: cluster.token,
      logLevel,
      onDown(name, how) {
        if (output.json) output.object({ event: 'server-down', server: name, how })
        else
          output.progress(
            `${name} is down: ${how}. The others go on; start it with: ${commandLine(`restart ${name}`, directory)}`,
          )
      },
      onStopAsked: (name) => signals.ask(`${name} was asked to stop`),
      onLine: (line) => output.progress(line),
    })
    supervisor = running
    control = await openControl(directory, (request) => obey(running, request))
    const verb = cluster.found ? 'starting again' : 'starting'
    output.progress(
      `skein: ${verb} ${cluster.servers === 1 ? '1 server' : `${cluster.servers} servers`} on ${directory}`,
    )
    const isReady = running.startAll().then(() => announce(running, directory, parsed, output, signals.asked))
    await Promise.race([signals.asked, isReady.then(() => signals.asked)])
    output.progress('skein: stopping')
    // A start or an announcement that the stop has cut off is not an error.
    isReady.catch(() => undefined)
    return EXIT.ok
  } finally {
    control?.close()
    await supervisor?.stop()
    cluster?.release()
    world.stop()
    signals.release()
  }
}

async function announce(
  supervisor: Supervisor,
  directory: string,
  parsed: Parsed,
  output: Output,
  stopAsked: Promise<unknown>,
): Promise<void> {
  const { servers } = supervisor
  const addresses = servers.map((server) => server.address)
  let isStopping = false
  stopAsked.then(() => (isStopping = true)).catch(() => undefined)
  await withWorld(async (connect) => {
    const client = connect({ endpoints: addresses })
    const impatient = setInterval(() => {
      output.progress(`skein: no leader yet; see the logs in ${directory}/S1/server.log and its neighbours`)
    }, PATIENCE_MS)
    const leader = await waitForLeader(client, addresses, () => isStopping).finally(() => clearInterval(impatient))
    if (leader === undefined) return
    const leads = servers[leader]?.name as string
    const proof = parsed.flag('welcome') ? await prove(connect, servers, leader) : undefined
    if (output.json) {
      output.object({
        event: 'ready',
        leader: leads,
        servers: servers.map(({ name, address, pid }) => ({ name, address, pid })),
        data: resolve(directory),
        ...(proof !== undefined && { proof }),
      })
      return
    }
    const count = servers.length === 1 ? '1 server' : `${servers.length} servers that act as one`
    if (proof === undefined) {
      output.print(`ready: ${count}, ${leads} leads; ${addresses.join(',')}`)
      return
    }
    output.print(`ready: ${count}, ${leads} leads`)
    for (const line of welcome(output, servers, leader, proof, directory)) output.print(line)
  })
}

/** Before anything starts: five servers that cannot listen would tell it less clearly. */
async function refuseTakenPorts(cluster: ClusterDirectory, directory: string): Promise<void> {
  for (let i = 0; i < cluster.servers; i++) {
    const port = cluster.port + i
    const problem = await new Promise<NodeJS.ErrnoException | undefined>((told) => {
      const probe = createServer()
      probe.once('error', told)
      probe.listen({ host: '127.0.0.1', port, exclusive: true }, () => probe.close(() => told(undefined)))
    })
    if (problem?.code === 'EADDRINUSE') {
      const other = port - i + (port < 60_000 ? 100 : -100)
      refuse(
        'address-in-use',
        `port ${port}, which ${serverName(i)} needs, is taken by another program`,
        `Stop that program, or use other ports: ${commandLine(`up --port ${other}`, directory)}`,
      )
    }
    if (problem !== undefined) refuse('permission-denied', `port ${port} cannot be listened on: ${problem.message}`)
  }
}

async function obey(supervisor: Supervisor, request: ControlRequest): Promise<ControlAnswer> {
  const name = typeof request.server === 'string' ? request.server : ''
  switch (request.command) {
    case 'kill':
    case 'pause':
    case 'resume':
    case 'restart':
      await supervisor[request.command](name)
      break
    case 'list':
      break
    default:
      request.command satisfies never
      refuse('unimplemented', `this supervisor does not know ${JSON.stringify(request.command)}`)
  }
  return { servers: supervisor.servers }
}
