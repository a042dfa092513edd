/** A follower's replica, whose leader is the test: what it sends, when it sends it again, and what it tells its clients. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { groupId, logIndex, memberId, type Result, spaceId, term, utf8 } from '../base/index.ts'
import { type Engine, openMemoryEngine } from '../engine/index.ts'
import { createSimulation } from '../lab/index.ts'
import { openLog, type WriteAheadLog } from '../log/index.ts'
import { encodePutRequest, type PeerFrame } from '../wire/index.ts'
import { type Applied, openReplica, type Replica } from './index.ts'

const [SELF, LEADER, THIRD] = [memberId(1n), memberId(2n), memberId(3n)]
const GROUP = groupId(1)
const ELECTION_MS = 1_000
const PUT = encodePutRequest({
  key: utf8('k'),
  value: utf8('v'),
  lease: 0n,
  prevKv: false,
  ignoreValue: false,
  ignoreLease: false,
})

type Proposal = Extract<PeerFrame, { type: 'proposal' }>

function rig(): {
  readonly replica: Replica
  /** Sequences of proposals that were sent. */
  readonly sent: number[]
  readonly answers: string[]
  lane: 'sent' | 'full' | 'down'
  readonly propose: (timeoutMs?: number) => void
  readonly refuse: (sequence: number, code: 'not-leader' | 'too-many-requests') => void
  readonly lead: (by?: typeof LEADER, inTerm?: number) => void
  /** Time passes; `leads`: with heartbeats. */
  readonly pass: (ms: number, leads?: boolean) => void
} {
  const simulation = createSimulation({ seed: 1 })
  const { world } = simulation.process('s')
  const wait = <T>(start: (done: (result: Result<T>) => void) => void): T => {
    let got: Result<T> | undefined
    start((result) => {
      got = result
    })
    simulation.run({ until: () => got !== undefined })
    assert.ok(got?.ok)
    return got.value
  }
  const engine = wait<Engine>((done) =>
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
      done,
    ),
  )
  const log = wait<WriteAheadLog>((done) => {
    wait((made) => world.disk.makeDirectory('log', made))
    openLog(world, { directory: 'log', segmentBytes: 1e6, markerDelayMs: 50, fullRetryMs: 500, onFull: () => {} }, done)
  })
  const sent: number[] = []
  const answers: string[] = []
  const it = { lane: 'sent' as 'sent' | 'full' | 'down' }
  const replica = wait<Replica>((done) =>
    openReplica(
      world,
      {
        group: GROUP,
        space: spaceId(1),
        self: SELF,
        incarnation: 1n,
        raft: {
          electionTimeoutMs: ELECTION_MS,
          heartbeatIntervalMs: 100,
          preVote: true,
          checkQuorum: true,
          lease: undefined,
          maxAppendBytes: 1e6,
          maxInflightMessages: 256,
          maxInflightBytes: 1e7,
          maxUncommittedBytes: 1e7,
          maxTailBytes: 1e7,
        },
        bootstrap: {
          voters: [SELF, LEADER, THIRD],
          votersOutgoing: [],
          learners: [],
          learnersNext: [],
          autoLeave: false,
        },
        keepEntries: 100,
        maxHeldLogBytes: 1e6,
        maxPendingProposals: 100,
        maxPendingBytes: 1e6,
        maxPendingReads: 100,
        snapshotTimeoutMs: 1_000,
      },
      {
        log,
        engine,
        transport: {
          sendRaft() {},
          sendControl(_to, frame) {
            if (it.lane === 'sent' && frame.type === 'proposal') sent.push((frame satisfies Proposal).sequence)
            return it.lane
          },
          sendBulk: () => 'down',
          pauseBulk() {},
          resumeBulk() {},
        },
        recovered: undefined,
        onChange: () => {},
      },
      done,
    ),
  )
  const turn = (code: () => void): void => {
    world.clock.setTimer(0, code)
    simulation.run({ untilMs: simulation.nowMs + 1 })
  }
  const lead = (by = LEADER, inTerm = 1): void =>
    turn(() =>
      replica.onRaft({ type: 'heartbeat', from: by, to: SELF, term: term(inTerm), commit: logIndex(0), round: 0 }),
    )
  const pass = (ms: number, leads = true): void => {
    const endMs = simulation.nowMs + ms
    while (simulation.nowMs < endMs) {
      simulation.run({ untilMs: Math.min(endMs, simulation.nowMs + 100) })
      if (leads) lead()
    }
  }
  return Object.assign(it, {
    replica,
    sent,
    answers,
    lead,
    pass,
    propose(timeoutMs = 5_000) {
      turn(() =>
        replica.propose(
          { kind: 'put', bytes: PUT, session: undefined, deadlineMs: world.clock.monotonicMs() + timeoutMs },
          (result: Result<Applied>) => answers.push(result.ok ? 'ok' : result.error.code),
        ),
      )
    },
    refuse(sequence: number, code: 'not-leader' | 'too-many-requests') {
      turn(() =>
        replica.onFrame(LEADER, {
          type: 'proposalRefused',
          group: GROUP,
          incarnation: 1n,
          sequence,
          code,
          message: '',
        }),
      )
    },
  })
}

