import assert from 'node:assert/strict'
import { test } from 'node:test'
import { clusterId, concatBytes, text } from '../base/index.ts'
import type { Connection, World } from '../world/index.ts'
import { RECORD_HEAD_BYTES } from './framing.ts'
import { MAX_UNPROVEN } from './incoming.ts'
import { type Cluster, createCluster, type Member, type Overrides, PORT } from './links.testkit.ts'
import { MAGIC } from './recognise.ts'

type Two = Cluster & { readonly a: Member; readonly b: Member }

function two(seed: string, overrides: Readonly<Record<string, Overrides>> = {}, more: readonly string[] = []): Two {
  const cluster = createCluster(seed, ['a', 'b', ...more], overrides)
  const [a, b] = cluster.members
  assert.ok(a !== undefined && b !== undefined)
  return { ...cluster, a, b }
}

/** Nothing of the one was handed to the other. */
function assertApart({ a, b }: Two): void {
  for (const member of [a, b]) {
    assert.deepEqual(
      member.heard.filter((line) => !line.startsWith('refused')),
      [],
    )
    assert.equal(member.known.size, 0)
  }
}

/** Dials of one lane in this time, when every one of them is refused. */
function assertSeldom(member: Member, forMs: number): void {
  for (const { dials } of member.links.stats()) {
    assert.ok(dials >= forMs / 2000 && dials <= forMs / 500 + 2, `${dials} dials in ${forMs} ms`)
  }
}

const REFUSED: readonly {
  readonly what: string
  readonly code: string
  readonly overrides: Readonly<Record<string, Overrides>>
  readonly message: RegExp
}[] = [
  {
    what: 'another key',
    code: 'authentication-failed',
    overrides: { b: { clusterKey: new Uint8Array(32).fill(8) } },
    message: /does not have (this|that) cluster's key/,
  },
  {
    what: 'another cluster, the same key',
    code: 'wrong-cluster',
    overrides: { b: { cluster: clusterId(0xc2n) } },
    message: /c1.*c2|c2.*c1/,
  },
  {
    what: 'no common protocol',
    code: 'version-mismatch',
    overrides: { a: { lowestProtocol: 1, highestProtocol: 2 }, b: { lowestProtocol: 3, highestProtocol: 4 } },
    message: /protocols 1 to 2.*3 to 4|protocols 3 to 4.*1 to 2/,
  },
]

for (const { what, code, overrides, message } of REFUSED) {
  test(`${what}: refused, both sides are told why, once a minute, and trying goes on seldom`, () => {
    const cluster = two(what, overrides)
    const { a, b } = cluster
    a.start()
    b.start()
    cluster.run(30_000)
    assertApart(cluster)
    for (const member of [a, b]) {
      assert.deepEqual(new Set(member.refusals.map((refusal) => refusal.code)), new Set([code]))
      // As dialler and as acceptor, by itself and by the other: each once.
      assert.ok(member.refusals.length <= 4, `${member.refusals.length}`)
      assert.ok(member.refusals.some(({ details }) => details?.['by'] === 'us'))
      assert.ok(member.refusals.some(({ details }) => details?.['by'] === 'them'))
      for (const refusal of member.refusals) assert.match(refusal.message, message)
      assertSeldom(member, 30_000)
    }
    const told = a.refusals.length
    cluster.run(32_000)
    assert.ok(a.refusals.length > told)
  })
}

test('different version ranges that overlap: the highest common protocol', () => {
  const cluster = two('versions', { a: { highestProtocol: 3 }, b: { lowestProtocol: 2, highestProtocol: 9 } })
  const { a, b } = cluster
  a.start()
  b.start()
  cluster.until(() => a.isUp(b) && b.isUp(a))
  assert.deepEqual(a.refusals, [])
})

test('addresses mixed up: whoever answers is another member, and is told apart', () => {
  const cluster = two('mixed up', {}, ['c'])
  const [a, b, c] = cluster.members as [Member, Member, Member]
  a.routes.set('b', `c:${PORT}`)
  for (const member of cluster.members) member.start()
  cluster.until(() =>
    cluster.members.every((one) => cluster.members.every((other) => one === other || one.isUp(other))),
  )
  // The others found a the right way round.
  assert.ok(a.refusals.every(({ code }) => code === 'wrong-cluster'))
  assert.match(a.refusals[0]?.message ?? '', /it is member 3/)
  c.send(a, 'control', 'from c')
  b.send(a, 'control', 'from b')
  cluster.until(() => a.frames.length === 2)
  assert.deepEqual(a.frames.map(({ from, frame }) => `${from}: ${text(frame)}`).sort(), ['b: from b', 'c: from c'])
})

