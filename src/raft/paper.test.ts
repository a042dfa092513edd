/** The claims of the Raft paper (Ongaro and Ousterhout 2014, extended version), one test each, named by section. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { logIndex, memberId, term as makeTerm } from '../base/index.ts'
import { bytes, createGroup, diskWith, readable, termsOf } from './group.testkit.ts'
import { compact, configOf } from './server.testkit.ts'
import type { Entry, RaftMessage } from './types.ts'

const id = (name: number): ReturnType<typeof memberId> => memberId(BigInt(name))
const entry = (index: number, term: number): Entry => ({
  index: logIndex(index),
  term: makeTerm(term),
  type: 'normal',
  data: bytes(`${term}.${index}`),
})
const append = (
  from: number,
  to: number,
  term: number,
  prev: number,
  prevTerm: number,
  entries: Entry[] = [],
  commit = 0,
) =>
  ({
    type: 'append',
    from: id(from),
    to: id(to),
    term: makeTerm(term),
    prevIndex: logIndex(prev),
    prevTerm: makeTerm(prevTerm),
    commit: logIndex(commit),
    entries,
  }) satisfies RaftMessage
const vote = (from: number, to: number, term: number, lastIndex: number, lastTerm: number) =>
  ({
    type: 'vote',
    from: id(from),
    to: id(to),
    term: makeTerm(term),
    preVote: false,
    transfer: false,
    lastIndex: logIndex(lastIndex),
    lastTerm: makeTerm(lastTerm),
  }) satisfies RaftMessage
const PLAIN = { preVote: false, checkQuorum: false }

test('5.1: whoever sees a newer term adopts it and follows, whatever it was', () => {
  for (const role of ['follower', 'preCandidate', 'candidate', 'leader'] as const) {
    const group = createGroup(3, { options: { ...PLAIN, preVote: role === 'preCandidate' } })
    if (role !== 'follower') group.step(1, { type: 'campaign' })
    if (role === 'leader') group.settle()
    assert.equal(group.at(1).raft.status().role, role)
    group.step(1, { type: 'message', message: append(2, 1, 9, 0, 0) })
    const { role: now, term, leader } = group.at(1).raft.status()
    assert.deepEqual([now, term, leader], ['follower', 9, id(2)], role)
  }
})

test('5.1: a request of a stale term is refused, and the answer tells the newer one', () => {
  const group = createGroup(3, { disks: new Map([[1, diskWith([5], configOf([1, 2, 3]))]]) })
  group.step(1, { type: 'message', message: append(2, 1, 4, 0, 0, [entry(1, 4)]) })
  group.step(1, { type: 'message', message: vote(3, 1, 4, 9, 4) })
  assert.deepEqual(termsOf(group.at(1)), [5])
  assert.deepEqual(
    group.flights.map(({ message }) => [message.type, message.term]),
    [
      ['appendReply', 5],
      ['voteReply', 5],
    ],
  )
})

test('5.2: servers begin as followers', () => {
  const group = createGroup(3)
  for (const name of [1, 2, 3]) assert.equal(group.at(name).raft.status().role, 'follower')
})

test('5.2: a leader sends heartbeats to all at its interval, and nobody campaigns', () => {
  const group = createGroup(3)
  group.elect(1)
  for (let beat = 0; beat < 30; beat++) {
    group.pass(100)
    assert.equal(group.sent(1, 'heartbeat').length, 2)
    group.settle()
  }
  assert.equal(group.at(1).raft.status().term, 1)
})

test('5.2: without a leader a follower raises its term, votes for itself and asks all others', () => {
  const group = createGroup(3, { options: PLAIN })
  group.pass(1100)
  const { role, term, vote: cast } = group.at(1).raft.status()
  assert.deepEqual([role, term, cast], ['candidate', 1, id(1)])
  group.sync(1)
  assert.deepEqual(
    group.sent(1, 'vote').map(({ to }) => to),
    [id(2), id(3)],
  )
  assert.equal(group.at(2).raft.status().role, 'follower', 'its own wait is longer')
})

test('5.2: a majority of votes wins, a majority of refusals loses, else the candidate waits', () => {
  const cases: [size: number, grants: number, refusals: number, role: string][] = [
    [1, 0, 0, 'leader'],
    [2, 0, 0, 'candidate'],
    [2, 1, 0, 'leader'],
    [3, 1, 1, 'leader'],
    [3, 0, 1, 'candidate'],
    [3, 0, 2, 'follower'],
    [5, 2, 0, 'leader'],
    [5, 1, 2, 'candidate'],
    [5, 1, 3, 'follower'],
  ]
  for (const [size, grants, refusals, role] of cases) {
    const group = createGroup(size, { options: PLAIN })
    group.step(1, { type: 'campaign' })
    group.sync(1)
    for (let i = 0; i < grants + refusals; i++) {
      const from = id(2 + i)
      const granted = i < grants
      const reply = { type: 'voteReply', from, to: id(1), term: makeTerm(1), preVote: false, granted } as const
      group.step(1, { type: 'message', message: reply })
      group.step(1, { type: 'message', message: reply })
    }
    assert.equal(group.at(1).raft.status().role, role, `${grants} of ${size}, ${refusals} refuse`)
  }
})

test('5.2: one vote per term, first come first served, and the same one again to whoever has it', () => {
  const group = createGroup(3, { options: PLAIN })
  for (const from of [2, 3, 2]) group.step(1, { type: 'message', message: vote(from, 1, 1, 0, 0) })
  group.sync(1)
  const granted = group.sent(1, 'voteReply').map((reply) => [Number(reply.to), 'granted' in reply && reply.granted])
  assert.deepEqual(granted, [
    [2, true],
    [3, false],
    [2, true],
  ])
  group.crash(1)
  group.restart(1)
  group.flights = []
  group.step(1, { type: 'message', message: vote(3, 1, 1, 0, 0) })
  group.sync(1)
  assert.deepEqual(
    group.sent(1, 'voteReply').map((reply) => 'granted' in reply && reply.granted),
    [false],
    'the vote survives a crash',
  )
})

test('5.2: a candidate follows a leader of its term, and disregards one of an older term', () => {
  const group = createGroup(3, { options: PLAIN, disks: new Map([[1, diskWith([], configOf([1, 2, 3]), 4)]]) })
  group.step(1, { type: 'campaign' })
  group.step(1, { type: 'message', message: append(2, 1, 4, 0, 0) })
  assert.equal(group.at(1).raft.status().role, 'candidate')
  group.step(1, { type: 'message', message: append(2, 1, 5, 0, 0) })
  assert.equal(group.at(1).raft.status().role, 'follower')
})

test('5.2: a split vote ends in another election, in a newer term', () => {
  const group = createGroup(2, { options: PLAIN })
  for (const name of [1, 2]) group.step(name, { type: 'campaign' })
  group.settle()
  assert.deepEqual([group.at(1).raft.status().role, group.at(2).raft.status().role], ['follower', 'follower'])
  group.pass(1100)
  group.settle()
  const { role, term } = group.at(1).raft.status()
  assert.deepEqual([role, term], ['leader', 2])
})

test('5.2: waits are drawn anew from [T, 2T)', () => {
  let draw = 0
  const group = createGroup(3, { options: PLAIN })
  const { options } = group.at(1)
  Object.assign(options, { random: () => draw })
  for (draw of [0, 0.25, 0.999]) {
    group.step(1, { type: 'message', message: append(2, 1, 1, 0, 0) })
    assert.equal(group.at(1).raft.nextDeadline(), 1000 * (1 + draw))
  }
})

test('5.2: only a leader or a granted vote makes a follower wait anew', () => {
  const group = createGroup(3, { options: PLAIN, disks: new Map([[1, diskWith([1, 1], configOf([1, 2, 3]))]]) })
  const deadline = (): number => group.at(1).raft.nextDeadline()
  const first = deadline()
  group.now = 500
  group.step(1, { type: 'message', message: vote(2, 1, 7, 0, 0) })
  assert.equal(group.at(1).raft.status().term, 7)
  assert.equal(deadline(), first, 'a refused candidate')
  group.step(1, { type: 'message', message: append(2, 1, 6, 2, 1) })
  assert.equal(deadline(), first, 'a leader of an older term')
  group.step(1, { type: 'message', message: vote(3, 1, 7, 2, 1) })
  assert.equal(deadline(), first + 500, 'a granted vote')
})

test('5.3: an entry is committed once a majority has it, and the commit index travels in later messages', () => {
  const group = createGroup(5)
  group.elect(1)
  group.propose(1, 'x')
  assert.equal(group.sent(1, 'append').length, 4, 'to all in parallel')
  group.sync(1)
  const commit = (): number => group.at(1).raft.status().commit
  for (const [name, expected] of [
    [2, 1],
    [3, 2],
  ] as const) {
    group.deliver(1, name, 'append')
    group.sync(name)
    group.deliver(name, 1, 'appendReply')
    assert.equal(commit(), expected)
  }
  assert.equal(group.at(2).raft.status().commit, 1)
  group.settle()
  for (const name of [1, 2, 3, 4, 5]) assert.equal(group.at(name).state.index, 2)
})

test('5.3: entries are applied in log order, the same at every server', () => {
  const group = createGroup(3)
  group.elect(1)
  for (const text of ['a', 'b', 'c']) group.propose(1, text)
  group.settle()
  const committed = group.readies.filter(({ ready }) => ready.committed !== undefined)
  for (const name of [1, 2, 3]) {
    let next = 1
    for (const { ready } of committed.filter((one) => one.name === name)) {
      assert.equal(ready.committed?.from, next)
      next = (ready.committed?.to ?? 0) + 1
    }
    assert.equal(next, 5)
    assert.equal(group.at(name).state.digest, group.at(1).state.digest)
    assert.deepEqual(
      group.at(name).mirror.map(({ data }) => readable(data)),
      ['', 'a', 'b', 'c'],
    )
  }
})

test('5.3: a follower accepts an append only where it has the entry before it', () => {
  const cases: [prev: number, prevTerm: number, accepted: boolean][] = [
    [0, 0, true],
    [1, 1, true],
    [2, 2, true],
    [2, 1, false],
    [1, 2, false],
    [3, 3, false],
  ]
  for (const [prev, prevTerm, accepted] of cases) {
    const group = createGroup(3, { disks: new Map([[1, diskWith([1, 2], configOf([1, 2, 3]))]]) })
    group.step(1, { type: 'message', message: append(2, 1, 3, prev, prevTerm) })
    group.sync(1)
    const [reply] = group.sent(1, 'appendReply')
    assert.equal(reply?.type === 'appendReply' && !reply.rejected, accepted, `${prev}/${prevTerm}`)
    if (accepted) assert.equal(reply?.type === 'appendReply' && reply.index, prev, 'and answers for what was checked')
  }
})

test('5.3: conflicting entries and what follows them go; a late, shorter append takes nothing away', () => {
  const cases: [prev: number, prevTerm: number, entries: Entry[], terms: number[]][] = [
    [2, 2, [entry(3, 3)], [1, 2, 3]],
    [1, 1, [entry(2, 3), entry(3, 4)], [1, 3, 4]],
    [0, 0, [entry(1, 1)], [1, 2]],
    [0, 0, [entry(1, 3)], [3]],
    [1, 1, [entry(2, 2)], [1, 2]],
    [2, 2, [], [1, 2]],
  ]
  for (const [prev, prevTerm, entries, terms] of cases) {
    const group = createGroup(3, { disks: new Map([[1, diskWith([1, 2], configOf([1, 2, 3]))]]) })
    group.step(1, { type: 'message', message: append(2, 1, 4, prev, prevTerm, entries) })
    assert.deepEqual(termsOf(group.at(1)), terms)
    assert.equal(group.at(1).raft.status().lastIndex, terms.length)
  }
})

test('5.3: a follower commits no further than the last entry that the append vouches for', () => {
  const group = createGroup(3, { disks: new Map([[1, diskWith([1, 2, 2], configOf([1, 2, 3]))]]) })
  group.step(1, { type: 'message', message: append(2, 1, 3, 1, 1, [], 3) })
  assert.equal(group.at(1).raft.status().commit, 1, 'what follows may differ from the leader')
  group.step(1, { type: 'message', message: append(2, 1, 3, 1, 1, [entry(2, 3)], 3) })
  assert.equal(group.at(1).raft.status().commit, 2)
  assert.deepEqual(termsOf(group.at(1)), [1, 3])
})

/** Figure 7: what the followers of a leader of term 8 may have. */
const LEADER = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6]
const FIGURE_7: Record<string, number[]> = {
  a: LEADER.slice(0, 9),
  b: LEADER.slice(0, 4),
  c: [...LEADER, 6],
  d: [...LEADER, 7, 7],
  e: [1, 1, 1, 4, 4, 4, 4],
  f: [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
}
for (const [name, terms] of Object.entries(FIGURE_7)) {
  test(`5.3, figure 7 (${name}): the leader brings the follower's log to its own, skipping whole terms`, () => {
    const config = configOf([1, 2, 3])
    const disks = new Map([
      [1, diskWith(LEADER, config, 7)],
      [2, diskWith(terms, config, 7)],
      [3, diskWith([], config)],
    ])
    const group = createGroup(3, { disks, options: PLAIN })
    group.step(1, { type: 'campaign' })
    group.sync(1)
    group.deliver(1, 3, 'vote')
    group.sync(3)
    group.deliver(3, 1, 'voteReply')
    assert.equal(group.at(1).raft.status().role, 'leader')
    group.flights = group.flights.filter(({ message }) => message.type !== 'vote')
    group.settle()
    const refused = group.readies
      .filter((one) => one.name === 2)
      .flatMap(({ ready }) => ready.messages.concat(ready.messagesAfterPersist))
      .filter((message) => message.type === 'appendReply' && message.rejected)
    const refusals = new Set(refused.map((message) => 'index' in message && message.index)).size
    assert.deepEqual(termsOf(group.at(2)), [...LEADER, 8])
    assert.ok(refusals <= 2, `${refusals} refusals`)
  })
}

test('5.3: a follower that does not answer is asked again, without end', () => {
  const group = createGroup(3)
  group.elect(1)
  group.propose(1, 'x')
  group.lose(3)
  group.settle(3)
  for (let beat = 0; beat < 20; beat++) {
    group.pass(100, 1, 2)
    group.settle(3)
  }
  assert.equal(group.at(3).raft.status().lastIndex, 1)
  group.pass(100, 1, 2)
  group.settle()
  group.pass(100, 1, 2)
  group.settle()
  group.pass(100, 1, 2)
  group.settle()
  assert.equal(group.at(3).state.index, 2)
})

test('5.4.1: a vote is refused to whoever has less of a log', () => {
  const cases: [lastTerm: number, lastIndex: number, granted: boolean][] = [
    [2, 2, true],
    [2, 3, true],
    [3, 1, true],
    [2, 1, false],
    [1, 9, false],
    [0, 0, false],
  ]
  for (const [lastTerm, lastIndex, granted] of cases) {
    const group = createGroup(3, { options: PLAIN, disks: new Map([[1, diskWith([1, 2], configOf([1, 2, 3]))]]) })
    group.step(1, { type: 'message', message: vote(2, 1, 3, lastIndex, lastTerm) })
    group.sync(1)
    const [reply] = group.sent(1, 'voteReply')
    assert.equal(reply?.type === 'voteReply' && reply.granted, granted, `${lastTerm}/${lastIndex}`)
  }
})

test("5.4.2, figure 8: entries of earlier terms are not committed by counting, but with one of the leader's own", () => {
  const config = configOf([1, 2, 3, 4, 5])
  // (c): S1 led term 2, S5 term 3; S1 leads again in term 4 and brings its entry of term 2 to a majority.
  const disks = new Map([
    [1, diskWith([1, 2], config, 3)],
    [2, diskWith([1, 2], config, 3)],
    [3, diskWith([1], config, 3)],
    [4, diskWith([1], config, 3)],
    [5, diskWith([1, 3], config, 3)],
  ])
  const group = createGroup(5, { disks, options: { ...PLAIN, maxAppendBytes: 0, maxInflightMessages: 1 } })
  group.elect(1, 5)
  const status = group.at(1).raft.status()
  assert.deepEqual([status.role, status.term, status.commit], ['leader', 4, 3])
  const commits = group.readies.filter(({ name, ready }) => name === 1 && ready.committed !== undefined)
  assert.deepEqual(
    commits.map(({ ready }) => [ready.committed?.from, ready.committed?.to]),
    [[1, 3]],
    'index 2 was on three servers before index 3 was',
  )
  const before = group.readies.filter(({ name }) => name === 1).findIndex(({ ready }) => ready.committed !== undefined)
  assert.ok(before > 3)
})

test('5.5: appends and votes that arrive twice change nothing', () => {
  const group = createGroup(3)
  group.elect(1)
  group.propose(1, 'x')
  for (const packet of group.flights.slice()) group.flights.push(packet)
  group.settle()
  for (const packet of group.readies.flatMap(({ ready }) => ready.messages)) {
    group.step(Number(packet.to), { type: 'message', message: packet })
  }
  group.settle()
  for (const name of [1, 2, 3]) {
    const { lastIndex, commit, term } = group.at(name).raft.status()
    assert.deepEqual([lastIndex, commit, term], [2, 2, 1])
  }
})

test('7: a follower that lags beyond the log gets a snapshot, and then the rest', () => {
  const group = createGroup(3)
  group.elect(1, 3)
  for (const text of ['a', 'b', 'c']) group.propose(1, text)
  group.settle(3)
  compact(group.at(1), 0, group.now)
  group.propose(1, 'd')
  group.settle(3)
  for (let beat = 0; beat < 4; beat++) {
    group.pass(100, 1, 2)
    group.settle()
  }
  assert.equal(group.at(3).state.index, 5)
  assert.equal(group.at(3).state.digest, group.at(1).state.digest)
  assert.equal(group.at(3).disk.base.index, 5)
  assert.equal(
    group
      .at(1)
      .raft.status()
      .progress.find((peer) => peer.id === id(3))?.state,
    'replicate',
  )
})

test('7: a snapshot of what a follower has already keeps the entries after it', () => {
  const group = createGroup(3, { disks: new Map([[1, diskWith([1, 1, 1], configOf([1, 2, 3]))]]) })
  const meta = { index: logIndex(2), term: makeTerm(1), config: configOf([1, 2, 3]) }
  group.step(1, { type: 'message', message: { type: 'snapshot', from: id(2), to: id(1), term: makeTerm(1), meta } })
  const { commit, lastIndex, firstIndex } = group.at(1).raft.status()
  assert.deepEqual([commit, lastIndex, firstIndex], [2, 3, 1])
  group.step(1, { type: 'message', message: { type: 'snapshot', from: id(2), to: id(1), term: makeTerm(1), meta } })
  assert.equal(group.at(1).raft.status().commit, 2, 'and an old one changes nothing')
})

test('8: a leader begins its term with an entry of its own, which commits what came before', () => {
  const config = configOf([1, 2, 3])
  const group = createGroup(3, { disks: new Map([1, 2, 3].map((name) => [name, diskWith([1, 1], config)] as const)) })
  assert.equal(group.at(1).raft.status().commit, 0)
  group.elect(1)
  const { commit, lastIndex } = group.at(1).raft.status()
  assert.deepEqual([commit, lastIndex], [3, 3])
  assert.equal(group.at(1).mirror.at(-1)?.data.length, 0)
})
