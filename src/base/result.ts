/** Operating errors are values: a function that can fail for reasons outside the program returns a Result. */
import type { Failure } from './failure.ts'

export type Ok<T> = { readonly ok: true; readonly value: T }
export type Err<E> = { readonly ok: false; readonly error: E }
export type Result<T, E = Failure> = Ok<T> | Err<E>

const OK_VOID: Ok<void> = Object.freeze({ ok: true, value: undefined })

export function ok(): Ok<void>
export function ok<T>(value: T): Ok<T>
export function ok<T>(value?: T): Ok<T | undefined> | Ok<void> {
  return value === undefined ? OK_VOID : { ok: true, value }
}

export function err<E>(error: E): Err<E> {
  return { ok: false, error }
}
