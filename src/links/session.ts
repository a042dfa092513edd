/**
 * One open, authenticated connection: frames out in one write per turn, frames in with back-pressure, and beats, by which
 * each side hears that the other is there. A side that hears nothing for SILENCE_MS counts the other as gone, whatever
 * TCP believes; a stall of its own process does not count as silence.
 */
import { failure, type Failure } from '../base/index.ts'
import type { Connection, ConnectionHandlers, World } from '../world/index.ts'
import { createFrameReader, createRecordWriter, lengthOf, type Parts } from './framing.ts'
import type { Agreement } from './handshake.ts'
import { createTagger } from './secrets.ts'

/** How often sessions are looked after. */
export const TICK_MS = 250
/** A side that has sent nothing for so long sends a beat. */
const BEAT_MS = 500
/** A session ends at the latest SILENCE_MS + 2 TICK_MS after the other side was last heard. */
export const SILENCE_MS = 3_000
/** What one turn writes at most, but for a single larger frame: bounds the turn. */
const WRITE_BYTES = 1_048_576

export interface SessionEvents {
  onFrame(frame: Uint8Array): void
  /** After `send` returned 'full': there is room. */
  onDrain(): void
  /** Not after `end`. */
  onEnd(reason: Failure | undefined): void
}

export interface Session {
  readonly id: Uint8Array
  readonly handlers: ConnectionHandlers
  readonly sentBytes: number
  readonly receivedBytes: number
  readonly queuedBytes: number
  /** Hands over what came with the handshake. */
  start(): void
  /** Queues a frame for the next `flush`. */
  send(frame: Parts): 'sent' | 'full'
  /** Writes what is queued; true where some was left for the next turn. */
  flush(): boolean
  /** `stalledMs`: how much later this comes than it should. */
  tick(nowMs: number, stalledMs: number): void
  pause(): void
  resume(): void
  /** Ends it without an event: `close` sends what is queued, `reset` drops it. */
  end(how: 'close' | 'reset'): void
}

export function createSession(
  world: World,
  connection: Connection,
  agreement: Agreement,
  limits: { readonly maxFrameBytes: number; readonly maxQueuedBytes: number },
  events: SessionEvents,
): Session {
  const writer = createRecordWriter(createTagger(agreement.sendKey, world.hmacSha256))
  const reader = createFrameReader(createTagger(agreement.receiveKey, world.hmacSha256), limits.maxFrameBytes)
  let ended = false
  let pending: Parts[] = []
  let pendingBytes = 0
  /** The connection asked to wait: what it holds counts as queued. */
  let blocked = false
  let wantsDrain = false
  let paused = false
  let delivering = false
  let sentBytes = 0
  let receivedBytes = 0
  let heardMs = world.clock.monotonicMs()
  let sentMs = heardMs

  const finish = (reason: Failure | undefined): void => {
    if (ended) return
    ended = true
    pending = []
    pendingBytes = 0
    events.onEnd(reason)
  }
  const fail = (reason: Failure): void => {
    if (ended) return
    connection.reset()
    finish(reason)
  }

  const write = (bytes: Uint8Array): void => {
    sentBytes += bytes.length
    sentMs = world.clock.monotonicMs()
    blocked = !connection.write(bytes)
  }

  const tellDrain = (): void => {
    if (!wantsDrain || blocked || ended) return
    wantsDrain = false
    events.onDrain()
  }

  /** Handlers that are called may change it. */
  const held = (): boolean => ended || paused

  const deliver = (): void => {
    if (delivering) return
    delivering = true
    for (let frame = held() ? undefined : reader.next(); frame !== undefined;) {
      events.onFrame(frame)
      frame = held() ? undefined : reader.next()
    }
    delivering = false
    if (reader.failure !== undefined) fail(reader.failure)
  }

  /** Takes frames worth one write out of the queue. */
  const takePending = (): Parts[] => {
    let sizeBytes = 0
    let count = 0
    while (count < pending.length && sizeBytes < WRITE_BYTES) sizeBytes += lengthOf(pending[count++] ?? [])
    pendingBytes -= sizeBytes
    const taken = pending
    pending = count === taken.length ? [] : taken.splice(count)
    return taken
  }

  return {
    id: agreement.id,
    get sentBytes() {
      return sentBytes
    },
    get receivedBytes() {
      return receivedBytes
    },
    get queuedBytes() {
      return ended ? 0 : pendingBytes + connection.bufferedBytes
    },
    handlers: {
      onData(bytes) {
        if (ended) return
        heardMs = world.clock.monotonicMs()
        receivedBytes += bytes.length
        reader.push(bytes)
        deliver()
      },
      onDrain() {
        blocked = false
        tellDrain()
      },
      onClose(reason) {
        finish(reason ?? failure('connection-lost', `${connection.remoteAddress} ended the connection`))
      },
    },
    start() {
      if (agreement.rest.length === 0) return
      receivedBytes += agreement.rest.length
      reader.push(agreement.rest)
      deliver()
    },
    send(frame) {
      const sizeBytes = lengthOf(frame)
      const waitingBytes = pendingBytes + (blocked ? connection.bufferedBytes : 0)
      if (waitingBytes > 0 && waitingBytes + sizeBytes > limits.maxQueuedBytes) {
        wantsDrain = true
        return 'full'
      }
      pending.push(frame)
      pendingBytes += sizeBytes
      return 'sent'
    },
    flush() {
      if (ended || pending.length === 0) return false
      write(writer.frames(takePending()))
      if (pending.length > 0) return true
      tellDrain()
      return pending.length > 0
    },
    tick(nowMs, stalledMs) {
      if (ended) return
      heardMs += stalledMs
      // Who does not read cannot hear.
      if (paused) heardMs = nowMs
      if (nowMs - heardMs > SILENCE_MS) {
        const forMs = Math.round(nowMs - heardMs)
        fail(failure('connection-lost', `${connection.remoteAddress} has been silent for ${forMs} ms`))
        return
      }
      // What is blocked would only grow; the bytes before it are a sign of life themselves.
      if (nowMs - sentMs >= BEAT_MS && pending.length === 0 && !blocked) write(writer.beat())
    },
    pause() {
      if (ended || paused) return
      paused = true
      connection.pause()
    },
    resume() {
      if (ended || !paused) return
      paused = false
      heardMs = world.clock.monotonicMs()
      // In a turn of its own: the caller may be anybody. Frames that were held come first.
      world.endOfTurn(() => {
        if (held()) return
        deliver()
        if (!held()) connection.resume()
      })
    },
    end(how) {
      if (ended) return
      if (how === 'close') {
        while (pending.length > 0) write(writer.frames(takePending()))
        connection.close()
      } else {
        connection.reset()
      }
      ended = true
      pending = []
      pendingBytes = 0
    },
  }
}
