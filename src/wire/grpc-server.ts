/** gRPC's server side over one HTTP/2 connection. See grpc-types.ts for the contract. */
import { concatBytes, utf8 } from '../base/index.ts'
import type { PartialBytes } from './grpc-message.ts'
import { encodeGrpcMessage, MessageReader, PREFIX_BYTES, prefixed } from './grpc-message.ts'
import type { RequestKind } from './grpc-request.ts'
import { readRequest } from './grpc-request.ts'
import type { GrpcLimits, GrpcServerConnection, GrpcServerHandlers, GrpcStatus, HttpReply } from './grpc-types.ts'
import { GRPC_STATUS } from './grpc-types.ts'
import { encodeHeaders } from './hpack-encode.ts'
import type { Header, HeaderBlock } from './hpack.ts'
import type { Stream } from './http2-stream.ts'
import { Http2Connection } from './http2.ts'
import { ERROR } from './http2-constants.ts'
import type { RequestHead } from './http2-headers.ts'

const GRPC_HEAD: readonly Header[] = [
  [':status', '200'],
  ['content-type', 'application/grpc'],
]
const ENCODED_HEAD: Uint8Array = encodeHeaders(GRPC_HEAD)
const OK_TRAILERS: Uint8Array = encodeHeaders([['grpc-status', '0']])

class ServerCall {
  readonly id: number
  readonly kind: RequestKind['kind']
  readonly isHead: boolean
  readonly reader: MessageReader
  headSent = false
  /** The answer to plain HTTP, which waits for the end of the request. */
  answer: (() => void) | undefined = undefined
  ignoredBytes = 0
  /** Its answer is complete, or nobody waits for it: whatever still comes is ignored. */
  isOver = false

  constructor(id: number, request: RequestKind, reader: MessageReader) {
    this.id = id
    this.kind = request.kind
    this.isHead = request.kind === 'http' && request.method === 'HEAD'
    this.reader = reader
  }
}

