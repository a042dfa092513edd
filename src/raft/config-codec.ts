/**
 * A configuration as bytes, inside log entries, snapshots and the log's base: version u8, flags u8 (1: autoLeave), then four
 * lists (voters, outgoing, learners, learnersNext), each a count u8 and ids u64 little-endian.
 */
import type { MemberId, Result } from '../base/index.ts'
import { err, failure, memberId, ok } from '../base/index.ts'
import type { Config } from './types.ts'

const VERSION = 1
const MAX_MEMBERS = 255

export function encodeConfig(config: Config): Uint8Array {
  const lists = [config.voters, config.votersOutgoing, config.learners, config.learnersNext]
  const bytes = new Uint8Array(2 + lists.reduce((sum, list) => sum + 1 + list.length * 8, 0))
  const view = new DataView(bytes.buffer)
  bytes[0] = VERSION
  bytes[1] = config.autoLeave ? 1 : 0
  let offset = 2
  for (const list of lists) {
    bytes[offset++] = list.length
    for (const id of list) {
      view.setBigUint64(offset, id, true)
      offset += 8
    }
  }
  return bytes
}

/** Failure protocol-error for anything that encodeConfig does not make. */
export function decodeConfig(bytes: Uint8Array): Result<Config> {
  const bad = (why: string): Result<Config> =>
    err(failure('protocol-error', `a configuration of ${bytes.length} bytes is malformed: ${why}`))
  if (bytes.length < 6) return bad('too short')
  if (bytes[0] !== VERSION) return bad(`version ${bytes[0]}`)
  if ((bytes[1] as number) > 1) return bad(`flags ${bytes[1]}`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let offset = 2
  const lists: MemberId[][] = []
  for (let i = 0; i < 4; i++) {
    const count = bytes[offset++]
    if (count === undefined || count > MAX_MEMBERS || offset + count * 8 > bytes.length) return bad('a list is cut off')
    const list: MemberId[] = []
    for (let j = 0; j < count; j++) {
      const id = view.getBigUint64(offset, true)
      const last = list.at(-1)
      if (id === 0n || (last !== undefined && id <= last)) return bad('ids are not ascending')
      list.push(memberId(id))
      offset += 8
    }
    lists.push(list)
  }
  if (offset !== bytes.length) return bad('bytes are left over')
  const [voters, votersOutgoing, learners, learnersNext] = lists as [MemberId[], MemberId[], MemberId[], MemberId[]]
  return ok({ voters, votersOutgoing, learners, learnersNext, autoLeave: bytes[1] === 1 })
}
