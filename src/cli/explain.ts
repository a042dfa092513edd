/** `skein explain CODE`: what an error means, and what to do. */
import type { FailureCode } from '../base/index.ts'
import { FAILURES } from '../base/index.ts'
import { exitCodeFor, EXIT, usage } from './exit.ts'
import type { Parsed } from './options.ts'
import { nearest } from './options.ts'
import type { Output } from './output.ts'
import { paint } from './output.ts'

const CODES = Object.keys(FAILURES) as FailureCode[]

export function explain(parsed: Parsed, output: Output): number {
  const [asked, ...rest] = parsed.positionals
  if (rest.length > 0) usage('skein explain takes one code')
  if (asked === undefined) {
    if (output.json) output.object(CODES.map(plain))
    else for (const code of CODES) output.print(`${code.padEnd(22)}  ${FAILURES[code].meaning}`)
    return EXIT.ok
  }
  const code = CODES.find((one) => one === asked.toLowerCase())
  if (code === undefined) {
    const near = nearest(asked, CODES) ?? beginningWith(asked)
    usage(
      `there is no error ${JSON.stringify(asked)}${near === undefined ? '; skein explain lists all' : `; did you mean ${near}?`}`,
    )
  }
  const { meaning, hint, retryable } = FAILURES[code]
  if (output.json) output.object(plain(code))
  else {
    output.print(`${paint(output, 'bold', code)}: ${meaning}`)
    output.print(`  What to do: ${hint}`)
    output.print(
      `  ${retryable ? 'The same request may succeed later.' : 'The same request will not succeed by itself later.'}`,
    )
    output.print(`  Exit code of skein: ${exitCodeFor(code)}`)
  }
  return EXIT.ok
}

/** `nolead` means no-leader. */
function beginningWith(asked: string): string | undefined {
  const letters = (word: string): string => word.toLowerCase().replaceAll(/[^a-z]/g, '')
  const wanted = letters(asked)
  return wanted.length < 4 ? undefined : CODES.find((code) => letters(code).startsWith(wanted))
}

function plain(code: FailureCode): Record<string, unknown> {
  const { meaning, hint, retryable } = FAILURES[code]
  return { code, meaning, hint, retryable, exitCode: exitCodeFor(code) }
}
