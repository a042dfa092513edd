/** Disks that are full, fail, are slow or are gone. */
import assert from 'node:assert/strict'
import type { SimServer } from '../lab/index.ts'
import { SMALL, type Story, story } from './scenario.testkit.ts'

/** As full as it is now, and a little more. */
function fill(server: SimServer, spareBytes = 0): void {
  server.process.disk.capacityBytes = server.process.disk.usedBytes + spareBytes
}

function empty(server: SimServer): void {
  server.process.disk.capacityBytes = Number.POSITIVE_INFINITY
}

/** Writes through the server until it refuses one for lack of space; what was acknowledged must stay. */
async function putUntilFull(it: Story, server: SimServer): Promise<void> {
  for (let i = 0; i < 200; i++) {
    const result = await it.put(server, `full${i}`, 'y'.repeat(4_000), 1_000)
    if (result === 'disk-full') return
    assert.match(result, /^(ok|timed-out|outcome-unknown)$/)
  }
  assert.fail('the disk is never full')
}

story('disk full everywhere: writes are refused, reads go on, and it recovers by itself', {}, async (it) => {
  const leader = await it.leader()
  await it.fill(leader, 20)
  assert.equal(await it.put(leader, 'before', 'a'), 'ok')
  for (const server of it.cluster.servers) fill(server, 8_192)
  await putUntilFull(it, leader)
  for (const server of it.cluster.servers) {
    assert.equal(await it.get(server, 'before', 'serializable'), 'a')
    assert.equal(await it.get(server, 'before'), 'a')
    assert.notEqual(await it.put(server, 'refused', 'b', 1_000), 'ok')
  }
  for (const server of it.cluster.servers) empty(server)
  await it.until('writes are taken again', () => it.count('disk-has-space') > 0)
  for (const server of it.cluster.servers) assert.equal(await it.put(server, 'after', server.name), 'ok')
})

story('disk full at a follower: the others go on, and it catches up once there is space', {}, async (it) => {
  const leader = await it.leader()
  const [full, other] = (await it.followers()) as [SimServer, SimServer]
  await it.fill(leader, 10)
  fill(full, 4_096)
  for (let i = 0; i < 30; i++)
    assert.equal(await it.put(i % 2 === 0 ? leader : other, `k${i}`, 'z'.repeat(2_000)), 'ok')
  assert.ok(it.count('disk-full') > 0)
  assert.equal(await it.put(full, 'through the full one', 'x'), 'disk-full')
  assert.equal(await it.get(full, 'fill0', 'serializable'), 'x'.repeat(100))
  empty(full)
  await it.until('it caught up', () => full.running?.status().revision === leader.running?.status().revision)
})

story('disk full at the leader: it hands over to one that has space, and the cluster goes on', {}, async (it) => {
  const leader = await it.leader()
  const [other] = (await it.followers()) as [SimServer]
  await it.fill(leader, 10)
  fill(leader, 4_096)
  await putUntilFull(it, leader)
  await it.until('another one leads', () => {
    const now = it.cluster.leader()
    return now !== undefined && now !== leader
  })
  for (let i = 0; i < 10; i++) assert.equal(await it.put(other, `on${i}`, 'z'.repeat(2_000)), 'ok')
  assert.equal(await it.put(leader, 'here', 'x'), 'disk-full')
})

story('disk full while servers restart: what was acknowledged is there', {}, async (it) => {
  const leader = await it.leader()
  await it.fill(leader, 20)
  for (const server of it.cluster.servers) fill(server, 8_192)
  await putUntilFull(it, leader)
  for (const server of it.cluster.servers) server.crash({ silent: false })
  for (const server of it.cluster.servers) empty(server)
  for (const server of it.cluster.servers) server.start()
  await it.leader()
})

story(
  'a failed sync of the log ends the server, and the others go on',
  { findings: ['log-sync-failed'] },
  async (it) => {
    const leader = await it.leader()
    const [other] = (await it.followers()) as [SimServer]
    await it.fill(leader, 5)
    leader.process.disk.fault = (operation, path) =>
      operation === 'datasync' && path.includes('/log/') ? 'disk-failed' : undefined
    await it.put(leader, 'unknown', 'x', 2_000)
    await it.until('it ended', () => !leader.up)
    leader.process.disk.fault = undefined
    await it.until('another one leads', () => it.cluster.leader()?.up === true)
    assert.equal(await it.put(other, 'after', 'b'), 'ok')
  },
)

story(
  'a storage engine that can write nothing: writes are refused before memory runs out, and go on with space',
  { server: { tuning: { ...SMALL.tuning, maxOverlayBytes: 65_536 } } },
  async (it) => {
    const [sick, other] = (await it.followers()) as [SimServer, SimServer]
    sick.process.disk.fault = (operation, path) =>
      operation === 'replace' && path.includes('/engine/') ? 'disk-full' : undefined
    for (let i = 0; i < 40; i++) assert.equal(await it.put(other, `k${i}`, 'z'.repeat(4_000)), 'ok')
    await it.until('its overlay is full', () => it.count('engine-pressure', { under: true }) > 0)
    await it.simulation.sleep(1_500)
    assert.equal(await it.put(sick, 'refused', 'x'), 'disk-full')
    assert.equal(await it.get(sick, 'k0', 'serializable'), 'z'.repeat(4_000))
    sick.process.disk.fault = undefined
    await it.until('it caught up', () => sick.running?.status().revision === other.running?.status().revision)
    assert.equal(await it.put(sick, 'taken', 'x'), 'ok')
  },
)

story('a slow disk at the leader: what its followers have is enough', {}, async (it) => {
  const leader = await it.leader()
  const { profile } = leader.process.disk
  leader.process.disk.profile = { ...profile, syncMinMs: 200, syncMaxMs: 400 }
  const start = it.simulation.nowMs
  await it.fill((await it.followers())[0] as SimServer, 50)
  assert.ok(it.simulation.nowMs - start < 5_000)
})
