/** What every message means before its own handler sees it: terms (Raft 5.1), and who is too late. */
import type { MemberId } from '../base/index.ts'
import { logIndex } from '../base/index.ts'
import { onAppend, onHeartbeat, onSnapshot } from './appends.ts'
import type { Core, MessageOf } from './core.ts'
import { answer } from './core.ts'
import { ignoresVote, onTimeoutNow, onVote, onVoteReply } from './election.ts'
import { onAppendReply, onHeartbeatReply } from './followers.ts'
import { onReadIndex, onReadIndexReply, refuse } from './reads.ts'
import { becomeFollower } from './roles.ts'
import type { RaftMessage } from './types.ts'

type Handlers = { readonly [Type in RaftMessage['type']]: (core: Core, message: MessageOf<Type>) => void }

/** Of messages that are in the core's term by now. */
const HANDLERS: Handlers = {
  vote: onVote,
  voteReply: onVoteReply,
  append: onAppend,
  appendReply: onAppendReply,
  heartbeat: onHeartbeat,
  heartbeatReply: onHeartbeatReply,
  snapshot: onSnapshot,
  readIndex: onReadIndex,
  readIndexReply: onReadIndexReply,
  timeoutNow: onTimeoutNow,
}

export function onMessage(core: Core, message: RaftMessage): void {
  if (message.type === 'vote' && ignoresVote(core, message)) return
  if (message.term < core.term) return onStale(core, message)
  if (message.term > core.term && !speaksOfNextTerm(message)) {
    becomeFollower(core, message.term, leaderBy(message))
  }
  const handle = HANDLERS[message.type] as (core: Core, message: RaftMessage) => void
  handle(core, message)
}

/** A pre-vote asks, or is granted, for a term that nobody has begun. */
function speaksOfNextTerm(message: RaftMessage): boolean {
  return (
    (message.type === 'vote' && message.preVote) || (message.type === 'voteReply' && message.preVote && message.granted)
  )
}

function leaderBy(message: RaftMessage): MemberId | undefined {
  return message.type === 'append' || message.type === 'heartbeat' || message.type === 'snapshot'
    ? message.from
    : undefined
}

/** Whoever is behind is told the term, so that a deposed leader and a stuck candidate find out. */
function onStale(core: Core, message: RaftMessage): void {
  switch (message.type) {
    case 'append':
    case 'heartbeat': {
      const { index, term } = core.log.base
      answer(core, message.from, {
        type: 'appendReply',
        index: logIndex(0),
        rejected: true,
        hintIndex: index,
        hintTerm: term,
      })
      return
    }
    case 'vote':
      answer(core, message.from, { type: 'voteReply', preVote: message.preVote, granted: false })
      return
    case 'readIndex':
      refuse(core, message)
      return
    case 'readIndexReply':
      onReadIndexReply(core, message)
      return
    case 'voteReply':
    case 'appendReply':
    case 'heartbeatReply':
    case 'snapshot':
    case 'timeoutNow':
      return
    default:
      message satisfies never
  }
}
