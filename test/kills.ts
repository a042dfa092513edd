/**
 * `npm run kills -- --kills 100`: five real servers under load, one after another killed with SIGKILL at a random moment
 * and started again, at most two down at once but for those that are hit while they recover. Afterwards every write that was acknowledged must be there, on every
 * server, and nothing that was refused for certain.
 */
import type { ChildProcess } from 'node:child_process'
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { SkeinError, text, utf8 } from '../src/base/index.ts'
import type { Client } from '../src/client/index.ts'
import { connectClient } from '../src/client/index.ts'
import { openNodeWorld } from '../src/world/node/index.ts'
import { freePorts } from './cluster.testkit.ts'

const SERVERS = 5
const WRITERS = 16
/** A restarted server recovers, is heard of, and learns who leads. */
const HEALTHY_MS = 60_000
const CLI = fileURLToPath(new URL('../src/cli/main.js', import.meta.url))

export type KillReport = {
  readonly kills: number
  readonly acknowledged: number
  readonly refused: number
  readonly unknown: number
  /** Acknowledged keys that some server does not have. Must be empty. */
  readonly missing: readonly string[]
  /** Keys whose write was refused for certain, and that are there all the same. Must be empty. */
  readonly forbidden: readonly string[]
}

/** Small steps of a linear congruential generator: which server, and when. Printed with the report, for what it is worth. */
function chance(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

export async function killServers(kills: number, seed: number, report: (line: string) => void): Promise<KillReport> {
  const directory = mkdtempSync(join(tmpdir(), 'skein-kills-'))
  const random = chance(seed)
  const keyFile = join(directory, 'cluster-key')
  writeFileSync(keyFile, `${'5'.repeat(64)}\n`, { mode: 0o600 })
  const ports = await freePorts(SERVERS)
  const endpoints = ports.map((port) => `127.0.0.1:${port}`)
  const cluster = endpoints.map((endpoint, i) => `S${i + 1}=${endpoint}`).join(',')
  const children: (ChildProcess | undefined)[] = []
  const start = (i: number): void => {
    children[i] = spawn(
      process.execPath,
      [
        ...[
          CLI,
          'server',
          '--name',
          `S${i + 1}`,
          '--data',
          join(directory, `S${i + 1}`),
          '--listen',
          endpoints[i] as string,
        ],
        ...['--cluster', cluster, '--cluster-key-file', keyFile],
      ],
      { stdio: ['ignore', 'ignore', 'inherit'] },
    )
  }
  const kill = async (i: number): Promise<void> => {
    const child = children[i]
    if (child === undefined) return
    await new Promise<void>((resolve) => {
      child.once('exit', () => resolve())
      child.kill('SIGKILL')
    })
    children[i] = undefined
  }
  /** Waits until a server answers and knows a leader. */
  const healthy = async (i: number): Promise<void> => {
    const end = performance.now() + HEALTHY_MS
    for (;;) {
      const answer = await fetch(`http://${endpoints[i]}/health`).catch(() => undefined)
      if (answer?.ok === true) return
      if (performance.now() > end) throw new Error(`S${i + 1} is not healthy ${HEALTHY_MS} ms after its start`)
      await pause(20)
    }
  }
  const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

  const world = openNodeWorld({
    onFail: (violation) => {
      throw violation
    },
  })
  const acknowledged = new Map<string, string>()
  const refused = new Set<string>()
  let unknown = 0
  const state = { running: true }

  const write = async (client: Client, writer: number): Promise<void> => {
    for (let n = 0; state.running; n++) {
      const key = `w${writer}/${n}`
      try {
        await client.put(utf8(key), utf8(`v${n}`))
        acknowledged.set(key, `v${n}`)
      } catch (error) {
        if (!(error instanceof SkeinError)) throw error
        if (error.code === 'timed-out' || error.code === 'outcome-unknown') unknown++
        else {
          refused.add(key)
          await pause(20)
        }
      }
    }
  }

  try {
    for (let i = 0; i < SERVERS; i++) start(i)
    const clients = Array.from({ length: WRITERS }, (_, i) =>
      connectClient(world, { endpoints: [...endpoints.slice(i % SERVERS), ...endpoints.slice(0, i % SERVERS)] }),
    )
    const writers = clients.map(write)
    while (acknowledged.size === 0) await pause(50)
    const down: number[] = []
    for (let count = 1; count <= kills; count++) {
      await pause(50 + random() * 350)
      const up = children.map((_, i) => i).filter((i) => !down.includes(i))
      const victim = up[Math.floor(random() * up.length)] as number
      await kill(victim)
      down.push(victim)
      if (count % 10 === 0) report(`${count} kills, ${acknowledged.size} writes acknowledged`)
      if (down.length === 2 || random() < 0.5) {
        await pause(random() * 300)
        const back = down.shift() as number
        start(back)
        // Mostly it is whole again before the next one falls; now and then it may be hit while it recovers.
        if (random() < 0.8) await healthy(back)
      }
    }
    for (const i of down) start(i)
    for (let i = 0; i < SERVERS; i++) await healthy(i)
    state.running = false
    await Promise.all(writers)
    for (const client of clients) client.close()

    const missing = new Set<string>()
    const forbidden = new Set<string>()
    for (const endpoint of endpoints) {
      // A linearizable read through each server: it answers from its own state, once that is recent enough.
      const client = connectClient(world, { endpoints: [endpoint] })
      const found = new Map<string, string>()
      const range = await client.range({ key: utf8('w'), rangeEnd: utf8('x') })
      for (const kv of range.kvs) found.set(text(kv.key), text(kv.value))
      for (const [key, value] of acknowledged) if (found.get(key) !== value) missing.add(`${key} at ${endpoint}`)
      for (const key of refused) if (found.has(key)) forbidden.add(`${key} at ${endpoint}`)
      client.close()
    }
    return {
      kills,
      acknowledged: acknowledged.size,
      refused: refused.size,
      unknown,
      missing: [...missing],
      forbidden: [...forbidden],
    }
  } finally {
    state.running = false
    await Promise.all(children.map((_, i) => kill(i)))
    rmSync(directory, { recursive: true, force: true })
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: { kills: { type: 'string', default: '100' }, seed: { type: 'string', default: '1' } },
  })
  const report = await killServers(Number(values.kills), Number(values.seed), (line) => console.error(line))
  console.log(
    `${report.kills} kills: ${report.acknowledged} writes acknowledged, ${report.missing.length} of them missing; ` +
      `${report.refused} refused, ${report.forbidden.length} of them present; ${report.unknown} unknown`,
  )
  for (const key of [...report.missing, ...report.forbidden].slice(0, 20)) console.log(`  ${key}`)
  process.exit(report.missing.length + report.forbidden.length === 0 ? 0 : 1)
}
