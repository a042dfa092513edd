/** A process whose connections were closed and then reset ends: Node.js 20 would spin for ever at its exit. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { test } from 'node:test'

const SCRIPT = `
const { openNodeWorld } = await import(process.argv[1])
const world = openNodeWorld({ onFail: (violation) => { throw violation } })
const quiet = { onData() {}, onDrain() {}, onClose() {} }
world.network.listen('127.0.0.1:0', {}, () => quiet, (listening) => {
  world.network.dial(listening.value.address, { timeoutMs: 1_000 }, (dialled) => {
    setImmediate(() => {
      dialled.value.write(new Uint8Array(10))
      dialled.value.close()
      dialled.value.reset()
      setImmediate(() => world.stop())
    })
    return quiet
  })
})
`

test('a connection that is closed and then reset does not keep the process from ending', async () => {
  const world = new URL('../src/world/node/index.js', import.meta.url).href
  const child = spawn(process.execPath, ['--input-type=module', '-e', SCRIPT, world], { stdio: 'inherit' })
  const limit = setTimeout(() => child.kill('SIGKILL'), 20_000)
  const [code, signal] = await new Promise<[number | null, string | null]>((resolve) => {
    child.once('exit', (...ended) => resolve(ended))
  })
  clearTimeout(limit)
  assert.deepEqual([code, signal], [0, null])
})
