import assert from 'node:assert/strict'
import { test } from 'node:test'
import { text } from '../base/index.ts'
import type { Connection, World } from '../world/index.ts'
import { createCluster, pairUp } from './links.testkit.ts'

test('two members find each other, persist who they are, and exchange frames on both lanes', () => {
  const { a, b, until } = pairUp('first')
  assert.equal(a.send(b, 'control', 'one'), 'sent')
  assert.equal(a.send(b, 'control', 'two'), 'sent')
  assert.equal(b.send(a, 'bulk', 'three'), 'sent')
  until(() => b.frames.length === 2 && a.frames.length === 1)
  assert.deepEqual(
    b.heard.filter((line) => line.startsWith('frame')),
    ['frame a control one', 'frame a control two'],
  )
  for (const member of [a, b]) {
    const other = member === a ? 'b' : 'a'
    assert.equal(member.heard.filter((line) => line === `instance ${other}`).length, 1)
    assert.ok(member.heard.indexOf(`persisted ${other}`) < member.heard.indexOf(`up ${other} control`))
    assert.equal(member.known.size, 1)
    assert.deepEqual(member.refusals, [])
  }
})

/** Every connection of a world goes through `change` first. */
function changing(world: World, change: (connection: Connection) => void): World {
  const { network } = world
  return {
    ...world,
    network: {
      listen: (address, options, accept, done) =>
        network.listen(
          address,
          options,
          (connection) => {
            change(connection)
            return accept(connection)
          },
          done,
        ),
      dial: (address, options, opened) =>
        network.dial(address, options, (result) => {
          if (result.ok) change(result.value)
          return opened(result)
        }),
    },
  }
}

/** What is on its way when a connection is reset arrives before the reset, as on a real network; the simulated one drops it. */
function lateResets(world: World): World {
  return changing(world, (connection) => {
    const reset = connection.reset.bind(connection)
    connection.reset = () => void world.clock.setTimer(1, reset)
  })
}

test('dials that cross: one connection per lane on both sides, whatever the order (100 seeds)', () => {
  let crossed = 0
  for (let seed = 0; seed < 100; seed++) {
    // The higher id dials as early as the lower.
    const cluster = createCluster(seed, ['a', 'b'], { b: { redialMinMs: 0.05 } })
    const [a, b] = cluster.members
    assert.ok(a !== undefined && b !== undefined)
    if (seed % 2 === 0) for (const member of [a, b]) member.wrap = lateResets
    b.start()
    cluster.run((seed % 5) / 10)
    a.start()
    cluster.until(() => a.isUp(b) && b.isUp(a), 200)
    cluster.run(500)
    for (const member of [a, b]) {
      assert.deepEqual(
        member.heard.filter((line) => line.startsWith('up') || line.startsWith('down')).sort(),
        [`up ${member === a ? 'b' : 'a'} bulk`, `up ${member === a ? 'b' : 'a'} control`],
        `seed ${seed}`,
      )
    }
    const dials = [a, b].map((member) => member.links.stats().map((of) => of.dials))
    // The lower's dial stands, or gives way to one that came first: never is there a second.
    assert.ok(
      dials[0]?.every((count) => count <= 1),
      `seed ${seed}: ${dials.join(' and ')} dials`,
    )
    if (dials.every((of) => of.every((count) => count > 0))) crossed++
  }
  assert.ok(crossed > 50, `only ${crossed} crossed`)
})

test('only one side can dial: that is enough, from either side', () => {
  for (const [blind, seeing] of [
    ['a', 'b'],
    ['b', 'a'],
  ] as const) {
    const cluster = createCluster(`blind ${blind}`, ['a', 'b'])
    const [a, b] = cluster.members
    assert.ok(a !== undefined && b !== undefined)
    const member = blind === 'a' ? a : b
    member.routes.set(seeing, 'nowhere:1')
    a.start()
    b.start()
    cluster.until(() => a.isUp(b) && b.isUp(a), 500)
  }
})

