/** What clients are told while servers cannot reach each other, and how soon. */
import assert from 'node:assert/strict'
import type { SimServer } from '../lab/index.ts'
import { type Story, story } from './scenario.testkit.ts'

/** An election that succeeds is over by then; with the default election timeout of a second, and some for the answer. */
const GRACE_MS = 5_500

function isolate(it: Story, one: SimServer): void {
  for (const other of it.cluster.servers) if (other !== one) it.simulation.partition(one.name, other.name)
}

for (const servers of [1, 3, 5, 7]) {
  story(`${servers} servers: any minority may go`, { servers }, async (it) => {
    const leader = await it.leader()
    assert.equal(await it.put(leader, 'a', '1'), 'ok')
    for (const server of it.cluster.servers.slice(0, (servers - 1) / 2)) server.crash({ silent: true })
    const rest = it.cluster.servers.filter((server) => server.up)
    for (const server of rest) assert.equal(await it.put(server, `from ${server.name}`, '2'), 'ok')
    for (const server of rest) assert.equal(await it.get(server, 'a'), '1')
  })
}

for (const who of ['leader', 'follower'] as const) {
  story(`a lone ${who} in a partition refuses in bounded time, and answers what is serializable`, {}, async (it) => {
    const leader = await it.leader()
    const [follower, third] = (await it.followers()) as [SimServer, SimServer]
    const lone = who === 'leader' ? leader : follower
    assert.equal(await it.put(leader, 'k', 'old'), 'ok')
    await it.until(
      'the follower has it',
      () => follower.running?.status().revision === leader.running?.status().revision,
    )
    isolate(it, lone)
    const asked = it.simulation.nowMs
    const read = it.get(lone, 'k')
    const written = it.put(lone, 'lost', 'x')
    assert.equal(await it.put(third, 'k', 'new'), 'ok')
    assert.equal(await read, '!no-leader')
    assert.ok(it.simulation.nowMs - asked < GRACE_MS, `refused after ${it.simulation.nowMs - asked} ms`)
    // It was handed to a leader, if only to one that could do nothing with it.
    assert.match(await written, /^(timed-out|outcome-unknown)$/)
    // Once it is known that nobody leads, there is nothing to wait for.
    const again = it.simulation.nowMs
    assert.equal(await it.get(lone, 'k'), '!no-leader')
    assert.equal(await it.put(lone, 'lost', 'x'), 'no-leader')
    assert.ok(it.simulation.nowMs - again < 1_500, `refused again after ${it.simulation.nowMs - again} ms`)
    assert.equal(await it.get(lone, 'k', 'serializable'), 'old')
    assert.equal(await it.get(third, 'k'), 'new')
    for (const other of it.cluster.servers) if (other !== lone) it.simulation.heal(lone.name, other.name)
    await it.until('it is back', () => lone.running?.status().leader === third.running?.status().leader)
    assert.equal(await it.get(lone, 'k'), 'new')
  })
}

story('a follower whose connection breaks sends its open writes again: none is unknown', {}, async (it) => {
  const leader = await it.leader()
  const [follower] = (await it.followers()) as [SimServer]
  for (let round = 0; round < 20; round++) {
    const asked = it.simulation.nowMs
    const open = Array.from({ length: 20 }, (_, i) => it.put(follower, `r${round}k${i}`, 'v'))
    // While they travel, are appended, or are on their way back.
    await it.simulation.sleep(0.2 + round * 0.15)
    it.simulation.resetConnections(leader.name, follower.name)
    assert.deepEqual(
      (await Promise.all(open)).filter((result) => result !== 'ok'),
      [],
    )
    // By the server itself: its client would ask again only after the server's request timeout.
    assert.ok(it.simulation.nowMs - asked < 1_500, `round ${round} took ${it.simulation.nowMs - asked} ms`)
  }
})

story('a storm of leaders: each write takes effect once, whatever is told about it', { servers: 5 }, async (it) => {
  const results: Promise<string>[] = []
  for (let round = 0; round < 12; round++) {
    const leader = await it.leader()
    const followers = await it.followers()
    for (const [i, server] of it.cluster.servers.entries()) results.push(it.put(server, `s${round}-${i}`, `v${round}`))
    const to = followers[round % followers.length] as SimServer
    const { running } = to
    assert.ok(running !== undefined)
    if (round % 3 === 0) leader.crash({ silent: false })
    else if (round % 3 === 1) isolate(it, leader)
    else leader.stop()
    await it.simulation.sleep(1_500)
    for (const server of it.cluster.servers) {
      for (const other of it.cluster.servers) if (server !== other) it.simulation.heal(server.name, other.name)
      server.start()
    }
    await it.simulation.sleep(500)
  }
  const told = await Promise.all(results)
  assert.ok(told.filter((result) => result === 'ok').length > told.length / 2, told.join())
  // Version 1: no put was applied twice.
  for (const server of it.cluster.servers) assert.equal(await it.versionsAboveOne(server, 's'), 0)
})

story(
  'a leader that refuses for a while is asked again, not all the time, and then takes everything',
  {},
  async (it) => {
    const leader = await it.leader()
    const [follower, third] = (await it.followers()) as [SimServer, SimServer]
    // It is told to hand over to one that cannot be reached, and takes nothing until it gives that up.
    it.simulation.partition(leader.name, third.name)
    const moved = it.moveLeader(leader, third)
    await it.simulation.sleep(5)
    const before = it.simulation.events
    const open = Array.from({ length: 100 }, (_, i) => it.put(i % 2 === 0 ? follower : leader, `k${i}`, 'v'))
    await it.simulation.sleep(500)
    assert.ok(it.simulation.events - before < 500, `${it.simulation.events - before} events in half a second`)
    assert.deepEqual(
      (await Promise.all(open)).filter((result) => result !== 'ok'),
      [],
    )
    assert.notEqual(await moved, 'ok')
  },
)
