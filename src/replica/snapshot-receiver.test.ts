/** What a receiver makes of streams that are cut, mixed up, forged or too many. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { concatBytes, groupId, logIndex, memberId, spaceId, term, utf8 } from '../base/index.ts'
import { openMemoryEngine, type Engine } from '../engine/index.ts'
import { createSimulation } from '../lab/index.ts'
import { spaceInterval } from '../mvcc/index.ts'
import { encodeConfig, type RaftMessage } from '../raft/index.ts'
import type { PeerFrame } from '../wire/index.ts'
import type { World } from '../world/index.ts'
import { createSnapshotReceiver } from './snapshot-receiver.ts'
import type { ReplicaEnvironment, ReplicaOptions } from './types.ts'

const [SELF, A, B] = [memberId(1n), memberId(2n), memberId(3n)]
const GROUP = groupId(1)
const SPACE = spaceId(1)
const TIMEOUT_MS = 1_000
const CONFIG = encodeConfig({
  voters: [SELF, A, B],
  votersOutgoing: [],
  learners: [],
  learnersNext: [],
  autoLeave: false,
})

const key = (name: string): Uint8Array => concatBytes([spaceInterval(SPACE).start, utf8(name)])

type Frame = Extract<PeerFrame, { type: 'snapshotStart' | 'snapshotChunk' | 'snapshotEnd' }>

function start(from: typeof A, stream: number, index = 10): Frame {
  const place = { index: logIndex(index), indexTerm: term(1), config: CONFIG }
  return { type: 'snapshotStart', group: GROUP, stream, from, to: SELF, term: term(2), ...place }
}
function chunk(stream: number, sequence: number, ...names: string[]): Frame {
  const pairs = names.map((name) => ({ key: key(name), value: utf8('v') }))
  return { type: 'snapshotChunk', group: GROUP, stream, sequence, pairs }
}
function end(stream: number, pairs: number): Frame {
  return { type: 'snapshotEnd', group: GROUP, stream, pairs }
}

/** `offer` decides what the core takes of what it is offered, at the end of the turn. */
function rig(): {
  readonly receive: (from: typeof A, ...frames: Frame[]) => void
  /** What senders were told, as `member stream what`. */
  readonly told: string[]
  readonly offered: number[]
  readonly turn: (code: () => void) => void
  readonly pass: (ms: number) => void
  readonly receiver: ReturnType<typeof createSnapshotReceiver>
  readonly open: () => number
} {
  const simulation = createSimulation({ seed: 1 })
  const process = simulation.process('s')
  const world: World = process.world
  let opened: Engine | undefined
  openMemoryEngine(
    world,
    {
      directory: 'engine',
      checkpointBytes: 1e6,
      checkpointDelayMs: 1e6,
      maxOverlayBytes: 1e6,
      onPressure: () => {},
      onDurable: () => {},
    },
    (result) => {
      opened = result.ok ? result.value : undefined
    },
  )
  simulation.run({ until: () => opened !== undefined })
  const memory = opened
  assert.ok(memory !== undefined)
  let open = 0
  const engine: Engine = Object.assign(Object.create(memory) as Engine, {
    openRestore(...args: Parameters<Engine['openRestore']>) {
      const restore = memory.openRestore(...args)
      open++
      return {
        ...restore,
        abort() {
          open--
          restore.abort()
        },
      }
    },
  })
  const told: string[] = []
  const offered: number[] = []
  const environment = {
    engine,
    transport: {
      sendRaft() {},
      sendControl(to: bigint, frame: PeerFrame) {
        if (frame.type === 'snapshotAck')
          told.push(`${to} ${frame.stream} ${frame.accepted ? 'accepted' : (frame.failure?.code ?? 'refused')}`)
        return 'sent' as const
      },
      sendBulk: () => 'sent' as const,
      pauseBulk() {},
      resumeBulk() {},
    },
  } as unknown as ReplicaEnvironment
  const options = { group: GROUP, space: SPACE, self: SELF, snapshotTimeoutMs: TIMEOUT_MS } as ReplicaOptions
  const receiver = createSnapshotReceiver(world, options, environment, {
    onStaged: (message: RaftMessage) => {
      if (message.type === 'snapshot') offered.push(message.meta.index)
    },
  })
  const pass = (ms: number): void => void simulation.run({ untilMs: simulation.nowMs + ms })
  const turn = (code: () => void): void => {
    world.clock.setTimer(0, code)
    pass(1)
  }
  return {
    receiver,
    told,
    offered,
    turn,
    pass,
    open: () => open,
    receive: (from, ...frames) =>
      turn(() => {
        for (const frame of frames) receiver.onFrame(from, frame)
      }),
  }
}

