/**
 * Stories about a cluster in the simulated world: what is done to it is told step by step, what its clients saw is
 * remembered, and at the end of every story the cluster is mended and must have kept what it acknowledged, on every server.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SkeinError, text, utf8 } from '../base/index.ts'
import type { Client } from '../client/index.ts'
import { connectClient } from '../client/index.ts'
import {
  createSimCluster,
  createSimulation,
  mendAll,
  type SimCluster,
  type SimServer,
  type Simulation,
} from '../lab/index.ts'
import type { LogFields } from '../world/index.ts'
import { yieldMacrotask } from '../world/node/index.ts'
import type { ServerOptions } from './index.ts'

export type Logged = { readonly process: string; readonly event: string; readonly fields: LogFields | undefined }

export type Story = {
  readonly simulation: Simulation
  readonly cluster: SimCluster
  readonly logged: readonly Logged[]
  /** How often this was logged, by whomever, with all of these fields. */
  count(event: string, fields?: LogFields): number
  /** Hears what is logged from now on. */
  onLog(listener: (logged: Logged) => void): void
  /** Waits for something to be true. */
  until(what: string, condition: () => boolean, limitMs?: number): Promise<void>
  /** Waits for a leader that all servers that are up agree on. */
  leader(): Promise<SimServer>
  followers(): Promise<readonly SimServer[]>
  /** 'ok', or the code of the failure. What is acknowledged must be there at the end. */
  put(server: SimServer, key: string, value: string, timeoutMs?: number): Promise<string>
  /** The value, undefined where there is none, or `!` and the code of the failure. */
  get(server: SimServer, key: string, how?: 'linearizable' | 'serializable'): Promise<string | undefined>
  /** Of all revisions up to the present one. */
  compact(server: SimServer): Promise<void>
  /** From now on the server has lost what it acknowledged: it is not asked at the end. */
  lose(server: SimServer): void
  /** 'ok', or the code of the failure. */
  moveLeader(from: SimServer, to: SimServer): Promise<string>
  /** Keys with this prefix that have been written more than once. */
  versionsAboveOne(server: SimServer, prefix: string): Promise<number>
  /** Puts that must all be acknowledged: enough of them compact the log. */
  fill(server: SimServer, count: number, sizeBytes?: number): Promise<void>
}

export type StoryOptions = {
  readonly servers?: number
  readonly seed?: number
  readonly server?: Partial<ServerOptions>
  /** What the cluster reports as wrong, and is meant to. */
  readonly problems?: RegExp
  /** Names of the invariants that are meant to break. */
  readonly findings?: readonly string[]
}

/** Small bounds, so that little data is compacted and sent as a snapshot. */
export const SMALL: Readonly<Partial<ServerOptions>> = {
  tuning: {
    keepEntries: 64,
    checkpointBytes: 8_192,
    checkpointDelayMs: 300,
    segmentBytes: 65_536,
    snapshotTimeoutMs: 3_000,
  },
}
const LIMIT_MS = 30_000
/** SKEIN_TELL=1 prints what the servers log. */
const TELLS = process.env['SKEIN_TELL'] !== undefined

