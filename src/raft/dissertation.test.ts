/**
 * The claims of Ongaro's dissertation (2014), chapters 3 to 6, 9.6 and 10.2.1, beyond those of the paper; one test each,
 * named by section.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { logIndex, memberId, term as makeTerm } from '../base/index.ts'
import type { Group } from './group.testkit.ts'
import { createGroup, diskWith, termsOf } from './group.testkit.ts'
import { configOf, emptyDisk, ids } from './server.testkit.ts'
import type { RaftMessage, RaftOptions } from './types.ts'

const id = (name: number): ReturnType<typeof memberId> => memberId(BigInt(name))
const statusOf = (group: Group, name: number): ReturnType<ReturnType<Group['at']>['raft']['status']> =>
  group.at(name).raft.status()
const change = (group: Group, name: number, voters: number[], learners: number[] = []): ReturnType<Group['step']> =>
  group.step(name, { type: 'changeConfig', change: configOf(voters, learners) })
/** Those who take no part yet do not know the group's configuration. */
const withNewcomers = (members: number, newcomers: number, options: Partial<RaftOptions> = {}): Group => {
  const config = configOf(Array.from({ length: members }, (_, i) => i + 1))
  const disks = new Map(
    Array.from({ length: newcomers }, (_, i) => [members + 1 + i, emptyDisk({ ...config, voters: [] })] as const),
  )
  return createGroup(members + newcomers, { config, disks, options })
}
/** Heartbeats and their answers until nothing changes. */
const beats = (group: Group, count: number, ...without: number[]): void => {
  const names = [...group.servers.keys()].filter((name) => !without.includes(name))
  for (let i = 0; i < count; i++) {
    group.pass(100, ...names)
    group.settle(...without)
  }
}
test('3.8: term and vote are durable before a vote is told, and entries before they are acknowledged', () => {
  const group = createGroup(3)
  group.step(1, { type: 'campaign' })
  for (const name of [2, 3]) group.deliver(1, name, 'vote')
  group.deliver(2, 1, 'voteReply')
  assert.equal(group.sent(1, 'vote').filter((vote) => 'preVote' in vote && !vote.preVote).length, 0, 'nor asked for')
  group.sync(1)
  group.deliver(1, 2, 'vote')
  assert.equal(group.sent(2, 'voteReply').length, 0)
  assert.equal(group.at(2).disk.hardState.term, 0)
  group.sync(2)
  assert.deepEqual([group.at(2).disk.hardState.term, group.at(2).disk.hardState.vote], [1, id(1)])
  group.deliver(2, 1, 'voteReply')
  group.deliver(1, 2, 'append')
  assert.equal(group.sent(2, 'appendReply').length, 0)
  group.sync(2)
  assert.equal(group.sent(2, 'appendReply').length, 1)
})

test('3.8: a candidate that crashes does not campaign in the same term again with another log', () => {
  const group = createGroup(3, { options: { preVote: false } })
  group.step(1, { type: 'campaign' })
  assert.equal(group.sent(1, 'vote').length, 0)
  group.sync(1)
  assert.equal(group.sent(1, 'vote').length, 2)
  group.crash(1)
  group.restart(1)
  group.step(1, { type: 'campaign' })
  assert.equal(statusOf(group, 1).term, 2)
})

test('3.10: a transfer stops proposals, brings the target up, and has it win at once, whatever the stickiness', () => {
  const group = createGroup(3)
  group.elect(1)
  group.propose(1, 'x')
  group.lose(2)
  group.step(1, { type: 'transferLeadership', to: id(2) })
  const refused = group.propose(1, 'y')
  assert.equal(!refused.ok && refused.error.code, 'transfer-in-progress')
  assert.equal(!refused.ok && refused.error.retryable, true)
  assert.equal(group.sent(1, 'timeoutNow').length, 0, 'the target lags')
  beats(group, 4)
  assert.deepEqual([statusOf(group, 2).role, statusOf(group, 2).term], ['leader', 2])
  assert.deepEqual(termsOf(group.at(1)), [1, 1, 2])
})

test('3.10: a transfer that does not succeed within an election timeout is given up', () => {
  const group = createGroup(3)
  group.elect(1)
  group.step(1, { type: 'transferLeadership', to: id(2) })
  group.lose(2)
  beats(group, 11, 2)
  assert.equal(statusOf(group, 1).transferee, undefined)
  assert.equal(group.propose(1, 'x').ok, true)
  const learner = group.step(1, { type: 'transferLeadership', to: id(9) })
  assert.equal(!learner.ok && learner.error.code, 'invalid-request')
})

