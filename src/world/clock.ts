/** The clock's door. */

/** A pending timer. */
export interface Timer {
  /** After this the callback never runs. Idempotent. */
  cancel(): void
}

export interface Clock {
  /**
   * Milliseconds, with a fraction, since some fixed moment of this process. Never goes back; rate may be wrong.
   * The only clock that elections, leases and deadlines use.
   */
  monotonicMs(): number
  /** Milliseconds since 1970-01-01 UTC as this machine believes; may jump either way. For display only. */
  wallMs(): number
  /** Runs `callback` once, at the earliest after `delayMs` (0 or more; a fraction is allowed), in a turn of its own. */
  setTimer(delayMs: number, callback: () => void): Timer
}