export function createGrpcServer(limits: GrpcLimits, handlers: GrpcServerHandlers): GrpcServerConnection {
  const partial: PartialBytes = {
    held: 0,
    limit: limits.maxPartialBytes ?? 4 * Math.max(limits.connectionWindowBytes, limits.maxMessageBytes),
  }
  const waitingForPong: (() => void)[] = []

  const openCall = (stream: Stream, request: RequestKind): ServerCall => {
    const call = new ServerCall(stream.id, request, new MessageReader(limits.maxMessageBytes, partial))
    stream.state = call
    return call
  }

  const onHead = (stream: Stream, block: HeaderBlock, ends: boolean): void => {
    const request = (block.grpcMemo ??= readRequest(block.headMemo as RequestHead, block.headers)) as RequestKind
    const call = openCall(stream, request)
    if (request.kind === 'refused') {
      finish(stream.id, request.status, request.fields)
      return
    }
    if (request.kind !== 'call') {
      call.answer = () => {
        if (request.kind === 'http') handlers.onHttp({ id: stream.id, method: request.method, path: request.path })
        else respondHttp(stream.id, request.reply)
      }
      if (ends) answerHttp(call)
      else connection.pause(stream)
      return
    }
    handlers.onCall({
      id: stream.id,
      path: request.path,
      metadata: request.metadata,
      timeoutMs: request.timeoutMs,
    })
    if (ends) halfClose(call)
  }

  const answerHttp = (call: ServerCall): void => {
    const { answer } = call
    call.answer = undefined
    answer?.()
  }

  /**
   * The body of a plain request is ignored. Some clients take an answer before its end for a failure, so the answer
   * waits for it, but for no more than half a window.
   */
  const ignoreBody = (call: ServerCall, sizeBytes: number): void => {
    call.ignoredBytes += sizeBytes
    if (call.ignoredBytes >= limits.callWindowBytes / 2) answerHttp(call)
  }

  /** The client has said everything, and everything must be whole. */
  const halfClose = (call: ServerCall): void => {
    if (call.isOver) return
    if (call.kind !== 'call') return answerHttp(call)
    if (call.reader.isWhole) handlers.onHalfClose(call.id)
    else giveUp(call, { code: GRPC_STATUS.internal, message: 'grpc: the body ends in the middle of a message' })
  }

  /** Answers a call whose client broke a rule; the owner hears that it is over. */
  const giveUp = (call: ServerCall, status: GrpcStatus): void => {
    finish(call.id, status)
    handlers.onCancel(call.id)
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
      onHead,
      onTrailers: (stream) => halfClose(stream.state as ServerCall),
      onData(stream, bytes, start, end, ends) {
        const call = stream.state as ServerCall
        if (call.isOver) return
        if (call.kind !== 'call') return ends ? answerHttp(call) : ignoreBody(call, end - start)
        const problem = call.reader.push(bytes, start, end, (message) => {
          handlers.onMessage(call.id, message)
          return !call.isOver
        })
        if (problem !== undefined) giveUp(call, problem)
        else if (ends) halfClose(call)
      },
      onHeadTooLarge(stream) {
        const call = stream.state as ServerCall | undefined
        if (call === undefined) {
          openCall(stream, { kind: 'http', method: '', path: '' })
          respondHttp(stream.id, TOO_LARGE)
        } else if (!call.isOver)
          giveUp(call, { code: GRPC_STATUS.resourceExhausted, message: 'grpc: the trailers are too large' })
      },
      onReset(stream) {
        const call = stream.state as ServerCall | undefined
        if (call !== undefined) cancelled(call)
      },
      onDrained(stream) {
        const call = stream.state as ServerCall
        if (!call.isOver) handlers.onWritable(stream.id)
      },
      onGoaway() {},
      onPong: () => waitingForPong.shift()?.(),
    },
  )
  const { sender, streams } = connection

  const cancelled = (call: ServerCall): void => {
    call.reader.release()
    if (call.isOver) return
    call.isOver = true
    if (call.kind === 'call') handlers.onCancel(call.id)
  }

  const over = (stream: Stream, call: ServerCall): void => {
    call.isOver = true
    call.reader.release()
    connection.abandon(stream)
  }

  const begin = (stream: Stream, call: ServerCall): void => {
    if (call.headSent) return
    call.headSent = true
    sender.headers(stream, ENCODED_HEAD, false)
  }

  /** The call, where it can still be answered. */
  const open = (id: number): { stream: Stream; call: ServerCall } | undefined => {
    const stream = streams.get(id)
    const call = stream?.state as ServerCall | undefined
    return stream === undefined || call === undefined || call.isOver ? undefined : { stream, call }
  }

  const finish = (id: number, status: GrpcStatus, fields: readonly Header[] = []): void => {
    const found = open(id)
    if (found === undefined) return
    const { stream, call } = found
    const trailers: Header[] = [['grpc-status', String(status.code)], ...fields]
    if (status.message !== '') trailers.push(['grpc-message', encodeGrpcMessage(status.message)])
    for (const [name, value] of status.metadata ?? []) trailers.push([name, value])
    if (call.headSent) sender.end(stream, encodeHeaders(trailers))
    else {
      call.headSent = true
      sender.headers(stream, encodeHeaders([...GRPC_HEAD, ...trailers]), true)
    }
    over(stream, call)
  }

  /** Whether the client leaves so much lying that this message is not to be added to it. Ends the call then. */
  const isOverfull = (stream: Stream, sizeBytes: number): boolean => {
    if (sender.queuedBytes === 0 || sender.queuedBytes + sizeBytes <= limits.maxOutputBytes) return false
    sender.discard(stream)
    finish(stream.id, {
      code: GRPC_STATUS.resourceExhausted,
      message: 'grpc: the client does not read what it has been sent',
    })
    return true
  }

  const respondHttp = (id: number, reply: HttpReply): void => {
    const found = open(id)
    if (found === undefined) return
    const { stream, call } = found
    const head: Header[] = [
      [':status', String(reply.status)],
      ['content-type', reply.contentType],
      ['content-length', String(reply.body.length)],
    ]
    if (reply.allow !== undefined) head.push(['allow', reply.allow])
    const hasBody = reply.body.length > 0 && !call.isHead
    sender.headers(stream, encodeHeaders(head), !hasBody)
    if (hasBody) sender.data(stream, reply.body, true)
    over(stream, call)
    if (sender.queuedBytes > limits.maxOutputBytes) connection.cancel(stream, ERROR.enhanceYourCalm)
  }

  return {
    receive: (bytes, nowMs) => connection.receive(bytes, nowMs),
    takeOutput: () => connection.takeOutput(),
    sendMessage(id, message) {
      const found = open(id)
      if (found === undefined) return true
      begin(found.stream, found.call)
      const size = PREFIX_BYTES + message.length
      if (!sender.maySend(found.stream, size))
        return isOverfull(found.stream, size) || sender.data(found.stream, prefixed(message))
      const output = sender.beginData(found.stream, size)
      output.u8(0)
      output.u32(message.length)
      output.raw(message)
      return true
    },
    respond(id, parts) {
      const found = open(id)
      if (found === undefined) return
      const { stream, call } = found
      let length = 0
      for (const part of parts) length += part.length
      begin(stream, call)
      if (sender.maySend(stream, PREFIX_BYTES + length)) {
        const output = sender.beginData(stream, PREFIX_BYTES + length)
        output.u8(0)
        output.u32(length)
        for (const part of parts) output.raw(part)
        sender.headers(stream, OK_TRAILERS, true)
      } else if (isOverfull(stream, PREFIX_BYTES + length)) return
      else {
        sender.data(stream, prefixed(parts.length === 1 ? (parts[0] as Uint8Array) : concatBytes(parts)))
        sender.end(stream, OK_TRAILERS)
      }
      over(stream, call)
    },
    finish: (id, status) => finish(id, status),
    respondHttp,
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
    ping(onAlive) {
      waitingForPong.push(onAlive)
      connection.ping()
    },
    drain: () => connection.drain(),
    get isDrained() {
      return connection.isDrained
    },
    get openCalls() {
      return streams.size
    },
    get failed() {
      return connection.failed
    },
    closed() {
      const open = [...streams.values()]
      streams.clear()
      for (const stream of open) {
        const call = stream.state as ServerCall | undefined
        if (call !== undefined) cancelled(call)
      }
    },
  }
}

const TOO_LARGE: HttpReply = {
  status: 431,
  contentType: 'text/plain',
  body: utf8('the header list is too large\n'),
}
