/** Graceful ends: of one, of all, in the middle of things. */
import assert from 'node:assert/strict'
import type { SimServer } from '../lab/index.ts'
import { story } from './scenario.testkit.ts'

/** The promise of the supervisor, less what processes need to end. */
const ALL_STOP_MS = 1_500

for (const servers of [3, 5, 7]) {
  story(`the leader of ${servers} stops: another one leads before anybody misses it`, { servers }, async (it) => {
    const leader = await it.leader()
    const [other] = (await it.followers()) as [SimServer]
    await it.fill(leader, 20)
    leader.stop()
    const asked = it.simulation.nowMs
    assert.equal(await it.put(other, 'meanwhile', 'a'), 'ok')
    assert.ok(it.simulation.nowMs - asked < 500, `it took ${it.simulation.nowMs - asked} ms`)
    await it.until('it ended', () => !leader.up)
    assert.equal(it.count('leadership-handed-over', { success: true }), 1)
  })
}

for (const servers of [1, 2, 3, 5, 7]) {
  story(`all ${servers} are stopped at once: soon over, nothing is lost`, { servers }, async (it) => {
    const leader = await it.leader()
    await it.fill(leader, 50)
    const asked = it.simulation.nowMs
    for (const server of it.cluster.servers) server.stop()
    await it.until('all ended', () => it.cluster.servers.every((server) => !server.up), ALL_STOP_MS)
    assert.ok(it.simulation.nowMs - asked < ALL_STOP_MS)
    assert.equal(it.count('leadership-handed-over'), 0)
    for (const server of it.cluster.servers) server.start()
    await it.leader()
  })
}

story('all are stopped one after another, 100 ms apart', { servers: 5 }, async (it) => {
  const leader = await it.leader()
  await it.fill(leader, 20)
  const asked = it.simulation.nowMs
  for (const server of [leader, ...it.cluster.servers.filter((one) => one !== leader)]) {
    server.stop()
    await it.simulation.sleep(100)
  }
  await it.until('all ended', () => it.cluster.servers.every((server) => !server.up))
  assert.ok(it.simulation.nowMs - asked < 500 + ALL_STOP_MS)
})

story('a stop that is asked for twice, and once more when it is over, is told each time', {}, async (it) => {
  const [one] = (await it.followers()) as [SimServer]
  const { running } = one
  assert.ok(running !== undefined)
  let told = 0
  running.stop(() => told++)
  running.stop(() => told++)
  await it.until('both were told', () => told === 2)
  running.stop(() => told++)
  await it.until('the third was told', () => told === 3)
  one.crash({ keepWrites: true, silent: false })
})

story('writes that are open when the leader stops are answered, and none is unknown', {}, async (it) => {
  const leader = await it.leader()
  const [other] = (await it.followers()) as [SimServer]
  const open = Array.from({ length: 50 }, (_, i) => it.put(other, `k${i}`, 'v'))
  await it.simulation.sleep(0.5)
  leader.stop()
  assert.deepEqual(
    (await Promise.all(open)).filter((result) => result !== 'ok'),
    [],
  )
})

story('a server that starts while all others stop does not hold anybody up', {}, async (it) => {
  const [late, other] = (await it.followers()) as [SimServer, SimServer]
  const leader = await it.leader()
  late.crash({ silent: false })
  await it.simulation.sleep(100)
  late.start()
  leader.stop()
  other.stop()
  await it.until('both ended', () => !leader.up && !other.up, ALL_STOP_MS)
})
