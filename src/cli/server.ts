/**
 * `skein server`: one server in the foreground, on a real machine or as a child of `skein up`. TERM and INT stop it gracefully; a
 * child also stops when its supervisor's pipe closes.
 */
import { join } from 'node:path'
import { fromHex, SkeinError } from '../base/index.ts'
import type { startServer as StartServer } from '../host/index.ts'
import type { BootstrapMember, RunningServer, ServerOptions } from '../server/index.ts'
import type { Diagnostics, LogLevel } from '../world/index.ts'
import { fileDiagnostics, openNodeWorld } from '../world/node/index.ts'
import { readOptionFile } from './client-session.ts'
import { makeDataDirectory } from './cluster-directory.ts'
import { dataDirectory } from './endpoints.ts'
import { EXIT, refuse, usage } from './exit.ts'
import { commandLine, quote } from './name.ts'
import type { OptionSpecs, Parsed } from './options.ts'
import { flag, option } from './options.ts'
import type { Output } from './output.ts'

export const LOG_LEVELS: readonly string[] = ['debug', 'info', 'warn', 'error'] satisfies LogLevel[]

export const SERVER_OPTIONS: OptionSpecs = {
  name: option('NAME', 'this server’s name, one of those in --cluster'),
  cluster: option('S1=HOST:PORT,…', 'every server of the cluster, the same list everywhere'),
  'cluster-key-file': option('FILE', 'the cluster’s key, the same everywhere; made by skein keygen FILE'),
  data: option('DIR', 'where its files lie (default ./skein-data/NAME)'),
  listen: option('HOST:PORT', 'where clients and members connect (default: its address in --cluster)'),
  advertise: option('HOST:PORT', 'what others are told to connect to (default: its address in --cluster)'),
  insecure: flag('allows to listen on a public address without TLS'),
  'tls-cert': option('FILE', 'certificate for clients and members'),
  'tls-key': option('FILE', 'its key'),
  'tls-ca': option('FILE', 'authority of the members’ certificates'),
  dial: option('S2=HOST:PORT,…', 'connects to these members elsewhere than where --cluster says: through a proxy'),
  engine: option('NAME', 'lmdb or memory (default lmdb)'),
  'election-timeout-ms': option('N', 'how long without a leader until others stand for election (default 1000)'),
  'heartbeat-interval-ms': option('N', 'at most a fifth of it (default 100)'),
  'cluster-token': option('TEXT', 'tells clusters apart whose servers have the same names'),
  'log-level': option('LEVEL', `of DIR/server.log: ${LOG_LEVELS.join(', ')} (default info)`),
  supervised: { ...flag('ends when standard input closes, and tells its supervisor what it does'), hidden: true },
}

/** A stop that takes longer is cut short: the supervisor promises two seconds. */
const STOP_LIMIT_MS = 1_600

export async function runServer(parsed: Parsed, output: Output): Promise<number> {
  if (parsed.positionals.length > 0)
    usage(`skein server takes options only, not ${JSON.stringify(parsed.positionals[0])}`)
  const options = serverOptions(parsed)
  const level = parsed.text('log-level') ?? 'info'
  if (!LOG_LEVELS.includes(level))
    usage(`--log-level must be one of ${LOG_LEVELS.join(', ')}, not ${JSON.stringify(level)}`)
  const disk = openNodeWorld({
    onFail: (violation) => {
      throw violation
    },
  })
  await makeDataDirectory(disk, options.dataDirectory).finally(() => disk.stop())
  const diagnostics = fileDiagnostics(join(options.dataDirectory, 'server.log'), level as LogLevel, {
    server: options.name,
  })
  try {
    // Loaded here only: a command that asks a server should not wait for the code of one.
    const { startServer } = await import('../host/index.ts')
    return await serve(startServer, options, diagnostics, parsed.flag('supervised'), output)
  } catch (error) {
    if (error instanceof SkeinError)
      diagnostics.log('error', 'not-started', { code: error.code, message: error.message })
    throw error
  } finally {
    await new Promise<void>((closed) => {
      diagnostics.close(closed)
    })
  }
}

