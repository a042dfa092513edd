/** The port in the simulated world, where seconds cost nothing and a client can be as rude as it likes. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { concatBytes, EMPTY, text, utf8 } from '../base/index.ts'
import type { Simulation } from '../lab/index.ts'
import { createSimulation } from '../lab/index.ts'
import type { GrpcClientConnection } from '../wire/index.ts'
import { createGrpcClient } from '../wire/index.ts'
import type { Connection, World } from '../world/index.ts'
import { yieldMacrotask } from '../world/node/index.ts'
import type { Port, PortOptions } from './index.ts'
import type { Kit } from './port.testkit.ts'
import { HEALTH, LIMITS, listen, makeKit } from './port.testkit.ts'

/** A client of bare bytes. */
type Raw = { readonly connection: Connection; readonly got: () => string; closed: 'no' | 'in order' | 'lost' }

function dial(world: World, address: string): Promise<Raw> {
  return new Promise((resolve, reject) => {
    world.network.dial(address, { timeoutMs: 1000 }, (dialled) => {
      if (!dialled.ok) {
        reject(new Error(dialled.error.message))
        return undefined
      }
      const parts: Uint8Array[] = []
      const raw: Raw = { connection: dialled.value, got: () => text(concatBytes(parts)), closed: 'no' }
      resolve(raw)
      return {
        onData: (bytes) => void parts.push(bytes),
        onDrain() {},
        onClose: (reason) => void (raw.closed = reason === undefined ? 'in order' : 'lost'),
      }
    })
  })
}

type Answer = {
  readonly code: number
  readonly message: string
  readonly outcome: string
  readonly bodies: Uint8Array[]
}
type GrpcClient = {
  readonly connection: Connection
  readonly machine: GrpcClientConnection
  /** Ids whose calls can take more. */
  readonly writable: number[]
  readonly closing: string[]
  readonly isClosed: () => boolean
  flush(): void
  /** Sends one message, closes this side, and waits for the end. */
  ask(path: string, message: Uint8Array, timeoutMs?: number): Promise<Answer>
  /** Opens a call and leaves it open. */
  open(path: string): { readonly id: number; readonly end: Promise<Answer> }
}

function connect(world: World, address: string): Promise<GrpcClient> {
  return new Promise((resolve, reject) => {
    world.network.dial(address, { timeoutMs: 1000 }, (dialled) => {
      if (!dialled.ok) {
        reject(new Error(dialled.error.message))
        return undefined
      }
      const connection = dialled.value
      const calls = new Map<number, { readonly bodies: Uint8Array[]; readonly done: (answer: Answer) => void }>()
      const writable: number[] = []
      const closing: string[] = []
      let isClosed = false
      const machine = createGrpcClient(LIMITS, {
        onMessage: (id, message) => void calls.get(id)?.bodies.push(message),
        onEnd(id, { code, message }, outcome) {
          const call = calls.get(id)
          call?.done({ code, message, outcome, bodies: call.bodies })
        },
        onWritable: (id) => void writable.push(id),
        onClosing: (reason) => void closing.push(reason?.message ?? 'in order'),
      })
      const flush = (): void => {
        for (let out = machine.takeOutput(); out !== undefined; out = machine.takeOutput()) connection.write(out)
      }
      const open = (path: string, timeoutMs?: number): { id: number; end: Promise<Answer> } => {
        const id = machine.open(path, new Map([['why', 'no reason']]), timeoutMs)
        if (id === undefined) throw new Error('no more calls')
        const end = new Promise<Answer>((done) => void calls.set(id, { bodies: [], done }))
        return { id, end }
      }
      flush()
      resolve({
        connection,
        machine,
        writable,
        closing,
        isClosed: () => isClosed,
        flush,
        open(path) {
          const call = open(path)
          flush()
          return call
        },
        ask(path, message, timeoutMs) {
          const { id, end } = open(path, timeoutMs)
          machine.sendMessage(id, message, true)
          flush()
          return end
        },
      })
      return {
        onData(bytes) {
          machine.receive(bytes, world.clock.monotonicMs())
          flush()
        },
        onDrain() {},
        onClose(reason) {
          isClosed = true
          machine.closed(reason)
        },
      }
    })
  })
}

