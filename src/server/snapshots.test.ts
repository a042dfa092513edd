/** Followers that fall behind, and everything that can happen to the state on its way to them. */
import assert from 'node:assert/strict'
import type { SimServer } from '../lab/index.ts'
import { SMALL, type Story, story } from './scenario.testkit.ts'

/** A follower is down until the log no longer reaches back to where it stands; it comes back at the end of this. */
async function fallBehind(it: Story, sizeBytes = 200): Promise<{ leader: SimServer; behind: SimServer }> {
  const [behind] = (await it.followers()) as [SimServer]
  behind.crash()
  const leader = await it.leader()
  for (let i = 0; i < 4; i++) {
    await it.fill(leader, 100, sizeBytes)
    // Long enough for a checkpoint, after which the log is cut.
    await it.simulation.sleep(400)
  }
  return { leader, behind }
}

const caughtUp = (it: Story, server: SimServer): Promise<void> =>
  it.until(`${server.name} has caught up`, () => {
    const revisions = it.cluster.servers.map((one) => one.running?.status().revision)
    return server.running !== undefined && new Set(revisions).size === 1
  })

story('a follower that is a little behind catches up from the log', {}, async (it) => {
  const [behind] = (await it.followers()) as [SimServer]
  behind.crash()
  await it.fill(await it.leader(), 30)
  behind.start()
  await caughtUp(it, behind)
  assert.equal(it.count('snapshot-begins'), 0)
})

story('a follower that is far behind gets a snapshot, once', {}, async (it) => {
  const { behind } = await fallBehind(it)
  behind.start()
  await caughtUp(it, behind)
  assert.equal(it.count('snapshot-begins', { from: it.cluster.leader()?.running?.memberId }), 1)
  assert.equal(it.count('snapshot-sent', { success: true }), 1)
})

story('snapshot: the log waits for a follower that catches up while others write on', {}, async (it) => {
  const { leader, behind } = await fallBehind(it)
  const slow = { ...it.simulation.link(leader.name, behind.name).profile, bytesPerMs: 100 }
  it.simulation.link(leader.name, behind.name).profile = slow
  behind.start()
  for (let i = 0; i < 20; i++) {
    await it.fill(leader, 50)
    await it.simulation.sleep(100)
  }
  await caughtUp(it, behind)
  assert.equal(it.count('snapshot-begins'), 1)
})

story('snapshot: the sender crashes in the middle', { servers: 5 }, async (it) => {
  const { leader, behind } = await fallBehind(it, 2_000)
  it.onLog(({ event }) => {
    if (event === 'snapshot-begins' && leader.up) {
      it.simulation.at(it.simulation.nowMs + 0.5, () => leader.crash({ silent: false }))
    }
  })
  behind.start()
  await it.until('the sender crashed', () => !leader.up)
  assert.equal(it.count('snapshot-sent', { success: true }), 0)
  await it.until('another one sends', () => it.count('snapshot-sent', { success: true }) === 1)
})

story('snapshot: the sender loses leadership in the middle, and stops', { servers: 5 }, async (it) => {
  const { leader, behind } = await fallBehind(it, 2_000)
  for (const other of it.cluster.servers)
    if (other !== leader)
      it.simulation.link(leader.name, other.name).profile = {
        ...it.simulation.link(leader.name, other.name).profile,
        bytesPerMs: 100,
      }
  behind.start()
  await it.until('it began', () => it.count('snapshot-begins') > 0)
  for (const other of it.cluster.servers)
    if (other !== leader && other !== behind) it.simulation.partition(leader.name, other.name)
  await it.until('the stream ended', () => it.count('snapshot-sent', { why: 'leadership lost' }) === 1)
})

story(
  'snapshot: it arrives at last over a link that takes longer for it than a stream may stand still',
  {},
  async (it) => {
    const { leader, behind } = await fallBehind(it, 2_000)
    const link = it.simulation.link(leader.name, behind.name)
    const { profile } = link
    link.profile = { ...profile, bytesPerMs: 150 }
    behind.start()
    await caughtUp(it, behind)
    assert.equal(it.count('snapshot-begins'), 1)
    assert.equal(it.count('snapshot-sent', { success: true }), 1)
    link.profile = profile
  },
)

story('snapshot: the connection is lost in the middle, again and again', {}, async (it) => {
  const { leader, behind } = await fallBehind(it, 2_000)
  let losses = 0
  it.onLog(({ event }) => {
    if (event !== 'snapshot-begins' || losses === 4) return
    losses++
    it.simulation.at(it.simulation.nowMs + 0.5, () => it.simulation.resetConnections(leader.name, behind.name))
  })
  behind.start()
  await it.until('it was lost four times', () => losses === 4)
  await caughtUp(it, behind)
  assert.ok(it.count('snapshot-sent', { success: false }) >= 4)
})

