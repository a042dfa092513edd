/** Parsing of one command's options, with help for typing errors. */
import { parseArgs } from 'node:util'
import { usage } from './exit.ts'

export type OptionKind = 'string' | 'boolean'
export type OptionSpecs = Readonly<Record<string, OptionKind>>

export type Parsed = {
  readonly positionals: readonly string[]
  text(name: string): string | undefined
  flag(name: string): boolean
  /** A whole number in [min, max]; usage error otherwise. */
  number(name: string, min: number, max: number): number | undefined
}

/** Options that every command understands. */
const COMMON: OptionSpecs = { endpoints: 'string', json: 'boolean', data: 'string', help: 'boolean' }

export function parseOptions(command: string, args: readonly string[], specs: OptionSpecs): Parsed {
  const all = { ...COMMON, ...specs }
  for (const arg of args) {
    if (arg === '--') break
    const name = /^--(?:no-)?([a-z-]+)/.exec(arg)?.[1]
    if (name !== undefined && !(name in all)) {
      const near = nearest(name, Object.keys(all))
      usage(`skein ${command} has no option --${name}${near === undefined ? '' : `; did you mean --${near}?`}`)
    }
  }
  let parsed: ReturnType<typeof parseArgs>
  try {
    parsed = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: Object.fromEntries(Object.entries(all).map(([name, type]) => [name, { type }])),
    })
  } catch (error) {
    usage(`skein ${command}: ${error instanceof Error ? error.message.split('\n')[0] : String(error)}`)
  }
  const { values } = parsed
  return {
    positionals: parsed.positionals,
    text(name) {
      const value = values[name]
      return typeof value === 'string' ? value : undefined
    },
    flag: (name) => values[name] === true,
    number(name, min, max) {
      const value = values[name]
      if (typeof value !== 'string') return undefined
      const number = Number(value)
      if (!/^-?\d+$/.test(value) || number < min || number > max) {
        usage(`--${name} must be a whole number from ${min} to ${max}, not ${JSON.stringify(value)}`)
      }
      return number
    },
  }
}

/** The candidate that is at most two letters away, and closest. */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  let best: { readonly candidate: string; readonly distance: number } | undefined
  for (const candidate of candidates) {
    const distance = editDistance(word, candidate)
    if (distance <= 2 && (best === undefined || distance < best.distance)) best = { candidate, distance }
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
