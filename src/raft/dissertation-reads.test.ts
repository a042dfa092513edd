/** The claims of Ongaro's dissertation (2014) about reads: sections 6.4 and 6.4.1, one test each. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { logIndex, memberId, term as makeTerm } from '../base/index.ts'
import type { Group } from './group.testkit.ts'
import { createGroup, diskWith } from './group.testkit.ts'
import { configOf, ids } from './server.testkit.ts'

const id = (name: number): ReturnType<typeof memberId> => memberId(BigInt(name))
const statusOf = (group: Group, name: number): ReturnType<ReturnType<Group['at']>['raft']['status']> =>
  group.at(name).raft.status()
const change = (group: Group, name: number, voters: number[], learners: number[] = []): ReturnType<Group['step']> =>
  group.step(name, { type: 'changeConfig', change: configOf(voters, learners) })
/** Heartbeats and their answers until nothing changes. */
const beats = (group: Group, count: number, ...without: number[]): void => {
  const names = [...group.servers.keys()].filter((name) => !without.includes(name))
  for (let i = 0; i < count; i++) {
    group.pass(100, ...names)
    group.settle(...without)
  }
}
const reads = (group: Group, name: number): { context: number; index: number }[] =>
  group.readies.filter((one) => one.name === name).flatMap(({ ready }) => ready.reads)
const refusedReads = (group: Group, name: number): number[] =>
  group.readies.filter((one) => one.name === name).flatMap(({ ready }) => ready.readsRefused)

test('6.4: one heartbeat round confirms all reads of a turn, at the commit index of when it began', () => {
  const group = createGroup(3)
  group.elect(1)
  group.propose(1, 'x')
  group.settle()
  const { raft } = group.at(1)
  for (const context of [1, 2, 3]) raft.step({ type: 'readIndex', context }, group.now)
  group.step(1, { type: 'readIndex', context: 4 })
  assert.equal(group.sent(1, 'heartbeat').length, 2)
  assert.deepEqual(reads(group, 1), [])
  group.settle(3)
  assert.deepEqual(
    reads(group, 1),
    [1, 2, 3, 4].map((context) => ({ context, index: 2 })),
  )
})

test('6.4: a deposed leader confirms no read, and refuses those that wait once it knows', () => {
  const group = createGroup(3)
  group.elect(1)
  group.step(1, { type: 'readIndex', context: 1 })
  group.lose(1)
  group.pass(2000, 2)
  group.settle(1)
  assert.equal(statusOf(group, 2).role, 'leader')
  group.step(1, { type: 'readIndex', context: 2 })
  group.settle()
  beats(group, 1)
  assert.deepEqual(reads(group, 1), [])
  assert.deepEqual(refusedReads(group, 1), [1, 2])
})

test('6.4: a new leader gives no read before it has committed an entry of its term', () => {
  const group = createGroup(3, { disks: new Map([1, 2, 3].map((name) => [name, diskWith([1], configOf([1, 2, 3]))])) })
  group.step(1, { type: 'campaign' })
  for (const to of [1, 2]) {
    void to
    group.deliver(1, 2, 'vote')
    group.sync(2)
    group.deliver(2, 1, 'voteReply')
    group.sync(1)
  }
  assert.equal(statusOf(group, 1).role, 'leader')
  group.step(1, { type: 'readIndex', context: 1 })
  group.deliver(1, 2, 'heartbeat')
  group.sync(2)
  group.deliver(2, 1, 'heartbeatReply')
  assert.deepEqual(reads(group, 1), [])
  group.settle()
  assert.deepEqual(reads(group, 1), [{ context: 1, index: 2 }])
})

test('6.4: followers ask the leader; without one, or if it refuses, the reader is told to ask again', () => {
  const group = createGroup(3)
  group.step(2, { type: 'readIndex', context: 1 })
  assert.deepEqual(refusedReads(group, 2), [1])
  group.elect(1)
  group.step(2, { type: 'readIndex', context: 2 })
  group.settle()
  assert.deepEqual(reads(group, 2), [{ context: 2, index: 1 }])
  group.step(2, { type: 'readIndex', context: 3 })
  group.lose(2)
  group.step(1, { type: 'transferLeadership', to: id(3) })
  group.settle()
  assert.deepEqual(refusedReads(group, 2), [1, 3], 'the leader that was asked leads no more')
})

test('6.4: an answer to an earlier run of this server answers nothing', () => {
  const group = createGroup(3)
  group.elect(1)
  group.step(2, { type: 'readIndex', context: 1 })
  const asked = group.flights.filter(({ message }) => message.type === 'readIndex')
  group.flights = []
  Object.assign(group.at(2).options, { random: () => 0.77 })
  group.crash(2)
  group.restart(2)
  group.settle()
  beats(group, 1)
  group.step(2, { type: 'readIndex', context: 1 })
  group.flights = asked
  group.settle()
  assert.deepEqual(reads(group, 2), [])
})

const LEASE = { lease: { maxDriftPpm: 100_000 } }

test('6.4.1: under a lease reads need no round, for an election timeout less the drift of the clocks', () => {
  const group = createGroup(3, { options: LEASE })
  group.pass(1100, 1)
  group.settle()
  group.step(1, { type: 'transferLeadership', to: id(1) })
  beats(group, 1)
  const start = group.now
  group.now = start + 899
  group.step(1, { type: 'readIndex', context: 1 })
  assert.deepEqual(reads(group, 1), [{ context: 1, index: 1 }])
  group.now = start + 900
  group.step(1, { type: 'readIndex', context: 2 })
  assert.equal(reads(group, 1).length, 1)
})

test('6.4.1: no lease once an election was invited in this term, which may come late', () => {
  const group = createGroup(3, { options: LEASE })
  group.pass(1100, 1)
  group.settle()
  group.step(1, { type: 'transferLeadership', to: id(2) })
  group.lose(2)
  beats(group, 11, 2)
  assert.equal(statusOf(group, 1).transferee, undefined)
  group.step(1, { type: 'readIndex', context: 1 })
  assert.deepEqual(reads(group, 1), [])
})

test('6.4.1: a server that restarts helps no election within the time that a lease may count on it', () => {
  const group = createGroup(3, { options: LEASE })
  group.pass(1100, 1)
  group.settle()
  group.crash(2)
  group.restart(2)
  const vote = { type: 'vote', from: id(3), to: id(2), term: makeTerm(2), preVote: false, transfer: false } as const
  const message = { ...vote, lastIndex: logIndex(1), lastTerm: makeTerm(1) }
  group.step(2, { type: 'message', message })
  group.sync(2)
  assert.equal(statusOf(group, 2).term, 1)
  group.step(2, { type: 'campaign' })
  assert.equal(statusOf(group, 2).role, 'follower', 'not by hand either')
  group.now += 1000
  group.step(2, { type: 'message', message })
  group.sync(2)
  assert.equal(statusOf(group, 2).vote, id(3))
})

test('6.4.1: the last voter does not lead at once after a restart while a leader that it leaves out may', () => {
  const group = createGroup(2, { options: LEASE })
  group.pass(1100, 1)
  group.settle()
  change(group, 1, [2])
  group.deliver(1, 2, 'append')
  group.sync(2)
  group.crash(2)
  group.restart(2)
  assert.deepEqual(statusOf(group, 2).config.voters, ids(2))
  assert.ok(group.at(2).raft.nextDeadline() >= group.now + 1000)
  const alone = createGroup(1)
  assert.equal(alone.at(1).raft.nextDeadline(), 0, 'a group of one has nobody to wait for')
})
