/** For tests of the port: a service that echoes, waits, streams and answers probes, in any world. */
import { utf8 } from '../base/index.ts'
import type { GrpcLimits } from '../wire/index.ts'
import { GRPC_STATUS } from '../wire/index.ts'
import type { World } from '../world/index.ts'
import type { Call, Port, PortOptions, Services, StreamCall, StreamHandlers } from './index.ts'
import { openPort } from './index.ts'

export const LIMITS: GrpcLimits = {
  maxMessageBytes: 8 << 20,
  maxConcurrentCalls: 100,
  maxHeaderListBytes: 65_536,
  callWindowBytes: 65_536,
  connectionWindowBytes: 1 << 20,
  maxOutputBytes: 32 << 20,
}

export const OPTIONS: PortOptions = {
  listen: '127.0.0.1:0',
  tls: undefined,
  grpc: LIMITS,
  maxConnections: 20,
  recogniseTimeoutMs: 2000,
}

export const HEALTH = '{"health":"true"}'

export type Kit = {
  readonly services: Services
  /** Calls of `/test.Test/Wait`, which are never answered. */
  readonly waiting: Call[]
  /** What happened on streams: `message LENGTH`, `half`, `cancel`, `writable`. */
  readonly streamEvents: string[]
  readonly streams: StreamCall[]
  /** First bytes of members' connections. */
  readonly peers: Uint8Array[]
}

/**
 * Unary: Echo, Wait, Fail. Streaming: Chat echoes each message and ends when the client does; Count, asked for N in
 * four bytes, sends N messages of 1000 bytes with back-pressure; Sink pauses at once.
 */
export function makeKit(): Kit {
  const waiting: Call[] = []
  const streamEvents: string[] = []
  const streams: StreamCall[] = []
  const peers: Uint8Array[] = []
  const chat = (call: StreamCall): StreamHandlers => {
    streams.push(call)
    return {
      onMessage(message) {
        streamEvents.push(`message ${message.length}`)
        call.send(message)
      },
      onHalfClose() {
        streamEvents.push('half')
        call.finish({ code: GRPC_STATUS.ok, message: '' })
      },
      onWritable: () => void streamEvents.push('writable'),
      onCancel: () => void streamEvents.push('cancel'),
    }
  }
  const count = (call: StreamCall): StreamHandlers => {
    let left = 0
    const more = (): void => {
      while (left > 0) {
        left--
        if (!call.send(new Uint8Array(1000).fill(left & 0xff))) return
      }
      call.finish({ code: GRPC_STATUS.ok, message: '' })
    }
    return {
      onMessage(message: Uint8Array): void {
        left = new DataView(message.buffer, message.byteOffset).getUint32(0)
        more()
      },
      onHalfClose(): void {},
      onWritable(): void {
        if (left > 0) streamEvents.push('writable')
        more()
      },
      onCancel: (): void => void streamEvents.push('cancel'),
    }
  }
  return {
    waiting,
    streamEvents,
    streams,
    peers,
    services: {
      unary: new Map([
        ['/test.Test/Echo', (message: Uint8Array, call: Call): void => call.respond([message])],
        // Enough for etcdctl: messages without fields.
        ['/etcdserverpb.KV/Put', (_message: Uint8Array, call: Call): void => call.respond([])],
        ['/etcdserverpb.KV/Range', (_message: Uint8Array, call: Call): void => call.respond([])],
        ['/test.Test/Wait', (_message: Uint8Array, call: Call): void => void waiting.push(call)],
        [
          '/test.Test/Fail',
          (_message: Uint8Array, call: Call): void =>
            call.fail({
              code: GRPC_STATUS.failedPrecondition,
              message: `100% ünmöglich: ${call.metadata.get('why') ?? ''}`,
              metadata: new Map([['skein-code', 'not-leader']]),
            }),
        ],
      ]),
      streaming: new Map([
        ['/test.Test/Chat', chat],
        ['/test.Test/Count', count],
        [
          '/test.Test/Sink',
          (call: StreamCall): StreamHandlers => {
            call.pause()
            return chat(call)
          },
        ],
      ]),
      http: (method, path) =>
        path === '/health' && (method === 'GET' || method === 'HEAD')
          ? { status: 200, contentType: 'application/json', body: utf8(HEALTH) }
          : undefined,
      peer(_connection, firstBytes) {
        peers.push(firstBytes)
        return { onData: (more) => void peers.push(more), onDrain() {}, onClose() {} }
      },
    },
  }
}

/** A member's connection begins with `SKEIN!`. */
export function recogniseMember(bytes: Uint8Array): 'yes' | 'no' | 'need-more' {
  const magic = utf8('SKEIN!')
  for (let i = 0; i < Math.min(bytes.length, magic.length); i++) if (bytes[i] !== magic[i]) return 'no'
  return bytes.length < magic.length ? 'need-more' : 'yes'
}

export function listen(world: World, kit: Kit, options: Partial<PortOptions> = {}): Promise<Port> {
  return new Promise((resolve, reject) => {
    openPort(world, { ...OPTIONS, ...options }, kit.services, recogniseMember, (result) => {
      if (result.ok) resolve(result.value)
      else reject(new Error(result.error.message))
    })
  })
}
