/**
 * Streams the range's state to followers that need it, on the bulk lane, from a pinned view of the engine.
 *
 * Promises: (1) one stream per follower; (2) what is sent is one consistent state, with the index, term and
 * configuration that belong to it; (3) never more than WINDOW_CHUNKS chunks are under way: a slow follower slows its
 * stream only; (4) a stream ends: acknowledged, refused, link lost, replaced by a newer one, leadership lost, or without progress
 * for `snapshotTimeoutMs`; with it ends the pinned view; (5) no turn makes chunks for longer than SLICE_MS.
 */
import type { LogIndex, MemberId } from '../base/index.ts'
import { equalBytes, invariant } from '../base/index.ts'
import type { EngineCursor, EngineSnapshot } from '../engine/index.ts'
import { spaceInterval } from '../mvcc/index.ts'
import type { RaftMessage } from '../raft/index.ts'
import { encodeConfig } from '../raft/index.ts'
import type { PeerFrame, SnapshotPair } from '../wire/index.ts'
import type { Timer, World } from '../world/index.ts'
import { decodePosition, encodePosition, positionKey } from './records.ts'
import type { ReplicaEnvironment, ReplicaOptions } from './types.ts'

const CHUNK_BYTES = 64 * 1024
/** Of a chunk: many small pairs take longer than a few large ones. */
const CHUNK_PAIRS = 512
/** Chunks are made for so long in one turn, before other work gets its chance. */
const SLICE_MS = 4
/** And not more than these, where time stands still. */
const CHUNKS_PER_TURN = 8
/** Chunks sent of which the follower has not said that it has room for them: about 1 MiB. */
const WINDOW_CHUNKS = 16
/** A stream that cannot even begin is reported this much later: at once, the core would ask again at once. */
const REFUSAL_DELAY_MS = 100

type Stream = {
  readonly to: MemberId
  readonly id: number
  readonly index: LogIndex
  readonly snapshot: EngineSnapshot
  readonly cursor: EngineCursor
  nextSequence: number
  /** Chunks that the follower has. */
  received: number
  pairs: number
  /** A chunk that the lane had no room for. */
  held: PeerFrame | undefined
  ended: boolean
  scheduled: boolean
  timer: Timer
}

type SnapshotMessage = Extract<RaftMessage, { type: 'snapshot' }>

export interface SnapshotSender {
  start(message: SnapshotMessage): void
  onProgress(from: MemberId, frame: Extract<PeerFrame, { type: 'snapshotProgress' }>): void
  onAck(from: MemberId, frame: Extract<PeerFrame, { type: 'snapshotAck' }>): void
  onDrain(peer: MemberId): void
  onDown(peer: MemberId, lane: 'control' | 'bulk'): void
  /** The log must keep what comes after this index; Infinity where nothing is streamed. */
  readonly lowestIndex: number
  /** Ends all streams without a report: this member leads no longer. */
  stop(): void
  close(): void
}

