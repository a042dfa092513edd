/**
 * Transcripts: each `transcripts/*.txt` holds commands and, below a line of dashes, what they print. They are compared
 * exactly; SKEIN_RAFT_WRITE=1 writes what is printed now, to be read before it is committed.
 */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { createScript } from './script.testkit.ts'

const folder = fileURLToPath(new URL('../../../src/raft/transcripts/', import.meta.url))

for (const file of readdirSync(folder).sort()) {
  test(`transcript: ${file}`, () => {
    const text = readFileSync(folder + file, 'utf8')
    const script = createScript()
    const blocks = text.split('\n\n').map((block) => {
      const [commands = ''] = block.split('\n----\n')
      const lines = commands.split('\n').filter((line) => line !== '')
      const printed = lines.filter((line) => !line.startsWith('#')).flatMap((line) => script.run(line))
      if (printed.length === 0) return lines.join('\n')
      return `${lines.join('\n')}\n----\n${printed.join('\n')}`
    })
    const now = `${blocks.join('\n\n').trimEnd()}\n`
    if (process.env['SKEIN_RAFT_WRITE'] === '1') writeFileSync(folder + file, now)
    else assert.equal(now, text)
  })
}
