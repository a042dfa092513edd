/** Structured logging and counters: what a server tells its operator. Never part of a decision. */

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'
export type LogFields = Readonly<Record<string, string | number | bigint | boolean | undefined>>

export interface Diagnostics {
  /** One event: a short constant `event` name in kebab-case, and fields. Cheap where the level is off. */
  log(level: LogLevel, event: string, fields?: LogFields): void
  /** Whether `log` at this level does anything: for events that cost to describe. */
  enabled(level: LogLevel): boolean
}
