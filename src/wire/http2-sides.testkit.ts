/** For tests of HTTP/2: a server that answers, and a client that notes what it hears. */
import { encodeHeaders } from './hpack-encode.ts'
import { ERROR } from './http2-constants.ts'
import type { Http2Limits } from './http2-control.ts'
import { Http2Connection } from './http2.ts'
import { describe } from './http2.testkit.ts'

export const LIMITS: Http2Limits = {
  maxConcurrentStreams: 10,
  maxHeaderListBytes: 8192,
  streamWindowBytes: 65_535,
  connectionWindowBytes: 131_072,
  maxOutputBytes: 1 << 20,
}
const OK: Uint8Array = encodeHeaders([[':status', '200']])

export type Side = { readonly connection: Http2Connection; readonly events: string[]; readonly output: () => string[] }

/** A server that answers every request, once it is whole, with status 200 and `answer`. */
export function server(answer = '', limits: Http2Limits = LIMITS): Side {
  const events: string[] = []
  const respond = (stream: Parameters<Http2Connection['cancel']>[0]): void => {
    connection.sender.headers(stream, OK, answer === '')
    if (answer !== '') connection.sender.data(stream, new TextEncoder().encode(answer), true)
  }
  const connection = new Http2Connection('server', limits, {
    onHead(stream, block, ends) {
      events.push(`head ${stream.id}${ends ? ' end' : ''} ${block.headers.length}`)
      if (ends) respond(stream)
    },
    onTrailers(stream, block) {
      events.push(`trailers ${stream.id} ${block.headers.length}`)
      respond(stream)
    },
    onData(stream, _bytes, start, end, ends) {
      events.push(`data ${stream.id} ${end - start}${ends ? ' end' : ''}`)
      if (ends) respond(stream)
    },
    onHeadTooLarge(stream) {
      events.push(`too large ${stream.id}`)
      connection.cancel(stream, ERROR.enhanceYourCalm)
    },
    onReset: (stream, code) => void events.push(`reset ${stream.id} ${code}`),
    onDrained: (stream) => void events.push(`drained ${stream.id}`),
    onGoaway: () => void events.push('goaway'),
    onPong: () => void events.push('pong'),
  })
  return { connection, events, output: () => describe(connection.takeOutput()) }
}

export function client(): Side {
  const events: string[] = []
  const connection = new Http2Connection('client', LIMITS, {
    onHead: (stream, block, ends) =>
      void events.push(`head ${stream.id}${ends ? ' end' : ''} ${block.headers[0]?.[1] ?? ''}`),
    onTrailers: (stream) => void events.push(`trailers ${stream.id}`),
    onData: (stream, _bytes, start, end, ends) =>
      void events.push(`data ${stream.id} ${end - start}${ends ? ' end' : ''}`),
    onHeadTooLarge: (stream) => void events.push(`too large ${stream.id}`),
    onReset: (stream, code, notProcessed) =>
      void events.push(`reset ${stream.id} ${code}${notProcessed ? ' not processed' : ''}`),
    onDrained: (stream) => void events.push(`drained ${stream.id}`),
    onGoaway: () => void events.push('goaway'),
    onPong: () => void events.push('pong'),
  })
  return { connection, events, output: () => describe(connection.takeOutput()) }
}
