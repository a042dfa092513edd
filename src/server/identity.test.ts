/** Who a server is: what it keeps, what it refuses to be, and what it may no longer do without its disk. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Result, text, utf8 } from '../base/index.ts'
import { createSimulation, type SimServer } from '../lab/index.ts'
import type { World } from '../world/index.ts'
import { clusterIdOf, type Identity, memberIdOf, openIdentity, saveIdentity } from './identity.ts'
import { openServer } from './index.ts'
import { type Story, story } from './scenario.testkit.ts'

const MEMBERS = [{ name: 'S1', address: 'S1:2379' }]
const CLUSTER = clusterIdOf('', MEMBERS)
const EXPECTED = { cluster: CLUSTER, member: memberIdOf(CLUSTER, 'S1'), name: 'S1' }

function rig(): {
  readonly world: World
  readonly open: (expected?: typeof EXPECTED) => Result<Identity>
  readonly read: () => string
  readonly write: (content: string) => void
} {
  const simulation = createSimulation({ seed: 1 })
  const process = simulation.process('S1')
  const { world } = process
  const wait = <T>(start: (done: (value: T) => void) => void): T => {
    let got: { readonly value: T } | undefined
    start((value) => {
      got = { value }
    })
    simulation.run({ until: () => got !== undefined })
    assert.ok(got !== undefined)
    return got.value
  }
  wait((done) => world.disk.makeDirectory('d', done))
  return {
    world,
    open: (expected = EXPECTED) => wait((done) => openIdentity(world, 'd', expected, done)),
    read: () => text(process.disk.peek('d/identity.json') ?? new Uint8Array(0)),
    write: (content) => void wait((done) => world.disk.replace('d/identity.json', [utf8(content)], done)),
  }
}

function codeOf(result: Result<unknown>): string {
  return result.ok ? 'ok' : result.error.code
}

test('the first start draws an instance; later ones keep it, and are numbered', () => {
  const { open } = rig()
  const first = open()
  const second = open()
  assert.ok(first.ok && second.ok)
  assert.deepEqual(second.value.instance, first.value.instance)
  assert.deepEqual([first.value.incarnation, second.value.incarnation], [1n, 2n])
})

test('a directory of another server, or of another cluster, is not taken', () => {
  const { open } = rig()
  open()
  assert.equal(codeOf(open({ ...EXPECTED, member: memberIdOf(CLUSTER, 'S2'), name: 'S2' })), 'data-mismatch')
  const other = clusterIdOf('another', MEMBERS)
  assert.equal(codeOf(open({ cluster: other, member: memberIdOf(other, 'S1'), name: 'S1' })), 'data-mismatch')
  assert.equal(codeOf(open()), 'ok')
})

test('an identity of a later version is left alone', () => {
  const { open, read, write } = rig()
  open()
  write(read().replace('"format": 1', '"format": 2'))
  assert.equal(codeOf(open()), 'data-newer')
  assert.match(read(), /"format": 2/)
})

test('whatever is cut off or changed in the file is found out, and nothing is made in its place', () => {
  const { world, open, read, write } = rig()
  const first = open()
  assert.ok(first.ok)
  const peers = new Map([[memberIdOf(CLUSTER, 'S2'), new Uint8Array(16).fill(7)]])
  saveIdentity(world, 'd', { ...first.value, founded: true, peers }, () => {})
  open()
  const whole = read()
  const trimmed = whole.trimEnd()
  for (let at = 0; at < trimmed.length; at++) {
    write(trimmed.slice(0, at))
    assert.equal(codeOf(open()), 'identity-damaged', `cut at ${at}`)
  }
  for (let at = 0; at < trimmed.length; at++) {
    const changed = trimmed[at] === '1' ? '2' : '1'
    if (/\s/.test(trimmed[at] ?? '')) continue
    write(trimmed.slice(0, at) + changed + trimmed.slice(at + 1))
    const code = codeOf(open())
    assert.ok(code === 'identity-damaged' || code === 'data-newer', `${changed} at ${at}: ${code}`)
  }
  write(whole)
  assert.equal(codeOf(open()), 'ok')
})

test('a data directory serves one server at a time', () => {
  const simulation = createSimulation({ seed: 1 })
  const { world } = simulation.process('S1')
  const results: string[] = []
  const options = {
    name: 'S1',
    dataDirectory: 'd',
    listen: 'S1:2379',
    cluster: MEMBERS,
    clusterKey: new Uint8Array(32),
    engine: 'memory' as const,
    insecure: true,
  }
  openServer(
    world,
    options,
    () => {},
    (first) => {
      results.push(codeOf(first))
      openServer(
        world,
        options,
        () => {},
        (second) => {
          results.push(codeOf(second))
          if (first.ok)
            first.value.close(() =>
              openServer(
                world,
                options,
                () => {},
                (third) => results.push(codeOf(third)),
              ),
            )
        },
      )
    },
  )
  simulation.run({ untilMs: 5_000 })
  assert.deepEqual(results, ['ok', 'data-in-use', 'ok'])
})

async function wipe(it: Story, server: SimServer, directory = 'data'): Promise<void> {
  server.crash({ silent: false })
  server.process.disk.lose(directory)
  await it.simulation.sleep(50)
  server.start()
}

story(
  'a server without its disk is refused: it does not vote, and is told what to do',
  { problems: /wrong-instance/ },
  async (it) => {
    const leader = await it.leader()
    const [wiped, other] = (await it.followers()) as [SimServer, SimServer]
    await it.fill(leader, 20)
    it.lose(wiped)
    await wipe(it, wiped)
    await it.until('it is told', () =>
      it.logged.some(
        ({ process, event, fields }) =>
          process === wiped.name && event === 'peer-refused' && fields?.['code'] === 'wrong-instance',
      ),
    )
    assert.equal(await it.put(leader, 'two are enough', 'a'), 'ok')
    leader.crash({ silent: false })
    // It would be a majority with the wiped one, which has forgotten what it promised.
    await it.simulation.sleep(10_000)
    assert.equal(it.cluster.leader(), undefined)
    assert.equal(await it.put(other, 'refused', 'b'), 'no-leader')
    assert.equal(await it.get(other, 'two are enough', 'serializable'), 'a')
    leader.start()
    await it.until('two are enough again', () => it.cluster.leader() !== undefined)
    await it.until('both know', () => other.running?.status().leader !== undefined)
    assert.equal(await it.get(other, 'two are enough'), 'a')
    assert.equal(wiped.running?.status().leader, undefined)
  },
)

story(
  'a server whose log is gone does not start again, and says so',
  { problems: /does not start: log-damaged/ },
  async (it) => {
    const leader = await it.leader()
    const [one] = (await it.followers()) as [SimServer]
    await it.fill(leader, 20)
    it.lose(one)
    await wipe(it, one, 'data/log')
    await it.until('it is refused', () => it.cluster.problems.some((problem) => problem.startsWith(one.name)))
    assert.match(it.cluster.problems.join(), /log-damaged.*files are missing/)
  },
)

story('a server whose storage engine is gone recovers from a log that has it all', {}, async (it) => {
  const leader = await it.leader()
  const [one] = (await it.followers()) as [SimServer]
  await it.fill(leader, 30)
  await it.simulation.sleep(500)
  await wipe(it, one, 'data/engine')
  await it.until('it caught up', () => one.running?.status().revision === leader.running?.status().revision)
})

story(
  'a server whose storage engine is gone does not start where the log no longer has it all',
  { problems: /does not start: engine-damaged/ },
  async (it) => {
    const leader = await it.leader()
    const [one] = (await it.followers()) as [SimServer]
    for (let i = 0; i < 4; i++) {
      await it.fill(leader, 100)
      await it.simulation.sleep(400)
    }
    it.lose(one)
    await wipe(it, one, 'data/engine')
    await it.until('it is refused', () => it.cluster.problems.some((problem) => problem.startsWith(one.name)))
  },
)
