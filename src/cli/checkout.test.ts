/** `./skein` in a checkout: a small one, whose build leaves a note and whose command says who it is. */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { temporaryDirectory } from './cli.testkit.ts'

const WRAPPER = fileURLToPath(new URL('../../../skein', import.meta.url))
const MAIN = `process.stdout.write([process.pid, process.env.SKEIN_COMMAND, ...process.argv.slice(2)].join('|'))`
const BUILD = `
import { mkdirSync, writeFileSync } from 'node:fs'
console.log('built')
mkdirSync('dist/src/cli', { recursive: true })
writeFileSync('dist/src/cli/main.js', ${JSON.stringify(MAIN)})
writeFileSync('dist/.built', '')
`

const temporary = temporaryDirectory()
after(() => temporary.remove())
const root = join(temporary.path, 'a checkout')
const file = (...parts: string[]): string => join(root, ...parts)
mkdirSync(file('src', 'deep'), { recursive: true })
mkdirSync(file('scripts'))
mkdirSync(file('node_modules'))
copyFileSync(WRAPPER, file('skein'))
writeFileSync(file('package.json'), '{"type":"module"}')
writeFileSync(file('tsconfig.json'), '{}')
writeFileSync(file('src', 'deep', 'a.ts'), '')
writeFileSync(file('scripts', 'build.mjs'), BUILD)

const run = (path: string, ...args: string[]): { code: number | null; words: string[]; stderr: string } => {
  const { status, stdout, stderr } = spawnSync(path, args, { encoding: 'utf8', cwd: temporary.path })
  return { code: status, words: stdout.split('|').slice(1), stderr }
}
/** Far in the future: newer than a build of this moment whatever the file system's clock. */
const touch = (path: string, seconds: number): void =>
  utimesSync(path, new Date(), new Date(Date.now() + seconds * 1000))

test('it builds where there is no build, and passes every word on', () => {
  const first = run(file('skein'), 'put', 'a b', '$x', '')
  assert.equal(first.code, 0, first.stderr)
  assert.equal(first.stderr, 'skein: building\nbuilt\n')
  assert.deepEqual(first.words, [file('skein'), 'put', 'a b', '$x', ''])
})

test('it does not build again until a source is newer', () => {
  for (const source of [
    file('src', 'deep', 'a.ts'),
    file('src', 'deep'),
    file('src'),
    file('package.json'),
    file('tsconfig.json'),
  ])
    touch(source, -100)
  assert.equal(run(file('skein')).stderr, '')
  touch(file('src', 'deep', 'a.ts'), 100)
  assert.equal(run(file('skein')).stderr, 'skein: building\nbuilt\n')
  touch(file('src', 'deep', 'a.ts'), -100)
  // A file that was removed changes its directory.
  touch(file('src', 'deep'), 100)
  assert.equal(run(file('skein')).stderr, 'skein: building\nbuilt\n')
  touch(file('src', 'deep'), -100)
  assert.equal(run(file('skein')).stderr, '')
})

test('it is found through a symbolic link', () => {
  const link = join(temporary.path, 'link')
  symlinkSync(file('skein'), link)
  const { code, words } = run(link, 'x')
  assert.equal(code, 0)
  assert.deepEqual(words, [link, 'x'])
})

test('it becomes node: the process is the same, and so signals reach it', async () => {
  const child = spawn(file('skein'), [], { stdio: ['ignore', 'pipe', 'ignore'] })
  let stdout = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  await new Promise((resolve) => child.once('close', resolve))
  assert.equal(stdout.split('|')[0], String(child.pid))
})

test('a build that fails, and dependencies that are missing, end it with an error', () => {
  writeFileSync(file('scripts', 'build.mjs'), 'console.log("does not compile"); process.exit(2)')
  touch(file('src', 'deep', 'a.ts'), 100)
  const failed = run(file('skein'), 'x')
  assert.deepEqual([failed.code, failed.words], [1, []])
  assert.match(failed.stderr, /does not compile/)
  rmSync(file('node_modules'), { recursive: true })
  const missing = run(file('skein'), 'x')
  assert.equal(missing.code, 1)
  assert.match(missing.stderr, /its dependencies are not installed; run this first: npm ci/)
})
