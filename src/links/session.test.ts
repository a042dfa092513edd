import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createSimulation } from '../lab/index.ts'
import type { Connection } from '../world/index.ts'
import { createFrameReader, RECORD_HEAD_BYTES } from './framing.ts'
import { createTagger } from './secrets.ts'
import { createSession, type Session, SILENCE_MS, TICK_MS } from './session.ts'

const KEY = new Uint8Array(32)

/** A session over a connection that only keeps what is written; time is the test's. */
function rig(
  writable: () => boolean = () => true,
  maxQueuedBytes = 300,
): {
  session: Session
  written: Uint8Array[]
  told: string[]
  connection: { bufferedBytes: number }
} {
  const { world } = createSimulation({ seed: 1 }).process('s')
  const written: Uint8Array[] = []
  const told: string[] = []
  const connection = {
    localAddress: 's:1',
    remoteAddress: 'r:1',
    tlsIdentity: undefined,
    bufferedBytes: 0,
    write(bytes: Uint8Array) {
      written.push(bytes)
      return writable()
    },
    pause: () => void told.push('paused'),
    resume: () => void told.push('resumed'),
    close: () => void told.push('closed'),
    reset: () => void told.push('reset'),
  }
  const session = createSession(
    world,
    connection satisfies Connection,
    { id: new Uint8Array(16), sendKey: KEY, receiveKey: KEY, rest: new Uint8Array(0) },
    { maxFrameBytes: 1000, maxQueuedBytes },
    {
      onFrame: (frame) => void told.push(`frame ${frame.length}`),
      onDrain: () => void told.push('drain'),
      onEnd: (reason) => void told.push(`end: ${reason?.message}`),
    },
  )
  return { session, written, told, connection }
}

test('beats go out while there is nothing else to say, and silence ends it', () => {
  const { session, written, told } = rig()
  let nowMs = 0
  for (; nowMs <= SILENCE_MS; nowMs += TICK_MS) session.tick(nowMs, 0)
  // The world of this test stands still, so every tick but the first ones finds that nothing was sent.
  assert.ok(written.length > 3)
  assert.ok(written.every(({ length }) => length === RECORD_HEAD_BYTES))
  assert.deepEqual(told, [])
  session.tick(nowMs, 0)
  assert.deepEqual(told, ['reset', 'end: r:1 has been silent for 3250 ms'])
  session.tick(nowMs + 10_000, 0)
  session.handlers.onClose(undefined)
  assert.equal(told.length, 2)
})

test('a stall of its own process is no silence of the other', () => {
  const { session, told } = rig()
  session.tick(TICK_MS, 0)
  session.tick(60_000, 60_000 - 3 * TICK_MS)
  assert.deepEqual(told, [])
  session.tick(60_000 + SILENCE_MS + TICK_MS, 0)
  assert.equal(told.length, 2)
})

test('who has paused cannot hear, and is not impatient', () => {
  const { session, told } = rig()
  session.pause()
  session.tick(60_000, 0)
  session.tick(120_000, 0)
  assert.deepEqual(told, ['paused'])
})

test('a connection that cannot take more gets no beats', () => {
  const { session, written } = rig(() => false)
  session.send([new Uint8Array(10)])
  session.flush()
  assert.equal(written.length, 1)
  session.tick(2000, 0)
  assert.equal(written.length, 1)
  session.handlers.onDrain()
  session.tick(2250, 0)
  assert.equal(written.length, 2)
})

test('full is followed by drain: at the flush where the connection takes it all, else when it drains', () => {
  let writable = true
  const { session, told, connection } = rig(() => writable)
  assert.equal(session.send([new Uint8Array(400)]), 'sent')
  assert.equal(session.send([new Uint8Array(1)]), 'full')
  session.flush()
  assert.deepEqual(told, ['drain'])
  // Once only.
  session.handlers.onDrain()
  assert.deepEqual(told, ['drain'])

  writable = false
  assert.equal(session.send([new Uint8Array(200)]), 'sent')
  connection.bufferedBytes = 250
  session.flush()
  assert.equal(session.send([new Uint8Array(100)]), 'full')
  session.flush()
  assert.deepEqual(told, ['drain'])
  connection.bufferedBytes = 0
  session.handlers.onDrain()
  assert.deepEqual(told, ['drain', 'drain'])
  assert.equal(session.send([new Uint8Array(300)]), 'sent')
})

test('one turn writes a bounded amount; the rest waits for the next, in order', () => {
  const { session, written } = rig(() => true, 10_000_000)
  for (let i = 0; i < 10; i++) session.send([new Uint8Array(250_000).fill(i)])
  assert.equal(session.flush(), true)
  assert.ok((written[0]?.length ?? 0) < 1_300_000, `${written[0]?.length}`)
  assert.equal(session.flush(), false)
  assert.equal(written.length, 2)
  const reader = createFrameReader(createTagger(KEY, undefined), 1_000_000)
  const first: (number | undefined)[] = []
  for (const bytes of written) {
    reader.push(bytes)
    for (let frame = reader.next(); frame !== undefined; frame = reader.next()) first.push(frame[0])
  }
  assert.deepEqual(first, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
})

test('an end by its owner tells nobody; close sends what is queued, reset does not', () => {
  for (const how of ['close', 'reset'] as const) {
    const { session, written, told } = rig()
    session.send([new Uint8Array(10)])
    session.end(how)
    session.end('reset')
    assert.equal(written.length, how === 'close' ? 1 : 0)
    assert.deepEqual(told, [how === 'close' ? 'closed' : 'reset'])
    session.handlers.onClose(undefined)
    session.handlers.onData(new Uint8Array(20))
    assert.equal(told.length, 1)
    assert.equal(session.queuedBytes, 0)
  }
})
