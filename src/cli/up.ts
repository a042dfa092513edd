/**
 * `skein up`: a cluster of real processes on this machine, in the foreground. Never starts a server by itself again: what was
 * killed stays down until `skein restart`.
 */
import { createServer } from 'node:net'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { majorityOf, waitForLeader } from './agreement.ts'
import { withWorld } from './client-session.ts'
import type { ClusterDirectory } from './cluster-directory.ts'
import {
  DEFAULT_PORT,
  DEFAULT_SERVERS,
  MAX_SERVERS,
  openClusterDirectory,
  readClusterFile,
  serverAddress,
  serverName,
} from './cluster-directory.ts'
import type { Control, ControlAnswer, ControlRequest } from './control.ts'
import { openControl } from './control.ts'
import { dataDirectory } from './endpoints.ts'
import { EXIT, refuse, usage } from './exit.ts'
import { commandLine, DEFAULT_DATA } from './name.ts'
import type { OptionSpecs, Parsed } from './options.ts'
import { flag, option } from './options.ts'
import type { Output } from './output.ts'
import { LOG_LEVELS } from './server.ts'
import type { NotStarted, Supervisor } from './supervisor.ts'
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
  const directory = dataDirectory(parsed)
  const servers = parsed.number('servers', 1, MAX_SERVERS)
  const port = parsed.number('port', 1, 65_535)
  const count = servers ?? readClusterFile(directory)?.servers ?? DEFAULT_SERVERS
  if (port !== undefined && port + count - 1 > 65_535)
    usage(`--port ${port} is too high: ${count} servers need ports up to ${port + count - 1}, and 65535 is the last`)
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
  let isFutile = true
  try {
    cluster = await openClusterDirectory(world, directory, { servers, port })
    await refuseTakenPorts(cluster, directory)
    await cluster.save()
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
      onStopAsked: (name) => signals.ask(`${name} was told to stop, and that ends all`),
      onLine: (line) => output.progress(line),
    })
    supervisor = running
    control = await openControl(directory, (request) => obey(running, request))
    const verb = cluster.found ? 'starting again' : 'starting'
    output.progress(
      `skein: ${verb} ${cluster.servers === 1 ? '1 server' : `${cluster.servers} servers`} on ${directory}`,
    )
    const stopping = { isAsked: false }
    const whyStop = signals.asked.then((why) => {
      stopping.isAsked = true
      // Whatever was running by then may have acknowledged something.
      isFutile = false
      return why
    })
    const isReady = running.startAll().then(async (missing) => {
      if (stopping.isAsked) return
      tellMissing(running, missing, directory, output)
      isFutile = false
      await announce(running, missing, directory, parsed, output, () => stopping.isAsked)
    })
    const why = await Promise.race([whyStop, isReady.then(() => whyStop)])
    output.progress(`skein: stopping (${why})`)
    // A start or an announcement that the stop has cut off is not an error.
    isReady.catch(() => undefined)
    return EXIT.ok
  } finally {
    control?.close()
    await supervisor?.stop()
    if (isFutile) cluster?.undo()
    cluster?.release()
    world.stop()
    signals.release()
  }
}

/** Warns of each server that did not start; throws where the others are no majority. */
function tellMissing(supervisor: Supervisor, missing: readonly NotStarted[], directory: string, output: Output): void {
  const servers = supervisor.servers.length
  const majority = majorityOf(servers)
  const started = servers - missing.length
  const [first, ...more] = missing
  if (first === undefined) return
  if (started < majority) {
    if (servers === 1) throw first.error
    const { code, message, hint } = first.error
    const others = more.length === 0 ? '' : `; nor did ${more.map(({ name }) => name).join(', ')}`
    const told = `${first.name} did not start: ${message}${others}. ${started} of ${servers} servers are no majority`
    refuse(code, told, hint)
  }
  for (const { name, error } of missing) {
    const { code, message, hint } = error
    if (output.json) output.object({ event: 'server-not-started', server: name, code, message, hint })
    else {
      output.progress(
        `skein: WARNING: ${name} did not start, and the others go on without it: ${message}\n  ${hint}\n` +
          `  (${code}; once that is mended: ${commandLine(`restart ${name}`, directory)})`,
      )
    }
  }
}

async function announce(
  supervisor: Supervisor,
  missing: readonly NotStarted[],
  directory: string,
  parsed: Parsed,
  output: Output,
  isStopping: () => boolean,
): Promise<void> {
  const all = supervisor.servers
  const servers = all.filter((server) => missing.every(({ name }) => name !== server.name))
  const addresses = servers.map((server) => server.address)
  await withWorld(async (connect) => {
    const client = connect({ endpoints: addresses })
    const impatient = setInterval(() => {
      output.progress(`skein: no leader yet; see the logs in ${directory}/S1/server.log and its neighbours`)
    }, PATIENCE_MS)
    const leader = await waitForLeader(client, addresses, isStopping, majorityOf(all.length)).finally(() =>
      clearInterval(impatient),
    )
    if (leader === undefined) return
    const leads = servers[leader]?.name as string
    const proof = parsed.flag('welcome') ? await prove(connect, servers, leader, all.length) : undefined
    if (output.json) {
      output.object({
        event: 'ready',
        leader: leads,
        servers: servers.map(({ name, address, pid }) => ({ name, address, pid })),
        of: all.length,
        data: resolve(directory),
        ...(proof !== undefined && { proof }),
      })
      return
    }
    const some = servers.length === all.length ? '' : `${servers.length} of `
    const count = all.length === 1 ? '1 server' : `${some}${all.length} servers that act as one`
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
