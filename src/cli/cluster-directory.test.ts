import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { SkeinError } from '../base/index.ts'
import { openNodeWorld } from '../world/node/index.ts'
import { temporaryDirectory } from './cli.testkit.ts'
import { openClusterDirectory, readClusterFile } from './cluster-directory.ts'
import { askControl, openControl } from './control.ts'
import { brief } from './endpoints.ts'
import { refuse } from './exit.ts'

const temporary = temporaryDirectory()
const world = openNodeWorld({ onFail: assert.fail })
after(() => {
  world.stop()
  temporary.remove()
})
const nothing = { servers: undefined, port: undefined }
const opened = async (path: string, wanted: Parameters<typeof openClusterDirectory>[2] = nothing) => {
  const cluster = await openClusterDirectory(world, path, wanted)
  await cluster.save()
  return cluster
}
const code = (expected: string, message?: RegExp) => (error: unknown) => {
  assert.ok(error instanceof SkeinError)
  assert.equal(error.code, expected)
  if (message !== undefined) assert.match(error.message, message)
  return true
}

test('a new directory gets five servers, a key and a token, and is found again as it was', async () => {
  const path = join(temporary.path, 'new', 'deep')
  const first = await opened(path, nothing)
  assert.deepEqual([first.servers, first.port, first.found], [5, 7701, false])
  assert.match(readFileSync(first.keyFile, 'utf8'), /^[0-9a-f]{64}\n$/)
  assert.equal(statSync(first.keyFile).mode & 0o777, 0o600)
  await assert.rejects(openClusterDirectory(world, path, nothing), code('data-in-use'))
  first.release()
  const key = readFileSync(first.keyFile, 'utf8')
  const again = await opened(path, { servers: 5, port: 8801 })
  again.release()
  assert.deepEqual([again.servers, again.port, again.token, again.found], [5, 8801, first.token, true])
  assert.equal(readFileSync(first.keyFile, 'utf8'), key)
  const moved = await opened(path, nothing)
  moved.release()
  assert.equal(moved.port, 8801)
})

test('two clusters have different keys and tokens', async () => {
  const [a, b] = await Promise.all(['a', 'b'].map(async (name) => opened(join(temporary.path, name))))
  assert.notEqual(a?.token, b?.token)
  assert.notEqual(readFileSync(a?.keyFile as string, 'utf8'), readFileSync(b?.keyFile as string, 'utf8'))
  a?.release()
  b?.release()
})

test('a first start that was interrupted is taken up again', async () => {
  const path = join(temporary.path, 'interrupted')
  const first = await opened(path, nothing)
  first.release()
  rmSync(join(path, 'cluster.json'))
  writeFileSync(join(path, 'cluster.json.unfinished'), '{')
  const again = await opened(path, { servers: 3, port: undefined })
  again.release()
  assert.deepEqual([again.servers, again.found], [3, false])
})

test('of a first start that comes to nothing nothing stays, and what was there before does', async () => {
  const path = join(temporary.path, 'futile')
  const saved = await opened(path, { servers: 3, port: undefined })
  mkdirSync(join(path, 'S1'))
  saved.undo()
  saved.release()
  assert.ok(!existsSync(path))

  const unsaved = await openClusterDirectory(world, path, nothing)
  unsaved.release()
  assert.ok(!existsSync(path))

  mkdirSync(path)
  writeFileSync(join(path, 'cluster-key'), 'mine')
  const withKey = await opened(path)
  withKey.undo()
  withKey.release()
  assert.deepEqual(
    readdirSync(path).filter((name) => name !== 'LOCK'),
    ['cluster-key'],
  )

  const first = await opened(path)
  first.release()
  const again = await opened(path)
  again.undo()
  again.release()
  assert.ok(existsSync(join(path, 'cluster.json')))
})

test(
  'a place that takes no directory is an error',
  { skip: process.platform === 'linux' ? false : 'there is no /proc' },
  async () => {
    await assert.rejects(opened('/proc/x'), code('not-found', /the data directory \/proc\/x cannot be made/))
  },
)

test('servers whose cluster.json is gone are not taken for a new cluster', async () => {
  const path = join(temporary.path, 'lost')
  mkdirSync(join(path, 'S1'), { recursive: true })
  await assert.rejects(openClusterDirectory(world, path, nothing), code('data-mismatch', /holds no cluster: it has S1/))
})

test('a cluster.json that cannot be understood is refused, and the lock given back', async () => {
  const path = join(temporary.path, 'damaged')
  mkdirSync(path)
  const cases: [content: string, expected: string][] = [
    ['{', 'data-mismatch'],
    ['null', 'data-mismatch'],
    ['{"format":1,"servers":0,"port":7701,"token":""}', 'data-mismatch'],
    ['{"format":1,"servers":3,"port":70000,"token":""}', 'data-mismatch'],
    ['{"format":2}', 'data-newer'],
  ]
  for (const [content, expected] of cases) {
    writeFileSync(join(path, 'cluster.json'), content)
    await assert.rejects(openClusterDirectory(world, path, nothing), code(expected))
    assert.throws(() => readClusterFile(path), code(expected))
  }
  assert.equal(readClusterFile(join(temporary.path, 'nowhere')), undefined)
})

test('the control socket answers, refuses with the same error, and survives nonsense', async () => {
  const path = join(temporary.path, 'c'.repeat(120))
  mkdirSync(path)
  await assert.rejects(askControl(path, { command: 'list' }), code('unreachable', /no cluster runs on/))
  // As a supervisor that was killed leaves it.
  writeFileSync(join(path, 'control.sock'), '')
  const control = await openControl(path, async (request) => {
    if (request.command === 'kill') refuse('invalid-request', 'S1 does not run', 'Start it.')
    return { servers: [{ name: request.command, address: 'a', state: 'up', pid: 1 }] }
  })
  assert.equal(statSync(join(path, 'control.sock')).mode & 0o777, 0o600)
  const answers = await Promise.all([askControl(path, { command: 'list' }), askControl(path, { command: 'restart' })])
  assert.deepEqual(
    answers.map((answer) => answer.servers[0]?.name),
    ['list', 'restart'],
  )
  await assert.rejects(askControl(path, { command: 'kill', server: 'S1' }), (error) => {
    assert.ok(error instanceof SkeinError && error.hint === 'Start it.')
    return code('invalid-request', /S1 does not run/)(error)
  })
  control.close()
  await assert.rejects(askControl(path, { command: 'list' }), code('unreachable'))
})

test('a supervisor that goes away in the middle is told as such', async () => {
  const path = join(temporary.path, 'dying')
  mkdirSync(path)
  const server = createServer((socket) => socket.destroy())
  await new Promise<void>((resolve) => void server.listen(join(path, 'control.sock'), resolve))
  await assert.rejects(askControl(path, { command: 'list' }), code('connection-lost'))
  await new Promise((resolve) => void server.close(resolve))
})

test('addresses in a row are told briefly', () => {
  assert.equal(brief(['127.0.0.1:7701', '127.0.0.1:7702', '127.0.0.1:7703']), '127.0.0.1:7701 to 7703')
  assert.equal(brief(['a:1', 'b:1', 'c:1']), 'a:1, b:1, c:1')
  assert.equal(brief(['a:1']), 'a:1')
})
