/**
 * For the differential test: one little application, served by node:http2 and by our state machine, and asked by clients
 * of both kinds. What any client sees of any server must be the same.
 */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import http2 from 'node:http2'
import net from 'node:net'
import { concatBytes } from '../base/index.ts'
import { encodeHeaders } from './hpack-encode.ts'
import type { Header } from './hpack.ts'
import { ERROR } from './http2-constants.ts'
import type { Http2Limits } from './http2-control.ts'
import type { Stream } from './http2-stream.ts'
import { Http2Connection } from './http2.ts'

/** One request, and what the application is to answer. */
export type Script = {
  readonly method: string
  readonly path: string
  readonly fields: readonly Header[]
  /** Sizes of the pieces of the body; none at all where it is empty. */
  readonly body: readonly number[]
  readonly trailers: readonly Header[]
  readonly answer: {
    readonly status: number
    readonly fields: readonly Header[]
    readonly body: readonly number[]
    readonly trailers: readonly Header[]
    /** Reset instead: before the head, or after head and body. */
    readonly reset: { readonly when: 'at once' | 'after the body'; readonly code: number } | undefined
  }
}

export type Seen = {
  readonly status: string
  readonly fields: readonly string[]
  readonly body: string
  readonly trailers: readonly string[]
  readonly reset: number
}

export const resetBy = (code: number): Seen => ({ status: '', fields: [], body: '', trailers: [], reset: code })

/** How much of an answer is heard before its reset is not said anywhere: only the reset counts. */
const seenOf = (seen: Seen): Seen => (seen.reset === 0 ? seen : resetBy(seen.reset))

/** The node:http2 server limits its peers less than it could: the settings of both sides of both kinds. */
export type Settings = {
  readonly initialWindowSize: number
  readonly maxFrameSize: number
  readonly headerTableSize: number
}

const LIMITS: Http2Limits = {
  maxConcurrentStreams: 100,
  maxHeaderListBytes: 65_536,
  streamWindowBytes: 40_000,
  connectionWindowBytes: 100_000,
  maxOutputBytes: 16 << 20,
}

const piece = (size: number): Uint8Array => Uint8Array.from({ length: size }, (_, i) => (i * 7 + size) & 0xff)

/** Sorted lines; what the transports add by themselves is left out, and a list is one line, as node:http2 joins it. */
function lines(fields: Iterable<readonly [string, unknown]>): string[] {
  const joined = new Map<string, string>()
  for (const [name, value] of fields) {
    if (name.startsWith(':') || name === 'date') continue
    const text = Array.isArray(value) ? value.join(', ') : String(value)
    const known = joined.get(name)
    joined.set(name, known === undefined ? text : `${known}, ${text}`)
  }
  return [...joined].map(([name, value]) => `${name}: ${value}`).sort()
}

const digest = (parts: readonly Uint8Array[]): string => {
  const whole = concatBytes(parts)
  return `${whole.length} ${createHash('sha256').update(whole).digest('hex').slice(0, 16)}`
}

/** What the server saw goes back in a header of its answer. */
function report(
  method: string,
  path: string,
  fields: readonly string[],
  body: readonly Uint8Array[],
  trailers: readonly string[],
): Header {
  const seen = JSON.stringify([method, path, fields, digest(body), trailers])
  return ['x-seen', createHash('sha256').update(seen).digest('hex')]
}

const scriptOf = (scripts: readonly Script[], path: string): Script =>
  scripts[Number(path.slice(1).split('?')[0])] as Script

export type Served = { readonly port: number; close(): void }

async function listening(server: net.Server, close: () => void): Promise<Served> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { port: (server.address() as net.AddressInfo).port, close }
}

const object = (fields: readonly Header[]): Record<string, string> => Object.fromEntries(fields)

