/** What is answered where no service answers: not found, or not with this method. */
import { utf8 } from '../base/index.ts'
import type { HttpReply } from '../wire/index.ts'
import type { Services } from './types.ts'

const NOT_FOUND: HttpReply = {
  status: 404,
  contentType: 'text/plain',
  body: utf8('not found: this port serves /health, /version and /metrics over HTTP, and etcd v3 over gRPC\n'),
}
const WRONG_METHOD: HttpReply = {
  status: 405,
  contentType: 'text/plain',
  body: utf8('plain HTTP is for GET and HEAD here\n'),
  allow: 'GET, HEAD',
}
/** gRPC's answer to a POST with another content type (PROTOCOL-HTTP2.md, "Requests"). */
const WRONG_TYPE: HttpReply = {
  status: 415,
  contentType: 'text/plain',
  body: utf8('gRPC calls have a content-type that begins with application/grpc\n'),
}

/** `method` and `target` as they came over either version of HTTP. */
export function answerHttp(services: Services, version: 1 | 2, method: string, target: string): HttpReply {
  const path = target.split('?', 1)[0] as string
  const answer = services.http(method, path)
  if (answer !== undefined) return answer
  if (method === 'GET' || method === 'HEAD') return NOT_FOUND
  return version === 2 && method === 'POST' ? WRONG_TYPE : WRONG_METHOD
}