type Stage = {
  readonly simulation: Simulation
  readonly kit: Kit
  readonly port: Port
  readonly client: World
  readonly address: string
}

/** Runs a scenario with a port on machine `server`, and a client's world on machine `client`. */
async function on(scenario: (stage: Stage) => Promise<void>, options: Partial<PortOptions> = {}): Promise<void> {
  const simulation = createSimulation({ seed: 'port', yieldMacrotask, giveUpMs: 10 * 60_000 })
  const kit = makeKit()
  const server = simulation.process('server')
  const client = simulation.process('client')
  await simulation.runAsync(async () => {
    const port = await listen(server.world, kit, { listen: 'server:7701', ...options })
    await scenario({ simulation, kit, port, client: client.world, address: port.address })
  })
  assert.deepEqual(simulation.findings, [])
}

const ECHO = '/test.Test/Echo'
const WAIT = '/test.Test/Wait'

test('unary calls, an error with its message and metadata, an unknown method', () =>
  on(async ({ client, address, port }) => {
    const one = await connect(client, address)
    const answers = await Promise.all(['a', 'b', 'c'].map((word) => one.ask(ECHO, utf8(word))))
    assert.deepEqual(
      answers.map(({ code, bodies }) => [code, bodies.map(text)]),
      [
        [0, ['a']],
        [0, ['b']],
        [0, ['c']],
      ],
    )
    const failed = await one.ask('/test.Test/Fail', EMPTY)
    assert.deepEqual([failed.code, failed.message], [9, '100% ünmöglich: no reason'])
    const unknown = await one.ask('/test.Test/Nothing', EMPTY)
    assert.deepEqual([unknown.code, unknown.message], [12, 'unknown method /test.Test/Nothing'])
    assert.deepEqual([port.stats().calls, port.stats().openCalls, port.stats().connections], [4, 0, 1])
  }))

test('a unary call with no message, and one with two', () =>
  on(async ({ client, address }) => {
    const one = await connect(client, address)
    const none = one.open(ECHO)
    one.machine.halfClose(none.id)
    const two = one.open(ECHO)
    one.machine.sendMessage(two.id, utf8('x'))
    one.machine.sendMessage(two.id, utf8('y'), true)
    one.flush()
    assert.deepEqual([(await none.end).code, (await two.end).code], [13, 13])
  }))

test('streams both ways, until the client ends', () =>
  on(async ({ client, address, kit }) => {
    const one = await connect(client, address)
    const { id, end } = one.open('/test.Test/Chat')
    for (const word of ['a', 'bb', 'ccc']) one.machine.sendMessage(id, utf8(word))
    one.machine.halfClose(id)
    one.flush()
    const { code, bodies } = await end
    assert.deepEqual([code, bodies.map(text)], [0, ['a', 'bb', 'ccc']])
    assert.deepEqual(kit.streamEvents, ['message 1', 'message 2', 'message 3', 'half'])
  }))

test('a stream of ten megabytes waits for the client, and for the socket', () =>
  on(async ({ client, address, kit }) => {
    const one = await connect(client, address)
    const asked = await one.ask('/test.Test/Count', Uint8Array.of(0, 0, 0x27, 0x10))
    assert.deepEqual([asked.code, asked.bodies.length], [0, 10_000])
    assert.ok(kit.streamEvents.filter((event) => event === 'writable').length > 50)
  }))

test('a service that pauses its stream holds the client back', () =>
  on(async ({ client, address, kit, simulation }) => {
    const one = await connect(client, address)
    const { id, end } = one.open('/test.Test/Sink')
    let sent = 0
    while (one.machine.sendMessage(id, new Uint8Array(5000)) && sent < 1000) sent++
    one.flush()
    await simulation.sleep(1000)
    const taken = kit.streamEvents.length
    assert.ok(taken <= 13, `${taken} messages of 5000 bytes passed a window of 64 KiB`)
    assert.deepEqual(one.writable, [])
    kit.streams[0]?.resume()
    await simulation.sleep(1000)
    assert.deepEqual(one.writable, [id])
    assert.equal(kit.streamEvents.length, sent + 1)
    one.machine.halfClose(id)
    one.flush()
    assert.equal((await end).code, 0)
  }))

