/**
 * `skein server`: one server in the foreground, on a real machine or as a child of `skein up`. TERM and INT stop it gracefully; a
 * child also stops when its supervisor's pipe closes.
 */
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { failure, fromHex, SkeinError } from '../base/index.ts'
import { startServer } from '../host/index.ts'
import type { BootstrapMember, RunningServer, ServerOptions } from '../server/index.ts'
import type { LogLevel } from '../world/index.ts'
import { fileDiagnostics, openNodeWorld } from '../world/node/index.ts'
import { describe, EXIT, exitCodeOf, usage } from './exit.ts'
import type { OptionSpecs, Parsed } from './options.ts'
import type { Output } from './output.ts'

export const SERVER_OPTIONS: OptionSpecs = {
  name: 'string',
  listen: 'string',
  advertise: 'string',
  cluster: 'string',
  'cluster-key-file': 'string',
  'cluster-token': 'string',
  engine: 'string',
  'election-timeout': 'string',
  'heartbeat-interval': 'string',
  insecure: 'boolean',
  'tls-cert': 'string',
  'tls-key': 'string',
  'tls-ca': 'string',
  'log-level': 'string',
  dial: 'string',
  supervised: 'boolean',
}

const LEVELS: readonly string[] = ['debug', 'info', 'warn', 'error'] satisfies LogLevel[]
/** A stop that takes longer is cut short: the supervisor promises two seconds. */
const STOP_LIMIT_MS = 1_700

export async function runServer(parsed: Parsed, output: Output): Promise<number> {
  const options = serverOptions(parsed)
  const level = parsed.text('log-level') ?? 'info'
  if (!LEVELS.includes(level)) usage(`--log-level must be one of ${LEVELS.join(', ')}, not ${JSON.stringify(level)}`)
  mkdirSync(options.dataDirectory, { recursive: true, mode: 0o700 })
  const diagnostics = fileDiagnostics(join(options.dataDirectory, 'server.log'), level as LogLevel, {
    server: options.name,
  })

  return new Promise((resolve) => {
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
      setTimeout(() => end(EXIT.ok), STOP_LIMIT_MS).unref()
      if (running === undefined) end(EXIT.ok)
      else running.stop(() => end(EXIT.ok))
    }
    process.on('SIGTERM', () => stop('SIGTERM'))
    process.on('SIGINT', () => stop('SIGINT'))
    // A terminal that closes, or a supervisor that died.
    process.on('SIGHUP', () => stop('SIGHUP'))
    if (parsed.flag('supervised')) {
      process.stdin.on('end', () => stop('the supervisor ended')).on('error', () => stop('the supervisor ended'))
      process.stdin.resume()
    }
    startServer(
      world,
      options,
      (event) => {
        if (event.type === 'peer-refused') output.progress(`skein server ${options.name}: ${event.reason.message}`)
      },
      (result) => {
        if (!result.ok) {
          diagnostics.log('error', 'not-started', { code: result.error.code, message: result.error.message })
          output.progress(describe(new SkeinError(result.error)))
          end(exitCodeOf(new SkeinError(result.error)))
          return
        }
        running = result.value
        if (output.json) output.object({ event: 'serving', name: options.name, address: running.address })
        else output.print(`serving ${options.name} at ${running.address}`)
        if (ending) running.stop(() => end(EXIT.ok))
      },
    )
  })
}

/** Names and addresses: `s1=10.0.0.1:7701,s2=10.0.0.2:7701`. */
export function parseCluster(text: string): BootstrapMember[] {
  return text.split(',').map((part) => {
    const match = /^([^=,\s]{1,64})=(\S+:\d{1,5})$/.exec(part.trim())
    if (match === null)
      usage(`--cluster wants NAME=HOST:PORT,NAME=HOST:PORT,…; ${JSON.stringify(part)} is not of that form`)
    return { name: match[1] as string, address: match[2] as string }
  })
}

function serverOptions(parsed: Parsed): ServerOptions {
  const need = (name: string, example: string): string =>
    parsed.text(name) ?? usage(`skein server needs --${name}, for instance --${name} ${example}`)
  const name = need('name', 's1')
  const cluster = parseCluster(need('cluster', 's1=10.0.0.1:7701,s2=10.0.0.2:7701,s3=10.0.0.3:7701'))
  const own = cluster.find((member) => member.name === name)
  if (own === undefined)
    usage(`--cluster names ${cluster.map((member) => member.name).join(', ')}, but not this server, ${name}`)
  const engine = parsed.text('engine') ?? 'lmdb'
  if (engine !== 'lmdb' && engine !== 'memory') usage(`--engine must be lmdb or memory, not ${JSON.stringify(engine)}`)
  const advertise = parsed.text('advertise')
  const electionTimeoutMs = parsed.number('election-timeout', 50, 60_000)
  const heartbeatIntervalMs = parsed.number('heartbeat-interval', 5, 10_000)
  const dial = parsed.text('dial')
  const clusterToken = parsed.text('cluster-token')
  const tls = tlsOptions(parsed)
  return {
    name,
    dataDirectory: parsed.text('data') ?? `./skein-data/${name}`,
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
    ...(dial !== undefined && {
      dialOverrides: Object.fromEntries(parseCluster(dial).map((member) => [member.name, member.address])),
    }),
  }
}

function tlsOptions(parsed: Parsed): ServerOptions['tls'] {
  const read = (name: string): string | undefined => {
    const path = parsed.text(name)
    return path === undefined ? undefined : readFile(path, `--${name}`)
  }
  const cert = read('tls-cert')
  const key = read('tls-key')
  const ca = read('tls-ca')
  if (cert === undefined && key === undefined) return undefined
  if (cert === undefined || key === undefined) usage('--tls-cert and --tls-key go together')
  return { cert, key, ...(ca !== undefined && { ca }) }
}

function readFile(path: string, option: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw new SkeinError(failure('not-found', `${option} ${path} cannot be read: ${String(error)}`))
  }
}

/** 64 hex digits in a file. */
export function readClusterKey(path: string): Uint8Array {
  const key = fromHex(readFile(path, '--cluster-key-file').trim())
  if (key?.length !== 32) {
    throw new SkeinError(
      failure(
        'invalid-request',
        `${path} must hold 64 hex digits, the cluster's key; make one with: skein keygen ${path}`,
      ),
    )
  }
  return key
}
