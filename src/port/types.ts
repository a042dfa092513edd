/** What a service offers to the port, and what the port gives to a service for each call. */
import type { Failure } from '../base/index.ts'
import type { Address, Connection, ConnectionHandlers, TlsOptions } from '../world/index.ts'
import type { GrpcLimits, GrpcStatus, Metadata } from '../wire/index.ts'

/** One unary call in progress. Exactly one of `respond` and `fail` is called, once; later calls are ignored. */
export interface Call {
  readonly metadata: Metadata
  /** On the monotonic clock; Infinity where the client set none. Already passed calls never reach a service. */
  readonly deadlineMs: number
  /** True once the client has gone or its deadline has passed: the work may be dropped. */
  readonly cancelled: boolean
  /** The message may consist of parts: they are joined. */
  respond(parts: readonly Uint8Array[]): void
  fail(status: GrpcStatus): void
}

/** Decodes, acts and answers through `call`, now or in a later turn. A throw is an invariant violation. */
export type UnaryHandler = (message: Uint8Array, call: Call) => void

export type HttpAnswer = { readonly status: number; readonly contentType: string; readonly body: Uint8Array }

/** All that the port serves. */
export type Services = {
  /** By path, `/package.Service/Method`. */
  readonly unary: ReadonlyMap<string, UnaryHandler>
  /** Plain HTTP (1.1, or 2 without gRPC); `path` is without the query. Undefined: 404. */
  readonly http: (method: string, path: string) => HttpAnswer | undefined
  /** A connection whose first bytes are a member's: everything that was read of it so far comes along. */
  readonly peer: ((connection: Connection, firstBytes: Uint8Array) => ConnectionHandlers) | undefined
}

export type PortOptions = {
  readonly listen: Address
  readonly tls: TlsOptions | undefined
  readonly grpc: GrpcLimits
  /** Of connections at once, clients and not yet recognised ones; members are recognised before they count. */
  readonly maxConnections: number
  /** A connection that has not shown its protocol by then is ended. */
  readonly recogniseTimeoutMs: number
}

export type PortStats = {
  readonly connections: number
  readonly accepted: number
  readonly refused: number
  readonly openCalls: number
  readonly calls: number
  readonly receivedBytes: number
  readonly sentBytes: number
}

export interface Port {
  readonly address: Address
  stats(): PortStats
  /** Stops accepting, tells clients to go (GOAWAY), and calls `done` when all calls are answered or `graceMs` passed. */
  drain(graceMs: number, done: () => void): void
  /** Ends every connection now. */
  close(done: () => void): void
}

export type PortFailure = Failure