test('a deadline that passes is answered by the port, and the service sees its call cancelled', () =>
  on(async ({ client, address, kit, simulation, port }) => {
    const one = await connect(client, address)
    const before = simulation.nowMs
    const [fast, slow, late] = await Promise.all([
      one.ask(WAIT, EMPTY, 50),
      one.ask(WAIT, EMPTY, 500),
      one.ask(ECHO, EMPTY, 0),
    ])
    assert.deepEqual([fast.code, slow.code, late.code], [4, 4, 4])
    assert.equal(fast.outcome, 'answered')
    assert.ok(simulation.nowMs - before >= 500)
    assert.deepEqual(
      kit.waiting.map((call) => call.cancelled),
      [true, true],
    )
    for (const call of kit.waiting) call.respond([EMPTY])
    const after = await one.ask(ECHO, utf8('still fine'), 1000)
    assert.equal(after.code, 0)
    assert.equal(port.stats().openCalls, 0)
  }))

test('a stream that runs into its deadline hears so', () =>
  on(async ({ client, address, kit, simulation }) => {
    const one = await connect(client, address)
    const id = one.machine.open('/test.Test/Chat', new Map(), 100) as number
    one.machine.sendMessage(id, utf8('x'))
    one.flush()
    await simulation.sleep(200)
    assert.deepEqual(kit.streamEvents, ['message 1', 'cancel'])
    assert.equal(kit.streams[0]?.send(utf8('late')), true)
  }))

test('a client that cancels, or is gone, cancels its calls', () =>
  on(async ({ client, address, kit, simulation, port }) => {
    const one = await connect(client, address)
    const first = one.open(WAIT)
    const second = one.open(WAIT)
    for (const { id } of [first, second]) one.machine.sendMessage(id, EMPTY, true)
    one.flush()
    await simulation.sleep(50)
    assert.deepEqual(
      kit.waiting.map((call) => call.cancelled),
      [false, false],
    )
    one.machine.cancel(first.id)
    one.flush()
    await simulation.sleep(50)
    assert.deepEqual(
      kit.waiting.map((call) => call.cancelled),
      [true, false],
    )
    one.connection.reset()
    await simulation.sleep(50)
    assert.deepEqual(
      kit.waiting.map((call) => call.cancelled),
      [true, true],
    )
    assert.deepEqual([port.stats().openCalls, port.stats().connections], [0, 0])
  }))

test('one write per connection and turn: a hundred calls in one chunk', () =>
  on(async ({ simulation, kit }) => {
    const { world } = simulation.process('counting')
    let writes = 0
    const counting: World = Object.create(world, {
      network: {
        value: {
          dial: world.network.dial.bind(world.network),
          listen(...[address, options, accept, done]: Parameters<World['network']['listen']>) {
            world.network.listen(
              address,
              options,
              (connection) => {
                const write = connection.write.bind(connection)
                connection.write = (bytes) => {
                  writes++
                  return write(bytes)
                }
                return accept(connection)
              },
              done,
            )
          },
        },
      },
    })
    const port = await listen(counting, kit, { listen: 'counting:1' })
    const one = await connect(world, port.address)
    await one.ask(ECHO, EMPTY)
    writes = 0
    const ids = Array.from({ length: 100 }, () => one.machine.open(ECHO, new Map(), undefined) as number)
    for (const id of ids) one.machine.sendMessage(id, utf8('x'), true)
    one.flush()
    await simulation.sleep(100)
    assert.equal(port.stats().calls, 101)
    assert.equal(port.stats().openCalls, 0)
    assert.ok(writes <= 2, `${writes} writes`)
  }))

// Who speaks what

