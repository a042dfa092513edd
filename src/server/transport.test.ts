import assert from 'node:assert/strict'
import { test } from 'node:test'
import { concatBytes, groupId, logIndex, memberId, term } from '../base/index.ts'
import { createSimulation } from '../lab/index.ts'
import type { Links } from '../links/index.ts'
import type { RaftMessage } from '../raft/index.ts'
import { LIMITS } from './limits.ts'
import { createTransport, type ServerTransport } from './transport.ts'

const [SELF, PEER] = [memberId(1n), memberId(2n)]
const GROUP = groupId(1)

/** A transport whose frames are kept instead of sent; `turn` runs code as one turn. */
function rig(): { transport: ServerTransport; sent: Uint8Array[]; turn: (code: () => void) => void } {
  const simulation = createSimulation({ seed: 1 })
  const { world } = simulation.process('s')
  const sent: Uint8Array[] = []
  const links: Links = {
    setPeers() {},
    send(_to, _lane, parts) {
      sent.push(concatBytes(parts))
      return 'sent'
    },
    isUp: () => true,
    stats: () => [],
    pause() {},
    resume() {},
    close() {},
  }
  const transport = createTransport(
    world,
    () => links,
    () => [PEER],
  )
  return {
    transport,
    sent,
    turn(code) {
      world.clock.setTimer(0, code)
      simulation.run({ untilMs: simulation.nowMs + 1 })
    },
  }
}

function append(index: number, sizeBytes: number): RaftMessage {
  return {
    type: 'append',
    from: SELF,
    to: PEER,
    term: term(1),
    prevIndex: logIndex(index - 1),
    prevTerm: term(1),
    commit: logIndex(0),
    entries: [{ index: logIndex(index), term: term(1), type: 'normal', data: new Uint8Array(sizeBytes) }],
  }
}

/** The indexes that arrive, frame by frame. */
function arriving(transport: ServerTransport, sent: readonly Uint8Array[]): number[][] {
  return sent.map((bytes) => {
    const frame = transport.decode(SELF, bytes)
    assert.ok(frame?.type === 'raft')
    return frame.messages.map(({ message }) => (message.type === 'append' ? (message.entries[0]?.index ?? 0) : 0))
  })
}

test('the Raft messages of a turn to one peer leave as one frame', () => {
  const { transport, sent, turn } = rig()
  turn(() => {
    for (let index = 1; index <= 100; index++) transport.of(GROUP).sendRaft(PEER, append(index, 100))
  })
  assert.deepEqual(arriving(transport, sent), [Array.from({ length: 100 }, (_, i) => i + 1)])
})

test('full appends of one turn, as many as may be in flight, leave in frames that links accepts, in order', () => {
  const { transport, sent, turn } = rig()
  const count = LIMITS.raft.maxInflightBytes / LIMITS.raft.maxAppendBytes + 1
  turn(() => {
    for (let index = 1; index <= count; index++) {
      transport.of(GROUP).sendRaft(PEER, append(index, LIMITS.raft.maxAppendBytes))
    }
  })
  for (const bytes of sent) assert.ok(bytes.length <= LIMITS.links.maxFrameBytes, `${bytes.length} bytes`)
  assert.deepEqual(
    arriving(transport, sent).flat(),
    Array.from({ length: count }, (_, i) => i + 1),
  )
})
