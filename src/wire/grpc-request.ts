/**
 * What the head of a request asks for: a gRPC call, plain HTTP, or something that is refused with the status that the
 * protocol names. Source: gRPC's PROTOCOL-HTTP2.md, "Requests"; compression.md for encodings.
 */
import { utf8 } from '../base/index.ts'
import { parseTimeout } from './grpc-message.ts'
import type { GrpcStatus, HttpReply, Metadata } from './grpc-types.ts'
import { GRPC_STATUS } from './grpc-types.ts'
import type { Header } from './hpack.ts'
import type { RequestHead } from './http2-headers.ts'

export type RequestKind =
  | {
      readonly kind: 'call'
      readonly path: string
      readonly metadata: Metadata
      readonly timeoutMs: number | undefined
    }
  | { readonly kind: 'http'; readonly method: string; readonly path: string }
  | { readonly kind: 'refused'; readonly status: GrpcStatus; readonly fields: readonly Header[] }
  | { readonly kind: 'refused-http'; readonly reply: HttpReply }

/** What the protocol itself uses, and a service need not see. */
const TRANSPORT: ReadonlySet<string> = new Set([
  'te',
  'content-type',
  'content-length',
  'user-agent',
  'host',
  'grpc-timeout',
  'grpc-encoding',
  'grpc-accept-encoding',
])

export function readRequest(head: RequestHead, headers: readonly Header[]): RequestKind {
  let contentType = ''
  let encoding = 'identity'
  let timeout: string | undefined
  const metadata = new Map<string, string>()
  for (const [name, value] of headers) {
    if (name.startsWith(':')) continue
    if (!TRANSPORT.has(name)) {
      const known = metadata.get(name)
      metadata.set(name, known === undefined ? value : `${known},${value}`)
    } else if (name === 'content-type') contentType = value
    else if (name === 'grpc-encoding') encoding = value
    else if (name === 'grpc-timeout') timeout = value
  }
  if (!isGrpc(contentType)) return { kind: 'http', method: head.method, path: head.path }
  if (head.method !== 'POST') return { kind: 'refused-http', reply: ONLY_POST }
  if (encoding !== 'identity') return unknownEncoding(encoding)
  const timeoutMs = timeout === undefined ? undefined : parseTimeout(timeout)
  if (timeout !== undefined && timeoutMs === undefined) return malformedTimeout(timeout)
  return { kind: 'call', path: head.path, metadata, timeoutMs }
}

/** `application/grpc`, or that with a subtype or parameters. */
export function isGrpc(contentType: string): boolean {
  return /^application\/grpc(?:$|[+;])/i.test(contentType)
}

const ONLY_POST: HttpReply = {
  status: 405,
  contentType: 'text/plain',
  body: utf8('gRPC calls are POST requests\n'),
  allow: 'POST',
}

function unknownEncoding(encoding: string): RequestKind {
  return {
    kind: 'refused',
    status: {
      code: GRPC_STATUS.unimplemented,
      message: `grpc: Decompressor is not installed for grpc-encoding "${encoding}"`,
    },
    fields: [['grpc-accept-encoding', 'identity']],
  }
}

function malformedTimeout(timeout: string): RequestKind {
  return {
    kind: 'refused',
    status: { code: GRPC_STATUS.internal, message: `grpc: malformed grpc-timeout: ${timeout}` },
    fields: [],
  }
}
