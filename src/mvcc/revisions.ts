/** Which revisions can be read: not above the store's, not below the compacted one. */
import type { Failure } from '../base/index.ts'
import { failure } from '../base/index.ts'

export function revisionInFuture(asked: number, current: number): Failure {
  const text = `revision ${asked} was asked for, the store is at ${current}`
  return failure('future-revision', text, { etcd: 'ErrFutureRev', revision: current })
}

export function revisionCompacted(asked: number, compacted: number): Failure {
  const text = `revision ${asked} was asked for, the store is compacted at ${compacted}`
  return failure('compacted', text, { etcd: 'ErrCompacted', compacted })
}
