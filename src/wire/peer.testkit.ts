/** Arbitrary frames and commands, and one example of each for the golden vectors. */
import fc from 'fast-check'
import type { FailureCode, GroupId, LogIndex, MemberId, SpaceId, Term } from '../base/index.ts'
import { FAILURES, groupId, logIndex, memberId, spaceId, term, utf8 } from '../base/index.ts'
import type { Command } from './command.ts'
import type { PeerConfig, PeerEntry, PeerFrame, PeerRaftMessage } from './peer-types.ts'

type Append = Extract<PeerRaftMessage, { type: 'append' }>

const count: fc.Arbitrary<number> = fc.oneof(fc.nat(), fc.maxSafeNat(), fc.constantFrom(0, 2 ** 32, 2 ** 53 - 1))
const index: fc.Arbitrary<LogIndex> = count.map(logIndex)
const terms: fc.Arbitrary<Term> = count.map(term)
const member: fc.Arbitrary<MemberId> = fc.bigInt(1n, 2n ** 64n - 1n).map(memberId)
const group: fc.Arbitrary<GroupId> = fc.integer({ min: 0, max: 2 ** 32 - 1 }).map(groupId)
const u64: fc.Arbitrary<bigint> = fc.bigInt(0n, 2n ** 64n - 1n)
/** Some long enough to become parts of their own. */
const bytes: fc.Arbitrary<Uint8Array> = fc.oneof(
  { weight: 9, arbitrary: fc.uint8Array({ maxLength: 40 }) },
  { weight: 1, arbitrary: fc.integer({ min: 1000, max: 1100 }).map((length) => new Uint8Array(length).fill(length)) },
)
const code: fc.Arbitrary<FailureCode> = fc.constantFrom(...(Object.keys(FAILURES) as FailureCode[]))
const message: fc.Arbitrary<string> = fc.string({ unit: 'grapheme', maxLength: 60 })

const members: fc.Arbitrary<readonly MemberId[]> = fc
  .uniqueArray(member, { maxLength: 5 })
  .map((ids) => ids.sort((a, b) => (a < b ? -1 : 1)))
const config: fc.Arbitrary<PeerConfig> = fc.record({
  voters: members,
  votersOutgoing: members,
  learners: members,
  learnersNext: members,
  autoLeave: fc.boolean(),
})

const envelope = { from: member, to: member, term: terms }
const entry = fc.record({ term: terms, type: fc.constantFrom('normal' as const, 'config' as const), data: bytes })

function numbered(made: Omit<Append, 'entries'> & { readonly entries: readonly Omit<PeerEntry, 'index'>[] }): Append {
  const entries = made.entries.map(({ term, type, data }, i) => ({
    index: logIndex(made.prevIndex + 1 + i),
    term,
    type,
    data,
  }))
  return Object.assign(made, { entries })
}

const append: fc.Arbitrary<PeerRaftMessage> = fc
  .record({
    ...envelope,
    type: fc.constant('append' as const),
    prevIndex: fc.maxSafeNat().map((value) => logIndex(Math.min(value, 2 ** 53 - 10))),
    prevTerm: terms,
    commit: index,
    entries: fc.array(entry, { maxLength: 8 }),
  })
  .map(numbered)

/** Keyed by type, so that a new message without an arbitrary does not compile. */
const raftByType: { readonly [K in PeerRaftMessage['type']]: fc.Arbitrary<PeerRaftMessage> } = {
  vote: fc.record({
    ...envelope,
    type: fc.constant('vote' as const),
    preVote: fc.boolean(),
    transfer: fc.boolean(),
    lastIndex: index,
    lastTerm: terms,
  }),
  voteReply: fc.record({
    ...envelope,
    type: fc.constant('voteReply' as const),
    preVote: fc.boolean(),
    granted: fc.boolean(),
  }),
  append,
  appendReply: fc.record({
    ...envelope,
    type: fc.constant('appendReply' as const),
    index,
    rejected: fc.boolean(),
    hintIndex: index,
    hintTerm: terms,
  }),
  heartbeat: fc.record({ ...envelope, type: fc.constant('heartbeat' as const), commit: index, round: count }),
  heartbeatReply: fc.record({ ...envelope, type: fc.constant('heartbeatReply' as const), round: count }),
  snapshot: fc.record({
    ...envelope,
    type: fc.constant('snapshot' as const),
    meta: fc.record({ index, term: terms, config }),
  }),
  readIndex: fc.record({ ...envelope, type: fc.constant('readIndex' as const), context: count }),
  readIndexReply: fc.record({
    ...envelope,
    type: fc.constant('readIndexReply' as const),
    context: count,
    index,
    refused: fc.boolean(),
  }),
  timeoutNow: fc.record({ ...envelope, type: fc.constant('timeoutNow' as const) }),
}

