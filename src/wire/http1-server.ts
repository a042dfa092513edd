/**
 * Plain HTTP/1.1 for probes and scrapers: GET and HEAD with keep-alive and pipelining, nothing else. A pure state
 * machine. A request with a body is refused and ends the connection, which leaves nothing for request smuggling.
 * Source: RFC 9112.
 */
import type { Failure } from '../base/index.ts'
import { concatBytes, EMPTY, failure, utf8 } from '../base/index.ts'
import type { HttpReply } from './grpc-types.ts'

export interface Http1Server {
  receive(bytes: Uint8Array): void
  takeOutput(): Uint8Array | undefined
  /** A request has begun and is not whole. */
  readonly isMidRequest: boolean
  /** Set once the connection is to be closed after the output: a bad request, or the client asked for it. */
  readonly finished: boolean
  readonly failed: Failure | undefined
}

const MAX_HEAD_BYTES = 16_384
/** Of answers that wait to be taken: a client that pipelines more than it reads loses the connection. */
const MAX_OUTPUT_BYTES = 4 * 1024 * 1024

const REASONS: Readonly<Record<number, string>> = {
  200: 'OK',
  400: 'Bad Request',
  404: 'Not Found',
  405: 'Method Not Allowed',
  413: 'Content Too Large',
  414: 'URI Too Long',
  417: 'Expectation Failed',
  426: 'Upgrade Required',
  431: 'Request Header Fields Too Large',
  500: 'Internal Server Error',
  503: 'Service Unavailable',
  505: 'HTTP Version Not Supported',
}

const CR = 13
const LF = 10
const MAX_TARGET_CHARS = 8192

/** `answer` is asked for each request, with the path as it came but for its query. */
export function createHttp1Server(answer: (method: string, path: string) => HttpReply): Http1Server {
  /** The head that has begun: its bytes in `head[0, used)`, searched for its end up to `searched`. */
  let head: Uint8Array = EMPTY
  let used = 0
  let searched = 0
  let output: Uint8Array[] = []
  let outputBytes = 0
  let finished = false
  let failed: Failure | undefined

  const push = (bytes: Uint8Array): void => {
    output.push(bytes)
    outputBytes += bytes.length
  }

  const respond = (reply: HttpReply, isHead: boolean, close: boolean): void => {
    const lines = [
      `HTTP/1.1 ${reply.status} ${REASONS[reply.status] ?? 'Other'}`,
      `content-type: ${reply.contentType}`,
      `content-length: ${reply.body.length}`,
    ]
    if (reply.allow !== undefined) lines.push(`allow: ${reply.allow}`)
    if (close) lines.push('connection: close')
    push(utf8(`${lines.join('\r\n')}\r\n\r\n`))
    if (!isHead) push(reply.body)
    if (close) finished = true
  }

  const refuse = (status: number, why: string): void => {
    failed = failure('protocol-error', `HTTP/1.1: ${why}`)
    respond({ status, contentType: 'text/plain', body: utf8(`${why}\n`) }, false, true)
  }

  const request = (text: string): void => {
    const problem = readHead(text)
    if (problem.status !== undefined) return refuse(problem.status, problem.why)
    const { method, target, close } = problem
    const reply = answer(method, target.split('?', 1)[0] as string)
    respond(reply, method === 'HEAD', close)
    if (outputBytes <= MAX_OUTPUT_BYTES || finished) return
    failed = failure('protocol-error', 'HTTP/1.1: the client sends requests and does not read the answers')
    finished = true
  }

  /** Takes bytes up to the end of a head, which is then handled. Returns where the next begins. */
  const take = (bytes: Uint8Array, at: number): number => {
    if (finished) return bytes.length
    if (used === 0) {
      const limit = Math.min(bytes.length, at + MAX_HEAD_BYTES + 1)
      const start = skipEmptyLines(bytes, at, limit)
      const end = headEnd(bytes, start, limit)
      if (end !== -1) {
        request(latin1(bytes, start, end))
        return end + 4
      }
    }
    const count = Math.min(bytes.length - at, MAX_HEAD_BYTES + 1 - used)
    if (used + count > head.length) {
      const grown = new Uint8Array(Math.min(MAX_HEAD_BYTES + 1, Math.max(used + count, 2 * head.length)))
      grown.set(head.subarray(0, used))
      head = grown
    }
    head.set(bytes.subarray(at, at + count), used)
    const before = used
    used += count
    const start = skipEmptyLines(head, 0, used)
    const end = headEnd(head, Math.max(start, searched), used)
    if (end === -1) {
      searched = Math.max(0, used - 3)
      if (used > MAX_HEAD_BYTES) refuse(431, `the head of a request has more than ${MAX_HEAD_BYTES} bytes`)
      return at + count
    }
    const text = latin1(head, start, end)
    used = 0
    searched = 0
    request(text)
    return at + (end + 4 - before)
  }

  return {
    receive(bytes) {
      let at = 0
      while (at < bytes.length) at = take(bytes, at)
      if (finished || used === 0) {
        head = EMPTY
        used = 0
      }
    },
    takeOutput() {
      if (output.length === 0) return undefined
      const taken = concatBytes(output)
      output = []
      outputBytes = 0
      return taken
    },
    get isMidRequest() {
      return used > 0
    },
    get finished() {
      return finished
    },
    get failed() {
      return failed
    },
  }
}

