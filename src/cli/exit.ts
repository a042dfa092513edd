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
  return error instanceof SkeinError ? exitCodeFor(error.code) : EXIT.internal
}

export function exitCodeFor(code: FailureCode): number {
  return BY_CODE[code] ?? EXIT.refused
}

/** Throws: the command line is not understood. */
export function usage(message: string): never {
  throw new SkeinError(failure('usage', message))
}

/** Throws with this very case's fix instead of the catalogue's general one. */
export function refuse(code: FailureCode, message: string, hint?: string): never {
  throw new SkeinError({ ...failure(code, message), ...(hint !== undefined && { hint }) })
}

/** Where a server's own words did not travel: etcd's texts are for programs. */
const ETCD_TEXT = /^(\S+): (etcdserver: .+)$/

/** Two or three lines for a person: what happened, one way to mend it, where to read more. */
export function describe(error: unknown, command?: string): string {
  if (!(error instanceof SkeinError)) {
    return `skein: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n  This is a bug in Skein.`
  }
  if (error.code === 'usage') {
    const who = error.message.startsWith('usage: ') ? '' : 'skein: '
    return `${who}${error.message}\n  See: skein help${command === undefined ? '' : ` ${command}`}`
  }
  const told = ETCD_TEXT.exec(error.message)
  if (told !== null) {
    const [, endpoint, text = ''] = told
    // The meaning of this code alone says nothing.
    const what =
      error.code === 'invalid-request' ? text.replace('etcdserver: ', 'refused: ') : FAILURES[error.code].meaning
    return `skein: ${what}\n  ${error.hint}\n  (${error.code}; ${endpoint} says “${text}”; see: skein explain ${error.code})`
  }
  return `skein: ${error.message}\n  ${error.hint}\n  (${error.code}; see: skein explain ${error.code})`
}

/** The same for a program. */
export function describeForPrograms(error: unknown): Record<string, unknown> {
  if (!(error instanceof SkeinError)) {
    return { error: { code: 'internal', message: error instanceof Error ? error.message : String(error) } }
  }
  const { code, message, hint, retryable } = error
  return { error: { code, message, hint, retryable, exitCode: exitCodeFor(code) } }
}
