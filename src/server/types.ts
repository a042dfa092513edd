/** How a server is configured and what it tells its host. */
import type { Failure, InvariantViolation, MemberId } from '../base/index.ts'
import type { Address, TlsOptions } from '../world/index.ts'

/** One member of the static bootstrap list: `s1=127.0.0.1:7701`. */
export type BootstrapMember = { readonly name: string; readonly address: Address }

export type ServerOptions = {
  /** Unique in the cluster; one of `cluster`'s names. */
  readonly name: string
  /** Directory of this server's files, made where absent. */
  readonly dataDirectory: string
  /** Where clients and members connect: one port for everything. */
  readonly listen: Address
  /** What others are told to connect to; defaults to the real listening address. */
  readonly advertise?: Address
  /** The same list, in any order, on every server: the cluster's id and the members' ids are derived from it. */
  readonly cluster: readonly BootstrapMember[]
  /** The cluster's shared secret, 32 bytes: members prove to each other that they have it. */
  readonly clusterKey: Uint8Array
  readonly clusterToken?: string
  readonly engine?: 'lmdb' | 'memory'
  /** Default 1000, minimum 50. */
  readonly electionTimeoutMs?: number
  /** Default 100; at most a fifth of the election timeout. */
  readonly heartbeatIntervalMs?: number
  readonly tls?: TlsOptions
  readonly peerTls?: TlsOptions
  /** Allows a public address without TLS. */
  readonly insecure?: boolean
  /** How long a request may take before it is answered `timed-out`, milliseconds. Default 5000 + 2 x election timeout (etcd's). */
  readonly requestTimeoutMs?: number
  /** Bounds that trade memory and disk against catching up by log; the defaults fit a machine of its own. */
  readonly tuning?: Partial<Tuning>
  /** Dial these peers elsewhere than at their advertised address: for proxies in tests. */
  readonly dialOverrides?: Readonly<Record<string, Address>>
}

/** See `LIMITS` for the defaults. */
export type Tuning = {
  /** Log entries kept below the engine's durable index, for followers that are a little behind. */
  readonly keepEntries: number
  /** Size of the log up to which they are kept, and more for followers that catch up, bytes. */
  readonly maxHeldLogBytes: number
  /** Bytes applied and not yet durable in the engine at which a checkpoint starts. */
  readonly checkpointBytes: number
  /** How long the first of them waits for one at most, milliseconds. */
  readonly checkpointDelayMs: number
  /** Bytes at which applying waits for the engine's disk. */
  readonly maxOverlayBytes: number
  /** Length at which a segment of the log is closed, bytes. */
  readonly segmentBytes: number
  /** A snapshot stream that does not go on for this long is given up, milliseconds. */
  readonly snapshotTimeoutMs: number
  /** How often watches that asked for it hear that nothing has happened; etcd's default, 600,000. */
  readonly watchProgressMs: number
}

export type ServerEvent =
  | { readonly type: 'leader'; readonly leader: MemberId | undefined; readonly term: number }
  | { readonly type: 'peer-refused'; readonly reason: Failure }
  | { readonly type: 'failed'; readonly violation: InvariantViolation }

export interface RunningServer {
  readonly memberId: MemberId
  readonly address: Address
  readonly status: () => ServerStatus
  /** Hands leadership over where it leads, answers or refuses what is open, makes everything durable, closes. */
  stop(done: () => void): void
}

export type ServerStatus = {
  readonly name: string
  readonly memberId: MemberId
  readonly leader: MemberId | undefined
  readonly role: string
  readonly term: number
  readonly lastIndex: number
  /** How far this server's log is durable. */
  readonly durableIndex: number
  readonly commitIndex: number
  readonly appliedIndex: number
  readonly revision: number
}
