/**
 * Which forwarded proposals have been applied: replicated state, so that a proposal that reached the log twice takes
 * effect once. Per server: its newest incarnation, and from `completedBelow` on a bitmap of applied sequences. The
 * originator says in each command below which sequence it has all answers, which bounds the bitmap.
 * Source: Raft dissertation, section 6.3 (implementing linearizable semantics), per server instead of per client.
 */
import { invariant } from '../base/index.ts'

/** Sequences that one server may have in flight: bounds the bitmap to 8 KiB. */
export const WINDOW_SIZE = 65_536

type ServerWindow = {
  incarnation: bigint
  completedBelow: number
  /** One past the highest applied sequence. */
  end: number
  /** Bit `sequence % WINDOW_SIZE` for sequences in [completedBelow, end). */
  bits: Uint8Array
}

export type Origin = {
  readonly server: bigint
  readonly incarnation: bigint
  readonly sequence: number
  readonly completedBelow: number
}

export interface Windows {
  /** Records the command; false where it was applied before, or belongs to an earlier run of its server: skip it. */
  admit(origin: Origin): boolean
  /** Whether a proposal of the present incarnation of `server` has been applied. */
  applied(server: bigint, incarnation: bigint, sequence: number): boolean
  /** Servers whose window changed since the last call, with its encoded form: goes into the same batch as the effects. */
  takeChanged(): { readonly server: bigint; readonly bytes: Uint8Array }[]
  load(server: bigint, bytes: Uint8Array): void
}

const HEADER_BYTES = 24

export function createWindows(): Windows {
  const windows = new Map<bigint, ServerWindow>()
  const changed = new Set<bigint>()

  const has = (window: ServerWindow, sequence: number): boolean => {
    if (sequence < window.completedBelow) return true
    if (sequence >= window.end) return false
    const bit = sequence % WINDOW_SIZE
    return ((window.bits[bit >> 3] as number) & (1 << (bit & 7))) !== 0
  }

  const raise = (window: ServerWindow, completedBelow: number): void => {
    if (completedBelow <= window.completedBelow) return
    const until = Math.min(completedBelow, window.end)
    for (let sequence = window.completedBelow; sequence < until; sequence++) {
      const bit = sequence % WINDOW_SIZE
      window.bits[bit >> 3] = (window.bits[bit >> 3] as number) & ~(1 << (bit & 7))
    }
    window.completedBelow = completedBelow
    if (window.end < completedBelow) window.end = completedBelow
  }

  const fresh = (incarnation: bigint): ServerWindow => ({
    incarnation,
    completedBelow: 0,
    end: 0,
    bits: new Uint8Array(WINDOW_SIZE / 8),
  })

  return {
    admit(origin) {
      let window = windows.get(origin.server)
      if (window === undefined || origin.incarnation > window.incarnation) {
        window = fresh(origin.incarnation)
        windows.set(origin.server, window)
      } else if (origin.incarnation < window.incarnation) return false
      changed.add(origin.server)
      raise(window, origin.completedBelow)
      if (has(window, origin.sequence)) return false
      invariant(
        origin.sequence < window.completedBelow + WINDOW_SIZE,
        'proposal-window',
        () =>
          `sequence ${origin.sequence} of server ${origin.server} is ${origin.sequence - (window?.completedBelow ?? 0)} above its lowest open one`,
      )
      const bit = origin.sequence % WINDOW_SIZE
      window.bits[bit >> 3] = (window.bits[bit >> 3] as number) | (1 << (bit & 7))
      if (origin.sequence >= window.end) window.end = origin.sequence + 1
      return true
    },
    applied(server, incarnation, sequence) {
      const window = windows.get(server)
      return window !== undefined && window.incarnation === incarnation && has(window, sequence)
    },
    takeChanged() {
      const encoded = [...changed].map((server) => ({ server, bytes: encode(windows.get(server) as ServerWindow) }))
      changed.clear()
      return encoded
    },
    load(server, bytes) {
      windows.set(server, decode(bytes))
    },
  }
}

/** incarnation u64, completedBelow f64, end f64, then the bits of [completedBelow, end) packed from bit 0. */
function encode(window: ServerWindow): Uint8Array {
  const count = window.end - window.completedBelow
  const bytes = new Uint8Array(HEADER_BYTES + Math.ceil(count / 8))
  const view = new DataView(bytes.buffer)
  view.setBigUint64(0, window.incarnation, true)
  view.setFloat64(8, window.completedBelow, true)
  view.setFloat64(16, window.end, true)
  for (let i = 0; i < count; i++) {
    const bit = (window.completedBelow + i) % WINDOW_SIZE
    if (((window.bits[bit >> 3] as number) & (1 << (bit & 7))) !== 0) {
      bytes[HEADER_BYTES + (i >> 3)] = (bytes[HEADER_BYTES + (i >> 3)] as number) | (1 << (i & 7))
    }
  }
  return bytes
}

function decode(bytes: Uint8Array): ServerWindow {
  invariant(bytes.length >= HEADER_BYTES, 'proposal-window-record', `record of ${bytes.length} bytes`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const completedBelow = view.getFloat64(8, true)
  const end = view.getFloat64(16, true)
  const count = end - completedBelow
  invariant(
    count >= 0 && count <= WINDOW_SIZE && bytes.length === HEADER_BYTES + Math.ceil(count / 8),
    'proposal-window-record',
    `record of ${bytes.length} bytes for ${count} sequences`,
  )
  const window: ServerWindow = {
    incarnation: view.getBigUint64(0, true),
    completedBelow,
    end,
    bits: new Uint8Array(WINDOW_SIZE / 8),
  }
  for (let i = 0; i < count; i++) {
    if (((bytes[HEADER_BYTES + (i >> 3)] as number) & (1 << (i & 7))) === 0) continue
    const bit = (completedBelow + i) % WINDOW_SIZE
    window.bits[bit >> 3] = (window.bits[bit >> 3] as number) | (1 << (bit & 7))
  }
  return window
}
