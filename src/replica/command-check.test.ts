import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EMPTY, groupId, memberId, spaceId, utf8 } from '../base/index.ts'
import { encodeCommand, encodePutRequest, type Command, type PeerFrame } from '../wire/index.ts'
import { checkCommand } from './command-check.ts'

const [SENDER, OTHER] = [memberId(2n), memberId(3n)]
const SPACE = spaceId(1)
const PUT = encodePutRequest({
  key: utf8('k'),
  value: utf8('v'),
  lease: 0n,
  prevKv: false,
  ignoreValue: false,
  ignoreLease: false,
})
const COMMAND: Command = {
  kind: 'put',
  space: SPACE,
  server: SENDER,
  incarnation: 3n,
  sequence: 7,
  completedBelow: 5,
  session: undefined,
  body: PUT,
}

function check(change: Partial<Command>, bytes?: Uint8Array): string {
  const frame: Extract<PeerFrame, { type: 'proposal' }> = {
    type: 'proposal',
    group: groupId(1),
    server: SENDER,
    incarnation: 3n,
    sequence: 7,
    command: bytes ?? encodeCommand({ ...COMMAND, ...change }),
  }
  return checkCommand(frame, SENDER, SPACE)?.code ?? 'sound'
}

test('a member may propose what all replicas can apply, and only as itself', () => {
  assert.equal(check({}), 'sound')
  assert.equal(check({ server: OTHER }), 'protocol-error')
  assert.equal(check({ incarnation: 4n }), 'protocol-error')
  assert.equal(check({ sequence: 8 }), 'protocol-error')
  assert.equal(check({ space: spaceId(2) }), 'protocol-error')
  assert.notEqual(check({ body: utf8('no protobuf at all') }), 'sound')
  assert.equal(check({}, EMPTY), 'protocol-error')
  assert.equal(check({}, encodeCommand(COMMAND).subarray(0, 20)), 'protocol-error')
})
