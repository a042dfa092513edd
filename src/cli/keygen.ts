/** `skein keygen FILE`: the secret by which the members of a cluster know each other. */
import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { EXIT, refuse, usage } from './exit.ts'
import { commandName } from './name.ts'
import type { Parsed } from './options.ts'
import type { Output } from './output.ts'

const KEY_BYTES = 32

export function keygen(parsed: Parsed, output: Output): number {
  const [path, ...rest] = parsed.positionals
  if (path === undefined || rest.length > 0) usage(`usage: ${commandName()} keygen FILE`)
  try {
    // Never over another key: a cluster whose members have different keys is none.
    writeFileSync(path, `${randomBytes(KEY_BYTES).toString('hex')}\n`, { mode: 0o600, flag: 'wx' })
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code === 'EEXIST')
      refuse('already-exists', `${path} exists already, and a key is never overwritten`, 'Choose another file.')
    if (code === 'ENOENT') refuse('not-found', `the directory of ${path} does not exist`)
    refuse('permission-denied', `${path} cannot be written: ${message}`)
  }
  if (output.json) output.object({ event: 'key-made', path })
  else output.print(`${path} holds a new cluster key. Copy it to every server, and show it to nobody else.`)
  return EXIT.ok
}
