/**
 * Numbers and ids that must not mix. A brand is made only in a decoder or a constructor: the functions below are the
 * only way to get one, and each checks its value. Term, LogIndex and Revision stay below 2^53 (DESIGN law 10); ids of
 * members and clusters are 64-bit and therefore `bigint`.
 */
import { invariant } from './invariant.ts'

declare const brand: unique symbol
type Brand<T, Name extends string> = T & { readonly [brand]: Name }

/** Raft's term; 0 before the first election. */
export type Term = Brand<number, 'Term'>
/** Position in a group's replicated log; the first entry has index 1, 0 means "before the first". */
export type LogIndex = Brand<number, 'LogIndex'>
/** etcd's store revision; a new store is at revision 1. */
export type Revision = Brand<number, 'Revision'>
/** A Raft group on disk and on the wire, 0 to 2^32-1. */
export type GroupId = Brand<number, 'GroupId'>
/** A keyspace on disk, 0 to 65535. */
export type SpaceId = Brand<number, 'SpaceId'>
/** A member of the cluster: 64 bits, never 0. */
export type MemberId = Brand<bigint, 'MemberId'>
/** A cluster: 64 bits, never 0. */
export type ClusterId = Brand<bigint, 'ClusterId'>

function count(value: number, name: string): number {
  invariant(Number.isSafeInteger(value) && value >= 0, 'number-in-range', `${name} ${value}`)
  return value
}

function id64(value: bigint, name: string): bigint {
  invariant(value > 0n && value < 1n << 64n, 'id-in-range', `${name} ${value}`)
  return value
}

/** Throws InvariantViolation unless `value` is an integer in [0, 2^53). */
export function term(value: number): Term {
  return count(value, 'term') as Term
}

/** Throws InvariantViolation unless `value` is an integer in [0, 2^53). */
export function logIndex(value: number): LogIndex {
  return count(value, 'index') as LogIndex
}

/** Throws InvariantViolation unless `value` is an integer in [0, 2^53). */
export function revision(value: number): Revision {
  return count(value, 'revision') as Revision
}

/** Throws InvariantViolation unless `value` is an integer in [0, 2^32). */
export function groupId(value: number): GroupId {
  invariant(value < 2 ** 32, 'group-id-in-range', `group ${value}`)
  return count(value, 'group') as GroupId
}

/** Throws InvariantViolation unless `value` is an integer in [0, 2^16). */
export function spaceId(value: number): SpaceId {
  invariant(value < 2 ** 16, 'space-id-in-range', `space ${value}`)
  return count(value, 'space') as SpaceId
}

/** Throws InvariantViolation unless `value` is in (0, 2^64). */
export function memberId(value: bigint): MemberId {
  return id64(value, 'member') as MemberId
}

/** Throws InvariantViolation unless `value` is in (0, 2^64). */
export function clusterId(value: bigint): ClusterId {
  return id64(value, 'cluster') as ClusterId
}
