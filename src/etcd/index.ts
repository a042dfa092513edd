/**
 * etcd: the etcd v3 API on the port. Messages in, requests to the server, answers with etcd's texts and codes out.
 *
 * Promises: (1) what etcd 3.4 refuses is refused here with the same code and text; (2) a client's bytes are validated
 * before anything is proposed, and proposed as they came; (3) Skein's own failure code travels in the trailer
 * `skein-code`, which etcd clients ignore.
 * Never: touches a replica; keeps state of its own, but for the streams that are open.
 * Source: etcd 3.4 `etcdserver/api/v3rpc`, `api_grpc.md`.
 */
import { failure } from '../base/index.ts'
import type { Requests } from '../server/index.ts'
import type { Services, UnaryHandler } from '../port/index.ts'
import type { World } from '../world/index.ts'
import { refuse } from './call.ts'
import { clusterHandlers } from './cluster.ts'
import { httpAnswers } from './http.ts'
import { kvHandlers } from './kv.ts'
import { maintenanceHandlers } from './maintenance.ts'
import { skeinHandlers } from './skein.ts'
import type { WatchOptions } from './watch.ts'
import { createWatchService } from './watch.ts'

export { MAX_REQUEST_BYTES } from './kv.ts'

/** Everything that etcd clients and HTTP probes may ask of a server. */
export function etcdServices(
  world: World,
  requests: Requests,
  options: { readonly version: string; readonly tls: boolean } & WatchOptions,
): Omit<Services, 'peer'> & {
  /** Ends the streams: to be called before the port is drained. */
  readonly stop: () => void
} {
  const etcd = [
    ...kvHandlers(requests),
    ...clusterHandlers(requests, options.tls ? 'https' : 'http'),
    ...maintenanceHandlers(requests),
  ].map(([path, handler]) => [path, whereWanted(requests, handler)] as const)
  const unary = new Map<string, UnaryHandler>([...etcd, ...skeinHandlers(requests)])
  const watch = createWatchService(world, requests, options)
  const streaming = new Map([['/etcdserverpb.Watch/Watch', watch.handler]])
  return { unary, streaming, http: httpAnswers(requests, options.version), stop: () => watch.stop() }
}

/** Metadata `hasleader: true` (etcd's WithRequireLeader): where nobody leads the call is refused before it is looked at. */
function whereWanted(requests: Requests, handler: UnaryHandler): UnaryHandler {
  return (message, call) => {
    if (call.metadata.get('hasleader') === 'true' && requests.status().leader === undefined)
      refuse(call, failure('no-leader', 'this server knows no leader'))
    else handler(message, call)
  }
}
