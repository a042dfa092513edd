/**
 * Plain HTTP/1.1 for probes: GET and HEAD with keep-alive and pipelining, nothing else. A pure state machine. Requests with a
 * body are refused, which also leaves nothing for request smuggling. Source: RFC 9112.
 */
import type { Failure } from '../base/index.ts'
import { concatBytes, EMPTY, failure, utf8 } from '../base/index.ts'

export type Http1Answer = { readonly status: number; readonly contentType: string; readonly body: Uint8Array }

export interface Http1Server {
  receive(bytes: Uint8Array): void
  takeOutput(): Uint8Array | undefined
  /** Set once the connection is to be closed after the output: a bad request, or the client asked for it. */
  readonly finished: boolean
  readonly failed: Failure | undefined
}

const MAX_HEAD_BYTES = 16_384
/** Answered in one call of `receive`; a client that pipelines more waits for its next bytes. */
const MAX_PIPELINED = 100

const REASONS: Readonly<Record<number, string>> = {
  200: 'OK',
  400: 'Bad Request',
  404: 'Not Found',
  405: 'Method Not Allowed',
  413: 'Content Too Large',
  431: 'Request Header Fields Too Large',
  500: 'Internal Server Error',
  503: 'Service Unavailable',
  505: 'HTTP Version Not Supported',
}

/** `answer` is asked for each request, with the path as it came but for its query. */
export function createHttp1Server(answer: (method: string, path: string) => Http1Answer): Http1Server {
  let carry: Uint8Array = EMPTY
  let output: Uint8Array[] = []
  let finished = false
  let failed: Failure | undefined

  const respond = (reply: Http1Answer, head: boolean, close: boolean): void => {
    const lines = [
      `HTTP/1.1 ${reply.status} ${REASONS[reply.status] ?? 'Unknown'}`,
      `content-type: ${reply.contentType}`,
      `content-length: ${reply.body.length}`,
      ...(close ? ['connection: close'] : []),
    ]
    output.push(utf8(`${lines.join('\r\n')}\r\n\r\n`))
    if (!head) output.push(reply.body)
    if (close) finished = true
  }

  const refuse = (status: number, why: string): void => {
    failed = failure('protocol-error', `HTTP/1.1: ${why}`)
    respond({ status, contentType: 'text/plain', body: utf8(`${why}\n`) }, false, true)
  }

  const request = (head: string): void => {
    const [first = '', ...fields] = head.split('\r\n')
    const match = /^([A-Z]{1,16}) (\S{1,8192}) HTTP\/1\.([01])$/.exec(first)
    if (match === null) return refuse(/ HTTP\/[02-9]/.test(first) ? 505 : 400, 'the request line is malformed')
    const headers = new Map<string, string>()
    for (const field of fields) {
      const parts = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*$/.exec(field)
      if (parts === null) return refuse(400, 'a header field is malformed')
      const name = (parts[1] as string).toLowerCase()
      if (headers.has(name) && (name === 'host' || name === 'content-length'))
        return refuse(400, `${name} is given twice`)
      headers.set(name, parts[2] as string)
    }
    const [, method = '', target = '', minor] = match
    if (minor === '1' && !headers.has('host')) return refuse(400, 'the host is missing')
    if (headers.has('transfer-encoding') || (headers.get('content-length') ?? '0') !== '0')
      return refuse(413, 'requests with a body are not served here')
    const connection = (headers.get('connection') ?? '').toLowerCase()
    const close = connection.includes('close') || (minor === '0' && !connection.includes('keep-alive'))
    const path = target.split('?', 1)[0] as string
    respond(answer(method, path), method === 'HEAD', close)
  }

  return {
    receive(bytes) {
      if (finished) return
      let input = carry.length === 0 ? bytes : concatBytes([carry, bytes])
      for (let count = 0; count < MAX_PIPELINED; count++) {
        const end = finished ? -1 : headEnd(input)
        if (end === -1) break
        const head = String.fromCharCode(...input.subarray(0, end))
        input = input.subarray(end + 4)
        request(head)
      }
      if (!finished && input.length > MAX_HEAD_BYTES)
        refuse(431, `the head of a request has more than ${MAX_HEAD_BYTES} bytes`)
      carry = input.slice()
    },
    takeOutput() {
      if (output.length === 0) return undefined
      const taken = concatBytes(output)
      output = []
      return taken
    },
    get finished() {
      return finished
    },
    get failed() {
      return failed
    },
  }
}

/** Where the empty line begins that ends the head; -1 where it has not come, or the head is too long to be looked for. */
function headEnd(bytes: Uint8Array): number {
  const limit = Math.min(bytes.length - 3, MAX_HEAD_BYTES)
  for (let i = 0; i < limit; i++) {
    if (bytes[i] === 13 && bytes[i + 1] === 10 && bytes[i + 2] === 13 && bytes[i + 3] === 10) return i
  }
  return -1
}
