// Compiles everything where anything has changed since the last build, first removing outputs whose source is gone, so
// that a deleted test never runs on. `--force` compiles in any case.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const dist = join(root, 'dist')
const stamp = join(dist, '.built')
const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc')

/** Folders count too: they change when a file comes or goes. */
function isNewer(path, than) {
  const stats = statSync(path)
  if (stats.mtimeMs >= than) return true
  return stats.isDirectory() && readdirSync(path).some((name) => isNewer(join(path, name), than))
}

function isFresh() {
  if (!existsSync(stamp) || process.argv.includes('--force')) return false
  const built = statSync(stamp).mtimeMs
  const inputs = ['src', 'test', 'bench', 'scripts', 'package.json', 'tsconfig.json', 'node_modules/.package-lock.json']
  return !inputs.map((name) => join(root, name)).some((path) => existsSync(path) && isNewer(path, built))
}

if (isFresh()) process.exit(0)
if (existsSync(dist)) {
  for (const file of readdirSync(dist, { recursive: true, encoding: 'utf8' })) {
    const source = file.replace(/\.(d\.ts|js\.map|js)$/, '.ts')
    if (source !== file && !existsSync(join(root, source))) rmSync(join(dist, file))
  }
}
// Sources that change during the build are newer than it.
const began = new Date()
const { status } = spawnSync(process.execPath, [tsc, '-p', join(root, 'tsconfig.json')], { stdio: 'inherit' })
if (status === 0) {
  mkdirSync(dist, { recursive: true })
  writeFileSync(stamp, '')
  utimesSync(stamp, began, began)
} else rmSync(stamp, { force: true })
process.exit(status ?? 1)
