/**
 * A transaction's conditions. A range holds if all of its keys do; a key that is not there counts as version, revisions
 * and lease 0, and has no value that could compare as anything. Source: etcd 3.4 `applyCompare`, `etcdserver/apply.go`.
 */
import { compareBytes, EMPTY } from '../base/index.ts'
import type { Compare, KeyValue } from '../wire/index.ts'
import { COMPARE_RESULT, COMPARE_TARGET } from '../wire/index.ts'

const ABSENT: KeyValue = { key: EMPTY, createRevision: 0, modRevision: 0, version: 0, value: EMPTY, lease: 0n }

/** Whether the condition holds for a range without keys. */
export function holdsForNothing(compare: Compare): boolean {
  return compare.target !== COMPARE_TARGET.value && holds(compare, ABSENT)
}

/** Whether the condition holds for a pair. */
export function holds(compare: Compare, kv: KeyValue): boolean {
  const order = orderOf(compare, kv)
  switch (compare.result) {
    case COMPARE_RESULT.equal:
      return order === 0
    case COMPARE_RESULT.greater:
      return order > 0
    case COMPARE_RESULT.less:
      return order < 0
    case COMPARE_RESULT.notEqual:
      return order !== 0
    default:
      return true
  }
}

/** The pair's side against the operand's: an operand of another kind than the target counts as zero. */
function orderOf(compare: Compare, kv: KeyValue): number {
  const { target, operand } = compare
  switch (target) {
    case COMPARE_TARGET.version:
      return kv.version - (operand?.type === 'version' ? operand.revision : 0)
    case COMPARE_TARGET.create:
      return kv.createRevision - (operand?.type === 'create' ? operand.revision : 0)
    case COMPARE_TARGET.mod:
      return kv.modRevision - (operand?.type === 'mod' ? operand.revision : 0)
    case COMPARE_TARGET.value:
      return compareBytes(kv.value, operand?.type === 'value' ? operand.value : EMPTY)
    case COMPARE_TARGET.lease: {
      const lease = operand?.type === 'lease' ? operand.lease : 0n
      if (kv.lease === lease) return 0
      return kv.lease < lease ? -1 : 1
    }
    default:
      return 0
  }
}
