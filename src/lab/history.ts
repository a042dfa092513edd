/**
 * What clients saw: invocations and completions in one order. The only thing that a checker of clients' guarantees may
 * look at.
 */

/** What was asked of a key. Values of writes are unique in a run, so that a read tells which write it saw. */
export type Call =
  | { readonly type: 'get' }
  | { readonly type: 'put'; readonly value: string }
  | { readonly type: 'delete' }
  /** Puts `value` if the key holds `expected`; undefined: if the key does not exist. */
  | { readonly type: 'compareAndSet'; readonly expected: string | undefined; readonly value: string }

/** What was answered. `revision` is the store's at the answer. */
export type Answer = {
  readonly revision: number
  /** Of a get: undefined where the key does not exist. */
  readonly value?: string | undefined
  /** Of a get: the revision that wrote the value. */
  readonly modRevision?: number
  /** Of a delete or a compareAndSet: whether it changed the key. */
  readonly changed?: boolean
}

/**
 * One operation. `unknown`: it may have taken effect at any time after its invocation, or may still, or never. What
 * certainly had no effect (a refusal, a read without an answer) is not in a history.
 */
export type Operation = {
  readonly client: string
  readonly key: string
  readonly call: Call
  /** Places in the one order of all invocations and completions. */
  readonly invoked: number
  readonly completed: number
  readonly outcome: { readonly type: 'answered'; readonly answer: Answer } | { readonly type: 'unknown' }
}

export interface HistoryRecorder {
  /** Begins an operation; the function returned ends it. */
  invoke(client: string, key: string, call: Call): (outcome: Operation['outcome'] | { readonly type: 'none' }) => void
  /** All operations, by invocation; those without an end are unknown. */
  operations(): readonly Operation[]
  /** Of writes and reads that were answered. */
  readonly answered: number
  readonly unknown: number
  readonly refused: number
}

export function createHistory(): HistoryRecorder {
  type Slot = {
    readonly client: string
    readonly key: string
    readonly call: Call
    readonly invoked: number
    ended: Operation | 'none' | undefined
  }
  const slots: Slot[] = []
  let order = 0
  const tally = { answered: 0, unknown: 0, refused: 0 }
  return {
    invoke(client, key, call) {
      const slot: Slot = { client, key, call, invoked: order++, ended: undefined }
      slots.push(slot)
      return (outcome) => {
        if (slot.ended !== undefined) return
        if (outcome.type === 'none') {
          tally.refused++
          slot.ended = 'none'
          return
        }
        tally[outcome.type]++
        const completed = outcome.type === 'answered' ? order++ : Number.POSITIVE_INFINITY
        slot.ended = { client, key, call, invoked: slot.invoked, completed, outcome }
      }
    },
    operations() {
      const found: Operation[] = []
      for (const { client, key, call, invoked, ended } of slots) {
        if (ended === 'none') continue
        if (ended !== undefined) found.push(ended)
        else
          found.push({ client, key, call, invoked, completed: Number.POSITIVE_INFINITY, outcome: { type: 'unknown' } })
      }
      return found
    },
    get answered() {
      return tally.answered
    },
    get unknown() {
      return tally.unknown
    },
    get refused() {
      return tally.refused
    },
  }
}