export function serveNode(scripts: readonly Script[], settings: Settings): Promise<Served> {
  const server = http2.createServer({ settings })
  const sessions = new Set<http2.ServerHttp2Session>()
  server.on('session', (session) => {
    sessions.add(session)
    session.on('error', () => {})
  })
  server.on('stream', (stream, headers) => {
    const path = headers[':path'] ?? ''
    const { answer } = scriptOf(scripts, path)
    const body: Uint8Array[] = []
    let trailers: string[] = []
    stream.on('error', () => {})
    if (answer.reset?.when === 'at once') {
      stream.close(answer.reset.code)
      return
    }
    stream.on('data', (bytes: Uint8Array) => void body.push(bytes))
    stream.on('trailers', (fields) => {
      trailers = lines(Object.entries(fields))
    })
    stream.on('end', () => {
      const seen = report(headers[':method'] ?? '', path, lines(Object.entries(headers)), body, trailers)
      const hasTrailers = answer.trailers.length > 0
      const isEmpty = answer.body.length === 0 && !hasTrailers && answer.reset === undefined
      stream.respond(
        { ':status': answer.status, ...object([...answer.fields, seen]) },
        { endStream: isEmpty, waitForTrailers: hasTrailers },
      )
      if (isEmpty) return
      stream.on('wantTrailers', () => stream.sendTrailers(object(answer.trailers)))
      for (const size of answer.body) stream.write(piece(size))
      if (answer.reset === undefined) stream.end()
      else stream.write(Uint8Array.of(1), () => stream.close(answer.reset?.code))
    })
  })
  return listening(server, () => {
    server.close()
    for (const session of sessions) session.destroy()
  })
}

/** Puts a state machine onto a socket. */
function drive(socket: net.Socket, connection: Http2Connection): () => void {
  const flush = (): void => {
    for (let out = connection.takeOutput(); out !== undefined; out = connection.takeOutput()) socket.write(out)
    if (connection.failed !== undefined) socket.end()
  }
  socket.on('data', (bytes) => {
    connection.receive(new Uint8Array(bytes), 0)
    flush()
  })
  socket.on('error', () => {})
  flush()
  return flush
}

type Heard = { readonly head: readonly Header[]; readonly body: Uint8Array[]; trailers: readonly string[] }