const frameByType: { readonly [K in PeerFrame['type']]: fc.Arbitrary<PeerFrame> } = {
  raft: fc.record({
    type: fc.constant('raft' as const),
    messages: fc.array(fc.record({ group, message: fc.oneof(...Object.values(raftByType)) }), { maxLength: 6 }),
  }),
  proposal: fc.record({
    type: fc.constant('proposal' as const),
    group,
    server: member,
    incarnation: u64,
    sequence: count,
    command: bytes,
  }),
  proposalRefused: fc.record(
    {
      type: fc.constant('proposalRefused' as const),
      group,
      incarnation: u64,
      sequence: count,
      code,
      message,
    },
    { requiredKeys: ['type', 'group', 'incarnation', 'sequence', 'code', 'message'] },
  ),
  snapshotStart: fc.record({
    type: fc.constant('snapshotStart' as const),
    group,
    stream: count,
    from: member,
    to: member,
    term: terms,
    index,
    indexTerm: terms,
    config: bytes,
  }),
  snapshotChunk: fc.record(
    {
      type: fc.constant('snapshotChunk' as const),
      group,
      stream: count,
      sequence: count,
      pairs: fc.array(fc.record({ key: bytes, value: bytes }), { maxLength: 6 }),
    },
    { requiredKeys: ['type', 'group', 'stream', 'sequence', 'pairs'] },
  ),
  snapshotEnd: fc.record(
    { type: fc.constant('snapshotEnd' as const), group, stream: count, pairs: count },
    { requiredKeys: ['type', 'group', 'stream', 'pairs'] },
  ),
  snapshotProgress: fc.record({
    type: fc.constant('snapshotProgress' as const),
    group,
    stream: count,
    received: count,
  }),
  snapshotAck: fc.record(
    {
      type: fc.constant('snapshotAck' as const),
      group,
      stream: count,
      accepted: fc.boolean(),
      failure: fc.record({ code, message }),
    },
    { requiredKeys: ['type', 'group', 'stream', 'accepted'] },
  ),
  stopping: fc.constant({ type: 'stopping' as const }),
}

export const arbitraryFrame: fc.Arbitrary<PeerFrame> = fc.oneof(...Object.values(frameByType))

const space: fc.Arbitrary<SpaceId> = fc.integer({ min: 0, max: 65535 }).map(spaceId)

export const arbitraryCommand: fc.Arbitrary<Command> = fc
  .record({
    kind: fc.constantFrom('put' as const, 'deleteRange' as const, 'txn' as const, 'compact' as const),
    space,
    server: member,
    incarnation: u64,
    sequence: count,
    behind: fc.nat(),
    session: fc.option(fc.record({ id: fc.uint8Array({ minLength: 1, maxLength: 64 }), sequence: count }), {
      nil: undefined,
    }),
    body: bytes,
  })
  .map(({ behind, ...rest }) => Object.assign(rest, { completedBelow: Math.max(0, rest.sequence - behind) }))

const A: MemberId = memberId(0xa1a2a3a4a5a6a7a8n)
const B: MemberId = memberId(0xbn)
const G: GroupId = groupId(7)
const between = { from: A, to: B, term: term(5) }

/** One of each Raft message. */
export const exampleMessages: { readonly [K in PeerRaftMessage['type']]: PeerRaftMessage } = {
  vote: { ...between, type: 'vote', preVote: true, transfer: false, lastIndex: logIndex(9), lastTerm: term(4) },
  voteReply: { ...between, type: 'voteReply', preVote: false, granted: true },
  append: {
    ...between,
    type: 'append',
    prevIndex: logIndex(2 ** 32),
    prevTerm: term(4),
    commit: logIndex(8),
    entries: [
      { index: logIndex(2 ** 32 + 1), term: term(4), type: 'normal', data: utf8('put') },
      { index: logIndex(2 ** 32 + 2), term: term(5), type: 'config', data: new Uint8Array(0) },
    ],
  },
  appendReply: {
    ...between,
    type: 'appendReply',
    index: logIndex(9),
    rejected: true,
    hintIndex: logIndex(6),
    hintTerm: term(3),
  },
  heartbeat: { ...between, type: 'heartbeat', commit: logIndex(8), round: 12 },
  heartbeatReply: { ...between, type: 'heartbeatReply', round: 12 },
  snapshot: {
    ...between,
    type: 'snapshot',
    meta: {
      index: logIndex(8),
      term: term(4),
      config: { voters: [B, A], votersOutgoing: [B], learners: [], learnersNext: [A], autoLeave: true },
    },
  },
  readIndex: { ...between, type: 'readIndex', context: 2 ** 53 - 1 },
  readIndexReply: { ...between, type: 'readIndexReply', context: 3, index: logIndex(8), refused: false },
  timeoutNow: { ...between, type: 'timeoutNow' },
}

/** One of each frame; the Raft messages are in `exampleMessages`. */
export const exampleFrames: { readonly [K in PeerFrame['type']]: PeerFrame } = {
  raft: { type: 'raft', messages: [] },
  proposal: { type: 'proposal', group: G, server: A, incarnation: 3n, sequence: 17, command: utf8('command') },
  proposalRefused: {
    type: 'proposalRefused',
    group: G,
    incarnation: 3n,
    sequence: 17,
    code: 'not-leader',
    message: 'größer',
  },
  snapshotStart: {
    type: 'snapshotStart',
    group: G,
    stream: 2,
    from: A,
    to: B,
    term: term(5),
    index: logIndex(8),
    indexTerm: term(4),
    config: utf8('config'),
  },
  snapshotChunk: {
    type: 'snapshotChunk',
    group: G,
    stream: 2,
    sequence: 1,
    pairs: [
      { key: utf8('k'), value: utf8('v') },
      { key: utf8('l'), value: new Uint8Array(0) },
    ],
  },
  snapshotEnd: { type: 'snapshotEnd', group: G, stream: 2, pairs: 2 },
  snapshotProgress: { type: 'snapshotProgress', group: G, stream: 2, received: 1 },
  snapshotAck: {
    type: 'snapshotAck',
    group: G,
    stream: 2,
    accepted: false,
    failure: { code: 'disk-full', message: 'no' },
  },
  stopping: { type: 'stopping' },
}

export const exampleCommand: Command = {
  kind: 'txn',
  space: spaceId(0x0102),
  server: A,
  incarnation: 3n,
  sequence: 17,
  completedBelow: 15,
  session: { id: utf8('me'), sequence: 4 },
  body: utf8('body'),
}
