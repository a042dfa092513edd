/**
 * The catalogue of operating errors. Every failure that a user can meet has a stable code here, says whether asking
 * again can help, and names one fix. The sentence about this very occurrence (what, where, what was expected) is the
 * `message`; the catalogue's `meaning` is what `skein explain CODE` prints.
 */

export type FailureKind = { readonly retryable: boolean; readonly meaning: string; readonly hint: string }

const kind = (retryable: boolean, meaning: string, hint: string): FailureKind => ({ retryable, meaning, hint })

/**
 * Until members can be replaced, one that has lost data stays away. An older copy of it would deny what it has
 * acknowledged, which is worse than its absence.
 */
const STAYS_AWAY =
  'A member cannot be replaced yet; the others go on while they are a majority. Only a copy of its whole directory that was made since it last stopped brings it back, never an older one.'

/** Every code. Codes are never renamed. */
export type FailureCode =
  | 'not-leader'
  | 'no-leader'
  | 'timed-out'
  | 'outcome-unknown'
  | 'too-many-requests'
  | 'transfer-in-progress'
  | 'stopping'
  | 'invalid-request'
  | 'space-unknown'
  | 'request-too-large'
  | 'session-stale'
  | 'compacted'
  | 'future-revision'
  | 'lease-not-found'
  | 'config-change-refused'
  | 'unreachable'
  | 'connection-lost'
  | 'authentication-failed'
  | 'wrong-cluster'
  | 'wrong-instance'
  | 'version-mismatch'
  | 'address-in-use'
  | 'insecure-address'
  | 'data-in-use'
  | 'data-newer'
  | 'data-mismatch'
  | 'identity-damaged'
  | 'log-damaged'
  | 'engine-damaged'
  | 'disk-full'
  | 'disk-failed'
  | 'not-found'
  | 'already-exists'
  | 'permission-denied'
  | 'protocol-error'
  | 'unimplemented'
  | 'usage'
  | 'internal'

