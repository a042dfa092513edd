/** Options as given, checked and completed: what is wrong is said before anything is opened. */
import type { Failure, MemberId, Result } from '../base/index.ts'
import { err, failure, ok } from '../base/index.ts'
import type { Address } from '../world/index.ts'
import { clusterIdOf, memberIdOf } from './identity.ts'
import type { BootstrapMember, ServerOptions } from './types.ts'
import type { ClusterId } from '../base/index.ts'

export type Settings = {
  readonly name: string
  readonly cluster: ClusterId
  readonly member: MemberId
  readonly members: readonly (BootstrapMember & { readonly id: MemberId })[]
  readonly engine: 'lmdb' | 'memory'
  readonly electionTimeoutMs: number
  readonly heartbeatIntervalMs: number
  readonly requestTimeoutMs: number
}

const MIN_ELECTION_TIMEOUT_MS = 50
const CLUSTER_KEY_BYTES = 32

/** Failures: invalid-request naming the option, insecure-address. */
export function settle(options: ServerOptions): Result<Settings> {
  const wrong = problem(options)
  if (wrong !== undefined) return err(wrong)
  const cluster = clusterIdOf(options.clusterToken ?? '', options.cluster)
  const electionTimeoutMs = options.electionTimeoutMs ?? 1000
  return ok({
    name: options.name,
    cluster,
    member: memberIdOf(cluster, options.name),
    members: options.cluster.map((member) => ({ ...member, id: memberIdOf(cluster, member.name) })),
    engine: options.engine ?? 'lmdb',
    electionTimeoutMs,
    heartbeatIntervalMs: options.heartbeatIntervalMs ?? Math.min(100, electionTimeoutMs / 5),
    requestTimeoutMs: options.requestTimeoutMs ?? 5000 + 2 * electionTimeoutMs,
  })
}

function problem(options: ServerOptions): Failure | undefined {
  const bad = (message: string): Failure => failure('invalid-request', message)
  // Applications without types give anything.
  if (typeof options.name !== 'string' || options.name === '')
    return bad('the option name must be a text: this server, as `cluster` names it')
  if (typeof options.dataDirectory !== 'string' || options.dataDirectory === '')
    return bad('the option dataDirectory must be the path of a directory')
  if (typeof options.listen !== 'string') return bad('the option listen must be HOST:PORT')
  if (!Array.isArray(options.cluster)) return bad('the option cluster must be a list of { name, address }')
  if (!(options.clusterKey instanceof Uint8Array))
    return bad(`the option clusterKey must be a Uint8Array of ${CLUSTER_KEY_BYTES} bytes`)
  const names = options.cluster.map((member) => member.name)
  if (!names.includes(options.name)) {
    return bad(
      `the cluster list names ${names.join(', ') || 'nobody'}, but not this server, ${JSON.stringify(options.name)}`,
    )
  }
  if (new Set(names).size !== names.length) return bad(`the cluster list names a server twice: ${names.join(', ')}`)
  for (const address of [options.listen, ...options.cluster.map((member) => member.address)]) {
    if (splitAddress(address) === undefined) return bad(`${JSON.stringify(address)} is not HOST:PORT`)
  }
  if (options.clusterKey.length !== CLUSTER_KEY_BYTES) {
    return bad(`the cluster key must have ${CLUSTER_KEY_BYTES} bytes, this one has ${options.clusterKey.length}`)
  }
  const election = options.electionTimeoutMs ?? 1000
  if (!(election >= MIN_ELECTION_TIMEOUT_MS))
    return bad(`the election timeout must be at least ${MIN_ELECTION_TIMEOUT_MS} ms, not ${election}`)
  const heartbeat = options.heartbeatIntervalMs ?? Math.min(100, election / 5)
  if (!(heartbeat > 0 && heartbeat <= election / 5)) {
    return bad(
      `the heartbeat interval must be above 0 and at most a fifth of the election timeout (${election / 5} ms), not ${heartbeat}`,
    )
  }
  if (options.insecure !== true && options.tls === undefined && !isLoopback(options.listen)) {
    return failure(
      'insecure-address',
      `${options.listen} can be reached from other machines, and without TLS anybody there could read and write everything`,
    )
  }
  return undefined
}

function splitAddress(address: Address): { host: string; port: number } | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(address)
  const port = Number(match?.[3])
  if (match === null || port > 65_535) return undefined
  return { host: (match[1] ?? match[2]) as string, port }
}

/** Whether an address can only be reached from this machine. */
export function isLoopback(address: Address): boolean {
  const host = splitAddress(address)?.host
  return host !== undefined && (host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host))
}
