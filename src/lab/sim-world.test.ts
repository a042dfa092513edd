import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Rig, worldContract } from '../../test/world-contract.ts'
import { invariant, type Result } from '../base/index.ts'
import type { Connection, ConnectionHandlers, Listener } from '../world/index.ts'
import { yieldMacrotask } from '../world/node/index.ts'
import { createSimulation, LAN, type SimProcess, type Simulation } from './index.ts'

async function makeRig(): Promise<Rig> {
  const simulation = createSimulation({ seed: 'contract' })
  const [one, two] = [simulation.process('one'), simulation.process('two')]
  return {
    here: one.world,
    there: two.world,
    hereHost: 'one',
    thereHost: 'two',
    settle<T>(start: (done: (value: T) => void) => void): Promise<T> {
      return new Promise((resolve) => {
        let isDone = false
        start((value) => {
          isDone = true
          resolve(value)
        })
        const end = isDone ? 'until' : simulation.run({ until: () => isDone, untilMs: simulation.nowMs + 8000 })
        assert.equal(end, 'until', 'nothing came within 8 s')
      })
    },
    async end() {
      assert.deepEqual(simulation.findings, [])
    },
  }
}

worldContract('simulated', makeRig)

type Tally = { bytes: number; closed: string | undefined }

function tally(): { readonly seen: Tally; readonly handlers: ConnectionHandlers } {
  const seen: Tally = { bytes: 0, closed: undefined }
  return {
    seen,
    handlers: {
      onData: (bytes) => void (seen.bytes += bytes.length),
      onDrain() {},
      onClose: (reason) => void (seen.closed = reason?.message ?? 'in order'),
    },
  }
}

type Joined = { readonly near: Tally; readonly far: Tally; readonly end: Connection; readonly back: Connection }

/** A connection from process a to process b. */
function join(simulation: Simulation, a: SimProcess, b: SimProcess): Joined {
  const near = tally()
  const far = tally()
  let end: Connection | undefined
  let back: Connection | undefined
  const accept = (connection: Connection): ConnectionHandlers => {
    back = connection
    return far.handlers
  }
  b.world.network.listen(`${b.name}:0`, {}, accept, (result) => {
    assert.ok(result.ok)
    a.world.network.dial(result.value.address, { timeoutMs: 1000 }, (dialled) => {
      assert.ok(dialled.ok)
      end = dialled.value
      return near.handlers
    })
  })
  simulation.run({ until: () => end !== undefined, untilMs: 1000 })
  assert.ok(end !== undefined && back !== undefined)
  return { near: near.seen, far: far.seen, end, back }
}

function pair(seed: string): { simulation: Simulation; a: SimProcess; b: SimProcess } {
  const simulation = createSimulation({ seed, giveUpMs: 5000 })
  return { simulation, a: simulation.process('a'), b: simulation.process('b') }
}

test('a crash resets the connections of the dead at the others', () => {
  const { simulation, a, b } = pair('crash')
  const { near, far } = join(simulation, a, b)
  b.crash({ silent: false })
  simulation.run({ untilMs: 2000 })
  assert.match(near.closed ?? '', /the other side reset it/)
  assert.equal(far.closed, undefined, 'the dead hear nothing')
})

test('a silent crash is noticed only by what is sent, and after a restart by the answer', () => {
  const { simulation, a, b } = pair('silent')
  const { near, end } = join(simulation, a, b)
  b.crash({ silent: true })
  simulation.run({ untilMs: 3000 })
  assert.equal(near.closed, undefined)
  b.restart()
  end.write(new Uint8Array(10))
  simulation.run({ untilMs: 3100 })
  assert.match(near.closed ?? '', /reset/)
})

test('a silent crash without a restart: the sender gives up', () => {
  const { simulation, a, b } = pair('silent 2')
  const { near, end } = join(simulation, a, b)
  b.crash({ silent: true })
  end.write(new Uint8Array(10))
  simulation.run({ untilMs: 4000 })
  assert.equal(near.closed, undefined)
  simulation.run({ untilMs: 6000 })
  assert.match(near.closed ?? '', /does not answer/)
})

test('dialling a machine that is off runs into the timeout; one whose process is down refuses', () => {
  const { simulation, a, b } = pair('off')
  const told: string[] = []
  const dial = (): void => {
    a.world.network.dial('b:1', { timeoutMs: 300 }, (result) => {
      assert.ok(!result.ok)
      told.push(result.error.message)
      return undefined
    })
  }
  b.crash({ silent: true })
  dial()
  simulation.run({ untilMs: 299 })
  assert.deepEqual(told, [])
  simulation.run({ untilMs: 400 })
  b.restart()
  b.crash({ silent: false })
  dial()
  simulation.run({ untilMs: 500 })
  assert.deepEqual(told, [
    'cannot connect to b:1: no answer within 300 ms',
    'cannot connect to b:1: nothing listens there',
  ])
})