test('4.1: a configuration is in force once it is in the log, and only one change is open at a time', () => {
  const group = withNewcomers(3, 1)
  group.elect(1)
  assert.equal(change(group, 1, [1, 2, 3, 4]).ok, true)
  assert.deepEqual(statusOf(group, 1).config.voters, ids(1, 2, 3, 4))
  const second = change(group, 1, [1, 2])
  assert.equal(!second.ok && second.error.code, 'config-change-refused')
  group.settle(3, 4)
  assert.equal(statusOf(group, 1).commit, 1, 'two of four are no majority')
  group.settle()
  beats(group, 2)
  assert.equal(statusOf(group, 1).commit, 2)
  assert.deepEqual(statusOf(group, 4).config.voters, ids(1, 2, 3, 4))
  assert.equal(change(group, 1, [1, 2, 4]).ok, true)
})

test('4.1: a configuration that is cut from the log is taken back', () => {
  const group = createGroup(3)
  group.elect(1)
  change(group, 1, [1, 2])
  group.flights = []
  assert.deepEqual(statusOf(group, 1).config.voters, ids(1, 2))
  group.pass(2000, 2, 3)
  group.settle(1)
  group.elect(2, 1)
  beats(group, 3)
  assert.deepEqual(statusOf(group, 1).config.voters, ids(1, 2, 3))
})

test('4.1, erratum of 2015: no change before the leader has committed an entry of its own term', () => {
  const group = createGroup(3)
  group.elect(1, 3)
  group.step(1, { type: 'transferLeadership', to: id(2) })
  group.settle(3)
  assert.equal(statusOf(group, 2).role, 'leader')
  const fresh = createGroup(3, { options: { preVote: false } })
  fresh.step(1, { type: 'campaign' })
  fresh.sync(1)
  fresh.deliver(1, 2, 'vote')
  fresh.sync(2)
  fresh.deliver(2, 1, 'voteReply')
  assert.equal(statusOf(fresh, 1).role, 'leader')
  const early = change(fresh, 1, [1, 2])
  assert.equal(!early.ok && early.error.code, 'config-change-refused')
  fresh.settle()
  assert.equal(change(fresh, 1, [1, 2]).ok, true)
})

test('4.2.1: a learner gets the log, but neither counts nor campaigns; promoted, it does both', () => {
  const group = withNewcomers(2, 1)
  group.elect(1)
  change(group, 1, [1, 2], [3])
  beats(group, 3)
  group.propose(1, 'x')
  group.settle(2)
  assert.equal(group.at(3).raft.status().lastIndex, 3)
  assert.equal(statusOf(group, 1).commit, 2)
  assert.equal(group.at(3).raft.nextDeadline(), Number.POSITIVE_INFINITY)
  beats(group, 3)
  change(group, 1, [1, 2, 3])
  group.settle()
  group.propose(1, 'y')
  group.settle(2)
  assert.equal(statusOf(group, 1).commit, 5)
  assert.notEqual(group.at(3).raft.nextDeadline(), Number.POSITIVE_INFINITY)
})

test('4.2.2: a leader that is left out leads until that is committed, without counting itself, then hands over', () => {
  const group = createGroup(3)
  group.elect(1)
  change(group, 1, [2, 3])
  group.sync(1)
  group.deliver(1, 2, 'append')
  group.sync(2)
  group.deliver(2, 1, 'appendReply')
  assert.equal(statusOf(group, 1).commit, 1, 'one of the two that remain')
  assert.equal(statusOf(group, 1).role, 'leader')
  group.settle()
  assert.equal(statusOf(group, 1).role, 'follower')
  assert.equal(statusOf(group, 1).commit >= 2, true)
  assert.equal(
    [2, 3].some((name) => statusOf(group, name).role === 'leader'),
    true,
  )
})

test('4.2.2: a server that its newest configuration leaves out still campaigns until that is committed', () => {
  const before = configOf([1, 2])
  const group = createGroup(2, { config: before })
  group.elect(1)
  change(group, 1, [2])
  group.flights = []
  group.sync(1)
  group.crash(1)
  group.restart(1)
  // Only 1 has the change: 2, which needs both votes, has less of a log than 1.
  group.pass(2300)
  group.settle()
  group.pass(2300)
  group.settle()
  beats(group, 3)
  assert.deepEqual(statusOf(group, 2).config.voters, ids(2))
  group.pass(2300, 2)
  group.settle()
  assert.equal(statusOf(group, 2).role, 'leader')
})