test('every protocol is recognised however slowly its bytes drip', () =>
  on(async ({ client, address, kit, simulation }) => {
    const drip = async (bytes: Uint8Array): Promise<Raw> => {
      const raw = await dial(client, address)
      for (const byte of bytes) {
        raw.connection.write(Uint8Array.of(byte))
        await simulation.sleep(20)
      }
      await simulation.sleep(50)
      return raw
    }
    const http = await drip(utf8('GET /health HTTP/1.1\r\nhost: x\r\n\r\n'))
    assert.ok(http.got().endsWith(HEALTH), http.got())
    const machine = createGrpcClient(LIMITS, { onMessage() {}, onEnd() {}, onWritable() {}, onClosing() {} })
    const id = machine.open(ECHO, new Map(), undefined) as number
    machine.sendMessage(id, utf8('hello'), true)
    const grpc = await drip(machine.takeOutput() as Uint8Array)
    assert.ok(grpc.got().includes('hello'))
    await drip(utf8('SKEIN!abc'))
    assert.equal(text(concatBytes(kit.peers)), 'SKEIN!abc')
  }))

test('what is not understood is sent away: garbage, TLS, silence', () =>
  on(async ({ client, address, simulation, port }) => {
    for (const bytes of [utf8('\0\0\0'), utf8('hello?'), Uint8Array.of(0x16, 3, 1, 0, 5), utf8('PRI * HTTP/3')]) {
      const raw = await dial(client, address)
      raw.connection.write(bytes)
      await simulation.sleep(50)
      assert.equal(raw.closed, 'lost')
    }
    const silent = await dial(client, address)
    const slow = await dial(client, address)
    slow.connection.write(utf8('PRI'))
    await simulation.sleep(1500)
    assert.deepEqual([silent.closed, slow.closed], ['no', 'no'])
    await simulation.sleep(1000)
    assert.deepEqual([silent.closed, slow.closed], ['lost', 'lost'])
    assert.deepEqual([port.stats().refused, port.stats().connections], [6, 0])
  }))

test('clients are bounded; members, and those who wait to be recognised, are not kept out', () =>
  on(
    async ({ client, address, simulation, port, kit }) => {
      const clients = [await connect(client, address), await connect(client, address), await connect(client, address)]
      await simulation.sleep(50)
      assert.deepEqual(
        clients.map((one) => one.isClosed()),
        [false, false, true],
      )
      // Silent ones push out the oldest of their own kind only.
      const silent = [await dial(client, address), await dial(client, address), await dial(client, address)]
      const member = await dial(client, address)
      member.connection.write(utf8('SKEIN!'))
      await simulation.sleep(50)
      assert.deepEqual(
        silent.map((raw) => raw.closed),
        ['lost', 'lost', 'no'],
      )
      assert.equal(kit.peers.length, 1)
      clients[0]?.connection.reset()
      await simulation.sleep(50)
      const next = await connect(client, address)
      assert.equal((await next.ask(ECHO, EMPTY)).code, 0)
      assert.equal(port.stats().connections, 2)
    },
    { maxConnections: 2 },
  ))

// Who is there

test('a client that is silent is asked, and stays while it answers', () =>
  on(
    async ({ client, address, simulation, port }) => {
      const one = await connect(client, address)
      await simulation.sleep(60_000)
      assert.equal(one.isClosed(), false)
      assert.equal((await one.ask(ECHO, EMPTY)).code, 0)
      assert.equal(port.stats().connections, 1)
    },
    { keepAliveMs: 1000, patienceMs: 500 },
  ))

test('a client that is cut off is found out, and its calls are cancelled', () =>
  on(
    async ({ client, address, simulation, port, kit }) => {
      const one = await connect(client, address)
      const { id } = one.open(WAIT)
      one.machine.sendMessage(id, EMPTY, true)
      one.flush()
      await simulation.sleep(100)
      simulation.partition('client', 'server', { mode: 'hold' })
      await simulation.sleep(2000)
      assert.equal(port.stats().connections, 0)
      assert.equal(kit.waiting[0]?.cancelled, true)
    },
    { keepAliveMs: 1000, patienceMs: 500 },
  ))

test('a client that reads nothing is sent no more than its windows, and found out by its silence', () =>
  on(
    async ({ client, address, simulation, port }) => {
      const one = await connect(client, address)
      await one.ask(ECHO, EMPTY)
      one.connection.pause()
      for (let i = 0; i < 10; i++) {
        const id = one.machine.open('/test.Test/Count', new Map(), undefined) as number
        one.machine.sendMessage(id, Uint8Array.of(0, 0, 0x27, 0x10), true)
      }
      one.flush()
      await simulation.sleep(300)
      // Ten windows, at most, of the hundred megabytes that were asked for.
      assert.ok(port.stats().sentBytes < 2 << 20, String(port.stats().sentBytes))
      assert.equal(port.stats().connections, 1)
      await simulation.sleep(2000)
      assert.equal(port.stats().connections, 0)
    },
    { keepAliveMs: 1000, patienceMs: 500 },
  ))

