/**
 * Which header lists are well-formed. What is not is a stream error of type PROTOCOL_ERROR.
 * Source: RFC 9113 section 8: 8.2.1 and 8.2.2 fields, 8.3 pseudo-headers, 8.1 trailers, 8.1.1 content-length.
 */
import type { Header } from './hpack.ts'

export type RequestHead = {
  readonly method: string
  /** '' for CONNECT. */
  readonly path: string
  /** What the body must add up to; undefined where it is not said. */
  readonly contentLength: number | undefined
}
export type ResponseHead = { readonly status: number; readonly contentLength: number | undefined }

const NAME = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/
/** Visible ASCII, obs-text, and spaces and tabs inside. */
const VALUE = /^(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?$/
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
const CONNECTION_SPECIFIC: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
])

type Fields = { readonly pseudo: ReadonlyMap<string, string>; readonly contentLength: number | undefined }

/** A sentence where they are malformed. */
function readFields(headers: readonly Header[], pseudoNames: ReadonlySet<string>): Fields | string {
  const pseudo = new Map<string, string>()
  let contentLength: number | undefined
  let isRegular = false
  for (const [name, value] of headers) {
    if (!VALUE.test(value)) return `the value of ${JSON.stringify(name)} has forbidden characters`
    if (name.startsWith(':')) {
      if (isRegular) return `${name} follows a regular header`
      if (!pseudoNames.has(name)) return `${JSON.stringify(name)} has no business here`
      if (pseudo.has(name)) return `${name} is given twice`
      pseudo.set(name, value)
      continue
    }
    isRegular = true
    if (!NAME.test(name)) return `${JSON.stringify(name)} is no header name`
    if (CONNECTION_SPECIFIC.has(name) || (name === 'te' && value !== 'trailers'))
      return `${name} is about one connection, which HTTP/2 forbids`
    if (name !== 'content-length') continue
    if (!/^\d{1,15}$/.test(value)) return 'content-length is no number'
    if (contentLength !== undefined && contentLength !== Number(value)) return 'content-length is given twice'
    contentLength = Number(value)
  }
  return { pseudo, contentLength }
}

const REQUEST_PSEUDO: ReadonlySet<string> = new Set([':method', ':scheme', ':path', ':authority'])
const RESPONSE_PSEUDO: ReadonlySet<string> = new Set([':status'])
const NO_PSEUDO: ReadonlySet<string> = new Set()

export function checkRequest(headers: readonly Header[]): RequestHead | string {
  const fields = readFields(headers, REQUEST_PSEUDO)
  if (typeof fields === 'string') return fields
  const { pseudo, contentLength } = fields
  const method = pseudo.get(':method')
  const scheme = pseudo.get(':scheme')
  const path = pseudo.get(':path')
  if (method === undefined || !TOKEN.test(method)) return ':method is missing or no method'
  if (method === 'CONNECT') {
    if (scheme !== undefined || path !== undefined || !pseudo.has(':authority'))
      return 'CONNECT names an authority and nothing else'
    return { method, path: '', contentLength }
  }
  if (scheme === undefined || scheme === '') return ':scheme is missing'
  if (path === undefined || !(path.startsWith('/') || (path === '*' && method === 'OPTIONS')))
    return ':path is missing or no path'
  return { method, path, contentLength }
}

export function checkResponse(headers: readonly Header[]): ResponseHead | string {
  const fields = readFields(headers, RESPONSE_PSEUDO)
  if (typeof fields === 'string') return fields
  const status = fields.pseudo.get(':status')
  if (status === undefined || !/^[1-9]\d\d$/.test(status)) return ':status is missing or no status'
  // Section 8.6: 101 has no meaning here.
  if (status === '101') return 'the status is 101'
  return { status: Number(status), contentLength: fields.contentLength }
}

/** A sentence where they are malformed. */
export function checkTrailers(headers: readonly Header[]): string | undefined {
  const fields = readFields(headers, NO_PSEUDO)
  return typeof fields === 'string' ? fields : undefined
}
