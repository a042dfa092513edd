/**
 * Diagnostics as JSON lines: `{"time","level","event",...fields}`. Never blocks and never grows without bound: where the
 * reader of a stream is slow, lines are dropped and counted, and the count is told once there is room again.
 */
import type { Writable } from 'node:stream'
import type { Diagnostics, LogFields, LogLevel } from '../index.ts'
import { openLogFile } from './log-file.ts'

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

/** Default bound of a log file before it is set aside as `path.1`: twice that is the most that a server's log takes. */
const MOST_LOG_BYTES = 8 * 1024 * 1024

/** Appends to the file `path` (mode 0600), of bounded size. `close` flushes what waits. */
export function fileDiagnostics(
  path: string,
  level: LogLevel,
  fields: LogFields = {},
  maxBytes: number = MOST_LOG_BYTES,
): Diagnostics & { close(done: () => void): void } {
  const stream = openLogFile(path, maxBytes)
  return {
    ...streamDiagnostics(stream, level, fields),
    close: (done) => void stream.end(done),
  }
}
