/**
 * base: brands, failures, invariants, bytes. What every room may use.
 *
 * Promises: (1) pure, no state, no I/O; (2) imports nothing outside this folder; (3) every failure code a user can meet
 * is in one catalogue, with one hint.
 * Never: knows what a server, a log or a message is.
 */
export type { ClusterId, GroupId, LogIndex, MemberId, Revision, SpaceId, Term } from './brands.ts'
export { clusterId, groupId, logIndex, memberId, revision, spaceId, term } from './brands.ts'
export {
  compareBytes,
  concatBytes,
  EMPTY,
  equalBytes,
  fromHex,
  startsWith,
  strictText,
  text,
  toHex,
  utf8,
} from './bytes.ts'
export { crc32 } from './crc32.ts'
export type { Failure, FailureCode } from './failure.ts'
export { failure, FAILURES, SkeinError } from './failure.ts'
export { asViolation, invariant, InvariantViolation } from './invariant.ts'
export type { Err, Ok, Result } from './result.ts'
export { err, ok } from './result.ts'
