import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Result } from '../base/index.ts'
import { concatBytes, groupId, InvariantViolation, logIndex, memberId, term, toHex } from '../base/index.ts'
import { decodeCommand, encodeCommand } from './command.ts'
import { decodePeerFrame, encodePeerFrame } from './peer-frame.ts'
import type { PeerFrame } from './peer-types.ts'
import { arbitraryCommand, arbitraryFrame, exampleCommand, exampleFrames, exampleMessages } from './peer.testkit.ts'

const numRuns = Number(process.env['SKEIN_FUZZ_RUNS'] ?? 300)

// A change here is a change of the protocol: old and new members must still understand each other, old logs be read.
const GOLDEN_MESSAGES = {
  vote: '0101010000000107000000a8a7a6a5a4a3a2a10b000000000000000500000000000000010009000000000000000400000000000000',
  voteReply: '0101010000000207000000a8a7a6a5a4a3a2a10b0000000000000005000000000000000001',
  append:
    '0101010000000307000000a8a7a6a5a4a3a2a10b000000000000000500000000000000000000000100000004000000000000000800000000000000020000000400000000000000000300000070757405000000000000000100000000',
  appendReply:
    '0101010000000407000000a8a7a6a5a4a3a2a10b00000000000000050000000000000009000000000000000106000000000000000300000000000000',
  heartbeat: '0101010000000507000000a8a7a6a5a4a3a2a10b00000000000000050000000000000008000000000000000c00000000000000',
  heartbeatReply: '0101010000000607000000a8a7a6a5a4a3a2a10b0000000000000005000000000000000c00000000000000',
  snapshot:
    '0101010000000707000000a8a7a6a5a4a3a2a10b0000000000000005000000000000000800000000000000040000000000000001020000000b00000000000000a8a7a6a5a4a3a2a1010000000b000000000000000000000001000000a8a7a6a5a4a3a2a1',
  readIndex: '0101010000000807000000a8a7a6a5a4a3a2a10b000000000000000500000000000000ffffffffffff1f00',
  readIndexReply:
    '0101010000000907000000a8a7a6a5a4a3a2a10b0000000000000005000000000000000300000000000000080000000000000000',
  timeoutNow: '0101010000000a07000000a8a7a6a5a4a3a2a10b000000000000000500000000000000',
}

const GOLDEN_FRAMES = {
  raft: '010100000000',
  proposal: '010207000000a8a7a6a5a4a3a2a10300000000000000110000000000000007000000636f6d6d616e64',
  proposalRefused: '010307000000030000000000000011000000000000000a0000006e6f742d6c6561646572080000006772c3b6c39f6572',
  snapshotStart:
    '0104070000000200000000000000a8a7a6a5a4a3a2a10b0000000000000005000000000000000800000000000000040000000000000006000000636f6e666967',
  snapshotChunk: '0105070000000200000000000000010000000000000002000000010000006b0100000076010000006c00000000',
  snapshotEnd: '01060700000002000000000000000200000000000000',
  snapshotProgress: '01090700000002000000000000000100000000000000',
  snapshotAck: '01070700000002000000000000000001090000006469736b2d66756c6c020000006e6f',
  stopping: '0108',
}

const GOLDEN_COMMANDS = {
  withSession:
    '0103020101a8a7a6a5a4a3a2a1030000000000000011000000000000000f00000000000000026d650400000000000000626f6479',
  without: '0101020100a8a7a6a5a4a3a2a1030000000000000011000000000000000f00000000000000626f6479',
}

const joined = (frame: PeerFrame): Uint8Array => concatBytes(encodePeerFrame(frame))

function refused(result: Result<unknown>, pattern: RegExp = /./): void {
  assert.ok(!result.ok)
  assert.equal(result.error.code, 'protocol-error')
  assert.match(result.error.message, pattern)
}

const bytesOf = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex, 'hex'))