test('a partition that holds delivers everything in order after the heal', () => {
  const { simulation, a, b } = pair('hold')
  const { far, end, near } = join(simulation, a, b)
  end.write(new Uint8Array(1000))
  simulation.partition('a', 'b')
  for (let i = 0; i < 10; i++) end.write(new Uint8Array(1000))
  simulation.run({ untilMs: 2000 })
  assert.equal(far.bytes, 0)
  simulation.heal('a', 'b')
  end.write(new Uint8Array(7))
  simulation.run({ untilMs: 2500 })
  assert.equal(far.bytes, 11_007)
  assert.equal(near.closed, undefined)
})

test('a partition that lasts breaks a connection that has something to say', () => {
  const { simulation, a, b } = pair('lasting')
  const { far, end, near } = join(simulation, a, b)
  simulation.partition('a', 'b')
  end.write(new Uint8Array(1000))
  simulation.run({ untilMs: 6000 })
  assert.match(near.closed ?? '', /does not answer/)
  assert.equal(far.closed, undefined)
  assert.equal(far.bytes, 0)
})

test('a one-way partition stops one direction only; a resetting one breaks both ends', () => {
  const { simulation, a, b } = pair('one way')
  const { near, far, end, back } = join(simulation, a, b)
  simulation.partition('a', 'b', { oneWay: true })
  end.write(new Uint8Array(5))
  back.write(new Uint8Array(6))
  simulation.run({ untilMs: 1000 })
  assert.equal(far.bytes, 0)
  assert.equal(near.bytes, 6)
  simulation.partition('a', 'b', { mode: 'reset' })
  simulation.run({ untilMs: 1001 })
  assert.ok(near.closed?.includes('reset') && far.closed?.includes('reset'))
})

test('bytes keep their order but not their boundaries', () => {
  const { simulation, a, b } = pair('boundaries')
  const sizes: number[] = []
  let ended = false
  const accept = (): ConnectionHandlers => ({
    onData: (bytes) => void sizes.push(bytes.length),
    onDrain() {},
    onClose: () => {
      ended = true
    },
  })
  b.world.network.listen('b:1', {}, accept, () => {
    a.world.network.dial('b:1', { timeoutMs: 1000 }, (result) => {
      assert.ok(result.ok)
      for (let i = 0; i < 300; i++) result.value.write(new Uint8Array(100))
      result.value.close()
      return tally().handlers
    })
  })
  simulation.run({ until: () => ended })
  assert.equal(
    sizes.reduce((sum, size) => sum + size, 0),
    30_000,
  )
  assert.ok(sizes.some((size) => size < 100))
  assert.ok(sizes.some((size) => size > 100))
})

test('bandwidth is finite', () => {
  const { simulation, a, b } = pair('bandwidth')
  const { far, end } = join(simulation, a, b)
  simulation.link('a', 'b').profile = { ...LAN, bytesPerMs: 100 }
  const startMs = simulation.nowMs
  end.write(new Uint8Array(100_000))
  simulation.run({ until: () => far.bytes === 100_000 })
  assert.ok(simulation.nowMs - startMs >= 1000)
})

test('played TLS: both sides or neither, and identities are seen', () => {
  const { simulation, a, b } = pair('tls')
  const told: (string | undefined)[] = []
  const accept = (connection: Connection): ConnectionHandlers => {
    told.push(connection.tlsIdentity?.commonName)
    return tally().handlers
  }
  const tls = { cert: 'sim-cert:b;b.example', requestClientCert: true }
  b.world.network.listen('b:1', { tls }, accept, () => {})
  const dial = (options: { tls?: { cert?: string } }): void => {
    a.world.network.dial('b:1', { ...options, timeoutMs: 1000 }, (result) => {
      told.push(result.ok ? result.value.tlsIdentity?.subjectAltNames[0] : result.error.message)
      return result.ok ? tally().handlers : undefined
    })
    simulation.run({ untilMs: simulation.nowMs + 100 })
  }
  dial({})
  dial({ tls: {} })
  dial({ tls: { cert: 'sim-cert:a' } })
  assert.deepEqual(told, [
    'cannot connect to b:1: only one side speaks TLS',
    'cannot connect to b:1: the other side asks for a client certificate',
    'a',
    'b.example',
  ])
})

test('an exception ends a process as a finding; its writes stay with the system', () => {
  const { simulation, a, b } = pair('finding')
  const { near } = join(simulation, b, a)
  a.world.disk.open('f', { create: true }, (result) => {
    assert.ok(result.ok)
    result.value.write(0, [new Uint8Array([1, 2])], () => {
      a.world.clock.setTimer(1, () => assert.fail('delivered to the dead'))
      invariant(false, 'told-you', 'so')
    })
  })
  simulation.run({ untilMs: 1000 })
  assert.deepEqual(
    simulation.findings.map((finding) => [finding.process, finding.violation.invariant]),
    [['a', 'told-you']],
  )
  assert.equal(a.running, false)
  assert.match(near.closed ?? '', /reset/)
  assert.deepEqual(a.disk.peek('f'), new Uint8Array([1, 2]))
  a.restart()
  assert.equal(a.running, true)
})