story('snapshot: the follower loses power after each disk operation on the way', {}, async (it) => {
  const { behind } = await fallBehind(it)
  let begun = false
  let operations = 0
  it.onLog(({ process, event }) => {
    if (process === behind.name && event === 'snapshot-begins') begun = true
  })
  // One operation later each time, until a life has seen the whole of it.
  for (let after = 1; ; after++) {
    begun = false
    operations = 0
    behind.process.disk.fault = () => {
      if (begun && ++operations === after) it.simulation.at(it.simulation.nowMs, () => behind.crash({ silent: false }))
      return undefined
    }
    behind.start()
    await it.until('it crashed, or was there', () => !behind.up || isThere(it, behind))
    await it.simulation.sleep(500)
    assert.ok(begun, 'it needed a snapshot')
    if (behind.up) {
      assert.ok(operations >= 4, `all of it took ${operations} operations`)
      return
    }
    assert.ok(after < 40, 'a snapshot takes only so many operations of the disk')
    // Some crashes kept the new state, some did not: it must need the next one in any case.
    for (let i = 0; i < 3; i++) {
      await it.fill(it.cluster.leader() as SimServer, 100)
      await it.simulation.sleep(400)
    }
  }
})

function isThere(it: Story, server: SimServer): boolean {
  const status = server.running?.status()
  const leader = it.cluster.leader()?.running?.status()
  return status !== undefined && leader !== undefined && status.revision === leader.revision
}

story('snapshot: while it is swapped in, reads see the old state or the new one, nothing between', {}, async (it) => {
  const [behind] = (await it.followers()) as [SimServer]
  const leader = await it.leader()
  assert.equal(await it.put(leader, 'steady', '0'), 'ok')
  // So that its engine has it: else it would be seen to begin with nothing.
  await it.simulation.sleep(500)
  behind.crash()
  for (let i = 1; i <= 400; i++) assert.equal(await it.put(leader, 'steady', `${i}`), 'ok')
  await it.compact(leader)
  await it.simulation.sleep(800)
  // Long enough to look at it while it goes on.
  const { profile } = behind.process.disk
  behind.process.disk.profile = { ...profile, syncMinMs: 100, syncMaxMs: 200 }
  behind.start()
  await it.until('it runs', () => behind.running !== undefined)
  const seen = new Set<string | undefined>()
  while (!isThere(it, behind)) {
    seen.add(await it.get(behind, 'steady', 'serializable'))
    await it.simulation.sleep(3)
  }
  assert.equal(it.count('snapshot-begins'), 1)
  assert.ok(!seen.has(undefined), [...seen].join())
  assert.ok(
    [...seen].every((value) => value === '0' || value === '400'),
    [...seen].join(),
  )
  behind.process.disk.profile = profile
})

story('snapshot: its receiver stops gracefully in the middle, and comes back', {}, async (it) => {
  const { behind } = await fallBehind(it, 2_000)
  it.onLog(({ process, event }) => {
    if (process === behind.name && event === 'snapshot-begins' && it.count('snapshot-begins') === 1)
      it.simulation.at(it.simulation.nowMs + 0.5, () => behind.stop())
  })
  behind.start()
  await it.until('it stopped', () => !behind.up)
  behind.start()
  await caughtUp(it, behind)
})

story('snapshot: its sender stops gracefully in the middle', {}, async (it) => {
  const { leader, behind } = await fallBehind(it, 2_000)
  it.onLog(({ event }) => {
    if (event === 'snapshot-begins' && leader.up) it.simulation.at(it.simulation.nowMs + 0.5, () => leader.stop())
  })
  behind.start()
  await it.until('it stopped', () => !leader.up)
  await it.until('the other two lead', () => it.cluster.leader() !== undefined)
})

story(
  'the log stays small where few large entries fill it, though a follower is slow',
  { server: { tuning: { ...SMALL.tuning, keepEntries: 1_000, maxHeldLogBytes: 1_000_000 } } },
  async (it) => {
    const leader = await it.leader()
    const [slow] = (await it.followers()) as [SimServer]
    const link = it.simulation.link(leader.name, slow.name)
    const { profile } = link
    link.profile = { ...profile, bytesPerMs: 50 }
    let largest = 0
    for (let i = 0; i < 30; i++) {
      await it.fill(leader, 5, 100_000)
      await it.simulation.sleep(350)
      largest = Math.max(largest, sizeOfLog(leader))
    }
    // What it may keep, a segment, and what comes between two checkpoints: far from the 15 MB that were written.
    assert.ok(largest < 4_000_000, `${largest} bytes`)
    link.profile = profile
    await caughtUp(it, slow)
  },
)

function sizeOfLog(server: SimServer): number {
  let sizeBytes = 0
  for (const { path, size } of server.process.disk.files()) if (path.startsWith('data/log/')) sizeBytes += size
  return sizeBytes
}
