/**
 * A command from another member, before it may enter the log: what all replicas will have to apply is looked at once
 * more, so that a faulty member cannot bring down every server of the group with one entry.
 */
import type { Failure, MemberId, SpaceId } from '../base/index.ts'
import { failure } from '../base/index.ts'
import type { PeerFrame } from '../wire/index.ts'
import { decodeCommand } from '../wire/index.ts'
import { operationOf } from './operations.ts'

/** Why the proposal is not what its sender may propose; undefined where it is. */
export function checkCommand(
  frame: Extract<PeerFrame, { type: 'proposal' }>,
  from: MemberId,
  space: SpaceId,
): Failure | undefined {
  const decoded = decodeCommand(frame.command)
  if (!decoded.ok) return decoded.error
  const command = decoded.value
  if (command.server !== from || command.incarnation !== frame.incarnation || command.sequence !== frame.sequence)
    return failure('protocol-error', 'the proposal is not of the member that sent it')
  if (command.space !== space) return failure('protocol-error', `the proposal is for space ${command.space}`)
  const operation = operationOf(command)
  return operation.ok ? undefined : operation.error
}
