/**
 * A client for the time of one command. With several endpoints the first that answers and knows a leader is asked, so that a
 * paused or lonely server costs milliseconds and not a timeout.
 */
import { readFileSync } from 'node:fs'
import { SkeinError } from '../base/index.ts'
import type { Client, ClientOptions } from '../client/index.ts'
import { connectClient } from '../client/index.ts'
import type { TlsOptions } from '../world/index.ts'
import { openNodeWorld } from '../world/node/index.ts'
import type { Endpoints } from './endpoints.ts'
import { brief, DATA_OPTION, findEndpoints } from './endpoints.ts'
import { refuse, usage } from './exit.ts'
import { commandLine } from './name.ts'
import type { OptionSpecs, Parsed } from './options.ts'
import { option } from './options.ts'

export const CLIENT_OPTIONS: OptionSpecs = {
  endpoints: option(
    'HOST:PORT,…',
    'servers to ask, any of them (default: those of --data, else 127.0.0.1:7701 to 7705)',
  ),
  ...DATA_OPTION,
  'timeout-ms': option('N', 'how long to wait for an answer (default 10000)'),
  'tls-ca': option('FILE', 'certificate of the authority that signed the servers’ certificates: speaks TLS'),
  'tls-cert': option('FILE', 'own certificate, where the servers ask for one'),
  'tls-key': option('FILE', 'its key'),
}

const PROBE_MS = 1_000
/** How much longer one that knows a leader is waited for, once a server without one has answered. */
const LEADER_WAIT_MS = 300

export type Connect = (options: ClientOptions) => Client
export type Session = {
  readonly connect: Connect
  readonly endpoints: Endpoints
  /** Everything but the endpoints, as the command line says it. */
  readonly options: Omit<ClientOptions, 'endpoints'>
}

export async function withSession(parsed: Parsed, use: (session: Session) => Promise<number>): Promise<number> {
  const endpoints = findEndpoints(parsed)
  const timeoutMs = parsed.number('timeout-ms', 1, 3_600_000)
  const options = { ...clientTls(parsed), ...(timeoutMs !== undefined && { timeoutMs }) }
  return withWorld((connect) => use({ connect, endpoints, options }))
}

export async function withClient(parsed: Parsed, use: (client: Client) => Promise<number>): Promise<number> {
  return withSession(parsed, async (session) => {
    const { connect, endpoints, options } = session
    const { addresses } = endpoints
    const first =
      addresses.length > 1 ? await firstToAnswer(connect({ ...options, endpoints: addresses }), addresses) : undefined
    const ordered = first === undefined ? addresses : [first, ...addresses.filter((address) => address !== first)]
    try {
      return await use(connect({ ...options, endpoints: ordered }))
    } catch (error) {
      if (error instanceof SkeinError && error.code === 'unreachable') return nobodyAnswers(session, error)
      throw error
    }
  })
}

/** Lends a way to connect; closes every client afterwards. */
export async function withWorld<T>(use: (connect: Connect) => Promise<T>): Promise<T> {
  const world = openNodeWorld({
    onFail: (violation) => {
      throw violation
    },
  })
  const clients: Client[] = []
  try {
    return await use((options) => {
      const client = connectClient(world, options)
      clients.push(client)
      return client
    })
  } finally {
    for (const client of clients) client.close()
    world.stop()
  }
}

async function firstToAnswer(client: Client, addresses: readonly string[]): Promise<string | undefined> {
  return new Promise((resolve) => {
    let open = addresses.length
    let leaderless: string | undefined
    let timer: NodeJS.Timeout | undefined
    const decide = (address: string | undefined): void => {
      clearTimeout(timer)
      resolve(address)
      // What is still open would only delay the end of the command.
      client.close()
    }
    for (const address of addresses) {
      client
        .status(address, { timeoutMs: PROBE_MS })
        .then(
          (status) => {
            if (status.leader !== 0n) return decide(address)
            leaderless ??= address
            timer ??= setTimeout(() => decide(leaderless), LEADER_WAIT_MS)
            return undefined
          },
          () => undefined,
        )
        .finally(() => {
          if (--open === 0) decide(leaderless)
        })
        .catch(() => undefined)
    }
  })
}

/** What is known of why nobody answers, as a sentence and its fix. */
function nobodyAnswers({ endpoints, options }: Session, error: SkeinError): never {
  const { addresses, from, directory } = endpoints
  const where = addresses.length === 1 ? `at ${addresses[0]}` : `at any of ${brief(addresses)}`
  const reason = inFewWords(error)
  const tls = tlsHint(reason, options.tls !== undefined)
  if (tls !== undefined) refuse('unreachable', `no server could be asked ${where}: ${reason}`, tls)
  if (TOO_LATE.test(reason)) {
    const given = options.timeoutMs === undefined ? '' : ` within ${options.timeoutMs} ms`
    const hint = 'Wait longer with --timeout-ms N, or see how the servers are: skein status'
    refuse('unreachable', `no server answered ${where}${given}`, hint)
  }
  // That is what the sentence says already.
  const why = reason === NOTHING_LISTENS ? '' : ` (${reason})`
  const hint =
    from === 'option' || from === 'environment'
      ? `Start it there, or name other servers with --endpoints HOST:PORT,… ; a cluster on this machine: ${commandLine('up')}`
      : `Start one with: ${commandLine('up', directory)}`
  return refuse('unreachable', `no server answers ${where}: is it running?${why}`, hint)
}

const NOTHING_LISTENS = 'nothing listens there'
const TOO_LATE = /did not answer in time|does not answer|no answer within/

/** Where a connection was made, and TLS is what is wrong, or may be. */
export function tlsHint(reason: string, speaksTls: boolean): string | undefined {
  if (!speaksTls) {
    return /ended the connection|reset/.test(reason)
      ? 'Something listens there. If it speaks TLS, give its authority: --tls-ca ca.pem'
      : undefined
  }
  if (/for other names/.test(reason))
    return 'Ask it by a name or an address that its certificate has as subjectAltName, or give it a certificate with this one.'
  if (/is not trusted/.test(reason)) return 'Give the authority that signed the servers’ certificates: --tls-ca ca.pem'
  return /TLS|ECONNRESET|reset|ended the connection|closed before/.test(reason)
    ? 'Something listens there, and may speak no TLS: leave out --tls-ca and --tls-cert, or check the address.'
    : undefined
}

/** Why a server could not be reached, without what it was and where. */
export function inFewWords(error: SkeinError): string {
  return error.message.split(': ').at(-1) as string
}

function clientTls(parsed: Parsed): { tls?: TlsOptions } {
  const read = (name: string): string | undefined => {
    const path = parsed.text(name)
    return path === undefined ? undefined : readOptionFile(path, `--${name}`)
  }
  const ca = read('tls-ca')
  const cert = read('tls-cert')
  const key = read('tls-key')
  if ((cert === undefined) !== (key === undefined)) usage('--tls-cert and --tls-key go together')
  if (ca === undefined && cert === undefined) return {}
  return { tls: { ...(ca !== undefined && { ca }), ...(cert !== undefined && key !== undefined && { cert, key }) } }
}

export function readOptionFile(path: string, name: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    return refuse(
      code === 'EACCES' ? 'permission-denied' : 'not-found',
      code === 'ENOENT'
        ? `${name} names ${path}, and there is no such file`
        : `${name} ${path} cannot be read: ${message}`,
    )
  }
}