test('4.2.2: those who are removed learn of it, and rest', () => {
  const group = createGroup(3)
  group.elect(1)
  change(group, 1, [1, 2])
  group.settle()
  beats(group, 1)
  assert.deepEqual(statusOf(group, 3).config.voters, ids(1, 2))
  assert.equal(statusOf(group, 3).commit, 2)
  assert.equal(group.at(3).raft.nextDeadline(), Number.POSITIVE_INFINITY)
  assert.deepEqual(
    statusOf(group, 1).progress.map((peer) => peer.id),
    ids(2),
  )
})

test('4.2.3: whoever hears a leader ignores votes for others, so that removed servers disturb nobody', () => {
  const group = createGroup(3, { options: { preVote: false } })
  group.elect(1)
  group.lose(3)
  group.pass(1500, 3)
  assert.equal(statusOf(group, 3).role, 'candidate')
  group.sync(3)
  group.pass(0, 1)
  group.step(2, {
    type: 'message',
    message: group.sent(1, 'heartbeat').find((beat) => beat.to === id(2)) as RaftMessage,
  })
  for (const name of [1, 2]) group.deliver(3, name, 'vote')
  assert.deepEqual([statusOf(group, 1).role, statusOf(group, 1).term, statusOf(group, 2).term], ['leader', 1, 1])
})

test('4.3: several members change at once through a joint configuration, which the leader leaves by itself', () => {
  const group = withNewcomers(3, 2)
  group.elect(1)
  change(group, 1, [1, 4, 5])
  const joint = statusOf(group, 1).config
  assert.deepEqual([joint.voters, joint.votersOutgoing, joint.autoLeave], [ids(1, 4, 5), ids(1, 2, 3), true])
  beats(group, 4)
  for (const name of [1, 4, 5]) {
    assert.deepEqual(statusOf(group, name).config, configOf([1, 4, 5]))
    assert.equal(statusOf(group, name).commit, 3)
  }
})

test('4.3: while joint, commits need a majority of the old and of the new', () => {
  for (const [without, committed] of [
    [[2, 3], 1],
    [[4, 5], 1],
    [[3, 5], 3],
  ] as const) {
    const group = withNewcomers(3, 2)
    group.elect(1)
    change(group, 1, [1, 4, 5])
    for (let i = 0; i < 3; i++) beats(group, 1, ...without)
    assert.equal(statusOf(group, 1).commit, committed, `without ${without.join()}`)
  }
})

test('4.3: while joint, elections and the check for a quorum need both majorities', () => {
  const config = { ...configOf([1, 4, 5]), votersOutgoing: ids(1, 2, 3) }
  for (const [without, role] of [
    [[2, 3], 'candidate'],
    [[4, 5], 'candidate'],
    [[3, 5], 'leader'],
  ] as const) {
    const group = createGroup(5, { config, options: { preVote: false } })
    group.elect(1, ...without)
    assert.equal(statusOf(group, 1).role, role, `without ${without.join()}`)
  }
  const group = createGroup(5, { config })
  group.elect(1)
  beats(group, 25, 2, 3)
  assert.equal(statusOf(group, 1).role, 'follower')
})

test('4.3: a joint configuration without auto-leave is left when asked, and a new leader leaves one that it finds', () => {
  const config = { ...configOf([1, 2]), votersOutgoing: ids(1, 2, 3) }
  const group = createGroup(3, { config })
  group.elect(1)
  assert.equal(statusOf(group, 1).config.votersOutgoing.length, 3)
  assert.equal(change(group, 1, [1, 3]).ok, false)
  assert.equal(group.step(1, { type: 'leaveJoint' }).ok, true)
  group.settle()
  assert.deepEqual(statusOf(group, 2).config, configOf([1, 2]))
  assert.equal(group.step(1, { type: 'leaveJoint' }).ok, false)
  const automatic = createGroup(3, { config: { ...config, autoLeave: true } })
  automatic.elect(2)
  assert.deepEqual(statusOf(automatic, 2).config, configOf([1, 2]))
})

