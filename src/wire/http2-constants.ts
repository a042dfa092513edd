/** Numbers of RFC 9113: frame types (6), flags, settings (6.5.2), error codes (7), and the errors that end a connection. */
export const FRAME = {
  data: 0,
  headers: 1,
  priority: 2,
  rstStream: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const

export const FLAG = { endStream: 1, ack: 1, endHeaders: 4, padded: 8, priority: 32 } as const

export const SETTING = {
  headerTableSize: 1,
  enablePush: 2,
  maxConcurrentStreams: 3,
  initialWindowSize: 4,
  maxFrameSize: 5,
  maxHeaderListSize: 6,
} as const

export const ERROR = {
  none: 0,
  protocol: 1,
  internal: 2,
  flowControl: 3,
  settingsTimeout: 4,
  streamClosed: 5,
  frameSize: 6,
  refusedStream: 7,
  cancel: 8,
  compression: 9,
  connect: 10,
  enhanceYourCalm: 11,
  inadequateSecurity: 12,
  http11Required: 13,
} as const

export const FRAME_HEADER_BYTES = 9
/** The largest payload that this side takes: SETTINGS_MAX_FRAME_SIZE's initial value, which it never raises. */
export const MAX_FRAME_BYTES = 16_384
export const DEFAULT_WINDOW_BYTES = 65_535
/** The largest window, stream id and increment. */
export const MAX_31_BIT = 0x7fff_ffff

/** The client's connection preface, section 3.4. */
export const PREFACE: Uint8Array = new TextEncoder().encode('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')

/** The peer broke a rule that ends the connection (section 5.4.1). Thrown and caught inside of `Http2Connection`. */
export class ConnectionError extends Error {
  readonly code: number
  constructor(code: number, message: string) {
    super(message)
    this.code = code
  }
}