for (const [type, hex] of Object.entries(GOLDEN_MESSAGES)) {
  test(`golden vector: Raft message ${type}`, () => {
    const message = exampleMessages[type as keyof typeof exampleMessages]
    const frame: PeerFrame = { type: 'raft', messages: [{ group: groupId(7), message }] }
    assert.equal(toHex(joined(frame)), hex)
    assert.deepEqual(decodePeerFrame(bytesOf(hex)), { ok: true, value: frame })
  })
}

for (const [type, hex] of Object.entries(GOLDEN_FRAMES)) {
  test(`golden vector: frame ${type}`, () => {
    const frame = exampleFrames[type as keyof typeof exampleFrames]
    assert.equal(toHex(joined(frame)), hex)
    assert.deepEqual(decodePeerFrame(bytesOf(hex)), { ok: true, value: frame })
  })
}

test('golden vectors: commands', () => {
  const without = { ...exampleCommand, kind: 'put' as const, session: undefined }
  assert.equal(toHex(encodeCommand(exampleCommand)), GOLDEN_COMMANDS.withSession)
  assert.equal(toHex(encodeCommand(without)), GOLDEN_COMMANDS.without)
  assert.deepEqual(decodeCommand(bytesOf(GOLDEN_COMMANDS.withSession)), { ok: true, value: exampleCommand })
  assert.deepEqual(decodeCommand(bytesOf(GOLDEN_COMMANDS.without)), { ok: true, value: without })
})

// structuredClone: the generator's objects have no prototype.
test('frames and commands survive the round trip', () => {
  fc.assert(
    fc.property(arbitraryFrame, (frame) =>
      assert.deepEqual(decodePeerFrame(joined(frame)), { ok: true, value: structuredClone(frame) }),
    ),
    { numRuns },
  )
  fc.assert(
    fc.property(arbitraryCommand, (command) =>
      assert.deepEqual(decodeCommand(encodeCommand(command)), { ok: true, value: structuredClone(command) }),
    ),
    { numRuns },
  )
})

test('every proper prefix of a frame, and a frame with one byte more, is a protocol-error', () => {
  fc.assert(
    fc.property(arbitraryFrame, fc.nat(255), (frame, extra) => {
      const whole = joined(frame)
      const step = Math.max(1, Math.floor(whole.length / 60))
      for (let length = 0; length < whole.length; length += step) refused(decodePeerFrame(whole.subarray(0, length)))
      refused(decodePeerFrame(concatBytes([whole, new Uint8Array([extra])])))
    }),
    { numRuns: Math.ceil(numRuns / 3) },
  )
})

test('mutated and random bytes never throw, and what decodes encodes to the same bytes', () => {
  const mutated = fc
    .tuple(arbitraryFrame, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 }))
    .map(([frame, changes]) => {
      const bytes = joined(frame)
      for (const [at, value] of changes) bytes[at % bytes.length] = value
      return bytes
    })
  const random = fc.uint8Array({ maxLength: 80 }).map((bytes) => concatBytes([new Uint8Array([1]), bytes]))
  let understood = 0
  fc.assert(
    fc.property(fc.oneof(mutated, random), (bytes) => {
      const decoded = decodePeerFrame(bytes)
      if (!decoded.ok) return assert.equal(decoded.error.code, 'protocol-error')
      understood++
      // One value has one encoding: nothing that was read is ignored. Only over-long refusal texts are cut.
      const cutText = decoded.value.type === 'proposalRefused' || decoded.value.type === 'snapshotAck'
      if (!cutText) assert.deepEqual(joined(decoded.value), bytes)
    }),
    { numRuns: numRuns * 2 },
  )
  assert.ok(understood > 0)
  fc.assert(
    fc.property(arbitraryCommand, fc.nat(), fc.nat(255), (command, at, value) => {
      const bytes = encodeCommand(command)
      bytes[at % bytes.length] = value
      const decoded = decodeCommand(bytes)
      if (decoded.ok) assert.deepEqual(encodeCommand(decoded.value), bytes)
      else assert.equal(decoded.error.code, 'protocol-error')
    }),
    { numRuns },
  )
})

test('a count that the rest of the frame could not hold is refused before anything is allocated for it', () => {
  refused(decodePeerFrame(bytesOf('0101ffffffff')), /items of at least/)
  refused(decodePeerFrame(bytesOf('010507000000020000000000000001000000000000000000ffffffff')), /items of at least/)
})