test('what cannot be sent says so: down before the first connection, full beyond the limits', () => {
  const cluster = createCluster('limits', ['a', 'b'])
  const [a, b] = cluster.members
  assert.ok(a !== undefined && b !== undefined)
  a.start()
  assert.equal(a.send(b, 'control', 'early'), 'down')
  b.start()
  cluster.until(() => a.isUp(b) && b.isUp(a))
  assert.equal(a.links.send(b.id, 'control', [new Uint8Array(1_048_577)]), 'full')
  assert.equal(a.links.send(b.id, 'control', [new Uint8Array(1_048_576)]), 'sent')
  assert.equal(a.send(b, 'control', ''), 'sent')
  cluster.until(() => b.frames.length === 2)
  assert.deepEqual(
    b.frames.map(({ frame }) => frame.length),
    [1_048_576, 0],
  )
})

/** Counts the writes of every connection of a world. */
function countingWrites(world: World, count: { writes: number }): World {
  return changing(world, (connection) => {
    const write = connection.write.bind(connection)
    connection.write = (bytes) => {
      count.writes++
      return write(bytes)
    }
  })
}

test('the frames of one turn leave in one write per lane', () => {
  const cluster = createCluster('one write', ['a', 'b'])
  const [a, b] = cluster.members
  assert.ok(a !== undefined && b !== undefined)
  const count = { writes: 0 }
  a.wrap = (world) => countingWrites(world, count)
  // Only a dials.
  b.routes.set('a', 'nowhere:1')
  a.start()
  b.start()
  cluster.until(() => a.isUp(b) && b.isUp(a))
  const before = count.writes
  a.process.world.clock.setTimer(1, () => {
    for (let i = 0; i < 100; i++) a.send(b, i % 3 === 0 ? 'bulk' : 'control', `${i}`)
  })
  cluster.until(() => b.frames.length === 100, 400)
  assert.equal(count.writes - before, 2)
  assert.deepEqual(
    b.frames.filter(({ lane }) => lane === 'bulk').map(({ frame }) => text(frame)),
    Array.from({ length: 34 }, (_, i) => `${i * 3}`),
  )
})

test('back-pressure: a paused lane fills up to its limit, says full, drains in order; the other lane goes on', () => {
  const { a, b, until, run } = pairUp('pressure')
  b.links.pause(a.id, 'bulk')
  const chunk = new Uint8Array(65_536)
  let sent = 0
  let most = 0
  const pump = (): void => {
    while (sent < 150) {
      const frame = chunk.slice()
      new DataView(frame.buffer).setUint32(0, sent)
      if (a.links.send(b.id, 'bulk', [frame]) === 'full') return
      sent++
      most = Math.max(most, ...a.links.stats().map(({ queuedBytes }) => queuedBytes))
    }
  }
  a.onDrain = pump
  a.process.world.clock.setTimer(0, pump)
  // Longer than silence is borne: a paused side cannot hear, and the other hears its beats.
  run(20_000)
  assert.ok(sent < 100, `${sent} sent`)
  assert.ok(most <= 4_194_304 + 262_144, `${most} queued`)
  assert.equal(b.frames.length, 0)
  assert.ok(a.isUp(b) && b.isUp(a))
  a.send(b, 'control', 'meanwhile')
  until(() => b.frames.length === 1)
  b.links.resume(a.id, 'bulk')
  until(() => b.frames.length === 151)
  assert.deepEqual(
    b.frames
      .filter(({ lane }) => lane === 'bulk')
      .map(({ frame }) => new DataView(frame.buffer, frame.byteOffset).getUint32(0)),
    Array.from({ length: 150 }, (_, i) => i),
  )
  assert.ok(a.heard.filter((line) => line === 'drain b bulk').length > 1)
  assert.ok(!a.heard.some((line) => line.startsWith('down')))
})

test('a pause holds what has arrived already, and may be renewed at every frame', () => {
  const { a, b, until, run } = pairUp('held')
  b.onFrame = (from, lane) => b.links.pause(from, lane)
  a.process.world.clock.setTimer(0, () => {
    for (let i = 0; i < 5; i++) a.send(b, 'bulk', `${i}`)
  })
  for (let i = 1; i <= 5; i++) {
    until(() => b.frames.length === i)
    run(100)
    assert.equal(b.frames.length, i)
    b.links.resume(a.id, 'bulk')
    // Asking twice changes nothing.
    b.links.resume(a.id, 'bulk')
  }
  run(100)
  assert.deepEqual(
    b.frames.map(({ frame }) => text(frame)),
    ['0', '1', '2', '3', '4'],
  )
})

