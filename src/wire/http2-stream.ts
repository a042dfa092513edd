/** One HTTP/2 stream that is not over yet: what each side may still send, and what waits to be sent. */

type Queued = { readonly bytes: Uint8Array; offset: number }

export class Stream {
  readonly id: number
  /** We may send this much more; negative after the peer lowered its initial window. */
  sendWindow: number
  /** Received, and not yet given back to the peer as window. */
  unacknowledgedBytes = 0
  remoteEnded = false
  localEnded = false
  /** The request's or the final response's head has come: what follows is a body and trailers. */
  hasHead = false
  /** What the body must add up to, and does so far. */
  contentLength: number | undefined = undefined
  bodyBytes = 0
  /** The owner takes no more for now: the peer's window is left to run out. */
  isPaused = false
  /** Body that waits, in order. Undefined where nothing does. */
  queue: Queued[] | undefined = undefined
  queuedBytes = 0
  /** The owner was told to wait, and hears when the queue is empty. */
  wantsDrain = false
  /** To be sent after the queue: trailers, or (null) an empty end. */
  after: Uint8Array | null | undefined = undefined
  /** Once this side has ended, the rest of the other is not wanted. */
  isAbandoned = false
  /** The owner's. */
  state: unknown = undefined

  constructor(id: number, sendWindow: number) {
    this.id = id
    this.sendWindow = sendWindow
  }

  /** Whether the owner may still add to the body. */
  get isWritable(): boolean {
    return !this.localEnded && this.after === undefined
  }
}
