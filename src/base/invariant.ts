/**
 * Broken invariants: states that correct code cannot reach. They are thrown, travel up to the turn's entry point, and
 * end at `World.fail` with the invariant's name; nobody catches one to carry on (DESIGN law 8).
 */

/** Thrown by `invariant`; carries the invariant's stable name, so that the lab can tell two failures apart. */
export class InvariantViolation extends Error {
  override readonly name = 'InvariantViolation'
  readonly invariant: string

  constructor(invariantName: string, detail: string) {
    super(`invariant ${invariantName} is broken: ${detail}`)
    this.invariant = invariantName
  }
}

/** Throws InvariantViolation unless `condition` holds. `detail` may be a function where building it costs. */
export function invariant(condition: boolean, name: string, detail: string | (() => string) = ''): asserts condition {
  if (!condition) throw new InvariantViolation(name, typeof detail === 'string' ? detail : detail())
}

/** What an exception that reached a turn's entry becomes: a violation stays what it is, all else is `uncaught`. */
export function asViolation(thrown: unknown): InvariantViolation {
  if (thrown instanceof InvariantViolation) return thrown
  return new InvariantViolation('uncaught', thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown))
}