test('4.3: a voter becomes a learner only when the joint phase ends', () => {
  const group = createGroup(3)
  group.elect(1)
  change(group, 1, [1, 2], [3])
  assert.deepEqual(statusOf(group, 1).config.learnersNext, ids(3))
  group.settle()
  beats(group, 1)
  assert.deepEqual(statusOf(group, 3).config, configOf([1, 2], [3]))
})

test('5.1: what follows a snapshot waits until it is durable, but heartbeats are answered', () => {
  const group = createGroup(3)
  const meta = { index: logIndex(7), term: makeTerm(1), config: configOf([1, 2, 3]) }
  const from = { from: id(2), to: id(1), term: makeTerm(2) }
  const state = { ...meta, digest: 1 }
  group.at(1).staged = state
  group.step(1, { type: 'message', message: { ...from, type: 'snapshot', meta } })
  group.flights = []
  const data = new Uint8Array([1])
  const entries = [{ index: logIndex(8), term: makeTerm(2), type: 'normal', data } as const]
  const base = { prevIndex: logIndex(7), prevTerm: makeTerm(1), commit: logIndex(8) }
  group.step(1, { type: 'message', message: { ...from, ...base, type: 'append', entries } })
  assert.equal(group.sent(1, 'appendReply').length, 0)
  assert.equal(group.at(1).disk.base.index, 0)
  group.sync(1)
  assert.deepEqual([group.at(1).disk.base.index, group.at(1).disk.entries.length], [7, 1])
  const again = createGroup(3)
  again.step(1, { type: 'message', message: { ...from, type: 'heartbeat', commit: logIndex(0), round: 1 } })
  again.sync(1)
  again.at(1).staged = state
  again.step(1, { type: 'message', message: { ...from, type: 'snapshot', meta } })
  again.flights = []
  again.step(1, { type: 'message', message: { ...from, type: 'heartbeat', commit: logIndex(0), round: 2 } })
  assert.equal(again.sent(1, 'heartbeatReply').length, 1)
})

test('6.2: a leader that a quorum does not answer for an election timeout steps down', () => {
  const group = createGroup(3)
  group.elect(1)
  beats(group, 30, 3)
  assert.equal(statusOf(group, 1).role, 'leader')
  beats(group, 21, 2, 3)
  assert.equal(statusOf(group, 1).role, 'follower')
  const refused = group.propose(1, 'x')
  assert.equal(!refused.ok && refused.error.code, 'not-leader')
})

test("9.6: a pre-vote changes nobody's term or vote, and whoever cannot win does not campaign", () => {
  const group = createGroup(3)
  group.elect(1)
  group.propose(1, 'x')
  group.settle(3)
  for (let i = 0; i < 5; i++) group.pass(2000, 3)
  assert.deepEqual([statusOf(group, 3).role, statusOf(group, 3).term], ['preCandidate', 1])
  group.now += 2000
  for (const name of [1, 2]) group.deliver(3, name, 'vote')
  assert.deepEqual([statusOf(group, 1).term, statusOf(group, 2).term], [1, 1])
  group.settle()
  assert.equal(statusOf(group, 3).term, 1, 'its log is short: refused')
  const fresh = createGroup(3)
  fresh.step(1, { type: 'campaign' })
  fresh.deliver(1, 2, 'vote')
  assert.deepEqual([statusOf(fresh, 2).term, statusOf(fresh, 2).vote], [0, undefined])
  fresh.deliver(2, 1, 'voteReply')
  assert.deepEqual([statusOf(fresh, 1).role, statusOf(fresh, 1).term], ['candidate', 1])
})

test('9.6: a server that was cut off with a newer term comes back without being stuck', () => {
  const config = configOf([1, 2, 3])
  const group = createGroup(3, { disks: new Map([[3, diskWith([], config, 8)]]) })
  group.elect(1, 3)
  beats(group, 3)
  for (let i = 0; i < 4; i++) {
    group.pass(1000)
    group.settle()
  }
  beats(group, 5)
  assert.equal(new Set([1, 2, 3].map((name) => statusOf(group, name).term)).size, 1)
  assert.equal(new Set([1, 2, 3].map((name) => statusOf(group, name).leader)).size, 1)
})

