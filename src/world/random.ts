/** The door to chance. In the simulator every draw comes from the seed. */
export interface Random {
  /** A number in [0, 1), for jitter: not a secret. */
  fraction(): number
  /** `count` bytes fit for ids and keys: unpredictable in the real world. */
  bytes(count: number): Uint8Array
}
