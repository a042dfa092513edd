/**
 * world: the doors to everything outside a server's own memory. Types only; `world/node/` is their Node.js side and
 * `lab/` their simulated one.
 *
 * Promises: (1) whatever could differ between two runs comes through one of these doors; (2) no callback is ever called
 * before the call that was given it returns; (3) every callback runs in a turn of its own, after which the callbacks of
 * `endOfTurn` run; (4) errors are values.
 * Never: policy. Retries, deadlines and formats are their users'.
 * Source: the deterministic simulation of FoundationDB (Zhou et al., SIGMOD 2021, section 4).
 */
import type { InvariantViolation } from '../base/index.ts'
import type { Clock } from './clock.ts'
import type { Diagnostics } from './diagnostics.ts'
import type { Disk } from './disk.ts'
import type { Network } from './network.ts'
import type { Random } from './random.ts'

export type { Clock, Timer } from './clock.ts'
export type { Diagnostics, LogFields, LogLevel } from './diagnostics.ts'
export type { Disk, DiskFile, Done } from './disk.ts'
export { SECTOR_BYTES } from './disk.ts'
export type {
  Address,
  Connection,
  ConnectionHandlers,
  DialOptions,
  Listener,
  ListenOptions,
  Network,
  TlsIdentity,
  TlsOptions,
} from './network.ts'
export type { Random } from './random.ts'

export interface World {
  readonly clock: Clock
  readonly network: Network
  readonly disk: Disk
  readonly random: Random
  readonly diagnostics: Diagnostics
  /**
   * The batching point: `callback` runs once, after every input that is already waiting has been handled (Node.js: the
   * check phase; simulator: the end of the event). Callbacks run in the order given; one asked for while they run waits
   * for the next turn's end, which then follows at once.
   */
  endOfTurn(callback: () => void): void
  /** CRC-32 (IEEE 802.3, as in zlib), continuing from `seed`. */
  readonly checksum: (bytes: Uint8Array, seed?: number) => number
  /**
   * HMAC-SHA256 (RFC 2104) of the parts as one: what authenticates every write between members, ten times as fast as
   * in plain code. Absent where the platform has none that answers at once: then its users do it in plain code.
   */
  readonly hmacSha256?: (key: Uint8Array, parts: readonly Uint8Array[]) => Uint8Array
  /**
   * A broken invariant, or damage that makes it unsafe to go on: this server must stop now. Does not return normally
   * into more work: the world stops delivering events to it. The CLI exits, an embedding application gets an event,
   * the lab records a finding.
   */
  fail(violation: InvariantViolation): void
}
