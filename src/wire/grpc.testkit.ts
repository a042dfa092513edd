/** For tests of gRPC: a client and a server, state machine to state machine, and what each of them hears. */
import { createGrpcClient } from './grpc-client.ts'
import { createGrpcServer } from './grpc-server.ts'
import type { GrpcClientConnection, GrpcLimits, GrpcServerConnection, GrpcServerHandlers } from './grpc-types.ts'

export const LIMITS: GrpcLimits = {
  maxMessageBytes: 1 << 20,
  maxConcurrentCalls: 100,
  maxHeaderListBytes: 16_384,
  callWindowBytes: 65_536,
  connectionWindowBytes: 1 << 20,
  maxOutputBytes: 8 << 20,
}

export type Pair = {
  readonly client: GrpcClientConnection
  readonly server: GrpcServerConnection
  /** What the client heard: `message ID LENGTH`, `end ID CODE MESSAGE OUTCOME`, `writable ID`, `closing REASON`. */
  readonly heard: string[]
  /** The last status of each call, with its metadata. */
  readonly trailers: Map<number, ReadonlyMap<string, string>>
  /** What the server heard: `call ID PATH TIMEOUT`, `message ID LENGTH`, `half ID`, `cancel ID`, `writable ID`. */
  readonly served: string[]
  readonly metadata: Map<number, ReadonlyMap<string, string>>
  /** Carries bytes both ways until neither has more. */
  exchange(): void
}

/** `react` runs after each event that the server notes. */
export function pair(
  react: Partial<GrpcServerHandlers> = {},
  limits: { readonly client?: Partial<GrpcLimits>; readonly server?: Partial<GrpcLimits> } = {},
): Pair {
  const heard: string[] = []
  const served: string[] = []
  const trailers = new Map<number, ReadonlyMap<string, string>>()
  const metadata = new Map<number, ReadonlyMap<string, string>>()
  const client = createGrpcClient(
    { ...LIMITS, ...limits.client },
    {
      onMessage: (id, message) => void heard.push(`message ${id} ${message.length}`),
      onEnd(id, status, outcome) {
        heard.push(`end ${id} ${status.code} ${status.message} ${outcome}`)
        trailers.set(id, status.metadata ?? new Map())
      },
      onWritable: (id) => void heard.push(`writable ${id}`),
      onClosing: (reason) => void heard.push(`closing ${reason?.message ?? 'in order'}`),
    },
  )
  const server = createGrpcServer(
    { ...LIMITS, ...limits.server },
    {
      onCall(call) {
        served.push(`call ${call.id} ${call.path} ${call.timeoutMs}`)
        metadata.set(call.id, call.metadata)
        react.onCall?.(call)
      },
      onMessage(id, message) {
        served.push(`message ${id} ${message.length}`)
        react.onMessage?.(id, message)
      },
      onHalfClose(id) {
        served.push(`half ${id}`)
        react.onHalfClose?.(id)
      },
      onCancel(id) {
        served.push(`cancel ${id}`)
        react.onCancel?.(id)
      },
      onWritable(id) {
        served.push(`writable ${id}`)
        react.onWritable?.(id)
      },
      onHttp(request) {
        served.push(`http ${request.id} ${request.method} ${request.path}`)
        react.onHttp?.(request)
      },
    },
  )
  return {
    client,
    server,
    heard,
    trailers,
    served,
    metadata,
    exchange() {
      for (let moved = true; moved;) {
        const there = client.takeOutput()
        if (there !== undefined) server.receive(there, 0)
        const back = server.takeOutput()
        if (back !== undefined) client.receive(back, 0)
        moved = there !== undefined || back !== undefined
      }
    },
  }
}
