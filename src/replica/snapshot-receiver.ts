/**
 * Stages a streamed snapshot beside the live state, and offers it to the core when it is whole.
 *
 * Promises: (1) one stream at a time: a newer one replaces an older; (2) nothing is offered unless every pair arrived,
 * in order; (3) reading from the sender stops while the engine has no room; (4) what the core does not take is dropped.
 */
import type { LogIndex, MemberId } from '../base/index.ts'
import { invariant } from '../base/index.ts'
import type { EngineRestore } from '../engine/index.ts'
import { spaceInterval } from '../mvcc/index.ts'
import type { RaftMessage, SnapshotMeta } from '../raft/index.ts'
import { decodeConfig } from '../raft/index.ts'
import type { PeerFrame } from '../wire/index.ts'
import type { World } from '../world/index.ts'
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
}

export interface SnapshotReceiver {
  onFrame(from: MemberId, frame: SnapshotFrame): void
  /** The staged state that the core decided to take. */
  take(index: LogIndex): EngineRestore
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
  let incoming: Incoming | undefined
  let staged: Incoming | undefined

  const drop = (): void => {
    incoming?.restore.abort()
    incoming = undefined
  }

  const answer = (to: MemberId, stream: number, accepted: boolean): void => {
    transport.sendControl(to, { type: 'snapshotAck', group: options.group, stream, accepted })
  }

  const refuse = (from: MemberId, stream: number, why: string): void => {
    world.diagnostics.log('warn', 'snapshot-refused', { from, why })
    drop()
    answer(from, stream, false)
  }

  const begin = (from: MemberId, start: Start): void => {
    drop()
    const config = decodeConfig(start.config)
    if (!config.ok) return refuse(from, start.stream, config.error.message)
    const interval = spaceInterval(options.space)
    world.diagnostics.log('info', 'snapshot-begins', { from, index: start.index })
    incoming = {
      from,
      start,
      meta: { index: start.index, term: start.indexTerm, config: config.value },
      restore: engine.openRestore(options.group, interval.start, interval.end),
      nextSequence: 0,
      pairs: 0,
    }
  }

  const add = (from: MemberId, frame: Extract<PeerFrame, { type: 'snapshotChunk' }>): void => {
    if (incoming === undefined || incoming.from !== from || incoming.start.stream !== frame.stream) return
    if (frame.sequence !== incoming.nextSequence) {
      return refuse(from, frame.stream, `chunk ${frame.sequence} came where ${incoming.nextSequence} was expected`)
    }
    incoming.nextSequence++
    let room = true
    for (const pair of frame.pairs) room = incoming.restore.add(pair.key, pair.value) && room
    incoming.pairs += frame.pairs.length
    if (room) return
    transport.pauseBulk(from)
    incoming.restore.onDrain(() => transport.resumeBulk(from))
  }

  const end = (from: MemberId, frame: Extract<PeerFrame, { type: 'snapshotEnd' }>): void => {
    if (incoming === undefined || incoming.from !== from || incoming.start.stream !== frame.stream) return
    if (frame.pairs !== incoming.pairs)
      return refuse(from, frame.stream, `${incoming.pairs} pairs came of ${frame.pairs}`)
    const whole = incoming
    incoming = undefined
    staged = whole
    const { start } = whole
    handlers.onStaged({ type: 'snapshot', from: start.from, to: start.to, term: start.term, meta: whole.meta })
    answer(from, frame.stream, true)
    // The core decides by the end of this turn; a snapshot that is older than the log by now is not taken.
    world.endOfTurn(() => {
      if (staged !== whole) return
      staged = undefined
      whole.restore.abort()
    })
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
      const taken = staged
      invariant(taken !== undefined && taken.meta.index === index, 'snapshot-staged', `index ${index}`)
      staged = undefined
      return taken.restore
    },
    onDown(peer) {
      if (incoming?.from === peer) drop()
    },
    close() {
      drop()
      staged?.restore.abort()
      staged = undefined
    },
  }
}