test('what a frame may not say: version, kind, flags, numbers, ids, order, codes', () => {
  const vote = GOLDEN_MESSAGES.vote
  const change = (hex: string, at: number, value: string): Uint8Array =>
    bytesOf(hex.slice(0, at * 2) + value + hex.slice(at * 2 + value.length))
  refused(decodePeerFrame(bytesOf('0208')), /format 2 is not 1/)
  refused(decodePeerFrame(bytesOf('01ff')), /unknown kind of frame/)
  refused(decodePeerFrame(change(vote, 6, 'ee')), /unknown Raft message/)
  refused(decodePeerFrame(change(vote, 11, '0000000000000000')), /member id 0/)
  refused(decodePeerFrame(change(vote, 27, '0000000000002000')), /2\^53/)
  refused(decodePeerFrame(change(vote, 35, '02')), /flag 2/)
  refused(decodePeerFrame(change(GOLDEN_MESSAGES.snapshot, 56, 'ffffffffffffffff')), /not ascending/)
  refused(decodePeerFrame(change(GOLDEN_FRAMES.proposalRefused, 26, '5a')), /unknown failure code/)
  refused(decodePeerFrame(change(GOLDEN_FRAMES.proposalRefused, 42, 'ff')), /malformed text/)
  refused(decodePeerFrame(change(GOLDEN_MESSAGES.append, 35, 'feffffffffff1f00')), /beyond the highest index/)
  refused(decodeCommand(change(GOLDEN_COMMANDS.without, 0, '02')), /version 2 is not 1/)
  refused(decodeCommand(change(GOLDEN_COMMANDS.without, 1, '09')), /unknown kind/)
  refused(decodeCommand(change(GOLDEN_COMMANDS.without, 4, '02')), /flags 2/)
  refused(decodeCommand(change(GOLDEN_COMMANDS.without, 29, '12')), /completedBelow above sequence/)
  refused(decodeCommand(change(GOLDEN_COMMANDS.withSession, 37, '00')), /session id of 0 bytes/)
  refused(decodeCommand(change(GOLDEN_COMMANDS.withSession, 37, '41')), /session id of 65 bytes/)
})

test('large data is neither copied into the frame nor out of it', () => {
  const data = new Uint8Array(5000).fill(7)
  const frame: PeerFrame = {
    type: 'raft',
    messages: [
      {
        group: groupId(1),
        message: {
          type: 'append',
          from: memberId(1n),
          to: memberId(2n),
          term: term(1),
          prevIndex: logIndex(0),
          prevTerm: term(0),
          commit: logIndex(0),
          entries: [{ index: logIndex(1), term: term(1), type: 'normal', data }],
        },
      },
    ],
  }
  const parts = encodePeerFrame(frame)
  assert.ok(parts.includes(data))
  const bytes = concatBytes(parts)
  const decoded = decodePeerFrame(bytes)
  assert.ok(decoded.ok && decoded.value.type === 'raft')
  const message = decoded.value.messages[0]?.message
  assert.ok(message?.type === 'append')
  assert.equal(message.entries[0]?.data.buffer, bytes.buffer)
})

test('an append whose entries do not follow each other is never sent', () => {
  const message = exampleMessages.append
  assert.ok(message.type === 'append')
  const broken = { ...message, prevIndex: logIndex(3) }
  const encode = (): unknown => encodePeerFrame({ type: 'raft', messages: [{ group: groupId(1), message: broken }] })
  assert.throws(
    encode,
    (thrown) => thrown instanceof InvariantViolation && thrown.invariant === 'append-entries-consecutive',
  )
})

test('over-long texts of refusals are cut, not refused', () => {
  const frame = { ...exampleFrames.proposalRefused, message: 'ß€'.repeat(5000) } as PeerFrame
  const decoded = decodePeerFrame(joined(frame))
  assert.ok(decoded.ok && decoded.value.type === 'proposalRefused')
  assert.equal(decoded.value.message, 'ß€'.repeat(500))
})