function serve(
  startServer: typeof StartServer,
  options: ServerOptions,
  diagnostics: Diagnostics,
  supervised: boolean,
  output: Output,
): Promise<number> {
  return new Promise((resolve, reject) => {
    let running: RunningServer | undefined
    let ending = false
    const end = (code: number): void => resolve(code)
    const world = openNodeWorld({
      diagnostics,
      onFail: (violation) => {
        diagnostics.log('error', 'failed', {
          invariant: violation.invariant,
          message: violation.message,
          stack: violation.stack,
        })
        output.progress(`skein server ${options.name}: ${violation.message}`)
        end(EXIT.internal)
      },
    })
    const stop = (why: string): void => {
      if (ending) return
      ending = true
      diagnostics.log('info', 'asked-to-stop', { why })
      if (supervised) output.object({ event: 'stopping', why })
      setTimeout(() => end(EXIT.ok), STOP_LIMIT_MS).unref()
      if (running === undefined) end(EXIT.ok)
      else running.stop(() => end(EXIT.ok))
    }
    process.on('SIGTERM', () => stop('SIGTERM'))
    process.on('SIGINT', () => stop('SIGINT'))
    // A terminal that closes.
    process.on('SIGHUP', () => stop('SIGHUP'))
    if (supervised) {
      const supervisorEnded = (): void => stop('the supervisor ended')
      process.stdin.on('end', supervisorEnded).on('close', supervisorEnded).on('error', supervisorEnded)
      process.stdin.resume()
    }
    startServer(
      world,
      options,
      (event) => {
        if (event.type === 'peer-refused') output.progress(`skein server ${options.name}: ${event.reason.message}`)
      },
      (result) => {
        if (!result.ok) return reject(new SkeinError(result.error))
        running = result.value
        if (output.json) output.object({ event: 'serving', name: options.name, address: running.address })
        else output.print(`serving ${options.name} at ${running.address}`)
        if (ending) running.stop(() => end(EXIT.ok))
        return undefined
      },
    )
  })
}

/** Names and addresses: `S1=10.0.0.1:7701,S2=10.0.0.2:7701`. */
export function parseCluster(option: string, text: string): BootstrapMember[] {
  return text.split(',').map((part) => {
    const match = /^([^=,\s]{1,64})=(\S+:\d{1,5})$/.exec(part.trim())
    if (match === null)
      usage(`--${option} wants NAME=HOST:PORT,NAME=HOST:PORT,…; ${JSON.stringify(part)} is not of that form`)
    return { name: match[1] as string, address: match[2] as string }
  })
}

function serverOptions(parsed: Parsed): ServerOptions {
  const need = (name: string, example: string): string =>
    parsed.text(name) ?? usage(`skein server needs --${name}, for instance --${name} ${example}`)
  const name = need('name', 'S1')
  const cluster = parseCluster('cluster', need('cluster', 'S1=10.0.0.1:7701,S2=10.0.0.2:7701,S3=10.0.0.3:7701'))
  const own = cluster.find((member) => member.name === name)
  if (own === undefined)
    usage(`--cluster names ${cluster.map((member) => member.name).join(', ')}, but not this server, ${name}`)
  const engine = parsed.text('engine') ?? 'lmdb'
  if (engine !== 'lmdb' && engine !== 'memory') usage(`--engine must be lmdb or memory, not ${JSON.stringify(engine)}`)
  const advertise = parsed.text('advertise')
  const electionTimeoutMs = parsed.number('election-timeout-ms', 50, 60_000)
  const heartbeatIntervalMs = parsed.number('heartbeat-interval-ms', 5, 10_000)
  const dial = parsed.text('dial')
  const clusterToken = parsed.text('cluster-token')
  const tls = tlsOptions(parsed)
  return {
    name,
    dataDirectory: dataDirectory(parsed, `./skein-data/${name}`),
    listen: parsed.text('listen') ?? own.address,
    cluster,
    clusterKey: readClusterKey(need('cluster-key-file', './cluster-key')),
    engine,
    insecure: parsed.flag('insecure'),
    ...(advertise !== undefined && { advertise }),
    ...(clusterToken !== undefined && { clusterToken }),
    ...(electionTimeoutMs !== undefined && { electionTimeoutMs }),
    ...(heartbeatIntervalMs !== undefined && { heartbeatIntervalMs }),
    ...(tls !== undefined && { tls, peerTls: tls }),
    ...(dial !== undefined && { dialOverrides: dialOverrides(dial, cluster) }),
  }
}

function dialOverrides(text: string, cluster: readonly BootstrapMember[]): Readonly<Record<string, string>> {
  const members = parseCluster('dial', text)
  const stranger = members.find((member) => cluster.every((known) => known.name !== member.name))
  if (stranger !== undefined) usage(`--dial names ${stranger.name}, which --cluster does not`)
  return Object.fromEntries(members.map((member) => [member.name, member.address]))
}

function tlsOptions(parsed: Parsed): ServerOptions['tls'] {
  const read = (name: string): string | undefined => {
    const path = parsed.text(name)
    return path === undefined ? undefined : readOptionFile(path, `--${name}`)
  }
  const cert = read('tls-cert')
  const key = read('tls-key')
  const ca = read('tls-ca')
  if (cert === undefined && key === undefined) return undefined
  if (cert === undefined || key === undefined) usage('--tls-cert and --tls-key go together')
  return { cert, key, ...(ca !== undefined && { ca }) }
}

/** 64 hex digits in a file. */
export function readClusterKey(path: string): Uint8Array {
  const key = fromHex(readOptionFile(path, '--cluster-key-file').trim())
  if (key?.length === 32) return key
  return refuse(
    'invalid-request',
    `${path} must hold 64 hex digits, the cluster’s key`,
    `Make one with: ${commandLine(`keygen ${quote(path)}`)} ; and copy it to every server`,
  )
}
