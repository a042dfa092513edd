/** The command's exit codes, which are never renumbered, and the error that ends a command. */
import type { FailureCode } from '../base/index.ts'
import { failure, FAILURES, SkeinError } from '../base/index.ts'

export const EXIT = {
  ok: 0,
  /** The cluster, or this machine, refused: the message says why. */
  refused: 1,
  /** `get` of a key that does not exist. */
  notFound: 2,
  /** The command line is not understood. */
  usage: 3,
  /** No server could be reached, or none leads. */
  unreachable: 4,
  /** A write may or may not have taken effect. */
  unknown: 5,
  /** A bug in Skein. */
  internal: 70,
} as const

const BY_CODE: Partial<Readonly<Record<FailureCode, number>>> = {
  usage: EXIT.usage,
  unreachable: EXIT.unreachable,
  'no-leader': EXIT.unreachable,
  'connection-lost': EXIT.unreachable,
  'timed-out': EXIT.unknown,
  'outcome-unknown': EXIT.unknown,
  internal: EXIT.internal,
}

export function exitCodeOf(error: unknown): number {
  return error instanceof SkeinError ? (BY_CODE[error.code] ?? EXIT.refused) : EXIT.internal
}

/** Throws: the command line is not understood. */
export function usage(message: string): never {
  throw new SkeinError(failure('usage', message))
}

/** Two or three lines for a person: what happened, one way to mend it, where to read more. */
export function describe(error: unknown): string {
  if (!(error instanceof SkeinError))
    return `skein: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`
  const { hint } = FAILURES[error.code]
  return `skein: ${error.message}\n  ${hint}\n  (${error.code}; see: skein explain ${error.code})`
}
