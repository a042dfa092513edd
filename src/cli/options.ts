/**
 * One command's options, parsed with help for typing errors. An own parser, because a value may begin with a minus sign:
 * `skein put balance -5` means minus five.
 */
import { usage } from './exit.ts'

export type OptionSpec = {
  readonly kind: 'text' | 'flag'
  /** What stands for the value in the help: `N`, `DIR`. */
  readonly value: string
  readonly help: string
  /** Understood, and not in the help: the supervisor's own. */
  readonly hidden?: boolean
}
export type OptionSpecs = Readonly<Record<string, OptionSpec>>

export const flag = (help: string): OptionSpec => ({ kind: 'flag', value: '', help })
export const option = (value: string, help: string): OptionSpec => ({ kind: 'text', value, help })

/** Options that every command understands. */
export const COMMON_OPTIONS: OptionSpecs = {
  json: flag('results as JSON, one object a line'),
  help: flag('this help'),
}

export type Parsed = {
  readonly positionals: readonly string[]
  text(name: string): string | undefined
  flag(name: string): boolean
  /** A whole number in [min, max]; usage error otherwise. */
  number(name: string, min: number, max: number): number | undefined
}

/** Throws `usage`. The last of a repeated option counts. */
export function parseOptions(command: string, args: readonly string[], specs: OptionSpecs): Parsed {
  const all: OptionSpecs = { ...COMMON_OPTIONS, ...specs }
  const positionals: string[] = []
  const texts = new Map<string, string>()
  const flags = new Set<string>()
  for (let i = 0; i < args.length; i++) {
    const arg = args[i] as string
    if (arg === '--') {
      positionals.push(...args.slice(i + 1))
      break
    }
    const match = arg === '-h' ? ['-h', 'help', undefined] : /^--([a-z][a-z-]*)(?:=([\s\S]*))?$/i.exec(arg)
    if (match === null) {
      if (/^-[a-z]/i.test(arg)) usage(`skein ${command} has no option ${arg}; options have long names, as in --help`)
      positionals.push(arg)
      continue
    }
    const [, name = '', inline] = match
    const spec = Object.hasOwn(all, name) ? all[name] : undefined
    if (spec === undefined) {
      const near = nearest(name, visible(all))
      usage(`skein ${command} has no option --${name}${near === undefined ? '' : `; did you mean --${near}?`}`)
    }
    if (spec.kind === 'flag') {
      if (inline !== undefined) usage(`--${name} takes no value`)
      flags.add(name)
      continue
    }
    const next = args[i + 1]
    const value = inline ?? (next?.startsWith('--') === true ? undefined : next)
    if (value === undefined) usage(`--${name} needs a value: --${name} ${spec.value}`)
    if (inline === undefined) i++
    texts.set(name, value)
  }
  return {
    positionals,
    text: (name) => texts.get(name),
    flag: (name) => flags.has(name),
    number(name, min, max) {
      const value = texts.get(name)
      if (value === undefined) return undefined
      const number = Number(value)
      if (!/^-?\d+$/.test(value) || number < min || number > max) {
        usage(`--${name} must be a whole number from ${min} to ${max}, not ${JSON.stringify(value)}`)
      }
      return number
    },
  }
}

function visible(specs: OptionSpecs): string[] {
  return Object.entries(specs).flatMap(([name, spec]) => (spec.hidden === true ? [] : [name]))
}

/** The candidate that is at most two letters away, and fewer than the word has, and closest. */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  let best: { readonly candidate: string; readonly distance: number } | undefined
  const limit = Math.min(2, word.length - 1)
  for (const candidate of candidates) {
    const distance = editDistance(word.toLowerCase(), candidate)
    if (distance <= limit && (best === undefined || distance < best.distance)) best = { candidate, distance }
  }
  return best?.candidate
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1
      next.push(Math.min((row[j] as number) + 1, (next[j - 1] as number) + 1, (row[j - 1] as number) + same))
    }
    row = next
  }
  return row[b.length] as number
}