test('before there is a leader proposals wait; then they are sent once, in order', () => {
  const it = rig()
  it.propose()
  it.propose()
  assert.deepEqual(it.sent, [])
  it.lead()
  it.pass(1_000)
  assert.deepEqual([it.sent, it.answers], [[1, 2], []])
})

test('what the lane has no room for is sent when it has, and had no effect where it never does', () => {
  const it = rig()
  it.lead()
  it.lane = 'full'
  it.propose()
  it.propose(300)
  it.pass(500)
  assert.deepEqual([it.sent, it.answers], [[], ['no-leader']])
  it.lane = 'sent'
  it.pass(100)
  assert.deepEqual(it.sent, [1])
})

test('after a new connection, and to a new leader, what has no answer is sent again', () => {
  const it = rig()
  it.lead()
  it.propose()
  it.replica.onPeerDown(LEADER, 'control')
  it.replica.onPeerUp(LEADER, 'bulk')
  it.replica.onPeerUp(THIRD, 'control')
  it.pass(100)
  assert.deepEqual(it.sent, [1])
  it.replica.onPeerUp(LEADER, 'control')
  it.pass(100)
  assert.deepEqual(it.sent, [1, 1])
  it.lead(THIRD, 2)
  assert.deepEqual(it.sent, [1, 1, 1])
})

test('a refusal of the only attempt is certain; with another one open it is not', () => {
  const it = rig()
  it.lead()
  it.propose()
  it.refuse(1, 'too-many-requests')
  assert.deepEqual(it.answers, ['too-many-requests'])
  it.propose(1_000)
  it.lead(THIRD, 2)
  it.refuse(2, 'too-many-requests')
  assert.deepEqual(it.answers, ['too-many-requests'])
  for (let i = 0; i < 11; i++) {
    it.lead(THIRD, 2)
    it.pass(100, false)
  }
  assert.deepEqual(it.answers, ['too-many-requests', 'timed-out'])
})

test('a member that says it does not lead is asked again after a pause, for as long as it is taken for the leader', () => {
  const it = rig()
  it.lead()
  it.propose()
  for (let i = 0; i < 10; i++) {
    it.refuse(1, 'not-leader')
    assert.equal(it.sent.length, i + 1)
    it.pass(30)
    assert.equal(it.sent.length, i + 2)
  }
  assert.deepEqual(it.answers, [])
})

test('without a leader for long, what was never taken is refused, and what was is unknown at its deadline', () => {
  const it = rig()
  it.lead()
  it.propose(20_000)
  it.lane = 'down'
  it.propose(20_000)
  it.pass(6 * ELECTION_MS, false)
  assert.deepEqual(it.answers, ['no-leader'])
  it.propose()
  assert.deepEqual(it.answers, ['no-leader', 'no-leader'])
  it.pass(20_000, false)
  assert.deepEqual(it.answers, ['no-leader', 'no-leader', 'timed-out'])
  assert.equal(it.replica.status().pendingProposals, 0)
})

test('closing tells what may take effect from what cannot, and answers nothing twice', () => {
  const it = rig()
  it.lead()
  it.propose()
  it.lane = 'full'
  it.propose()
  it.replica.close()
  it.pass(6_000, false)
  assert.deepEqual(it.answers, ['outcome-unknown', 'stopping'])
})
