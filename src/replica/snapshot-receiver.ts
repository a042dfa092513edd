/**
 * Stages a streamed snapshot beside the live state, and offers it to the core when it is whole.
 *
 * Promises: (1) one stream at a time: a newer one replaces an older, and none begins while one is being swapped in;
 * (2) nothing is offered unless every pair arrived, in order, and belongs here; (3) reading from the sender stops while
 * the engine has no room, and the sender hears how far it is; (4) what the core does not take, and what does not go on for `snapshotTimeoutMs`, is dropped.
 */
import type { Failure, LogIndex, MemberId, Result } from '../base/index.ts'
import { compareBytes, failure, invariant, ok } from '../base/index.ts'
import type { EngineRestore } from '../engine/index.ts'
import { spaceInterval } from '../mvcc/index.ts'
import type { RaftMessage, SnapshotMeta } from '../raft/index.ts'
import { decodeConfig } from '../raft/index.ts'
import type { PeerFrame, SnapshotPair } from '../wire/index.ts'
import type { Timer, World } from '../world/index.ts'
import type { ReplicaEnvironment, ReplicaOptions } from './types.ts'

type Start = Extract<PeerFrame, { type: 'snapshotStart' }>
type SnapshotFrame = Extract<PeerFrame, { type: 'snapshotStart' | 'snapshotChunk' | 'snapshotEnd' }>

type Incoming = {
  readonly from: MemberId
  readonly start: Start
  readonly meta: SnapshotMeta
  readonly restore: EngineRestore
  nextSequence: number
  pairs: number
  lastKey: Uint8Array | undefined
  timer: Timer
}

export interface SnapshotReceiver {
  onFrame(from: MemberId, frame: SnapshotFrame): void
  /** The staged state that the core decided to take: it is being swapped in until `swapped`. */
  take(index: LogIndex): EngineRestore
  swapped(): void
  onDown(peer: MemberId): void
  close(): void
}

