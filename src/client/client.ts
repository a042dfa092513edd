/** The calls of the client: encode, ask (asking.ts), decode. */
import type { Failure, Result } from '../base/index.ts'
import { EMPTY, failure, SkeinError } from '../base/index.ts'
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
} from '../wire/index.ts'
import type { World } from '../world/index.ts'
import { createAsker } from './asking.ts'
import { keysOf, toBytes, withBytes } from './bytes.ts'
import { createServerConnection } from './connection.ts'
import type { CallOptions, Client, ClientOptions, Watch } from './types.ts'
import { openWatch } from './watch.ts'

const DEFAULT_TIMEOUT_MS = 10_000
const DIAL_TIMEOUT_MS = 2_000

/** A client that connects when it is first used. Throws SkeinError `invalid-request` without endpoints. */
export function connectClient(world: World, options: ClientOptions): Client {
  if (!Array.isArray(options.endpoints) || options.endpoints.length === 0)
    throw new SkeinError(failure('invalid-request', 'a client needs at least one endpoint, HOST:PORT'))
  const metadata = new Map(Object.entries(options.metadata ?? {}))
  const connections = options.endpoints.map((address) =>
    createServerConnection(world, address, options.tls, DIAL_TIMEOUT_MS),
  )
  const watches = new Set<Watch>()
  const asker = createAsker(world, metadata, connections, options.resendWrites ?? true)

  const deadlineOf = (call: CallOptions | undefined): number =>
    world.clock.monotonicMs() + (call?.timeoutMs ?? options.timeoutMs ?? DEFAULT_TIMEOUT_MS)

  const call = async <T>(
    path: string,
    message: Uint8Array,
    writes: boolean,
    decode: (bytes: Uint8Array) => Result<T>,
    callOptions: CallOptions | undefined,
  ): Promise<T> => decoded(decode(await asker.ask({ path, message, writes, deadlineMs: deadlineOf(callOptions) })))

  const client: Client = {
    range: async (request, callOptions) =>
      call(
        '/etcdserverpb.KV/Range',
        encodeRangeRequest({ ...RANGE, ...request, ...keysOf(request) }),
        false,
        decodeRangeResponse,
        callOptions,
      ),
    async get(key, callOptions) {
      const response = await client.range({ key, limit: 1 }, callOptions)
      return response.kvs[0]
    },
    async put(key, value, callOptions) {
      const message = encodePutRequest({
        key: toBytes('the key', key),
        value: toBytes('the value', value),
        lease: callOptions?.lease ?? 0n,
        prevKv: callOptions?.prevKv ?? false,
        ignoreValue: callOptions?.ignoreValue ?? false,
        ignoreLease: callOptions?.ignoreLease ?? false,
      })
      return call('/etcdserverpb.KV/Put', message, true, decodePutResponse, callOptions)
    },
    deleteRange: async (request, callOptions) =>
      call(
        '/etcdserverpb.KV/DeleteRange',
        encodeDeleteRangeRequest({ prevKv: false, ...request, ...keysOf(request) }),
        true,
        decodeDeleteRangeResponse,
        callOptions,
      ),
    txn: async (request, callOptions) =>
      call('/etcdserverpb.KV/Txn', encodeTxnRequest(withBytes(request)), true, decodeTxnResponse, callOptions),
    watch(watchOptions) {
      const asked = { ...watchOptions, ...keysOf(watchOptions) }
      const watch = openWatch(world, metadata, connections, asker.preferred, asked, () => watches.delete(watch))
      watches.add(watch)
      return watch
    },
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
        const path = '/etcdserverpb.Maintenance/Status'
        const asking = { path, message: EMPTY, writes: false, deadlineMs: deadlineOf(callOptions) }
        const end = await asker.askOne(connection, asking)
        if (!end.ok) throw new SkeinError(end.verdict.error)
        return decoded(decodeStatusResponse(end.value))
      } finally {
        if (known === undefined) connection.close()
      }
    },
    async moveLeader(target, callOptions) {
      const path = '/etcdserverpb.Maintenance/MoveLeader'
      const message = encodeMoveLeaderRequest({ targetId: target })
      const asking = { path, message, writes: true, deadlineMs: deadlineOf(callOptions) }
      let refused: Failure | undefined
      for (const connection of connections) {
        const end = await asker.askOne(connection, asking)
        if (end.ok) return
        const { error, mayHaveEffect, again } = end.verdict
        // Who does not lead passes on to the next; so does who was not reached.
        if (mayHaveEffect || again === 'never') throw new SkeinError(error)
        if (refused === undefined || error.code !== 'unreachable') refused = error
      }
      throw new SkeinError(refused ?? failure('no-leader', 'no endpoint answered'))
    },
    close() {
      for (const watch of Array.from(watches)) watch.close()
      asker.close()
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
