/** The client in the simulated world: what it promises while servers crash and connections break. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { SkeinError, utf8 } from '../base/index.ts'
import type { SimCluster, Simulation } from '../lab/index.ts'
import { createSimCluster, createSimulation } from '../lab/index.ts'
import { yieldMacrotask } from '../world/node/index.ts'
import type { Client } from './index.ts'
import { connectClient } from './index.ts'

const WRITERS = 6
const RUN_MS = 6_000

type Tally = { acknowledged: number; readonly failures: string[] }

/** Every writer puts to its own key until time is up; a failure is noted and ends nothing. */
async function write(client: Client, key: Uint8Array, until: () => boolean, tally: Tally): Promise<void> {
  for (let i = 0; !until(); i++) {
    try {
      await client.put(key, utf8(String(i)))
      tally.acknowledged++
    } catch (error) {
      if (!(error instanceof SkeinError)) throw error
      tally.failures.push(`${error.code}: ${error.message}`)
    }
  }
}

type Story = (simulation: Simulation, cluster: SimCluster) => void

async function run(seed: number, story: Story): Promise<readonly { versions: number; tally: Tally }[]> {
  const simulation = createSimulation({ seed, yieldMacrotask })
  const cluster = createSimCluster(simulation, 3)
  const { world } = simulation.process('client')
  story(simulation, cluster)
  return simulation.runAsync(
    async () => {
      // Before the servers listen there is nobody, and a client says so at once.
      await simulation.sleep(1_000)
      const client = connectClient(world, { endpoints: cluster.endpoints, timeoutMs: 20_000 })
      const keys = Array.from({ length: WRITERS }, (_, i) => utf8(`w${i}`))
      const tallies = keys.map((): Tally => ({ acknowledged: 0, failures: [] }))
      await Promise.all(keys.map((key, i) => write(client, key, () => simulation.nowMs > RUN_MS, tallies[i] as Tally)))
      const results = await Promise.all(
        keys.map(async (key, i) => ({ versions: (await client.get(key))?.version ?? 0, tally: tallies[i] as Tally })),
      )
      client.close()
      return results
    },
    { untilMs: 120_000 },
  )
}

const leaderDies: Story = (simulation, cluster) => {
  for (const atMs of [2_000, 3_500, 5_000]) {
    simulation.at(atMs, () => {
      const leader = cluster.leader() ?? cluster.servers[0]
      leader?.crash()
      simulation.at(simulation.nowMs + 700, () => leader?.start())
    })
  }
}

const connectionsBreak: Story = (simulation, cluster) => {
  for (let atMs = 1_500; atMs < RUN_MS; atMs += 150) {
    simulation.at(atMs, () => {
      for (const server of cluster.servers) simulation.resetConnections('client', server.name)
    })
  }
}

const answersAreLost: Story = (simulation, cluster) => {
  for (const [i, server] of cluster.servers.entries()) {
    simulation.at(1_500 + i * 1_500, () => simulation.partition(server.name, 'client', { oneWay: true }))
    simulation.at(2_700 + i * 1_500, () => {
      simulation.resetConnections('client', server.name)
      simulation.heal(server.name, 'client')
    })
  }
}

describe('client in the simulated world', () => {
  for (const [name, story] of Object.entries({ leaderDies, connectionsBreak, answersAreLost })) {
    for (const seed of [1, 2]) {
      test(`${name}: every write is acknowledged and takes effect once (seed ${seed})`, async () => {
        const results = await run(seed, story)
        for (const { versions, tally } of results) {
          assert.deepEqual(tally.failures, [])
          assert.ok(tally.acknowledged > 20, `only ${tally.acknowledged} writes`)
          assert.equal(versions, tally.acknowledged)
        }
      })
    }
  }

  test('one seed, one trace', async () => {
    const hashes = await Promise.all(
      [1, 2].map(async () => {
        const simulation = createSimulation({ seed: 4, yieldMacrotask })
        const cluster = createSimCluster(simulation, 3)
        leaderDies(simulation, cluster)
        await simulation.runAsync(async () => {
          await simulation.sleep(1_000)
          const client = connectClient(simulation.process('client').world, { endpoints: cluster.endpoints })
          await client.put(utf8('k'), utf8('v'))
          await simulation.sleep(3_000)
          await client.put(utf8('k'), utf8('w'))
          client.close()
        })
        return simulation.traceHash()
      }),
    )
    assert.equal(hashes[0], hashes[1])
  })
})
