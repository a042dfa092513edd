/** gRPC's client side over one HTTP/2 connection. See grpc-types.ts for the contract. */
import { concatBytes } from '../base/index.ts'
import type { PartialBytes } from './grpc-message.ts'
import { decodeGrpcMessage, formatTimeout, MessageReader, PREFIX_BYTES, prefixed } from './grpc-message.ts'
import { isGrpc } from './grpc-request.ts'
import type { GrpcClientConnection, GrpcClientHandlers, GrpcLimits, GrpcStatus, Metadata } from './grpc-types.ts'
import { GRPC_STATUS } from './grpc-types.ts'
import { encodeHeaders } from './hpack-encode.ts'
import type { Header } from './hpack.ts'
import type { Stream } from './http2-stream.ts'
import { Http2Connection } from './http2.ts'
import { ERROR } from './http2-constants.ts'
import type { ResponseHead } from './http2-headers.ts'

export type Outcome = 'answered' | 'not-processed' | 'unknown'

class ClientCall {
  readonly id: number
  readonly reader: MessageReader
  isOver = false

  constructor(id: number, reader: MessageReader) {
    this.id = id
    this.reader = reader
  }
}

/** gRPC's mapping of HTTP statuses that come without a grpc-status (http-grpc-status-mapping.md). */
const HTTP_TO_GRPC: Readonly<Record<number, number>> = {
  400: GRPC_STATUS.internal,
  401: GRPC_STATUS.unauthenticated,
  403: GRPC_STATUS.permissionDenied,
  404: GRPC_STATUS.unimplemented,
  429: GRPC_STATUS.unavailable,
  502: GRPC_STATUS.unavailable,
  503: GRPC_STATUS.unavailable,
  504: GRPC_STATUS.unavailable,
}

/** gRPC's mapping of the errors of RST_STREAM (PROTOCOL-HTTP2.md, "Errors"); the rest is internal. */
const RESET_TO_GRPC: Readonly<Record<number, number>> = {
  [ERROR.refusedStream]: GRPC_STATUS.unavailable,
  [ERROR.cancel]: GRPC_STATUS.cancelled,
  [ERROR.enhanceYourCalm]: GRPC_STATUS.resourceExhausted,
  [ERROR.inadequateSecurity]: GRPC_STATUS.permissionDenied,
}

/** Encoded heads that are kept, by path. */
const MAX_CACHED_HEADS = 64

/** `status` and `message` come with a `grpc-status`; without one they are made from the HTTP status. */
function readStatus(headers: readonly Header[], httpStatus: number): GrpcStatus {
  const metadata = new Map<string, string>()
  let code: number | undefined
  let message = ''
  for (const [name, value] of headers) {
    if (name === 'grpc-status') code = /^\d{1,9}$/.test(value) ? Number(value) : GRPC_STATUS.unknown
    else if (name === 'grpc-message') message = decodeGrpcMessage(value)
    else if (!name.startsWith(':')) {
      const known = metadata.get(name)
      metadata.set(name, known === undefined ? value : `${known},${value}`)
    }
  }
  if (code !== undefined) return { code, message, metadata }
  return { ...foreignStatus(httpStatus), metadata }
}

function foreignStatus(httpStatus: number, contentType?: string): GrpcStatus {
  const type = contentType === undefined ? '' : ` and content-type ${JSON.stringify(contentType)}`
  return {
    code: HTTP_TO_GRPC[httpStatus] ?? GRPC_STATUS.unknown,
    message: `the server answered with HTTP status ${httpStatus}${type} and no grpc-status`,
  }
}

function fieldOf(headers: readonly Header[], wanted: string): string | undefined {
  for (const [name, value] of headers) if (name === wanted) return value
  return undefined
}

