/** gRPC's server side over one HTTP/2 connection. See grpc-types.ts for the contract. */
import type { Failure } from '../base/index.ts'

import { encodeGrpcMessage, MessageReader, parseTimeout, prefixed } from './grpc-message.ts'
import type { GrpcLimits, GrpcServerConnection, GrpcServerHandlers, GrpcStatus } from './grpc-types.ts'
import { GRPC_STATUS } from './grpc-types.ts'
import type { Header } from './hpack.ts'
import { encodeHeaders } from './hpack.ts'
import type { Stream } from './http2.ts'
import { Http2Connection } from './http2.ts'
import { ERROR } from './http2-constants.ts'

const RESPONSE_HEADERS: Uint8Array = encodeHeaders([
  [':status', '200'],
  ['content-type', 'application/grpc'],
])
const OK_TRAILERS: Uint8Array = encodeHeaders([['grpc-status', '0']])

type Call = { readonly reader: MessageReader | undefined; headersSent: boolean; http: boolean }

export function createGrpcServer(limits: GrpcLimits, handlers: GrpcServerHandlers): GrpcServerConnection {
  const onHeaders = (stream: Stream, headers: readonly Header[], ends: boolean): void => {
    if (stream.state !== undefined) {
      // Trailers of a request: gRPC clients send none, and what they say does not matter.
      if (ends) halfClose(stream)
      return
    }
    let method = ''
    let path = ''
    let contentType = ''
    let timeoutMs: number | undefined
    let problem: string | undefined
    let encoding = 'identity'
    let regular = false
    const metadata = new Map<string, string>()
    for (const [name, value] of headers) {
      if (name.startsWith(':')) {
        if (regular) problem = 'a pseudo-header follows a regular one'
        if (name === ':method') method = value
        else if (name === ':path') path = value
        else if (name !== ':scheme' && name !== ':authority') problem = `pseudo-header ${name}`
        continue
      }
      regular = true
      if (name === 'content-type') contentType = value
      else if (name === 'grpc-encoding') encoding = value
      else if (name === 'grpc-timeout') {
        timeoutMs = parseTimeout(value)
        if (timeoutMs === undefined) problem = 'grpc-timeout is malformed'
      } else if (name === 'te' || name === 'user-agent' || name === 'grpc-accept-encoding') continue
      else if (name === 'connection' || name === 'transfer-encoding' || name !== name.toLowerCase())
        problem = `header ${name}`
      else {
        const known = metadata.get(name)
        metadata.set(name, known === undefined ? value : `${known},${value}`)
      }
    }
    if (problem !== undefined || method === '' || path === '') {
      connection.cancel(stream, ERROR.protocol)
      return
    }
    if (!/^application\/grpc(?:$|[+;])/.test(contentType)) {
      stream.state = { reader: undefined, headersSent: false, http: true } satisfies Call
      handlers.onHttp({ id: stream.id, method, path })
      return
    }
    stream.state = { reader: new MessageReader(limits.maxMessageBytes), headersSent: false, http: false } satisfies Call
    if (method !== 'POST' || encoding !== 'identity') {
      finish(stream.id, {
        code: GRPC_STATUS.unimplemented,
        message:
          encoding === 'identity'
            ? `method ${method}`
            : `grpc: Decompressor is not installed for grpc-encoding "${encoding}"`,
      })
      return
    }
    handlers.onCall({ id: stream.id, path, metadata, timeoutMs })
    if (ends) halfClose(stream)
  }

  const halfClose = (stream: Stream): void => {
    const call = stream.state as Call
    if (call.http || !connection.streams.has(stream.id)) return
    if (call.reader?.isWhole === false)
      finish(stream.id, { code: GRPC_STATUS.internal, message: 'the body ends in the middle of a message' })
    else handlers.onHalfClose(stream.id)
  }

  const connection = new Http2Connection(
    'server',
    {
      maxConcurrentStreams: limits.maxConcurrentCalls,
      maxHeaderListBytes: limits.maxHeaderListBytes,
      streamWindowBytes: limits.callWindowBytes,
      connectionWindowBytes: limits.connectionWindowBytes,
      maxOutputBytes: limits.maxOutputBytes,
    },
    {
      onHeaders,
      onData(stream, bytes, ends) {
        const call = stream.state as Call | undefined
        if (call?.reader === undefined) return
        if (bytes.length > 0) {
          const problem = call.reader.push(bytes, (message) => handlers.onMessage(stream.id, message))
          if (problem !== undefined) {
            finish(stream.id, problem)
            handlers.onCancel(stream.id)
            return
          }
        }
        if (ends) halfClose(stream)
      },
      onReset: (stream) => handlers.onCancel(stream.id),
      onDrained: (stream) => handlers.onWritable(stream.id),
      onGoaway() {},
      onPong() {},
    },
  )

  const begin = (stream: Stream): void => {
    const call = stream.state as Call
    if (call.headersSent) return
    call.headersSent = true
    connection.headers(stream, RESPONSE_HEADERS, false)
  }

  const finish = (id: number, status: GrpcStatus): void => {
    const stream = connection.streams.get(id)
    if (stream === undefined) return
    const call = stream.state as Call
    const trailers: Header[] = [['grpc-status', String(status.code)]]
    if (status.message !== '') trailers.push(['grpc-message', encodeGrpcMessage(status.message)])
    for (const [name, value] of status.metadata ?? []) trailers.push([name, value])
    if (call.headersSent) connection.end(stream, encodeHeaders(trailers))
    else {
      call.headersSent = true
      connection.headers(
        stream,
        encodeHeaders([[':status', '200'], ['content-type', 'application/grpc'], ...trailers]),
        true,
      )
    }
    connection.abandon(stream)
  }

  return {
    receive: (bytes, nowMs) => connection.receive(bytes, nowMs),
    takeOutput: () => connection.takeOutput(),
    sendMessage(id, message) {
      const stream = connection.streams.get(id)
      if (stream === undefined) return true
      begin(stream)
      return connection.data(stream, prefixed(message))
    },
    finish,
    respond(id, message) {
      const stream = connection.streams.get(id)
      if (stream === undefined) return
      begin(stream)
      connection.data(stream, prefixed(message))
      connection.end(stream, OK_TRAILERS)
      connection.abandon(stream)
    },
    respondHttp(id, status, contentType, body) {
      const stream = connection.streams.get(id)
      if (stream === undefined) return
      connection.headers(
        stream,
        encodeHeaders([
          [':status', String(status)],
          ['content-type', contentType],
          ['content-length', String(body.length)],
        ]),
        body.length === 0,
      )
      if (body.length > 0) {
        connection.data(stream, body)
        connection.end(stream, undefined)
      }
      connection.abandon(stream)
    },
    drain: () => connection.goaway(),
    get openCalls() {
      return connection.streams.size
    },
    get failed(): Failure | undefined {
      return connection.failed
    },
    closed() {
      const open = [...connection.streams.values()]
      connection.streams.clear()
      for (const stream of open) if ((stream.state as Call | undefined)?.http === false) handlers.onCancel(stream.id)
    },
  }
}
