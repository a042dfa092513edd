/**
 * The network's door: reliable byte streams (DESIGN law 2). Framing, multiplexing, reconnecting and every protocol are
 * above it, so that they run unchanged in the simulator.
 */
import type { Failure, Result } from '../base/index.ts'

/** `host:port`; an IPv6 host in brackets. */
export type Address = string

/** Who the other side proved to be by TLS; absent without TLS or without a client certificate. */
export type TlsIdentity = { readonly commonName: string; readonly subjectAltNames: readonly string[] }

/** PEM texts. With `requestClientCert` the listener asks for and verifies a client certificate against `ca`. */
export type TlsOptions = {
  readonly cert?: string
  readonly key?: string
  readonly ca?: string
  readonly requestClientCert?: boolean
  readonly serverName?: string
}

/**
 * What the owner of a connection hears. Set once, synchronously, when it gets the connection. Each call is (part of) a
 * turn. After `onClose` nothing more comes.
 */
export interface ConnectionHandlers {
  /** Bytes arrived. The array belongs to the receiver until the call returns, and may be kept. */
  onData(bytes: Uint8Array): void
  /** After a `write` that returned false: the send buffer is below its limit again. */
  onDrain(): void
  /** The stream has ended: undefined for an orderly end by the other side or by `close`, else why. Called once. */
  onClose(reason: Failure | undefined): void
}

export interface Connection {
  readonly localAddress: Address
  readonly remoteAddress: Address
  readonly tlsIdentity: TlsIdentity | undefined
  /**
   * Queues bytes, in order; `bytes` must not change afterwards. False: stop until `onDrain` (more is still accepted,
   * the bound is the caller's duty). Writing after the end is ignored.
   */
  write(bytes: Uint8Array): boolean
  /** Bytes queued here and not yet given to the operating system. */
  readonly bufferedBytes: number
  /** Stops and restarts `onData`: back-pressure towards the sender. */
  pause(): void
  resume(): void
  /**
   * Sends what is queued, then ends the stream; `onClose(undefined)` follows once the other side has ended too (which
   * it does by itself) or after some seconds. No data or drain is heard any more.
   */
  close(): void
  /** Ends the stream at once and drops what is queued; `onClose` with `connection-lost` follows, on both sides. */
  reset(): void
}

export interface Listener {
  /** The real address, also where port 0 was asked for. */
  readonly address: Address
  /** Stops accepting; open connections stay. */
  close(done: () => void): void
}

export type ListenOptions = { readonly tls?: TlsOptions }
export type DialOptions = {
  readonly tls?: TlsOptions
  /** Gives up after this long with `unreachable`. */ readonly timeoutMs: number
}

export interface Network {
  /** `accept` returns the handlers of the new connection. Failures: address-in-use, permission-denied, invalid-request. */
  listen(
    address: Address,
    options: ListenOptions,
    accept: (connection: Connection) => ConnectionHandlers,
    done: (result: Result<Listener>) => void,
  ): void
  /** `opened` gets the connection, and returns its handlers; on failure (unreachable) its return value is ignored. */
  dial(
    address: Address,
    options: DialOptions,
    opened: (result: Result<Connection>) => ConnectionHandlers | undefined,
  ): void
}
