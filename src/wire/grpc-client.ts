/** gRPC's client side over one HTTP/2 connection. See grpc-types.ts for the contract. */
import type { Failure } from '../base/index.ts'
import { decodeGrpcMessage, formatTimeout, MessageReader, prefixed } from './grpc-message.ts'
import type { GrpcClientConnection, GrpcClientHandlers, GrpcLimits, GrpcStatus } from './grpc-types.ts'
import { GRPC_STATUS } from './grpc-types.ts'
import type { Header } from './hpack.ts'
import type { Stream } from './http2.ts'
import { Http2Connection } from './http2.ts'
import { ERROR } from './http2-constants.ts'

type Call = { readonly reader: MessageReader; httpStatus: string | undefined }

/** gRPC's mapping of HTTP statuses that come without a grpc-status. */
const HTTP_TO_GRPC: Readonly<Record<string, number>> = {
  '400': GRPC_STATUS.internal,
  '401': GRPC_STATUS.unauthenticated,
  '403': GRPC_STATUS.permissionDenied,
  '404': GRPC_STATUS.unimplemented,
  '429': GRPC_STATUS.unavailable,
  '502': GRPC_STATUS.unavailable,
  '503': GRPC_STATUS.unavailable,
  '504': GRPC_STATUS.unavailable,
}

export function createGrpcClient(
  limits: GrpcLimits,
  handlers: GrpcClientHandlers,
  authority = 'localhost',
): GrpcClientConnection {
  let onPong: (() => void) | undefined

  const finish = (stream: Stream, status: GrpcStatus, outcome: 'answered' | 'not-processed' | 'unknown'): void => {
    if (connection.streams.has(stream.id)) connection.cancel(stream, ERROR.cancel)
    handlers.onEnd(stream.id, status, outcome)
  }

  const statusOf = (call: Call, headers: readonly Header[]): GrpcStatus => {
    const metadata = new Map<string, string>()
    let code: number | undefined
    let message = ''
    for (const [name, value] of headers) {
      if (name === 'grpc-status') code = /^\d{1,3}$/.test(value) ? Number(value) : GRPC_STATUS.unknown
      else if (name === 'grpc-message') message = decodeGrpcMessage(value)
      else if (!name.startsWith(':')) metadata.set(name, value)
    }
    if (code !== undefined) return { code, message, metadata }
    const http = call.httpStatus ?? 'none'
    return {
      code: HTTP_TO_GRPC[http] ?? GRPC_STATUS.unknown,
      message: `the server answered with HTTP status ${http} and no grpc-status`,
      metadata,
    }
  }

  const connection = new Http2Connection(
    'client',
    {
      maxConcurrentStreams: 0,
      maxHeaderListBytes: limits.maxHeaderListBytes,
      streamWindowBytes: limits.callWindowBytes,
      connectionWindowBytes: limits.connectionWindowBytes,
      maxOutputBytes: limits.maxOutputBytes,
    },
    {
      onHeaders(stream, headers, ends) {
        const call = stream.state as Call
        const status = headers.find(([name]) => name === ':status')?.[1]
        if (status !== undefined) {
          if (status.startsWith('1')) return
          call.httpStatus = status
        }
        if (ends) finish(stream, statusOf(call, headers), 'answered')
      },
      onData(stream, bytes, ends) {
        const call = stream.state as Call
        if (call.httpStatus === '200' && bytes.length > 0) {
          const problem = call.reader.push(bytes, (message) => handlers.onMessage(stream.id, message))
          if (problem !== undefined) return finish(stream, problem, 'answered')
        }
        if (ends) finish(stream, statusOf(call, []), call.httpStatus === '200' ? 'unknown' : 'answered')
      },
      onReset(stream, code, notProcessed) {
        const status = {
          code: notProcessed
            ? GRPC_STATUS.unavailable
            : code === ERROR.cancel
              ? GRPC_STATUS.cancelled
              : GRPC_STATUS.internal,
          message: `the stream was reset with HTTP/2 error ${code}`,
        }
        handlers.onEnd(stream.id, status, notProcessed ? 'not-processed' : 'unknown')
      },
      onDrained: (stream) => handlers.onWritable(stream.id),
      onGoaway: () => handlers.onClosing(undefined),
      onPong() {
        const pong = onPong
        onPong = undefined
        pong?.()
      },
    },
  )

  return {
    receive(bytes, nowMs) {
      const before = connection.failed
      connection.receive(bytes, nowMs)
      if (before === undefined && connection.failed !== undefined) handlers.onClosing(connection.failed)
    },
    takeOutput: () => connection.takeOutput(),
    open(path, metadata, timeoutMs) {
      const headers: Header[] = [
        [':method', 'POST'],
        [':scheme', 'http'],
        [':path', path],
        [':authority', authority],
        ['te', 'trailers'],
        ['content-type', 'application/grpc'],
      ]
      if (timeoutMs !== undefined) headers.push(['grpc-timeout', formatTimeout(timeoutMs)])
      for (const [name, value] of metadata) headers.push([name, value])
      const stream = connection.open(headers)
      if (stream === undefined) return undefined
      stream.state = { reader: new MessageReader(limits.maxMessageBytes), httpStatus: undefined } satisfies Call
      return stream.id
    },
    sendMessage(id, message) {
      const stream = connection.streams.get(id)
      return stream === undefined || connection.data(stream, prefixed(message))
    },
    halfClose(id) {
      const stream = connection.streams.get(id)
      if (stream !== undefined) connection.end(stream, undefined)
    },
    cancel(id) {
      const stream = connection.streams.get(id)
      if (stream !== undefined) connection.cancel(stream, ERROR.cancel)
    },
    ping(pong) {
      onPong = pong
      connection.ping()
    },
    get openCalls() {
      return connection.streams.size
    },
    get failed(): Failure | undefined {
      return connection.failed
    },
    closed(reason) {
      const open = [...connection.streams.values()]
      connection.streams.clear()
      for (const stream of open) {
        handlers.onEnd(
          stream.id,
          { code: GRPC_STATUS.unavailable, message: reason?.message ?? 'the connection ended' },
          'unknown',
        )
      }
    },
  }
}
