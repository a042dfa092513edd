/**
 * Connections between members. The server says whom it knows; links dials, accepts, authenticates, keeps two
 * connections per pair (control and bulk), and hands over whole frames.
 */
import type { ClusterId, Failure, MemberId } from '../base/index.ts'
import type { Address, TlsOptions } from '../world/index.ts'

/** Control: Raft messages, forwarded requests. Bulk: snapshots. A bulk frame never delays a control frame. */
export type Lane = 'control' | 'bulk'

export type Peer = {
  readonly id: MemberId
  readonly address: Address
  /** The instance id this server has persisted for the peer; undefined before the first handshake. */
  readonly instance: Uint8Array | undefined
}

export type LinksOptions = {
  readonly cluster: ClusterId
  readonly self: MemberId
  /** Drawn at first start and fsynced: 16 bytes. */
  readonly instance: Uint8Array
  /** Shared secret of the cluster, 32 bytes. */
  readonly clusterKey: Uint8Array
  readonly tls: TlsOptions | undefined
  readonly lowestProtocol: number
  readonly highestProtocol: number
  /** Of one frame. */
  readonly maxFrameBytes: number
  /** Of frames waiting on one lane to one peer; beyond it control frames are dropped (Raft recovers), bulk ones refused. */
  readonly maxQueuedBytes: number
  /** First and longest pause before dialling again. */
  readonly redialMinMs: number
  readonly redialMaxMs: number
  /** A handshake not finished by then ends the connection. */
  readonly handshakeTimeoutMs: number
}

export interface LinksHandlers {
  /** A whole authenticated frame. The bytes may be kept. */
  onFrame(from: MemberId, lane: Lane, frame: Uint8Array): void
  onUp(peer: MemberId, lane: Lane, protocol: number): void
  onDown(peer: MemberId, lane: Lane, reason: Failure | undefined): void
  /** After `send` returned 'full' on this lane: there is room again. */
  onDrain(peer: MemberId, lane: Lane): void
  /**
   * The first handshake with a peer whose instance is not known: persist it, then call `done`; nothing of the peer's is
   * handed over before. A different instance than the known one is refused by links itself (wrong-instance).
   */
  onInstance(peer: MemberId, instance: Uint8Array, done: () => void): void
  /** The other side refused us or was refused, and trying again will not help by itself: wrong cluster, instance, version, key. */
  onRefused(peer: MemberId | undefined, reason: Failure): void
}

export interface Links {
  /** Adds or changes peers; those left out are disconnected. */
  setPeers(peers: readonly Peer[]): void
  /**
   * Queues one frame (its parts are joined, the arrays must not change). 'sent' includes 'queued while the connection is
   * up'; 'full': over the limit, dropped; 'down': no connection, dropped. Frames of one turn leave in one write.
   */
  send(to: MemberId, lane: Lane, parts: readonly Uint8Array[]): 'sent' | 'full' | 'down'
  isUp(peer: MemberId, lane: Lane): boolean
  /** Bytes sent and received per peer and lane, reconnects: for metrics. */
  stats(): readonly {
    readonly peer: MemberId
    readonly lane: Lane
    readonly up: boolean
    readonly sentBytes: number
    readonly receivedBytes: number
    readonly queuedBytes: number
    readonly dials: number
  }[]
  /** Stops reading from the peer's lane, and restarts: back-pressure for snapshots. */
  pause(peer: MemberId, lane: Lane): void
  resume(peer: MemberId, lane: Lane): void
  close(): void
}
