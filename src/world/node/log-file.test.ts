import assert from 'node:assert/strict'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileDiagnostics } from './index.ts'

let directory = ''
before(() => {
  directory = mkdtempSync(join(tmpdir(), 'skein-log-'))
})
after(() => {
  rmSync(directory, { recursive: true, force: true })
})

type Line = { readonly event: string; readonly n: number }
const linesOf = (path: string): Line[] =>
  readFileSync(path, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Line)

function write(path: string, from: number, count: number, maxBytes: number): Promise<void> {
  const log = fileDiagnostics(path, 'info', { server: 'S1' }, maxBytes)
  for (let n = from; n < from + count; n++) log.log('info', 'counted', { n })
  return new Promise((resolve) => {
    log.close(resolve)
  })
}

test('a log stays within twice its bound, its newest lines whole and in order, also over restarts', async () => {
  const path = join(directory, 'bounded.log')
  const maxBytes = 4_000
  for (let start = 0; start < 5; start++) await write(path, start * 100, 100, maxBytes)
  for (const file of [path, `${path}.1`]) assert.ok(statSync(file).size <= maxBytes, `${file} is above its bound`)
  const numbers = [...linesOf(`${path}.1`), ...linesOf(path)].map((line) => line.n)
  assert.equal(numbers.at(-1), 499)
  assert.ok(numbers.length > 20)
  assert.deepEqual(
    numbers,
    numbers.map((_, i) => 499 - numbers.length + 1 + i),
  )
})

test('the log file is readable by its owner only', async () => {
  const path = join(directory, 'private.log')
  await write(path, 0, 1, 1_000)
  assert.equal(statSync(path).mode & 0o777, 0o600)
})

test('a line longer than the bound is written whole, in a file of its own', async () => {
  const path = join(directory, 'long.log')
  await write(path, 0, 3, 10)
  assert.deepEqual(
    [...linesOf(`${path}.1`), ...linesOf(path)].map((line) => line.n),
    [1, 2],
  )
})

test('a log that cannot be written costs its lines, and logging goes on once it can', async () => {
  const path = join(directory, 'later', 'x.log')
  const log = fileDiagnostics(path, 'info')
  log.log('info', 'lost', { n: 1 })
  await new Promise((resolve) => setImmediate(resolve))
  await assert.doesNotReject(async () => {
    // Whether the first line was refused before or after this, none ends the log.
    mkdirSync(join(directory, 'later'))
    chmodSync(join(directory, 'later'), 0o700)
    for (let n = 2; ; n++) {
      log.log('info', 'kept', { n })
      await new Promise((resolve) => setImmediate(resolve))
      if (statSync(path, { throwIfNoEntry: false })?.size) break
    }
  })
  await new Promise<void>((resolve) => {
    log.close(resolve)
  })
  assert.ok(linesOf(path).every((line) => line.event === 'kept' || line.event === 'lost'))
})