export function createSnapshotReceiver(
  world: World,
  options: ReplicaOptions,
  environment: ReplicaEnvironment,
  handlers: { readonly onStaged: (message: RaftMessage) => void },
): SnapshotReceiver {
  const { engine, transport } = environment
  const interval = spaceInterval(options.space)
  let incoming: Incoming | undefined
  /** Offered to the core in this turn. */
  let staged: readonly Incoming[] = []
  let swapping = false

  const drop = (): void => {
    if (incoming === undefined) return
    const { restore, timer, from } = incoming
    incoming = undefined
    timer.cancel()
    restore.abort()
    transport.resumeBulk(from)
  }

  const dropStaged = (): void => {
    for (const { restore } of staged) restore.abort()
    staged = []
  }

  const answer = (to: MemberId, stream: number, why?: Failure): void => {
    const frame = { type: 'snapshotAck', group: options.group, stream, accepted: why === undefined } as const
    transport.sendControl(to, why === undefined ? frame : { ...frame, failure: why })
  }

  const refuse = (from: MemberId, stream: number, why: Failure): void => {
    world.diagnostics.log('warn', 'snapshot-refused', { from, why: why.message })
    if (incoming?.from === from && incoming.start.stream === stream) drop()
    answer(from, stream, why)
  }

  const startTimer = (): Timer =>
    world.clock.setTimer(options.snapshotTimeoutMs, () => {
      world.diagnostics.log('warn', 'snapshot-dropped', { from: incoming?.from, why: 'it does not go on' })
      drop()
    })

  const begin = (from: MemberId, start: Start): void => {
    if (swapping) {
      return refuse(from, start.stream, failure('too-many-requests', 'another snapshot is being swapped in'))
    }
    const config = decodeConfig(start.config)
    if (!config.ok) return refuse(from, start.stream, config.error)
    drop()
    const restore = engine.openRestore(options.group, interval.start, interval.end)
    if (restore.refusal !== undefined) {
      restore.abort()
      return refuse(from, start.stream, restore.refusal)
    }
    world.diagnostics.log('info', 'snapshot-begins', { from, index: start.index })
    incoming = {
      from,
      start,
      meta: { index: start.index, term: start.indexTerm, config: config.value },
      restore,
      nextSequence: 0,
      pairs: 0,
      lastKey: undefined,
      timer: startTimer(),
    }
  }

  const add = (from: MemberId, frame: Extract<PeerFrame, { type: 'snapshotChunk' }>): void => {
    const stream = incoming
    if (stream === undefined || stream.from !== from || stream.start.stream !== frame.stream) return
    const sound =
      frame.sequence === stream.nextSequence
        ? checkPairs(frame.pairs, stream.lastKey)
        : failureOf(`chunk ${frame.sequence} came where ${stream.nextSequence} was expected`)
    if (!sound.ok) return refuse(from, frame.stream, sound.error)
    stream.timer.cancel()
    stream.timer = startTimer()
    stream.nextSequence++
    stream.lastKey = frame.pairs.at(-1)?.key ?? stream.lastKey
    let room = true
    for (const pair of frame.pairs) room = stream.restore.add(pair.key, pair.value) && room
    stream.pairs += frame.pairs.length
    if (room) return tell(stream)
    transport.pauseBulk(from)
    stream.restore.onDrain(() => {
      transport.resumeBulk(from)
      if (incoming === stream) tell(stream)
    })
  }

  const tell = ({ from, start, nextSequence }: Incoming): void => {
    const progress = { group: options.group, stream: start.stream, received: nextSequence }
    transport.sendControl(from, { type: 'snapshotProgress', ...progress })
  }

  /** What the engine would take for a broken invariant is a faulty sender's doing. */
  const checkPairs = (pairs: readonly SnapshotPair[], last: Uint8Array | undefined): Result<void> => {
    let before = last
    for (const { key } of pairs) {
      if (key.length === 0 || key.length > engine.maxKeyBytes) return failureOf(`a key of ${key.length} bytes`)
      if (before !== undefined && compareBytes(key, before) <= 0) return failureOf('keys are not in order')
      if (compareBytes(key, interval.start) < 0 || compareBytes(key, interval.end) >= 0)
        return failureOf('a key of another space')
      before = key
    }
    return ok()
  }

  const end = (from: MemberId, frame: Extract<PeerFrame, { type: 'snapshotEnd' }>): void => {
    const whole = incoming
    if (whole === undefined || whole.from !== from || whole.start.stream !== frame.stream) return
    if (frame.pairs !== whole.pairs) {
      return refuse(from, frame.stream, failure('protocol-error', `${whole.pairs} pairs came of ${frame.pairs}`))
    }
    whole.timer.cancel()
    incoming = undefined
    staged = [...staged, whole]
    const { start } = whole
    handlers.onStaged({ type: 'snapshot', from: start.from, to: start.to, term: start.term, meta: whole.meta })
    answer(from, frame.stream)
    // The core decides by the end of this turn; a snapshot that is older than the log by now is not taken.
    world.endOfTurn(dropStaged)
  }

  return {
    onFrame(from, frame) {
      switch (frame.type) {
        case 'snapshotStart':
          return begin(from, frame)
        case 'snapshotChunk':
          return add(from, frame)
        case 'snapshotEnd':
          return end(from, frame)
        default:
          return frame satisfies never
      }
    },
    take(index) {
      const taken = staged.find(({ meta }) => meta.index === index)
      invariant(taken !== undefined, 'snapshot-staged', `index ${index}`)
      staged = staged.filter((other) => other !== taken)
      swapping = true
      drop()
      return taken.restore
    },
    swapped() {
      swapping = false
    },
    onDown(peer) {
      if (incoming?.from === peer) drop()
    },
    close() {
      drop()
      dropStaged()
    },
  }
}

function failureOf(message: string): { readonly ok: false; readonly error: Failure } {
  return { ok: false, error: failure('protocol-error', message) }
}
