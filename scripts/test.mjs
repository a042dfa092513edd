// Runs every compiled test with node's test runner, as an explicit list: `node --test` does not take globs on Node 20.
// Arguments narrow the list: `npm test -- raft log` runs the test files whose path contains one of the words.
// SKEIN_TEST_CONCURRENCY sets how many files run at once (default: the number of processors).
import { spawn } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'

const root = new URL('../dist', import.meta.url).pathname
const words = process.argv.slice(2)
const files = readdirSync(root, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.test.js'))
  .filter((file) => words.length === 0 || words.some((word) => file.includes(word)))
  .sort()
  .map((file) => join(root, file))
if (files.length === 0) {
  console.error(`no test file matches ${JSON.stringify(words)}`)
  process.exit(1)
}
const concurrency = process.env.SKEIN_TEST_CONCURRENCY
// The command names itself by how it was called: the same in every test, whoever runs them.
const { npm_lifecycle_event: _, ...environment } = { ...process.env, SKEIN_COMMAND: 'skein' }
const child = spawn(
  process.execPath,
  ['--enable-source-maps', '--test', ...(concurrency ? [`--test-concurrency=${concurrency}`] : []), ...files],
  { stdio: 'inherit', env: environment },
)
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal))
child.on('exit', (code, signal) => process.exit(signal ? 1 : (code ?? 1)))