test('a member that lost its disk is refused by whoever knew it, and both are told', () => {
  const cluster = two('instance')
  const { a, b } = cluster
  a.start()
  b.start()
  cluster.until(() => a.isUp(b) && b.isUp(a))
  b.process.crash({ silent: false })
  b.instance = new Uint8Array(16).fill(99)
  b.known.clear()
  b.restart()
  const before = a.heard.length
  cluster.run(5000)
  assert.ok(!a.isUp(b, 'control') && !b.isUp(a, 'control'))
  for (const member of [a, b]) {
    assert.deepEqual(new Set(member.refusals.map(({ code }) => code)), new Set(['wrong-instance']))
    assert.match(member.refusals[0]?.message ?? '', /lost its disk/)
  }
  assert.ok(a.heard.slice(before).every((line) => line.startsWith('down') || line.startsWith('refused')))
  // A restart of a does not make it forget, because it has persisted whom it knew.
  a.process.crash({ silent: false })
  a.restart()
  cluster.run(2000)
  assert.ok(!a.isUp(b, 'control'))
})

test('nothing is handed over before the instance is persisted, and a persisting that fails is tried again', () => {
  const cluster = two('persist')
  const { a, b } = cluster
  a.persistMs = undefined
  a.start()
  b.start()
  cluster.run(3500)
  assert.ok(!a.isUp(b, 'control') && !b.isUp(a, 'control'))
  const asked = a.heard.filter((line) => line === 'instance b').length
  assert.ok(asked >= 2 && asked <= 6, `${asked}`)
  assert.deepEqual(new Set(a.heard), new Set(['instance b']))
  // Slow, but not too slow.
  a.persistMs = 500
  cluster.until(() => a.isUp(b) && b.isUp(a))
  assert.ok(a.heard.indexOf('persisted b') < a.heard.indexOf('up b control'))
})

/** A process between members: forwards each connection to `target`, and lets the test see and change what passes. */
function interceptor(
  world: World,
  target: string,
  change: (bytes: Uint8Array, direction: 'there' | 'back', connection: number) => Uint8Array | undefined,
): void {
  let connections = 0
  world.network.listen(
    `m:${PORT}`,
    {},
    (near) => {
      const number = connections++
      let far: Connection | undefined
      let waiting: Uint8Array[] = []
      world.network.dial(target, { timeoutMs: 1000 }, (dialled) => {
        if (!dialled.ok) {
          near.reset()
          return undefined
        }
        far = dialled.value
        for (const bytes of waiting) far.write(bytes)
        waiting = []
        return {
          onData(bytes) {
            const changed = change(bytes, 'back', number)
            if (changed !== undefined) near.write(changed)
          },
          onDrain() {},
          onClose: () => near.reset(),
        }
      })
      return {
        onData(bytes) {
          const changed = change(bytes, 'there', number)
          if (changed === undefined) return
          if (far === undefined) waiting.push(changed)
          else far.write(changed)
        },
        onDrain() {},
        onClose: () => far?.reset(),
      }
    },
    () => {},
  )
}

/** a reaches b only through m; b cannot dial. */
function intercepted(
  seed: string,
  change: Parameters<typeof interceptor>[2],
): Two & { readonly m: ReturnType<Cluster['simulation']['process']> } {
  const cluster = two(seed)
  const m = cluster.simulation.process('m')
  cluster.a.routes.set('b', `m:${PORT}`)
  cluster.b.routes.set('a', 'nowhere:1')
  interceptor(m.world, `b:${PORT}`, change)
  cluster.a.start()
  cluster.b.start()
  return { ...cluster, m }
}

