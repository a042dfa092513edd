/**
 * Diagnostics as JSON lines: `{"time","level","event",...fields}`. Never blocks and never grows without bound: where the
 * reader of a stream is slow, lines are dropped and counted, and the count is told once there is room again.
 */
import fs from 'node:fs'
import type { Writable } from 'node:stream'
import type { Diagnostics, LogFields, LogLevel } from '../index.ts'

const RANK: Readonly<Record<LogLevel, number>> = { debug: 0, info: 1, warn: 2, error: 3 }
/** Lines are dropped while more than this waits in the stream. */
const MOST_WAITING_BYTES = 1024 * 1024

/** Says nothing. */
export const silentDiagnostics: Diagnostics = { log: () => {}, enabled: () => false }

function line(level: LogLevel, event: string, fields: LogFields | undefined): string {
  const record = { time: new Date().toISOString(), level, event, ...fields }
  return `${JSON.stringify(record, (_key, value: unknown) => (typeof value === 'bigint' ? value.toString() : value))}\n`
}

/** Writes events of at least `level` to `stream`, each with `fields` added. A stream that fails is left alone. */
export function streamDiagnostics(stream: Writable, level: LogLevel, fields: LogFields = {}): Diagnostics {
  let dropped = 0
  let broken = false
  stream.on('error', () => {
    broken = true
  })
  const enabled = (asked: LogLevel): boolean => !broken && RANK[asked] >= RANK[level]
  return {
    enabled,
    log(asked, event, more) {
      if (!enabled(asked)) return
      if (stream.writableLength > MOST_WAITING_BYTES) {
        dropped++
        return
      }
      if (dropped > 0) {
        stream.write(line('warn', 'log-lines-dropped', { ...fields, dropped }))
        dropped = 0
      }
      stream.write(line(asked, event, { ...fields, ...more }))
    },
  }
}

/** Appends to the file `path` (mode 0600). `close` flushes what waits. */
export function fileDiagnostics(
  path: string,
  level: LogLevel,
  fields: LogFields = {},
): Diagnostics & { close(done: () => void): void } {
  const stream = fs.createWriteStream(path, { flags: 'a', mode: 0o600 })
  return {
    ...streamDiagnostics(stream, level, fields),
    close: (done) => void stream.end(done),
  }
}
