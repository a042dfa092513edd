/** Calls in progress, unary and streaming: between the protocol's state machine and the service that answers. */
import { EMPTY } from '../base/index.ts'
import type { GrpcCall, GrpcServerConnection, GrpcStatus, Metadata } from '../wire/index.ts'
import { GRPC_STATUS } from '../wire/index.ts'
import type { Call, StreamCall, StreamHandler, StreamHandlers, UnaryHandler } from './types.ts'

/** What a call uses of its session. */
export interface CallHost {
  readonly machine: GrpcServerConnection
  nowMs(): number
  /** There is something to be sent at the end of this turn. */
  mark(): void
  onOver(id: number): void
}

export interface OpenCall {
  readonly deadlineMs: number
  onMessage(message: Uint8Array): void
  onHalfClose(): void
  onWritable(): void
  onCancel(): void
  /** Its deadline has passed. */
  expire(): void
}

const DEADLINE_EXCEEDED: GrpcStatus = {
  code: GRPC_STATUS.deadlineExceeded,
  message: 'the deadline passed before the call was answered',
}

class CallBase {
  readonly metadata: Metadata
  readonly deadlineMs: number
  protected readonly id: number
  protected readonly host: CallHost
  private isOver = false

  constructor(host: CallHost, call: GrpcCall, deadlineMs: number) {
    this.host = host
    this.id = call.id
    this.metadata = call.metadata
    this.deadlineMs = deadlineMs
  }

  get cancelled(): boolean {
    return this.isOver || (this.deadlineMs !== Number.POSITIVE_INFINITY && this.host.nowMs() > this.deadlineMs)
  }

  protected get isOpen(): boolean {
    return !this.isOver
  }

  /** False where the call is over already. */
  protected close(): boolean {
    if (this.isOver) return false
    this.isOver = true
    this.host.onOver(this.id)
    this.host.mark()
    return true
  }
}

export class OpenUnary extends CallBase implements Call, OpenCall {
  private readonly handler: UnaryHandler
  private message: Uint8Array | undefined = undefined

  constructor(host: CallHost, call: GrpcCall, deadlineMs: number, handler: UnaryHandler) {
    super(host, call, deadlineMs)
    this.handler = handler
  }

  respond(parts: readonly Uint8Array[]): void {
    if (this.close()) this.host.machine.respond(this.id, parts)
  }

  fail(status: GrpcStatus): void {
    if (this.close()) this.host.machine.finish(this.id, status)
  }

  onMessage(message: Uint8Array): void {
    if (this.message === undefined) this.message = message
    else this.fail({ code: GRPC_STATUS.internal, message: 'a unary call carries one message, and this one more' })
  }

  onHalfClose(): void {
    const { message } = this
    if (message === undefined) {
      this.fail({ code: GRPC_STATUS.internal, message: 'the call ended without its message' })
      return
    }
    this.message = EMPTY
    this.handler(message, this)
  }

  onWritable(): void {
    // One message, and nobody waits to send another.
  }

  onCancel(): void {
    this.close()
  }

  expire(): void {
    this.fail(DEADLINE_EXCEEDED)
  }
}

const NOBODY: StreamHandlers = { onMessage() {}, onHalfClose() {}, onWritable() {}, onCancel() {} }

export class OpenStream extends CallBase implements StreamCall, OpenCall {
  private handlers: StreamHandlers = NOBODY

  begin(handler: StreamHandler): void {
    this.handlers = handler(this)
  }

  send(message: Uint8Array): boolean {
    if (!this.isOpen) return true
    this.host.mark()
    return this.host.machine.sendMessage(this.id, message)
  }

  finish(status: GrpcStatus): void {
    if (this.close()) this.host.machine.finish(this.id, status)
  }

  pause(): void {
    if (this.isOpen) this.host.machine.pause(this.id)
  }

  resume(): void {
    if (!this.isOpen) return
    this.host.machine.resume(this.id)
    this.host.mark()
  }

  onMessage(message: Uint8Array): void {
    this.handlers.onMessage(message)
  }

  onHalfClose(): void {
    this.handlers.onHalfClose()
  }

  onWritable(): void {
    this.handlers.onWritable()
  }

  onCancel(): void {
    if (this.close()) this.handlers.onCancel()
  }

  expire(): void {
    if (!this.close()) return
    this.host.machine.finish(this.id, DEADLINE_EXCEEDED)
    this.handlers.onCancel()
  }
}
