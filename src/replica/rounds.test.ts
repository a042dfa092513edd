import assert from 'node:assert/strict'
import { test } from 'node:test'
import { groupId, logIndex, memberId, spaceId, term } from '../base/index.ts'
import { openMemoryEngine } from '../engine/index.ts'
import { createSimulation } from '../lab/index.ts'
import { openLog } from '../log/index.ts'
import type { RaftMessage } from '../raft/index.ts'
import { openReplica } from './replica.ts'
import type { Replica } from './types.ts'

const GROUP = groupId(1)
const [SELF, LEADER, OTHER] = [memberId(1n), memberId(2n), memberId(3n)]
const FAR_MS = 1_000_000
const MIB = 1_048_576

/** One follower alone, and what it sends. */
function follower(): {
  readonly replica: Replica
  readonly sent: RaftMessage[]
  readonly turn: (act: (replica: Replica) => void) => void
} {
  const simulation = createSimulation({ seed: 1 })
  const { world } = simulation.process('S1')
  const sent: RaftMessage[] = []
  let replica: Replica | undefined
  const nothing = (): void => {}
  openMemoryEngine(
    world,
    {
      directory: 'engine',
      checkpointBytes: MIB,
      checkpointDelayMs: 1000,
      maxOverlayBytes: MIB,
      onPressure: nothing,
      onDurable: nothing,
    },
    (engine) => {
      assert.ok(engine.ok)
      openLog(
        world,
        { directory: 'log', segmentBytes: MIB, markerDelayMs: 50, fullRetryMs: 500, onFull: nothing },
        (log) => {
          assert.ok(log.ok)
          openReplica(
            world,
            {
              group: GROUP,
              space: spaceId(1),
              self: SELF,
              incarnation: 1n,
              raft: {
                electionTimeoutMs: FAR_MS,
                heartbeatIntervalMs: FAR_MS / 10,
                preVote: true,
                checkQuorum: true,
                lease: undefined,
                maxAppendBytes: MIB,
                maxInflightMessages: 16,
                maxInflightBytes: MIB,
                maxUncommittedBytes: MIB,
                maxTailBytes: MIB,
              },
              bootstrap: {
                voters: [SELF, LEADER, OTHER],
                votersOutgoing: [],
                learners: [],
                learnersNext: [],
                autoLeave: false,
              },
              keepEntries: 64,
              maxHeldLogBytes: MIB,
              maxPendingProposals: 16,
              maxPendingBytes: MIB,
              maxPendingReads: 16,
              snapshotTimeoutMs: 1000,
            },
            {
              log: log.value,
              engine: engine.value,
              transport: {
                sendRaft: (_to, message) => void sent.push(message),
                sendControl: () => 'sent',
                sendBulk: () => 'sent',
                pauseBulk: nothing,
                resumeBulk: nothing,
              },
              recovered: undefined,
              onChange: nothing,
            },
            (opened) => {
              assert.ok(opened.ok)
              replica = opened.value
            },
          )
        },
      )
    },
  )
  simulation.run({ untilMs: 1000, until: () => replica !== undefined })
  assert.ok(replica !== undefined)
  const live = replica
  return {
    replica: live,
    sent,
    turn(act) {
      // A moment is enough for what the turn sets off, and far from every timeout.
      const atMs = simulation.nowMs + 5
      world.clock.setTimer(1, () => act(live))
      simulation.run({ untilMs: atMs })
    },
  }
}

test('reads that found no place among the rounds under way are asked for as soon as those are over', () => {
  const { sent, turn } = follower()
  const envelope = { from: LEADER, to: SELF, term: term(1) }
  turn((replica) => replica.onRaft({ ...envelope, type: 'heartbeat', commit: logIndex(0), round: 0 }))
  const answered: string[] = []
  for (const name of ['a', 'b', 'c'])
    turn((replica) => replica.linearizable(FAR_MS, (result) => answered.push(`${name} ${result.ok}`)))
  const asked = (): readonly number[] =>
    sent.flatMap((message) => (message.type === 'readIndex' ? [message.context] : []))
  assert.equal(asked().length, 2)
  // Both answers come in one turn: no other will, and no other event is near.
  turn((replica) => {
    for (const context of asked())
      replica.onRaft({ ...envelope, type: 'readIndexReply', context, index: logIndex(0), refused: false })
  })
  assert.deepEqual(answered, ['a true', 'b true'])
  assert.equal(asked().length, 3)
})
