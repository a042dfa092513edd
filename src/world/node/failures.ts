/** Turns Node.js's system errors into typed failures whose messages say what was tried, on what, and what came back. */
import { failure, type Failure, type FailureCode } from '../../base/index.ts'

/** The symbolic errno of a system error, such as `ENOSPC`, else `UNKNOWN`. */
export function errnoOf(error: unknown): string {
  const code = (error as NodeJS.ErrnoException | null)?.code
  return typeof code === 'string' ? code : 'UNKNOWN'
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function diskCode(errno: string): FailureCode {
  switch (errno) {
    case 'ENOSPC':
    case 'EDQUOT':
      return 'disk-full'
    case 'ENOENT':
    case 'ENOTDIR':
      return 'not-found'
    case 'EEXIST':
      return 'already-exists'
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return 'permission-denied'
    default:
      return 'disk-failed'
  }
}

/** A failed disk operation. */
export function diskFailure(operation: string, path: string, error: unknown): Failure {
  const errno = errnoOf(error)
  return failure(diskCode(errno), `${operation} of ${path} failed: ${messageOf(error)}`, { operation, path, errno })
}

/** A failed sync: whatever the reason, what was written before is in doubt, and asking again proves nothing. */
export function syncFailure(operation: string, path: string, error: unknown): Failure {
  const said = diskFailure(operation, path, error)
  return said.code === 'disk-full' ? failure('disk-failed', said.message, said.details) : said
}

/** Why an address cannot be listened on. */
export function listenFailure(address: string, error: unknown): Failure {
  const errno = errnoOf(error)
  const details = { address, errno }
  switch (errno) {
    case 'EADDRINUSE':
      return failure('address-in-use', `cannot listen on ${address}: another process already does`, details)
    case 'EACCES':
    case 'EPERM':
      return failure('permission-denied', `cannot listen on ${address}: the operating system refuses it`, details)
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return failure('invalid-request', `cannot listen on ${address}: this machine has no such address`, details)
    default:
      return failure('invalid-request', `cannot listen on ${address}: ${messageOf(error)}`, details)
  }
}

/** What became of a TLS handshake, where it is that. */
function tlsProblem(errno: string): string | undefined {
  if (errno === 'ERR_TLS_CERT_ALTNAME_INVALID') return 'its TLS certificate is for other names than this address'
  if (errno === 'EPROTO' || errno.startsWith('ERR_SSL_')) return `the TLS handshake failed (${errno})`
  if (/CERT|ISSUER|SIGNATURE|CRL/.test(errno)) return `its TLS certificate is not trusted (${errno})`
  return undefined
}

/** Why a dial did not lead to a connection. */
export function dialFailure(address: string, error: unknown): Failure {
  const errno = errnoOf(error)
  const why =
    errno === 'ECONNREFUSED'
      ? 'nothing listens there'
      : errno === 'ENOTFOUND' || errno === 'EAI_AGAIN'
        ? 'the name cannot be resolved'
        : (tlsProblem(errno) ?? messageOf(error))
  return failure('unreachable', `cannot connect to ${address}: ${why}`, { address, errno })
}

/** Why an open connection ended otherwise than in order. */
export function connectionFailure(address: string, error: unknown): Failure {
  const errno = errnoOf(error)
  const why = errno === 'ECONNRESET' || errno === 'EPIPE' ? 'the other side reset it' : messageOf(error)
  return failure('connection-lost', `connection with ${address} ended: ${why}`, { address, errno })
}