export function createSnapshotSender(
  world: World,
  options: ReplicaOptions,
  environment: ReplicaEnvironment,
  handlers: { readonly onDone: (to: MemberId, index: LogIndex, ok: boolean) => void },
): SnapshotSender {
  const { engine, transport } = environment
  const streams = new Map<MemberId, Stream>()
  let nextId = 1
  let closed = false

  /** Lets go of all that the stream holds; false where it had ended before. */
  const end = (stream: Stream, why: string): boolean => {
    if (streams.get(stream.to) !== stream) return false
    streams.delete(stream.to)
    stream.timer.cancel()
    stream.cursor.close()
    stream.snapshot.close()
    const { to, index, pairs } = stream
    world.diagnostics.log(why === '' ? 'info' : 'warn', 'snapshot-sent', { to, index, pairs, success: why === '', why })
    return true
  }

  /** `why` it failed; empty where it did not. */
  const finish = (stream: Stream, why: string): void => {
    if (end(stream, why) && !closed) handlers.onDone(stream.to, stream.index, why === '')
  }

  const startTimer = (stream: () => Stream): Timer =>
    world.clock.setTimer(options.snapshotTimeoutMs, () =>
      finish(stream(), `no progress in ${options.snapshotTimeoutMs} ms`),
    )

  const watch = (stream: Stream): void => {
    stream.timer.cancel()
    stream.timer = startTimer(() => stream)
  }

  const stop = (why: string): void => {
    for (const stream of streams.values()) end(stream, why)
  }

  const pump = (stream: Stream): void => {
    if (stream.scheduled) return
    stream.scheduled = true
    world.endOfTurn(() => {
      stream.scheduled = false
      if (streams.get(stream.to) === stream && !stream.ended) sendSome(stream)
    })
  }

  const sendSome = (stream: Stream): void => {
    const startMs = world.clock.monotonicMs()
    for (let count = 0; count < CHUNKS_PER_TURN && world.clock.monotonicMs() - startMs < SLICE_MS; count++) {
      if (stream.held === undefined && stream.nextSequence - stream.received >= WINDOW_CHUNKS) return
      const frame = stream.held ?? nextFrame(stream)
      const outcome = transport.sendBulk(stream.to, frame)
      if (outcome === 'down') return finish(stream, 'no connection')
      if (outcome === 'full') {
        stream.held = frame
        return
      }
      stream.held = undefined
      if (frame.type === 'snapshotEnd') {
        stream.ended = true
        return
      }
    }
    pump(stream)
  }

  const nextFrame = (stream: Stream): PeerFrame => {
    const pairs: SnapshotPair[] = []
    let sizeBytes = 0
    while (sizeBytes < CHUNK_BYTES && pairs.length < CHUNK_PAIRS && stream.cursor.next()) {
      const { key } = stream.cursor
      const value = equalBytes(key, positionKey(options.space))
        ? encodePosition({ ...decodePosition(stream.cursor.value), restored: true })
        : stream.cursor.value
      pairs.push({ key, value })
      sizeBytes += key.length + value.length
    }
    if (pairs.length === 0) return { type: 'snapshotEnd', group: options.group, stream: stream.id, pairs: stream.pairs }
    stream.pairs += pairs.length
    return { type: 'snapshotChunk', group: options.group, stream: stream.id, sequence: stream.nextSequence++, pairs }
  }

  const refuse = (message: SnapshotMessage): void => {
    world.clock.setTimer(REFUSAL_DELAY_MS, () => {
      if (!closed) handlers.onDone(message.to, message.meta.index, false)
    })
  }

  return {
    start(message) {
      if (closed) return
      // The core asks for another one only where the earlier one's outcome no longer matters.
      const earlier = streams.get(message.to)
      if (earlier !== undefined) end(earlier, 'replaced by a newer one')
      const opened = engine.openSnapshot()
      if (!opened.ok) return refuse(message)
      const snapshot = opened.value
      const index = snapshot.appliedIndex(options.group)
      const bytes = snapshot.reader.get(positionKey(options.space))
      invariant(
        bytes !== undefined && index >= message.meta.index,
        'snapshot-covers-log',
        `index ${index}, wanted ${message.meta.index}`,
      )
      const position = decodePosition(bytes)
      const interval = spaceInterval(options.space)
      const stream: Stream = {
        to: message.to,
        id: nextId++,
        index,
        snapshot,
        cursor: snapshot.reader.scan(interval.start, interval.end),
        nextSequence: 0,
        received: 0,
        pairs: 0,
        held: {
          type: 'snapshotStart',
          group: options.group,
          stream: nextId - 1,
          from: message.from,
          to: message.to,
          term: message.term,
          index,
          indexTerm: position.term,
          config: encodeConfig(position.config),
        },
        ended: false,
        scheduled: false,
        timer: startTimer(() => stream),
      }
      streams.set(message.to, stream)
      pump(stream)
    },
    onProgress(from, frame) {
      const stream = streams.get(from)
      if (stream === undefined || stream.id !== frame.stream || frame.received > stream.nextSequence) return
      if (frame.received <= stream.received) return
      stream.received = frame.received
      watch(stream)
      if (!stream.ended) pump(stream)
    },
    onAck(from, frame) {
      const stream = streams.get(from)
      if (stream === undefined || stream.id !== frame.stream) return
      const isWhole = frame.accepted && stream.ended
      finish(stream, isWhole ? '' : (frame.failure?.message ?? 'refused'))
    },
    onDrain(peer) {
      const stream = streams.get(peer)
      if (stream !== undefined) pump(stream)
    },
    onDown(peer, lane) {
      const stream = streams.get(peer)
      // The answer comes on the control lane: once all is sent, losing that one loses the answer.
      if (stream !== undefined && (lane === 'bulk' || stream.ended)) finish(stream, `lost the ${lane} connection`)
    },
    get lowestIndex() {
      let lowest = Number.POSITIVE_INFINITY
      for (const { index } of streams.values()) lowest = Math.min(lowest, index)
      return lowest
    },
    stop: () => stop('leadership lost'),
    close() {
      closed = true
      stop('this server is shutting down')
    },
  }
}
