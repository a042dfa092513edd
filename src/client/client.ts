/** The calls of the client: encode, ask one server, ask the next where that is safe, decode. */
import type { Failure, Result } from '../base/index.ts'
import { EMPTY, failure, invariant, SkeinError } from '../base/index.ts'
import {
  decodeCompactionResponse,
  decodeDeleteRangeResponse,
  decodeMemberListResponse,
  decodePutResponse,
  decodeRangeResponse,
  decodeStatusResponse,
  decodeTxnResponse,
  encodeCompactionRequest,
  encodeDeleteRangeRequest,
  encodeMoveLeaderRequest,
  encodePutRequest,
  encodeRangeRequest,
  encodeTxnRequest,
  GRPC_STATUS,
  isMetadata,
} from '../wire/index.ts'
import type { World } from '../world/index.ts'
import type { ServerConnection } from './connection.ts'
import { createServerConnection } from './connection.ts'
import { failureOf, mayTryElsewhere } from './errors.ts'
import type { CallOptions, Client, ClientOptions } from './types.ts'

const DEFAULT_TIMEOUT_MS = 10_000
const DIAL_TIMEOUT_MS = 2_000

type Asking = {
  readonly path: string
  readonly message: Uint8Array
  readonly writes: boolean
  readonly options: CallOptions | undefined
}

/** A client that connects when it is first used. Throws SkeinError `invalid-request` without endpoints. */
export function connectClient(world: World, options: ClientOptions): Client {
  if (options.endpoints.length === 0)
    throw new SkeinError(failure('invalid-request', 'a client needs at least one endpoint, HOST:PORT'))
  const metadata = new Map(Object.entries(options.metadata ?? {}))
  for (const [name, value] of metadata) {
    if (!isMetadata(name, value))
      throw new SkeinError(failure('invalid-request', `${JSON.stringify(name)} cannot be sent as metadata`))
  }
  const connections = options.endpoints.map((address) =>
    createServerConnection(world, address, options.tls, DIAL_TIMEOUT_MS),
  )
  /** The server that answered last is asked first. */
  let preferred = 0

  const deadlineOf = (call: CallOptions | undefined): number =>
    world.clock.monotonicMs() + (call?.timeoutMs ?? options.timeoutMs ?? DEFAULT_TIMEOUT_MS)

  /** Asks one server after another, each once, until one decides. */
  const ask = async (asking: Asking): Promise<Uint8Array> => {
    const deadlineMs = deadlineOf(asking.options)
    const first = preferred
    let last: Failure | undefined
    for (let i = 0; i < connections.length; i++) {
      const at = (first + i) % connections.length
      const connection = connections[at] as ServerConnection
      const answer = await askOne(connection, asking, deadlineMs)
      if (answer.ok) {
        preferred = at
        return answer.value
      }
      last = answer.error
      if (!answer.elsewhere || world.clock.monotonicMs() >= deadlineMs) break
    }
    invariant(last !== undefined, 'client-asked-somebody')
    throw new SkeinError(last)
  }

  const askOne = (
    connection: ServerConnection,
    asking: Asking,
    deadlineMs: number,
  ): Promise<{ ok: true; value: Uint8Array } | { ok: false; error: Failure; elsewhere: boolean }> =>
    new Promise((resolve) => {
      connection.call(asking.path, metadata, asking.message, deadlineMs, (ended) => {
        if (ended.status.code === GRPC_STATUS.ok && ended.outcome === 'answered') {
          resolve({ ok: true, value: ended.message ?? EMPTY })
          return
        }
        const error = failureOf(connection.address, ended, asking.writes)
        resolve({ ok: false, error, elsewhere: mayTryElsewhere(ended, error, asking.writes) })
      })
    })

  const call = async <T>(
    path: string,
    message: Uint8Array,
    writes: boolean,
    decode: (bytes: Uint8Array) => Result<T>,
    callOptions: CallOptions | undefined,
  ): Promise<T> => decoded(decode(await ask({ path, message, writes, options: callOptions })))

  const client: Client = {
    range: (request, callOptions) =>
      call(
        '/etcdserverpb.KV/Range',
        encodeRangeRequest({ ...RANGE, ...request }),
        false,
        decodeRangeResponse,
        callOptions,
      ),
    async get(key, callOptions) {
      const response = await client.range({ key, limit: 1 }, callOptions)
      return response.kvs[0]
    },
    put(key, value, callOptions) {
      const message = encodePutRequest({
        key,
        value,
        lease: callOptions?.lease ?? 0n,
        prevKv: callOptions?.prevKv ?? false,
        ignoreValue: callOptions?.ignoreValue ?? false,
        ignoreLease: callOptions?.ignoreLease ?? false,
      })
      return call('/etcdserverpb.KV/Put', message, true, decodePutResponse, callOptions)
    },
    deleteRange: (request, callOptions) =>
      call(
        '/etcdserverpb.KV/DeleteRange',
        encodeDeleteRangeRequest({ rangeEnd: EMPTY, prevKv: false, ...request }),
        true,
        decodeDeleteRangeResponse,
        callOptions,
      ),
    txn: (request, callOptions) =>
      call('/etcdserverpb.KV/Txn', encodeTxnRequest(request), true, decodeTxnResponse, callOptions),
    compact: (revision, callOptions) =>
      call(
        '/etcdserverpb.KV/Compact',
        encodeCompactionRequest({ revision, physical: callOptions?.physical ?? false }),
        true,
        decodeCompactionResponse,
        callOptions,
      ),
    memberList: (callOptions) =>
      call('/etcdserverpb.Cluster/MemberList', EMPTY, false, decodeMemberListResponse, callOptions),
    async status(endpoint, callOptions) {
      const known = connections.find((connection) => connection.address === endpoint)
      const connection = known ?? createServerConnection(world, endpoint, options.tls, DIAL_TIMEOUT_MS)
      try {
        const asking = { path: '/etcdserverpb.Maintenance/Status', message: EMPTY, writes: false, options: callOptions }
        const answer = await askOne(connection, asking, deadlineOf(callOptions))
        if (!answer.ok) throw new SkeinError(answer.error)
        return decoded(decodeStatusResponse(answer.value))
      } finally {
        if (known === undefined) connection.close()
      }
    },
    async moveLeader(target, callOptions) {
      const asking = {
        path: '/etcdserverpb.Maintenance/MoveLeader',
        message: encodeMoveLeaderRequest({ targetId: target }),
        writes: true,
        options: callOptions,
      }
      const deadlineMs = deadlineOf(callOptions)
      let last: Failure | undefined
      for (const connection of connections) {
        const answer = await askOne(connection, asking, deadlineMs)
        if (answer.ok) return
        last = answer.error
        if (last.code !== 'not-leader' && !answer.elsewhere) break
      }
      throw new SkeinError(last ?? failure('no-leader', 'no endpoint answered'))
    },
    close() {
      for (const connection of connections) connection.close()
    },
  }
  return client
}

function decoded<T>(result: Result<T>): T {
  if (!result.ok) throw new SkeinError(result.error)
  return result.value
}

const RANGE = {
  rangeEnd: EMPTY,
  limit: 0,
  revision: 0,
  sortOrder: 0,
  sortTarget: 0,
  serializable: false,
  keysOnly: false,
  countOnly: false,
  minModRevision: 0,
  maxModRevision: 0,
  minCreateRevision: 0,
  maxCreateRevision: 0,
} as const
