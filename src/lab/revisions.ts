/**
 * etcd's promise about revisions, checked on what clients saw: each write that took effect has a revision of its own, a
 * value is always seen under the revision that wrote it, and revisions follow real time.
 */
import type { Operation } from './history.ts'

/** What is wrong, for a person; empty where nothing is. */
export function checkRevisions(operations: readonly Operation[]): readonly string[] {
  const problems: string[] = []
  const writerOf = new Map<number, string>()
  const revisionOf = new Map<string, number>()

  const claim = (revision: number, key: string, value: string, by: string): void => {
    const written = `${key}=${value}`
    const other = writerOf.get(revision)
    if (other !== undefined && other !== written)
      problems.push(`revision ${revision} is of ${other} and of ${written} (${by})`)
    const before = revisionOf.get(written)
    if (before !== undefined && before !== revision)
      problems.push(`${written} has revisions ${before} and ${revision} (${by})`)
    writerOf.set(revision, written)
    revisionOf.set(written, revision)
  }

  for (const { call, key, client, outcome } of operations) {
    if (outcome.type !== 'answered') continue
    const { answer } = outcome
    if (call.type === 'put') claim(answer.revision, key, call.value, client)
    else if (call.type === 'delete' && answer.changed === true)
      claim(answer.revision, key, `deleted by ${client}/${answer.revision}`, client)
    else if (call.type === 'compareAndSet' && answer.changed === true) claim(answer.revision, key, call.value, client)
    else if (call.type === 'get' && answer.value !== undefined)
      claim(answer.modRevision ?? 0, key, answer.value, client)
  }
  return [...problems, ...backwards(operations)]
}

/** The store's revision at an answer is at least that of every answer that came before the question. */
function backwards(operations: readonly Operation[]): readonly string[] {
  const problems: string[] = []
  const events: { readonly at: number; readonly operation: Operation; readonly ends: boolean }[] = []
  for (const operation of operations) {
    if (operation.outcome.type !== 'answered') continue
    events.push({ at: operation.invoked, operation, ends: false }, { at: operation.completed, operation, ends: true })
  }
  events.sort((a, b) => a.at - b.at)
  let highest = 0
  const floor = new Map<Operation, number>()
  for (const { operation, ends } of events) {
    if (operation.outcome.type !== 'answered') continue
    const { revision } = operation.outcome.answer
    if (!ends) floor.set(operation, highest)
    else {
      const least = floor.get(operation) ?? 0
      if (revision < least) {
        problems.push(
          `${operation.client} was answered at revision ${revision} by a ${operation.call.type} of ${operation.key}, asked after ${least} was seen`,
        )
      }
      if (revision > highest) highest = revision
    }
  }
  return problems
}