export function createGrpcClient(
  limits: GrpcLimits,
  handlers: GrpcClientHandlers,
  authority = 'localhost',
  scheme: 'http' | 'https' = 'http',
): GrpcClientConnection {
  const partial: PartialBytes = {
    held: 0,
    limit: limits.maxPartialBytes ?? 4 * Math.max(limits.connectionWindowBytes, limits.maxMessageBytes),
  }
  const waitingForPong: (() => void)[] = []
  const heads = new Map<string, { readonly metadata: Metadata; readonly block: Uint8Array }>()

  const finish = (stream: Stream, status: GrpcStatus, outcome: Outcome): void => {
    const call = stream.state as ClientCall
    if (call.isOver) return
    call.isOver = true
    call.reader.release()
    connection.cancel(stream, ERROR.cancel)
    handlers.onEnd(stream.id, status, outcome)
  }

  const connection = new Http2Connection(
    'client',
    {
      maxConcurrentStreams: limits.maxConcurrentCalls,
      maxHeaderListBytes: limits.maxHeaderListBytes,
      streamWindowBytes: limits.callWindowBytes,
      connectionWindowBytes: limits.connectionWindowBytes,
      maxOutputBytes: limits.maxOutputBytes,
    },
    {
      onHead(stream, block, ends) {
        const { status } = block.headMemo as ResponseHead
        // Trailers-Only: the whole answer is one head.
        if (ends) return finish(stream, readStatus(block.headers, status), 'answered')
        const contentType = fieldOf(block.headers, 'content-type') ?? ''
        if (status !== 200 || !isGrpc(contentType)) finish(stream, foreignStatus(status, contentType), 'answered')
      },
      onTrailers(stream, block) {
        const call = stream.state as ClientCall
        if (call.reader.isWhole) return finish(stream, readStatus(block.headers, 200), 'answered')
        finish(stream, { code: GRPC_STATUS.internal, message: 'the answer ends in the middle of a message' }, 'unknown')
      },
      onData(stream, bytes, start, end, ends) {
        const call = stream.state as ClientCall
        if (call.isOver) return
        const problem = call.reader.push(bytes, start, end, (message) => {
          handlers.onMessage(stream.id, message)
          return !call.isOver
        })
        if (problem !== undefined) return finish(stream, problem, 'unknown')
        if (ends) finish(stream, foreignStatus(200), 'unknown')
      },
      onHeadTooLarge(stream) {
        finish(
          stream,
          { code: GRPC_STATUS.resourceExhausted, message: 'the headers of the answer are too large' },
          'unknown',
        )
      },
      onReset(stream, code, notProcessed) {
        finish(
          stream,
          {
            code: RESET_TO_GRPC[code] ?? GRPC_STATUS.internal,
            message: `the stream was reset with HTTP/2 error ${code}`,
          },
          notProcessed ? 'not-processed' : 'unknown',
        )
      },
      onDrained: (stream) => handlers.onWritable(stream.id),
      onGoaway: () => handlers.onClosing(undefined),
      onPong: () => waitingForPong.shift()?.(),
    },
  )
  const { sender, streams } = connection

  /** Everything but the timeout: equal calls have equal bytes. */
  const headOf = (path: string, metadata: Metadata): Uint8Array => {
    const known = heads.get(path)
    if (known !== undefined && known.metadata === metadata) return known.block
    const headers: Header[] = [
      [':method', 'POST'],
      [':scheme', scheme],
      [':path', path],
      [':authority', authority],
      ['te', 'trailers'],
      ['content-type', 'application/grpc'],
    ]
    for (const [name, value] of metadata) headers.push([name, value])
    const block = encodeHeaders(headers)
    if (heads.size >= MAX_CACHED_HEADS) heads.clear()
    heads.set(path, { metadata, block })
    return block
  }

  return {
    receive(bytes, nowMs) {
      const before = connection.failed
      connection.receive(bytes, nowMs)
      if (before === undefined && connection.failed !== undefined) handlers.onClosing(connection.failed)
    },
    takeOutput: () => connection.takeOutput(),
    open(path, metadata, timeoutMs) {
      const head = headOf(path, metadata)
      const stream = connection.open(
        timeoutMs === undefined
          ? head
          : concatBytes([head, encodeHeaders([['grpc-timeout', formatTimeout(timeoutMs)]])]),
      )
      if (stream === undefined) return undefined
      stream.state = new ClientCall(stream.id, new MessageReader(limits.maxMessageBytes, partial))
      return stream.id
    },
    sendMessage(id, message, isLast = false) {
      const stream = streams.get(id)
      if (stream === undefined) return true
      const size = PREFIX_BYTES + message.length
      if (!sender.maySend(stream, size)) return sender.data(stream, prefixed(message), isLast)
      const output = sender.beginData(stream, size, isLast)
      output.u8(0)
      output.u32(message.length)
      output.raw(message)
      if (isLast) sender.ended(stream)
      return true
    },
    halfClose(id) {
      const stream = streams.get(id)
      if (stream !== undefined) sender.end(stream, null)
    },
    cancel(id) {
      const stream = streams.get(id)
      if (stream === undefined) return
      const call = stream.state as ClientCall
      call.isOver = true
      call.reader.release()
      connection.cancel(stream, ERROR.cancel)
    },
    hold: () => sender.hold(),
    release: () => sender.release(),
    pause(id) {
      const stream = streams.get(id)
      if (stream !== undefined) connection.pause(stream)
    },
    resume(id) {
      const stream = streams.get(id)
      if (stream !== undefined) connection.resume(stream)
    },
    ping(pong) {
      waitingForPong.push(pong)
      connection.ping()
    },
    get openCalls() {
      return streams.size
    },
    get failed() {
      return connection.failed
    },
    closed(reason) {
      const status: GrpcStatus = {
        code: GRPC_STATUS.unavailable,
        message: reason?.message ?? 'the connection ended',
      }
      const open = [...streams.values()]
      streams.clear()
      for (const stream of open) finish(stream, status, 'unknown')
    },
  }
}