test('10.2.1: the leader writes in parallel with its followers, and may commit before its own disk has it', () => {
  const group = createGroup(3)
  group.elect(1)
  group.propose(1, 'x')
  assert.equal(group.sent(1, 'append').length, 2, 'sent before anything was written')
  for (const name of [2, 3]) {
    group.deliver(1, name, 'append')
    group.sync(name)
    group.deliver(name, 1, 'appendReply')
    assert.equal(statusOf(group, 1).commit, name - 1)
  }
  assert.equal(statusOf(group, 1).persisted, 1)
  assert.equal(group.at(1).allowed, 1, 'but applies only what it has itself')
  group.sync(1)
  assert.equal(group.at(1).allowed, 2)
})

test('10.2.1: the leader does not count itself before its disk has it', () => {
  const group = createGroup(3)
  group.elect(1)
  group.propose(1, 'x')
  group.deliver(1, 2, 'append')
  group.sync(2)
  group.deliver(2, 1, 'appendReply')
  assert.equal(statusOf(group, 1).commit, 1)
  group.sync(1)
  assert.equal(statusOf(group, 1).commit, 2)
})

test('10.2.1: several Readies may wait for the disk; a late report counts for nothing that was rewritten', () => {
  const config = configOf([1, 2, 3])
  const group = createGroup(3, { disks: new Map([[1, diskWith([1], config, 4)]]) })
  const append = (from: number, term: number, at: number): void => {
    const data = new Uint8Array([at])
    const entries = [{ index: logIndex(2), term: makeTerm(at), type: 'normal', data } as const]
    const base = { prevIndex: logIndex(1), prevTerm: makeTerm(1), commit: logIndex(0), entries }
    group.step(1, {
      type: 'message',
      message: { type: 'append', from: id(from), to: id(1), term: makeTerm(term), ...base },
    })
  }
  append(2, 4, 2)
  append(3, 5, 3)
  append(2, 6, 2)
  assert.equal(group.at(1).queue.length, 3)
  const [first] = group.at(1).queue
  group.at(1).queue.shift()
  group.step(1, { type: 'persisted', ready: first?.ready.number as number, term: makeTerm(2), index: logIndex(2) })
  assert.equal(statusOf(group, 1).persisted, 1, 'term 2 stands there again, but term 3 is still to be written')
  group.flights = []
  group.sync(1)
  assert.equal(statusOf(group, 1).persisted, 2)
  const replies = group.sent(1, 'appendReply').map((reply) => [reply.term, 'index' in reply && reply.index])
  assert.deepEqual(replies.at(-1), [6, 2])
})

test("10.2.2: appends are pipelined up to the limits, and each turn's proposals share one", () => {
  const group = createGroup(3, { options: { maxInflightMessages: 3 } })
  group.elect(1)
  group.propose(1, 'a', 'b')
  assert.equal(group.sent(1, 'append').length, 2)
  for (let i = 0; i < 5; i++) group.propose(1, 'c')
  assert.equal(group.sent(1, 'append').length, 6)
  group.settle()
  assert.equal(statusOf(group, 3).commit, 8)
})

test('bounds: uncommitted proposals are limited, refused retryably, and let in again after a commit', () => {
  const group = createGroup(3, { options: { maxUncommittedBytes: 100 } })
  group.elect(1)
  assert.equal(group.propose(1, 'x'.repeat(500)).ok, true, 'one is always let in')
  const refused = group.propose(1, 'y')
  assert.equal(!refused.ok && refused.error.code, 'too-many-requests')
  assert.equal(!refused.ok && refused.error.retryable, true)
  group.settle()
  for (let i = 0; i < 6; i++) assert.equal(group.propose(1, '').ok, true)
  assert.equal(group.propose(1, '').ok, false, 'also empty ones count')
})

test('bounds: entries beyond the tail are asked for from the log', () => {
  const group = createGroup(3, { options: { maxTailBytes: 20, maxAppendBytes: 30 } })
  group.elect(1, 3)
  for (let i = 0; i < 20; i++) {
    group.propose(1, `entry ${i}`)
    group.settle(3)
  }
  assert.equal(group.at(1).raft.tail(logIndex(1), logIndex(3)), undefined)
  beats(group, 3)
  assert.equal(group.at(3).state.digest, group.at(1).state.digest)
  assert.equal(group.at(3).state.index, 21)
  const asked = group.readies.flatMap(({ ready }) => ready.entriesWanted)
  assert.ok(asked.length > 5 && asked.every(({ to }) => to === id(3)))
})