test('a whole stream is offered once; what the core does not take is dropped at the end of the turn', () => {
  const { receive, told, offered, open } = rig()
  receive(A, start(A, 1), chunk(1, 0, 'a', 'b'), chunk(1, 1, 'c'), end(1, 3))
  assert.deepEqual([told, offered, open()], [['2 1 accepted'], [10], 0])
  receive(A, end(1, 3))
  assert.deepEqual(offered, [10])
})

const UNSOUND: readonly [string, ...Frame[]][] = [
  ['a chunk is missing', chunk(1, 1, 'a')],
  ['a chunk comes twice', chunk(1, 0, 'a'), chunk(1, 0, 'b')],
  ['keys go back', chunk(1, 0, 'b'), chunk(1, 1, 'a')],
  ['a key comes twice in a chunk', chunk(1, 0, 'a', 'a')],
  ['a pair is missing at the end', chunk(1, 0, 'a'), end(1, 2)],
  [
    'a key of another space',
    { type: 'snapshotChunk', group: GROUP, stream: 1, sequence: 0, pairs: [{ key: utf8('~'), value: utf8('v') }] },
  ],
  [
    'an endless key',
    {
      type: 'snapshotChunk',
      group: GROUP,
      stream: 1,
      sequence: 0,
      pairs: [{ key: key('k'.repeat(5_000)), value: utf8('') }],
    },
  ],
]
for (const [what, ...frames] of UNSOUND) {
  test(`unsound: ${what}: the sender is told, and nothing of it is kept`, () => {
    const { receive, told, offered, open } = rig()
    receive(A, start(A, 1), ...frames)
    assert.deepEqual([told, offered, open()], [['2 1 protocol-error'], [], 0])
    receive(A, start(A, 2), chunk(2, 0, 'a'), end(2, 1))
    assert.deepEqual(offered, [10])
  })
}

test('a newer stream replaces an older one, whose rest counts for nothing', () => {
  const { receive, told, offered, open } = rig()
  receive(A, start(A, 1), chunk(1, 0, 'a'))
  receive(B, start(B, 7, 20), chunk(7, 0, 'a'))
  receive(A, chunk(1, 1, 'b'), end(1, 2))
  assert.deepEqual([offered, open()], [[], 1])
  receive(B, end(7, 1))
  assert.deepEqual([told, offered], [['3 7 accepted'], [20]])
})

test('a stream that does not go on is dropped, and one whose connection is lost at once', () => {
  const { receive, pass, open, turn, receiver } = rig()
  receive(A, start(A, 1))
  pass(TIMEOUT_MS - 10)
  receive(A, chunk(1, 0, 'a'))
  pass(TIMEOUT_MS - 10)
  assert.equal(open(), 1)
  pass(20)
  assert.equal(open(), 0)
  receive(A, start(A, 2))
  turn(() => receiver.onDown(B))
  assert.equal(open(), 1)
  turn(() => receiver.onDown(A))
  assert.equal(open(), 0)
})

test('two whole ones in a turn: whichever the core takes is there, the other one is dropped', () => {
  for (const taken of [10, 20]) {
    const { receiver, turn, offered, open } = rig()
    turn(() => {
      for (const frame of [start(A, 1, 10), chunk(1, 0, 'a'), end(1, 1)]) receiver.onFrame(A, frame)
      for (const frame of [start(B, 1, 20), chunk(1, 0, 'a'), end(1, 1)]) receiver.onFrame(B, frame)
      assert.notEqual(receiver.take(logIndex(taken)), undefined)
    })
    assert.deepEqual([offered, open()], [[10, 20], 1])
  }
})

test('while one is swapped in none begins, and then one may', () => {
  const { receiver, receive, turn, told, open } = rig()
  turn(() => {
    for (const frame of [start(A, 1), chunk(1, 0, 'a'), end(1, 1)]) receiver.onFrame(A, frame)
    receiver.take(logIndex(10))
  })
  receive(B, start(B, 1, 20))
  assert.deepEqual([told, open()], [['2 1 accepted', '3 1 too-many-requests'], 1])
  turn(() => receiver.swapped())
  receive(B, start(B, 2, 20))
  assert.equal(open(), 2)
  turn(() => receiver.close())
  assert.equal(open(), 1)
})
