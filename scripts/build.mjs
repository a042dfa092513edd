// Compiles everything, first removing outputs whose source is gone, so that a deleted test never runs on.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const dist = join(root, 'dist')
if (existsSync(dist)) {
  for (const file of readdirSync(dist, { recursive: true, encoding: 'utf8' })) {
    const source = file.replace(/\.(d\.ts|js\.map|js)$/, '.ts')
    if (source !== file && !existsSync(join(root, source))) rmSync(join(dist, file))
  }
}
// Sources that change during the build are newer than it: `./skein` compares with this moment.
const began = new Date()
const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
const { status } = spawnSync(process.execPath, [tsc, '-p', join(root, 'tsconfig.json')], { stdio: 'inherit' })
if (status === 0) {
  mkdirSync(dist, { recursive: true })
  const stamp = join(dist, '.built')
  writeFileSync(stamp, '')
  utimesSync(stamp, began, began)
}
process.exit(status ?? 1)
