import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { after, test } from 'node:test'
import { skein, startSkein, temporaryDirectory } from './cli.testkit.ts'

// Of its own, so that what stays behind can be seen.
const temporary = temporaryDirectory()
const env = { TMPDIR: temporary.path }
after(() => temporary.remove())

test('the demo loses three of five servers and nothing else, and leaves nothing behind', async () => {
  const { code, stdout, stderr } = await skein(['demo', '--json'], { env })
  assert.equal(code, 0, stderr)
  const told = stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
  const fact = (name: string): unknown => told.find((step) => name in step)?.[name]
  assert.equal(fact('agreedBy'), 5)
  assert.equal(fact('quorum'), 3)
  assert.equal((fact('killed') as string[]).length, 2)
  assert.equal(fact('refused'), 'no-leader')
  assert.equal(fact('serializable'), '80')
  assert.equal(fact('keys'), 21)
  assert.equal(told.at(-1)?.['event'], 'done')
  assert.deepEqual(readdirSync(temporary.path), [])
})

test('Ctrl-C in the middle of the demo ends it and leaves nothing behind', async () => {
  const running = startSkein(['demo'], { env, detached: true })
  await running.line(/leads/)
  process.kill(-running.pid, 'SIGINT')
  assert.equal((await running.ended()).code, 130)
  assert.deepEqual(readdirSync(temporary.path), [])
})