/** For every code: whether it is retryable, what it means and one fix. */
export const FAILURES: Readonly<Record<FailureCode, FailureKind>> = {
  'not-leader': kind(
    true,
    'This server does not lead the range, so it cannot decide the request.',
    'Ask again: servers forward to the leader once they know it.',
  ),
  'no-leader': kind(
    true,
    'No majority of servers can reach each other, so nobody leads.',
    'Bring back enough servers for a majority; `skein status` shows who is missing.',
  ),
  'timed-out': kind(
    false,
    'The deadline passed before the request was agreed; whether it takes effect is unknown.',
    'Read the key before you write again, or use a session so that retries are recognised.',
  ),
  'outcome-unknown': kind(
    false,
    'The connection or the leader was lost after the request was sent; it may or may not have taken effect.',
    'Read the key to find out, or use a session so that a retry is recognised.',
  ),
  'too-many-requests': kind(
    true,
    'The server holds as many unfinished requests as it allows.',
    'Slow down and retry with backoff, or spread the load over more servers.',
  ),
  'transfer-in-progress': kind(
    true,
    'Leadership is being handed to another server.',
    'Retry after a few milliseconds.',
  ),
  stopping: kind(true, 'The server is shutting down.', 'Use another server.'),
  'invalid-request': kind(false, 'The request breaks a rule of the API.', 'Correct the request as the message says.'),
  'space-unknown': kind(
    false,
    'No space of this name exists.',
    'Leave out the metadata `skein-space`, or name an existing space.',
  ),
  'request-too-large': kind(
    false,
    'The request is larger than the limit.',
    'Split the value, or store a reference to it.',
  ),
  'session-stale': kind(
    false,
    'The request carries a sequence number that its session has already left behind.',
    'Use sequence numbers that grow by one per session.',
  ),
  compacted: kind(false, 'The revision asked for has been compacted away.', 'Read at a newer revision.'),
  'future-revision': kind(
    false,
    'The revision asked for does not exist yet.',
    'Read at the current revision, or wait for it.',
  ),
  'lease-not-found': kind(false, 'The lease does not exist.', 'Grant a lease first.'),
  'config-change-refused': kind(
    false,
    'The membership change cannot be made now.',
    'See the message for the rule it would break.',
  ),
  unreachable: kind(
    true,
    'No connection to the server could be made.',
    'Check that it is running and that the address is right.',
  ),
  'connection-lost': kind(true, 'The connection ended.', 'Connect again.'),
  'authentication-failed': kind(
    false,
    'The other side could not prove that it belongs to this cluster.',
    'Give every member the same cluster key file.',
  ),
  'wrong-cluster': kind(false, 'The other side belongs to a different cluster.', 'Check the addresses in --cluster.'),
  'wrong-instance': kind(
    false,
    'A member answered with another instance id than before: it has lost its disk.',
    `Start it on its old directory where that still exists. ${STAYS_AWAY}`,
  ),
  'version-mismatch': kind(false, 'The two sides speak no common protocol version.', 'Upgrade the older one.'),
  'address-in-use': kind(
    false,
    'Another process listens on this address.',
    'Stop it, or choose another port with --port or --listen.',
  ),
  'insecure-address': kind(
    false,
    'A public address without TLS would let anybody in.',
    'Listen on loopback, configure TLS, or pass --insecure if the network is trusted.',
  ),
  'data-in-use': kind(
    false,
    'Another process uses this data directory.',
    'Stop that process, or choose another --data.',
  ),
  'data-newer': kind(
    false,
    'The data directory was written by a newer version.',
    'Run that version, or restore a backup.',
  ),
  'data-mismatch': kind(
    false,
    'The data directory belongs to another server or cluster.',
    'Point --data at the right directory.',
  ),
  'identity-damaged': kind(
    false,
    'The file that says who this server is cannot be relied on.',
    `Restore identity.json from a copy made since this server last started. ${STAYS_AWAY}`,
  ),
  'log-damaged': kind(false, 'The write-ahead log is damaged below the point known to be durable.', STAYS_AWAY),
  'engine-damaged': kind(
    false,
    'The storage engine holds data that fails its checks.',
    `Move the directory engine in its data directory away: the server builds it anew if its log still has everything. Else: ${STAYS_AWAY}`,
  ),
  'disk-full': kind(
    true,
    'The disk is full; writes are refused until there is space.',
    'Free space on the disk of the data directory.',
  ),
  'disk-failed': kind(
    false,
    'The disk reported an error that leaves the state of written data unknown.',
    `Start the server again once the disk works: it checks what it has. Where data is lost: ${STAYS_AWAY}`,
  ),
  'not-found': kind(false, 'The file or directory does not exist.', 'Check the path.'),
  'already-exists': kind(false, 'The file or directory exists already.', 'Choose another path.'),
  'permission-denied': kind(false, 'The operating system refused access.', 'Check owner and mode of the path.'),
  'protocol-error': kind(
    false,
    'The other side sent bytes that break the protocol.',
    'Check that both sides speak the same protocol.',
  ),
  unimplemented: kind(false, 'This call is not part of the server.', 'See the README for the calls that are.'),
  usage: kind(false, 'The command line is not understood.', 'Run `skein help`.'),
  internal: kind(false, 'An invariant was broken; this is a bug in Skein.', 'Please report it with the log.'),
}

/** One operating error as a value. `message` says what, where and what was expected. */
export type Failure = {
  readonly code: FailureCode
  readonly message: string
  /** True where the same request may succeed later without any change. */
  readonly retryable: boolean
  /** One fix, in a sentence. */
  readonly hint: string
  /** Structured fields for programs: file, offset, leader, limit and the like. */
  readonly details?: Readonly<Record<string, string | number | bigint | boolean>>
}

export function failure(code: FailureCode, message: string, details?: Failure['details']): Failure {
  const { retryable, hint } = FAILURES[code]
  return details === undefined ? { code, message, retryable, hint } : { code, message, retryable, hint, details }
}

/** A Failure as an exception, for the places where promises belong to people: the client, the CLI, the library. */
export class SkeinError extends Error {
  override readonly name = 'SkeinError'
  readonly code: FailureCode
  readonly retryable: boolean
  readonly hint: string
  readonly details: NonNullable<Failure['details']>

  constructor(from: Failure, options?: ErrorOptions) {
    super(from.message, options)
    this.code = from.code
    this.retryable = from.retryable
    this.hint = from.hint
    this.details = from.details ?? {}
  }
}