type Head =
  | { readonly status: undefined; readonly method: string; readonly target: string; readonly close: boolean }
  | { readonly status: number; readonly why: string }

function refused(status: number, why: string): Head {
  return { status, why }
}

function readHead(text: string): Head {
  const [first = '', ...lines] = text.split('\r\n')
  const match = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([\x21-\x7e]+) HTTP\/(\d)\.(\d)$/.exec(first)
  if (match === null) return refused(400, 'the request line is malformed')
  const [, method = '', target = '', major, minor] = match
  if (major !== '1') return refused(505, 'HTTP/1.1 and HTTP/2 are spoken here')
  if (target.length > MAX_TARGET_CHARS) return refused(414, 'the request target is too long')
  const fields = new Map<string, string>()
  for (const line of lines) {
    // No space before the colon, no folded lines, no bare CR or LF: each has been used to smuggle.
    const parts = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*$/.exec(line)
    if (parts === null) return refused(400, 'a header field is malformed')
    const name = (parts[1] as string).toLowerCase()
    const known = fields.get(name)
    if (known !== undefined && (name === 'host' || name === 'content-length'))
      return refused(400, `${name} is given twice`)
    fields.set(name, known === undefined ? (parts[2] as string) : `${known}, ${parts[2] as string}`)
  }
  if (minor !== '0' && !fields.has('host')) return refused(400, 'the host is missing')
  if (!/^(?:\/|https?:\/\/)/i.test(target) && target !== '*') return refused(400, 'the request target is malformed')
  if (fields.has('transfer-encoding') || !/^0*$/.test(fields.get('content-length') ?? '0'))
    return refused(413, 'requests with a body are not served here')
  if (fields.has('expect')) return refused(417, 'no expectations are met here')
  const options = (fields.get('connection') ?? '').toLowerCase().split(/[ \t]*,[ \t]*/)
  const close = options.includes('close') || (minor === '0' && !options.includes('keep-alive'))
  return { status: undefined, method, target: withoutAuthority(target), close }
}

/** A proxy's absolute form means the same (RFC 9112 section 3.2.2). */
function withoutAuthority(target: string): string {
  const path = /^https?:\/\/[^/?#]*(.*)$/i.exec(target)?.[1]
  if (path === undefined) return target
  return path.startsWith('/') ? path : `/${path}`
}

function latin1(bytes: Uint8Array, start: number, end: number): string {
  let text = ''
  for (let i = start; i < end; i++) text += String.fromCharCode(bytes[i] as number)
  return text
}

/** Empty lines before a request are ignored (RFC 9112 section 2.2). */
function skipEmptyLines(bytes: Uint8Array, from: number, to: number): number {
  let at = from
  while (at + 1 < to && bytes[at] === CR && bytes[at + 1] === LF) at += 2
  return at
}

/** Where the empty line begins that ends the head, or -1. */
function headEnd(bytes: Uint8Array, from: number, to: number): number {
  for (let i = from; i + 3 < to; i++) {
    if (bytes[i] === CR && bytes[i + 1] === LF && bytes[i + 2] === CR && bytes[i + 3] === LF) return i
  }
  return -1
}