test('a client with huge windows that never reads fills the socket, and loses its patience', () =>
  on(
    async ({ client, address, simulation, port }) => {
      const raw = await dial(client, address)
      const machine = createGrpcClient(
        { ...LIMITS, callWindowBytes: 1 << 30, connectionWindowBytes: 1 << 30 },
        { onMessage() {}, onEnd() {}, onWritable() {}, onClosing() {} },
      )
      const id = machine.open('/test.Test/Count', new Map(), undefined) as number
      machine.sendMessage(id, Uint8Array.of(0, 1, 0, 0), true)
      raw.connection.write(machine.takeOutput() as Uint8Array)
      raw.connection.pause()
      await simulation.sleep(300)
      assert.ok(port.stats().sentBytes < 4 << 20, String(port.stats().sentBytes))
      assert.equal(port.stats().connections, 1)
      await simulation.sleep(500)
      assert.equal(port.stats().connections, 0)
    },
    { keepAliveMs: 1000, patienceMs: 500 },
  ))

test('HTTP/1.1: a request that drips is given so much time, an idle connection more', () =>
  on(
    async ({ client, address, simulation, port }) => {
      const dripping = await dial(client, address)
      dripping.connection.write(utf8('GET /health HTTP/1.1\r\n'))
      for (let i = 0; i < 8; i++) {
        await simulation.sleep(100)
        dripping.connection.write(utf8('a: b\r\n'))
      }
      assert.equal(port.stats().connections, 0)
      const idle = await dial(client, address)
      idle.connection.write(utf8('GET /health HTTP/1.1\r\nhost: x\r\n\r\n'))
      await simulation.sleep(800)
      assert.equal(port.stats().connections, 1)
      await simulation.sleep(400)
      assert.equal(port.stats().connections, 0)
    },
    { keepAliveMs: 1000, patienceMs: 500 },
  ))

// The end

test('a drain answers what is open, sends clients elsewhere, and says when it is done', () =>
  on(async ({ client, address, simulation, port, kit }) => {
    const [busy, idle] = [await connect(client, address), await connect(client, address)]
    const http = await dial(client, address)
    http.connection.write(utf8('GET /health HTTP/1.1\r\nhost: x\r\n\r\n'))
    const silent = await dial(client, address)
    const asked = busy.ask(WAIT, EMPTY)
    await simulation.sleep(50)
    let isDone = false
    port.drain(10_000, () => {
      isDone = true
    })
    await simulation.sleep(100)
    assert.deepEqual([idle.isClosed(), http.closed, silent.closed], [true, 'in order', 'lost'])
    assert.deepEqual(busy.closing, ['in order', 'in order'])
    assert.equal(busy.machine.open(ECHO, new Map(), undefined), undefined)
    await assert.rejects(connect(client, address))
    assert.equal(isDone, false)
    kit.waiting[0]?.respond([utf8('at last')])
    assert.deepEqual((await asked).bodies.map(text), ['at last'])
    await simulation.sleep(50)
    assert.deepEqual([isDone, busy.isClosed(), port.stats().connections], [true, true, 0])
  }))

test('a drain ends after its grace, and close ends everything', () =>
  on(async ({ client, address, simulation, port }) => {
    const one = await connect(client, address)
    const asked = one.ask(WAIT, EMPTY)
    await simulation.sleep(50)
    let isDone = false
    port.drain(1000, () => {
      isDone = true
    })
    await simulation.sleep(900)
    assert.equal(isDone, false)
    await simulation.sleep(200)
    assert.equal(isDone, true)
    let isClosed = false
    port.close(() => {
      isClosed = true
    })
    const { code, outcome } = await asked
    assert.deepEqual([code, outcome], [14, 'unknown'])
    await simulation.sleep(10)
    assert.equal(isClosed, true)
  }))