test('a pause ends with its connection', () => {
  const { simulation, a, b, until } = pairUp('pause ends')
  b.links.pause(a.id, 'control')
  simulation.resetConnections('a', 'b')
  until(() => !a.isUp(b))
  until(() => a.isUp(b) && b.isUp(a))
  a.send(b, 'control', 'heard')
  until(() => b.frames.length === 1)
})

test('a peer that is left out is disconnected and refused; taken in again it is back', () => {
  const { a, b, until, run } = pairUp('left out')
  a.setPeers([])
  assert.ok(!a.links.isUp(b.id, 'control'))
  assert.equal(a.send(b, 'control', 'x'), 'down')
  until(() => !b.isUp(a, 'control') && !b.isUp(a, 'bulk'))
  run(3000)
  assert.deepEqual(a.heard.filter((line) => line.startsWith('down')).sort(), ['down b bulk', 'down b control'])
  // The one that was left out asks again and again, seldom, and is told why, once.
  assert.equal(b.refusals.length, 1)
  assert.match(b.refusals[0]?.message ?? '', /does not know this server as a member/)
  assert.deepEqual(
    a.refusals.map(({ code }) => code),
    ['wrong-cluster'],
  )
  a.setPeers([b])
  until(() => a.isUp(b) && b.isUp(a))
  // Its instance is known from before.
  assert.equal(a.heard.filter((line) => line === 'instance b').length, 1)
})

test('a peer that moves is dialled at its new address', () => {
  const cluster = createCluster('moved', ['a', 'b'])
  const [a, b] = cluster.members
  assert.ok(a !== undefined && b !== undefined)
  a.routes.set('b', 'nowhere:1')
  b.routes.set('a', 'nowhere:1')
  a.start()
  b.start()
  cluster.run(2000)
  assert.ok(!a.isUp(b))
  a.routes.clear()
  a.setPeers([b])
  cluster.until(() => a.isUp(b) && b.isUp(a), 100)
})

test('close sends what is queued, and then nothing is heard any more', () => {
  const { a, b, until, run } = pairUp('close')
  a.process.world.clock.setTimer(0, () => {
    for (let i = 0; i < 10; i++) a.send(b, 'control', `${i}`)
    a.links.close()
    assert.equal(a.send(b, 'control', 'late'), 'down')
  })
  until(() => b.frames.length === 10)
  until(() => !b.isUp(a, 'control') && !b.isUp(a, 'bulk'))
  const heard = a.heard.length
  run(3000)
  assert.equal(a.heard.length, heard)
  assert.deepEqual(a.links.stats(), [])
})

test('statistics count what travelled, over all connections', () => {
  const { simulation, a, b, until, run } = pairUp('stats')
  a.links.send(b.id, 'bulk', [new Uint8Array(1000)])
  until(() => b.frames.length === 1)
  simulation.resetConnections('a', 'b')
  run(1000)
  until(() => a.isUp(b) && b.isUp(a))
  a.links.send(b.id, 'bulk', [new Uint8Array(1000)])
  until(() => b.frames.length === 2)
  const ofA = a.links.stats().find(({ lane }) => lane === 'bulk')
  const ofB = b.links.stats().find(({ lane }) => lane === 'bulk')
  assert.ok(ofA !== undefined && ofB !== undefined)
  assert.ok(ofA.sentBytes >= 2000 && ofA.sentBytes < 3000, `${ofA.sentBytes}`)
  assert.ok(ofB.receivedBytes >= 2000 && ofB.receivedBytes < 3000, `${ofB.receivedBytes}`)
  assert.equal(ofA.up, true)
  assert.equal(ofA.queuedBytes, 0)
  assert.ok(ofA.dials + ofB.dials >= 2)
})