test('recorded bytes, replayed to the member that they were for, get nobody in and hand nothing over', () => {
  const recorded: Uint8Array[][] = []
  const cluster = intercepted('replay', (bytes, direction, connection) => {
    if (direction === 'there') (recorded[connection] ??= []).push(bytes)
    return bytes
  })
  const { a, b, m } = cluster
  cluster.until(() => a.isUp(b) && b.isUp(a))
  a.send(b, 'control', 'pay 100')
  a.send(b, 'bulk', 'pay 200')
  cluster.until(() => b.frames.length === 2)
  a.links.close()
  cluster.until(() => !b.isUp(a, 'control') && !b.isUp(a, 'bulk'))

  let ended = 0
  const replays = recorded.flatMap((chunks) => [chunks, [concatBytes(chunks)]])
  for (const chunks of replays) {
    m.world.network.dial(`b:${PORT}`, { timeoutMs: 1000 }, (dialled) => {
      assert.ok(dialled.ok)
      const { value } = dialled
      value.write(chunks[0] as Uint8Array)
      // The rest once b has answered, as a would.
      let isFirst = true
      return {
        onData() {
          if (isFirst) for (const chunk of chunks.slice(1)) value.write(chunk)
          isFirst = false
        },
        onDrain() {},
        onClose: () => void ended++,
      }
    })
  }
  cluster.until(() => ended === replays.length)
  assert.equal(b.frames.length, 2)
  assert.ok(!b.isUp(a, 'control') && !b.isUp(a, 'bulk'))
  assert.ok(b.refusals.some(({ code }) => code === 'authentication-failed'))
})

test('bytes changed, repeated or dropped in between end the connection, and nothing false is handed over', () => {
  type Attack = (record: Uint8Array) => Uint8Array | undefined
  const attacks: Readonly<Record<string, Attack>> = {
    changed(record) {
      const changed = record.slice()
      changed[RECORD_HEAD_BYTES + 6] = (changed[RECORD_HEAD_BYTES + 6] as number) ^ 1
      return changed
    },
    repeated: (record) => concatBytes([record, record]),
    dropped: () => undefined,
    invented: (record) => concatBytes([record, new Uint8Array(64)]),
  }
  for (const [name, attack] of Object.entries(attacks)) {
    let armed = false
    const cluster = intercepted(name, (bytes, direction) => {
      if (!armed || direction !== 'there' || !text(bytes).includes('second')) return bytes
      armed = false
      return attack(bytes)
    })
    const { a, b } = cluster
    cluster.until(() => a.isUp(b) && b.isUp(a))
    a.send(b, 'control', 'first')
    cluster.until(() => b.frames.length === 1)
    armed = true
    a.send(b, 'control', 'second')
    cluster.run(10)
    a.send(b, 'control', 'third')
    cluster.until(() => b.heard.includes('down a control'), 100)
    cluster.until(() => a.heard.includes('down b control'))
    cluster.until(() => a.isUp(b) && b.isUp(a))
    a.send(b, 'control', 'fourth')
    cluster.until(() => b.heard.includes('frame a control fourth'))
    const frames = b.heard.filter((line) => line.startsWith('frame a control'))
    const isWhole = name === 'repeated' || name === 'invented'
    assert.deepEqual(
      frames,
      ['first', ...(isWhole ? ['second'] : []), 'fourth'].map((what) => `frame a control ${what}`),
      name,
    )
  }
})

test('a flood of strangers is bounded in number and time, and members still come through', () => {
  const cluster = two('flood')
  const { a, b } = cluster
  const m = cluster.simulation.process('m')
  a.start()
  let open = 0
  let ended = 0
  const strangers = 4 * MAX_UNPROVEN
  for (let i = 0; i < strangers; i++) {
    cluster.simulation.at(100 + i / 10, () => {
      m.world.network.dial(`a:${PORT}`, { timeoutMs: 1000 }, (dialled) => {
        if (!dialled.ok) return undefined
        open++
        dialled.value.write(MAGIC)
        return { onData() {}, onDrain() {}, onClose: () => void ended++ }
      })
    })
  }
  cluster.run(100)
  b.start()
  cluster.until(() => a.isUp(b) && b.isUp(a), 100)
  cluster.run(210 - cluster.simulation.nowMs)
  assert.equal(open, strangers)
  assert.ok(open - ended <= MAX_UNPROVEN + 20, `${open - ended} strangers are open`)
  // Each has the time of a handshake.
  cluster.run(1500)
  assert.equal(ended, strangers)
  assert.ok(a.isUp(b) && b.isUp(a))
})
