/** What a person types to reach this command: `skein` where it is installed, `./skein` in a checkout. */
import { existsSync } from 'node:fs'

export function commandName(): string {
  const { env } = process
  const given = env['SKEIN_COMMAND']
  if (given !== undefined && given !== '') return given
  return env['npm_lifecycle_event'] !== undefined && existsSync('skein') ? './skein' : 'skein'
}

/** Where a cluster on this machine lies unless --data says otherwise. */
export const DEFAULT_DATA = './skein-data'

/** A command to paste, for the cluster in `directory`. */
export function commandLine(words: string, directory: string = DEFAULT_DATA): string {
  return `${commandName()} ${words}${directory === DEFAULT_DATA ? '' : ` --data ${quote(directory)}`}`
}

/** One argument as a shell takes it. */
export function quote(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`
}
