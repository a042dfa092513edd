/**
 * gRPC over HTTP/2 as pure state machines, in both roles. Bytes in, events out by handler calls made synchronously
 * from `receive`; bytes to send gather until `takeOutput`. No clock: `nowMs` (monotonic) comes with the bytes.
 * Sources: RFC 9113, RFC 7541, gRPC's PROTOCOL-HTTP2.md.
 */
import type { Failure } from '../base/index.ts'

/** gRPC's status codes by number. */
export const GRPC_STATUS = {
  ok: 0,
  cancelled: 1,
  unknown: 2,
  invalidArgument: 3,
  deadlineExceeded: 4,
  notFound: 5,
  alreadyExists: 6,
  permissionDenied: 7,
  resourceExhausted: 8,
  failedPrecondition: 9,
  aborted: 10,
  outOfRange: 11,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  dataLoss: 15,
  unauthenticated: 16,
} as const

/** Lower-case names; binary (`-bin`) values stay base64 text. Later duplicates are joined with a comma. */
export type Metadata = ReadonlyMap<string, string>

export type GrpcStatus = { readonly code: number; readonly message: string; readonly metadata?: Metadata }

export type GrpcLimits = {
  /** Of one message, before which the call is refused with resourceExhausted. */
  readonly maxMessageBytes: number
  readonly maxConcurrentCalls: number
  readonly maxHeaderListBytes: number
  /** Receive window of one call and of the connection. */
  readonly callWindowBytes: number
  readonly connectionWindowBytes: number
  /** Output (control frames included) that a peer which never reads may pile up before the connection is ended. */
  readonly maxOutputBytes: number
  /**
   * Of messages that have come in part, over all calls of a connection; the call that goes beyond it is refused with
   * resourceExhausted. Default: four times the larger of `connectionWindowBytes` and `maxMessageBytes`.
   */
  readonly maxPartialBytes?: number
}

export type GrpcCall = {
  /** The HTTP/2 stream. */
  readonly id: number
  /** `/package.Service/Method`. */
  readonly path: string
  readonly metadata: Metadata
  readonly timeoutMs: number | undefined
}

export interface GrpcServerHandlers {
  onCall(call: GrpcCall): void
  /** One whole message; the array may be kept. */
  onMessage(id: number, message: Uint8Array): void
  /** The client sends no more messages on this call. */
  onHalfClose(id: number): void
  /** The client cancelled or broke a rule, or the connection ended; nothing more is heard of this call. */
  onCancel(id: number): void
  /** After a `sendMessage` that returned false: there is room again. */
  onWritable(id: number): void
  /**
   * A request that is not gRPC (no application/grpc content type): answer with `respondHttp`. Its body is ignored; this
   * comes when the request is whole, or so large that its end is not waited for.
   */
  onHttp(request: { readonly id: number; readonly method: string; readonly path: string }): void
}

/** What both sides of a connection do. */
interface GrpcConnection {
  /** Handlers are called from inside. A peer's protocol error is answered with GOAWAY and ends in `failed`. */
  receive(bytes: Uint8Array, nowMs: number): void
  /** What is to be written to the byte stream now; to be called until it returns undefined, or `hold` was. */
  takeOutput(): Uint8Array | undefined
  /** The byte stream is full: messages wait (`sendMessage` returns false) until `release`. */
  hold(): void
  release(): void
  /** Back-pressure on one call: after `pause` at most `callWindowBytes` of messages still come, until `resume`. */
  pause(id: number): void
  resume(id: number): void
  readonly openCalls: number
  /** Set once the connection must be closed, after the remaining output is written. */
  readonly failed: Failure | undefined
}

export type HttpReply = {
  readonly status: number
  readonly contentType: string
  readonly body: Uint8Array
  /** Of a 405: the methods that are served. */
  readonly allow?: string
}

export interface GrpcServerConnection extends GrpcConnection {
  /** False: hold further messages of this call until `onWritable`. The array must not change afterwards. */
  sendMessage(id: number, message: Uint8Array): boolean
  /** Ends the call with trailers; after the messages that wait for room. Unknown ids are ignored. */
  finish(id: number, status: GrpcStatus): void
  /** `sendMessage` and `finish` with status ok, as one: the path of every unary answer. The parts are joined. */
  respond(id: number, parts: readonly Uint8Array[]): void
  /** Answers an `onHttp`. To HEAD the body is not sent. */
  respondHttp(id: number, reply: HttpReply): void
  /** Checks that the peer is there: `onAlive` is called from `receive` when it answers. */
  ping(onAlive: () => void): void
  /** GOAWAY without error: the client finishes what is open and opens no more. */
  drain(): void
  /** After `drain`: everything is answered and nothing more can come. */
  readonly isDrained: boolean
  /** The byte stream ended: every open call gets `onCancel`. */
  closed(): void
}

export interface GrpcClientHandlers {
  onMessage(id: number, message: Uint8Array): void
  /** The call is over, with the server's status, or one made here where the connection or stream broke. */
  onEnd(id: number, status: GrpcStatus, outcome: 'answered' | 'not-processed' | 'unknown'): void
  onWritable(id: number): void
  /** No further calls can be opened here (GOAWAY or an error); open ones may still end. */
  onClosing(reason: Failure | undefined): void
}

export interface GrpcClientConnection extends GrpcConnection {
  /** The new call's id, or undefined where the peer's limit of concurrent calls is reached or it is closing. */
  open(path: string, metadata: Metadata, timeoutMs: number | undefined): number | undefined
  /**
   * False: hold further messages of this call until `onWritable`. The array must not change afterwards. `isLast` ends
   * this side of the call in the same frame.
   */
  sendMessage(id: number, message: Uint8Array, isLast?: boolean): boolean
  /** Ends this side of the call; the server may go on. */
  halfClose(id: number): void
  /** RST_STREAM(CANCEL); no `onEnd` follows. */
  cancel(id: number): void
  /** Sends a PING; `onPong` is called from `receive`. */
  ping(onPong: () => void): void
  /** The byte stream ended: every open call gets `onEnd`. */
  closed(reason: Failure | undefined): void
}
