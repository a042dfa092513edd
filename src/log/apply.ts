/** What a durable record does to what the log knows: the same at work and at recovery. */
import type { GroupId } from '../base/index.ts'
import { GroupLog, type Spot } from './group-log.ts'
import type { LogRecord } from './records.ts'

/** Returns what is wrong with the record, if anything. */
export function applyRecord(groups: Map<GroupId, GroupLog>, record: LogRecord, spot: Spot): string | undefined {
  const group = groups.get(record.group)
  if (record.type === 'base') {
    if (group === undefined) groups.set(record.group, new GroupLog(record.group, record.base))
    else group.reset(record.base)
    return undefined
  }
  if (record.type === 'state') {
    if (group === undefined) groups.set(record.group, GroupLog.resume(record))
    else if (group.lastIndex !== record.lastIndex || group.base.index !== record.base.index)
      return `group ${record.group} is said to end at ${record.lastIndex}, and ends at ${group.lastIndex}`
    return undefined
  }
  if (group === undefined) return `a record of group ${record.group}, which has no beginning`
  switch (record.type) {
    case 'removed':
      group.free()
      groups.delete(record.group)
      return undefined
    case 'hardState':
      group.hardState = record.hardState
      return undefined
    case 'compacted':
      if (record.base.index > group.lastIndex) return `group ${record.group} is compacted beyond its end`
      group.compact(record.base)
      return undefined
    case 'moved':
      group.fill(record, spot)
      return undefined
    case 'entries':
      if (group.append(record, spot)) return undefined
      return `entries of group ${record.group} from ${record.entries[0]?.index} after ${group.lastIndex}`
    default:
      return record satisfies never
  }
}