test('endless rounds of endOfTurn are found', () => {
  const { simulation, a } = pair('endless')
  const again = (): void => a.world.endOfTurn(again)
  again()
  simulation.run({ untilMs: 1 })
  assert.equal(simulation.findings[0]?.violation.invariant, 'turn-ends')
})

test('clocks differ by rate and offset, and timers count the clock of their process', () => {
  const { simulation, a, b } = pair('clocks')
  a.clock.setRate(0.5)
  b.clock.jumpWall(-5000)
  const fired: [string, number][] = []
  a.world.clock.setTimer(100, () => fired.push(['a', simulation.nowMs]))
  b.world.clock.setTimer(100, () => fired.push(['b', simulation.nowMs]))
  simulation.at(150, () => {
    assert.equal(a.world.clock.monotonicMs(), 75)
    // A slower clock makes the timer wait on: it never fires before its own time.
    a.clock.setRate(0.25)
  })
  simulation.run({ untilMs: 1000 })
  assert.deepEqual(fired, [
    ['b', 100],
    ['a', 250],
  ])
  assert.equal(b.world.clock.wallMs() - 1000, a.world.clock.wallMs() - a.world.clock.monotonicMs() - 5000)
})

test('timers that are set and cancelled for ever take no memory', () => {
  const { simulation, a } = pair('timers')
  let rounds = 0
  const beat = (): void => {
    for (let i = 0; i < 100; i++) a.world.clock.setTimer(1e9, () => {}).cancel()
    if (++rounds < 200) a.world.clock.setTimer(1, beat)
  }
  beat()
  assert.equal(simulation.run({ untilMs: 1000 }), 'time')
  assert.equal(rounds, 200)
})

/** Two processes that talk, write, and crash now and then; returns the hash of everything that happened. */
function busy(seed: number): string {
  const simulation = createSimulation({ seed })
  const [a, b] = [simulation.process('a'), simulation.process('b')]
  const serve = (): void => {
    const { network, disk } = b.world
    network.listen(
      'b:1',
      {},
      (connection) => ({
        onData: (bytes) => {
          disk.replace('last', [bytes], () => void connection.write(bytes))
        },
        onDrain() {},
        onClose() {},
      }),
      () => {},
    )
  }
  const ask = (): void => {
    const { network, clock, random } = a.world
    network.dial('b:1', { timeoutMs: 50 }, (result) => {
      if (!result.ok) {
        clock.setTimer(10 * random.fraction(), ask)
        return undefined
      }
      result.value.write(random.bytes(2000))
      return { onData: (bytes) => void result.value.write(bytes), onDrain() {}, onClose: ask }
    })
  }
  serve()
  ask()
  for (let i = 1; i < 10; i++) {
    simulation.at(i * 100, () => b.crash())
    simulation.at(i * 100 + 20, () => {
      b.restart()
      serve()
    })
    simulation.at(i * 100 + 50, () => simulation.partition('a', 'b'))
    simulation.at(i * 100 + 70, () => simulation.heal('a', 'b'))
  }
  simulation.run({ untilMs: 1000 })
  assert.deepEqual(simulation.findings, [])
  assert.ok(simulation.events > 500)
  return simulation.traceHash()
}

test('one seed gives one trace, another seed another', () => {
  const hashes = new Set<string>()
  for (let seed = 0; seed < 20; seed++) {
    const hash = busy(seed)
    assert.equal(hash, busy(seed), `seed ${seed}`)
    hashes.add(hash)
  }
  assert.equal(hashes.size, 20)
})

test('runAsync: time does not pass between a step and its continuations', async () => {
  const simulation = createSimulation({ seed: 1, yieldMacrotask })
  const a = simulation.process('a')
  simulation.process('b', { callbacksOnly: true })
  const seen = await simulation.runAsync(async () => {
    const times: number[] = []
    await simulation.sleep(5)
    for (let i = 0; i < 20; i++) await Promise.resolve()
    times.push(simulation.nowMs)
    await new Promise<void>((resolve) => void a.world.clock.setTimer(3, resolve))
    for (let i = 0; i < 20; i++) await Promise.resolve()
    times.push(simulation.nowMs)
    const listener = await simulation.call<Result<Listener>>((done) =>
      simulation.process('b').world.network.listen('b:1', {}, () => tally().handlers, done),
    )
    times.push(listener.ok ? simulation.nowMs : -1)
    return times
  })
  assert.deepEqual(seen, [5, 8, 8])
})

test('runAsync: a scenario that waits for ever, or fails, says so', async () => {
  const simulation = createSimulation({ seed: 1, yieldMacrotask })
  await assert.rejects(
    simulation.runAsync(() => new Promise(() => {})),
    { invariant: 'scenario-stuck' },
  )
  await assert.rejects(
    simulation.runAsync(async () => {
      await simulation.sleep(1)
      throw new TypeError('wrong')
    }),
    TypeError,
  )
  const beat = (): void => void simulation.process('a').world.clock.setTimer(1, beat)
  beat()
  await assert.rejects(
    simulation.runAsync(() => new Promise(() => {}), { untilMs: 100 }),
    { invariant: 'scenario-stuck' },
  )
})
