/**
 * Where each group's log will end once everything that was asked for is written: checks each append as it comes, while the caller
 * is still there to be blamed, and before anything wrong could reach the disk.
 */
import type { GroupId } from '../base/index.ts'
import { invariant } from '../base/index.ts'
import type { GroupLog } from './group-log.ts'
import type { LogBase, LogWrite } from './types.ts'

type End = {
  base: number
  last: number
  lastTerm: number
}

export class Ends {
  private readonly ends = new Map<GroupId, End>()

  constructor(groups: Iterable<GroupLog>) {
    for (const { group, base, lastIndex, lastTerm } of groups)
      this.ends.set(group, { base: base.index, last: lastIndex, lastTerm })
  }

  write({ group, base, entries, hardState }: LogWrite): void {
    if (base !== undefined) this.ends.set(group, { base: base.index, last: base.index, lastTerm: base.term })
    const end = this.ends.get(group)
    invariant(end !== undefined, 'log-group-known', () => `group ${group} has no base`)
    if (hardState?.vote !== undefined) invariant(hardState.vote > 0n, 'log-vote', () => `vote ${hardState.vote}`)
    if (entries === undefined || entries.length === 0) return
    let next = entries[0]?.index ?? 0
    const isInside = next > end.base && next <= end.last + 1
    invariant(isInside, 'log-without-gaps', () => `group ${group}: ${next} is not in (${end.base}, ${end.last + 1}]`)
    let term = next === end.last + 1 ? end.lastTerm : 0
    for (const entry of entries) {
      const isNext = entry.index === next && entry.term >= term
      invariant(isNext, 'log-without-gaps', () => `group ${group}: (${entry.index}, ${entry.term}) after ${next - 1}`)
      next++
      term = entry.term
    }
    end.last = next - 1
    end.lastTerm = term
  }

  /** False where there is nothing to drop. */
  compact(group: GroupId, base: LogBase): boolean {
    const end = this.ends.get(group)
    if (end === undefined || base.index <= end.base) return false
    invariant(base.index <= end.last, 'log-compacts-what-it-has', () => `group ${group}: ${base.index} of ${end.last}`)
    end.base = base.index
    return true
  }

  remove(group: GroupId): boolean {
    return this.ends.delete(group)
  }
}