export function story(name: string, options: StoryOptions, tell: (story: Story) => Promise<void>): void {
  test(name, async () => {
    const logged: Logged[] = []
    const listeners: ((logged: Logged) => void)[] = []
    const simulation = createSimulation({
      seed: options.seed ?? 1,
      yieldMacrotask,
      onLog(name, atMs, _level, event, fields) {
        const one = { process: name, event, fields }
        if (TELLS) console.log(atMs.toFixed(1), name, event, fields)
        logged.push(one)
        for (const listener of listeners) listener(one)
      },
    })
    const cluster = createSimCluster(simulation, options.servers ?? 3, { ...SMALL, ...options.server })
    const clients = new Map<string, Client>()
    const acknowledged = new Map<string, string>()
    /** Of keys whose last write may or may not have taken effect. */
    const unknown = new Set<string>()
    const lost = new Set<SimServer>()
    let filled = 0

    const clientOf = (server: SimServer): Client => {
      const known = clients.get(server.name)
      if (known !== undefined) return known
      const client = connectClient(simulation.process('client').world, {
        endpoints: [server.address],
        timeoutMs: 10_000,
      })
      clients.set(server.name, client)
      return client
    }

    const it: Story = {
      simulation,
      cluster,
      logged,
      count: (event, fields = {}) =>
        logged.filter(
          (one) => one.event === event && Object.entries(fields).every(([key, value]) => one.fields?.[key] === value),
        ).length,
      onLog: (listener) => void listeners.push(listener),
      async until(what, condition, limitMs = LIMIT_MS) {
        const end = simulation.nowMs + limitMs
        while (!condition()) {
          assert.ok(simulation.nowMs < end, `not within ${limitMs} ms: ${what}`)
          await simulation.sleep(5)
        }
      },
      async leader() {
        const agreed = (): SimServer | undefined => {
          const leader = cluster.leader()
          const id = leader?.running?.memberId
          const up = cluster.servers.filter((server) => server.up)
          return id !== undefined && up.every((server) => server.running?.status().leader === id) ? leader : undefined
        }
        await it.until('a leader that all agree on', () => agreed() !== undefined)
        return agreed() as SimServer
      },
      async followers() {
        const leader = await it.leader()
        return cluster.servers.filter((server) => server !== leader)
      },
      async put(server, key, value, timeoutMs = 10_000) {
        try {
          await clientOf(server).put(utf8(key), utf8(value), { timeoutMs })
          acknowledged.set(key, value)
          unknown.delete(key)
          return 'ok'
        } catch (error) {
          if (!(error instanceof SkeinError)) throw error
          if (error.code === 'timed-out' || error.code === 'outcome-unknown') unknown.add(key)
          return error.code
        }
      },
      async get(server, key, how = 'linearizable') {
        try {
          const range = await clientOf(server).range({ key: utf8(key), serializable: how === 'serializable' })
          const [found] = range.kvs
          return found === undefined ? undefined : text(found.value)
        } catch (error) {
          if (!(error instanceof SkeinError)) throw error
          return `!${error.code}`
        }
      },
      async compact(server) {
        await clientOf(server).compact(server.running?.status().revision ?? 0)
      },
      lose: (server) => void lost.add(server),
      async moveLeader(from, to) {
        try {
          await clientOf(from).moveLeader(to.running?.memberId ?? 0n)
          return 'ok'
        } catch (error) {
          if (!(error instanceof SkeinError)) throw error
          return error.code
        }
      },
      async versionsAboveOne(server, prefix) {
        const range = await clientOf(server).range({ key: utf8(prefix), rangeEnd: utf8(`${prefix}~`) })
        assert.ok(range.kvs.length > 0)
        return range.kvs.filter((kv) => kv.version > 1).length
      },
      async fill(server, count, sizeBytes = 100) {
        const results = await Promise.all(
          Array.from({ length: count }, () => it.put(server, `fill${filled++ % 500}`, 'x'.repeat(sizeBytes))),
        )
        assert.deepEqual(
          results.filter((result) => result !== 'ok'),
          [],
        )
      },
    }

    const check = async (): Promise<void> => {
      const asked = cluster.servers.filter((server) => !lost.has(server))
      await it.until('every server runs and knows a leader', () =>
        asked.every((server) => server.running?.status().leader !== undefined),
      )
      const contents = new Map<string, string>()
      for (const server of asked) {
        const range = await clientOf(server).range(
          { key: Uint8Array.of(0), rangeEnd: Uint8Array.of(0) },
          { timeoutMs: 20_000 },
        )
        const found = new Map(range.kvs.map((kv) => [text(kv.key), text(kv.value)]))
        for (const [key, value] of acknowledged) {
          if (!unknown.has(key)) assert.equal(found.get(key), value, `${key} on ${server.name}`)
        }
        const lines = range.kvs.map((kv) => `${text(kv.key)} ${kv.createRevision} ${kv.modRevision} ${kv.version}`)
        contents.set(server.name, `${range.header?.revision} ${lines.join()}`)
      }
      assert.equal(new Set(contents.values()).size, 1, `servers differ: ${[...contents.keys()].join()}`)
    }

    await simulation.runAsync(
      async () => {
        await tell(it)
        for (const server of cluster.servers) {
          server.process.disk.fault = undefined
          server.process.disk.capacityBytes = Number.POSITIVE_INFINITY
        }
        mendAll(simulation, cluster)
        await check()
        for (const client of clients.values()) client.close()
      },
      { untilMs: 600_000, maxEvents: 5_000_000 },
    )
    assert.deepEqual(
      simulation.findings.map(({ violation }) => violation.invariant),
      options.findings ?? [],
    )
    const { problems } = options
    assert.deepEqual(
      cluster.problems.filter((problem) => problems?.test(problem) !== true),
      [],
    )
  })
}
