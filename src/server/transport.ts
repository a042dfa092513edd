/**
 * The replicas' way to other members: encodes what they send, the Raft messages of a turn to one peer together, and
 * decodes what arrives. A peer that sends bytes that cannot be understood, or speaks for somebody else, is logged
 * and ignored frame by frame: it proved that it has the cluster key, so this is a bug or another version.
 */
import type { GroupId, MemberId } from '../base/index.ts'
import type { Lane, Links } from '../links/index.ts'
import type { RaftMessage } from '../raft/index.ts'
import type { Transport } from '../replica/index.ts'
import type { PeerFrame } from '../wire/index.ts'
import { decodePeerFrame, encodePeerFrame } from '../wire/index.ts'
import type { World } from '../world/index.ts'

export interface ServerTransport {
  /** The view of one group's replica. */
  of(group: GroupId): Transport
  broadcast(frame: PeerFrame): void
  /** Undefined where the frame is to be ignored. */
  decode(from: MemberId, frame: Uint8Array): PeerFrame | undefined
}

/**
 * From this size of entries on the next Raft message begins a new frame: a leader that catches a follower up may send
 * many full appends in one turn, which together would be larger than a frame may be and be dropped every time.
 */
const FRAME_BYTES = 1_048_576

type GroupMessage = { readonly group: GroupId; readonly message: RaftMessage }

function entryBytes({ message }: GroupMessage): number {
  if (message.type !== 'append') return 0
  return message.entries.reduce((sum, { data }) => sum + data.length, 0)
}

/** The messages in order, cut into frames' worth. */
function* frames(messages: readonly GroupMessage[]): Generator<readonly GroupMessage[]> {
  let begin = 0
  let sizeBytes = 0
  for (const [at, message] of messages.entries()) {
    const moreBytes = entryBytes(message)
    if (sizeBytes > 0 && sizeBytes + moreBytes > FRAME_BYTES) {
      yield messages.slice(begin, at)
      begin = at
      sizeBytes = 0
    }
    sizeBytes += moreBytes
  }
  yield begin === 0 ? messages : messages.slice(begin)
}

function speaksForAnother(frame: PeerFrame, from: MemberId): boolean {
  if (frame.type === 'raft') return frame.messages.some(({ message }) => message.from !== from)
  if (frame.type === 'proposal') return frame.server !== from
  return frame.type === 'snapshotStart' && frame.from !== from
}

export function createTransport(world: World, links: () => Links, peers: () => readonly MemberId[]): ServerTransport {
  let waiting = new Map<MemberId, GroupMessage[]>()

  const flush = (): void => {
    const now = waiting
    waiting = new Map()
    for (const [to, all] of now) for (const messages of frames(all)) send(to, 'control', { type: 'raft', messages })
  }

  const send = (to: MemberId, lane: Lane, frame: PeerFrame): 'sent' | 'full' | 'down' =>
    links().send(to, lane, encodePeerFrame(frame))

  return {
    of: (group) => ({
      sendRaft(to, message) {
        if (waiting.size === 0) world.endOfTurn(flush)
        const list = waiting.get(to)
        if (list === undefined) waiting.set(to, [{ group, message }])
        else list.push({ group, message })
      },
      sendControl: (to, frame) => send(to, 'control', frame),
      sendBulk: (to, frame) => send(to, 'bulk', frame),
      pauseBulk: (from) => links().pause(from, 'bulk'),
      resumeBulk: (from) => links().resume(from, 'bulk'),
    }),
    broadcast(frame) {
      for (const peer of peers()) send(peer, 'control', frame)
    },
    decode(from, bytes) {
      const decoded = decodePeerFrame(bytes)
      if (!decoded.ok) {
        world.diagnostics.log('error', 'peer-frame-not-understood', { from, message: decoded.error.message })
        return undefined
      }
      const frame = decoded.value
      if (speaksForAnother(frame, from)) {
        world.diagnostics.log('error', 'peer-speaks-for-another', { from })
        return undefined
      }
      return frame
    },
  }
}