export function serveOurs(scripts: readonly Script[]): Promise<Served> {
  const sockets = new Set<net.Socket>()
  const server = net.createServer((socket) => {
    sockets.add(socket)
    const respond = (stream: Stream): void => {
      const { head, body, trailers } = stream.state as Heard
      const get = (name: string): string => head.find(([key]) => key === name)?.[1] ?? ''
      const { answer } = scriptOf(scripts, get(':path'))
      const seen = report(get(':method'), get(':path'), lines(head), body, trailers)
      const isEmpty = answer.body.length === 0 && answer.trailers.length === 0 && answer.reset === undefined
      connection.sender.headers(
        stream,
        encodeHeaders([[':status', String(answer.status)], ...answer.fields, seen]),
        isEmpty,
      )
      if (isEmpty) return
      for (const size of answer.body) connection.sender.data(stream, piece(size))
      if (answer.reset !== undefined) {
        const { code } = answer.reset
        stream.state = code
        if (connection.sender.data(stream, Uint8Array.of(1))) connection.cancel(stream, code)
      } else connection.sender.end(stream, answer.trailers.length === 0 ? null : encodeHeaders(answer.trailers))
    }
    const connection = new Http2Connection('server', LIMITS, {
      onHead(stream, block, ends) {
        const { answer } = scriptOf(scripts, block.headers.find(([key]) => key === ':path')?.[1] ?? '')
        stream.state = { head: block.headers, body: [], trailers: [] } satisfies Heard
        if (answer.reset?.when === 'at once') connection.cancel(stream, answer.reset.code)
        else if (ends) respond(stream)
      },
      onData(stream, bytes, start, end, ends) {
        ;(stream.state as Heard).body.push(bytes.slice(start, end))
        if (ends) respond(stream)
      },
      onTrailers(stream, block) {
        ;(stream.state as Heard).trailers = lines(block.headers)
        respond(stream)
      },
      onHeadTooLarge: (stream) => connection.cancel(stream, ERROR.enhanceYourCalm),
      onReset() {},
      onDrained(stream) {
        if (typeof stream.state === 'number') connection.cancel(stream, stream.state)
      },
      onGoaway() {},
      onPong() {},
    })
    drive(socket, connection)
  })
  return listening(server, () => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
}

/** Every request of the scripts at once, on one connection. */
export async function askNode(port: number, scripts: readonly Script[], settings: Settings): Promise<Seen[]> {
  const session = http2.connect(`http://127.0.0.1:${port}`, { settings })
  const failures: Error[] = []
  session.on('error', (error) => void failures.push(error))
  await once(session, 'remoteSettings')
  const all = await Promise.all(
    scripts.map(
      (script) =>
        new Promise<Seen>((resolve) => {
          const hasTrailers = script.trailers.length > 0
          const stream = session.request(
            { ':method': script.method, ':path': script.path, ...object(script.fields) },
            { endStream: script.body.length === 0 && !hasTrailers, waitForTrailers: hasTrailers },
          )
          const body: Uint8Array[] = []
          let [status, fields, trailers]: [string, string[], string[]] = ['', [], []]
          stream.on('wantTrailers', () => stream.sendTrailers(object(script.trailers)))
          stream.on('response', (headers) => {
            status = String(headers[':status'])
            fields = lines(Object.entries(headers))
          })
          stream.on('data', (bytes: Uint8Array) => void body.push(bytes))
          stream.on('trailers', (headers) => {
            trailers = lines(Object.entries(headers))
          })
          stream.on('error', () => {})
          stream.on('close', () =>
            resolve(seenOf({ status, fields, body: digest(body), trailers, reset: stream.rstCode ?? -1 })),
          )
          for (const size of script.body) stream.write(piece(size))
          if (script.body.length > 0 || hasTrailers) stream.end()
        }),
    ),
  )
  session.destroy()
  if (failures[0] !== undefined) throw failures[0]
  return all
}

export async function askOurs(port: number, scripts: readonly Script[]): Promise<Seen[]> {
  type Asked = { status: string; fields: string[]; readonly body: Uint8Array[]; readonly done: (seen: Seen) => void }
  const socket = net.connect(port, '127.0.0.1')
  await once(socket, 'connect')
  const finish = (stream: Stream, trailers: string[], reset: number): void => {
    const { status, fields, body, done } = stream.state as Asked
    done(seenOf({ status, fields, body: digest(body), trailers, reset }))
  }
  const connection = new Http2Connection('client', LIMITS, {
    onHead(stream, block, ends) {
      const asked = stream.state as Asked
      asked.status = block.headers[0]?.[1] ?? ''
      asked.fields = lines(block.headers)
      if (ends) finish(stream, [], 0)
    },
    onData(stream, bytes, start, end, ends) {
      ;(stream.state as Asked).body.push(bytes.slice(start, end))
      if (ends) finish(stream, [], 0)
    },
    onTrailers: (stream, block) => finish(stream, lines(block.headers), 0),
    onHeadTooLarge: (stream) => finish(stream, [], ERROR.enhanceYourCalm),
    onReset: (stream, code) => finish(stream, [], code),
    onDrained() {},
    onGoaway() {},
    onPong() {},
  })
  const flush = drive(socket, connection)
  const all = scripts.map(
    (script) =>
      new Promise<Seen>((done) => {
        const head: Header[] = [
          [':method', script.method],
          [':scheme', 'http'],
          [':path', script.path],
          [':authority', `127.0.0.1:${port}`],
          ...script.fields,
        ]
        const stream = connection.open(encodeHeaders(head))
        if (stream === undefined) throw new Error('more requests than the server takes')
        stream.state = { status: '', fields: [], body: [], done } satisfies Asked
        for (const size of script.body) connection.sender.data(stream, piece(size))
        connection.sender.end(stream, script.trailers.length === 0 ? null : encodeHeaders(script.trailers))
      }),
  )
  flush()
  const seen = await Promise.all(all)
  if (connection.failed !== undefined) throw new Error(connection.failed.message)
  socket.destroy()
  return seen
}
