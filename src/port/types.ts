/** What a service offers to the port, and what the port gives to a service for each call. */
import type { Address, Connection, ConnectionHandlers, TlsOptions } from '../world/index.ts'
import type { GrpcLimits, GrpcStatus, HttpReply, Metadata } from '../wire/index.ts'

/** What every call knows of its client. */
interface CallContext {
  readonly metadata: Metadata
  /** On the monotonic clock; Infinity where the client set none. Already passed calls never reach a service. */
  readonly deadlineMs: number
  /** True once the client has gone or its deadline has passed: the work may be dropped. */
  readonly cancelled: boolean
}

/**
 * One unary call in progress. Exactly one of `respond` and `fail` is called, once; later calls are ignored. A call whose
 * deadline passes is answered by the port, and `respond` then does nothing.
 */
export interface Call extends CallContext {
  /** The message may consist of parts: they are joined. */
  respond(parts: readonly Uint8Array[]): void
  fail(status: GrpcStatus): void
}

/** Decodes, acts and answers through `call`, now or in a later turn. A throw is an invariant violation. */
export type UnaryHandler = (message: Uint8Array, call: Call) => void

/** One call with any number of messages in both directions, such as a watch. After its end everything is ignored. */
export interface StreamCall extends CallContext {
  /** False: the client is behind; send no more until `onWritable`. The array must not change afterwards. */
  send(message: Uint8Array): boolean
  /** Ends the call, after the messages that wait. */
  finish(status: GrpcStatus): void
  /** Back-pressure towards the client: at most one window of messages still comes until `resume`. */
  pause(): void
  resume(): void
}

export interface StreamHandlers {
  /** One message of the client's; may be kept. */
  onMessage(message: Uint8Array): void
  /** The client sends no more; the call goes on until `finish`. */
  onHalfClose(): void
  /** After a `send` that returned false. */
  onWritable(): void
  /** The client has gone, or the deadline has passed. Not called after `finish`. */
  onCancel(): void
}

/** Called when the call begins; must not finish it before it has returned (`onMessage` and `onHalfClose` may). */
export type StreamHandler = (call: StreamCall) => StreamHandlers

export type HttpAnswer = HttpReply

/** All that the port serves. */
export type Services = {
  /** By path, `/package.Service/Method`. */
  readonly unary: ReadonlyMap<string, UnaryHandler>
  readonly streaming?: ReadonlyMap<string, StreamHandler>
  /** Plain HTTP (1.1, or 2 without gRPC); `path` is without the query. Undefined: 404, or 405 for other methods. */
  readonly http: (method: string, path: string) => HttpAnswer | undefined
  /** A connection whose first bytes are a member's: everything that was read of it so far comes along. */
  readonly peer: ((connection: Connection, firstBytes: Uint8Array) => ConnectionHandlers) | undefined
}

export type PortOptions = {
  readonly listen: Address
  readonly tls: TlsOptions | undefined
  readonly grpc: GrpcLimits
  /** Of clients' connections at once, and as many again that are not yet recognised; members' are not counted. */
  readonly maxConnections: number
  /** A connection that has not shown its protocol by then is ended. */
  readonly recogniseTimeoutMs: number
  /** A client that was silent for so long is asked whether it is there. Default 60,000. */
  readonly keepAliveMs?: number
  /** One that does not answer then, or does not read its answers, or is slow with a request, is ended. Default 20,000. */
  readonly patienceMs?: number
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
