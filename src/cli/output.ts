/**
 * Results go to stdout, progress to stderr; colours only where a person looks. A reader that goes away (`| head`) is no
 * error.
 */
import { EXIT } from './exit.ts'

export type Output = {
  readonly json: boolean
  readonly colour: boolean
  /** Whether a person looks at stdout. */
  readonly terminal: boolean
  /** Width of the terminal in columns; undefined where there is none, and lines may be of any length. */
  readonly columns: number | undefined
  /** A result. */
  print(line: string): void
  /** A result as it is: no byte is added. */
  raw(bytes: Uint8Array): void
  /** One JSON object on one line: a result for machines. */
  object(value: unknown): void
  progress(line: string): void
}

export function createOutput(json: boolean): Output {
  const { stdout, stderr, env } = process
  // Undefined where it is no terminal, whatever its type says.
  const terminal = (stdout.isTTY as boolean | undefined) ?? false
  return {
    json,
    terminal,
    colour: terminal && !json && (env['NO_COLOR'] ?? '') === '' && env['TERM'] !== 'dumb',
    columns: terminal && stdout.columns > 0 ? stdout.columns : undefined,
    print: (line) => stdout.write(`${line}\n`),
    raw: (bytes) => stdout.write(bytes),
    object: (value) => stdout.write(`${toJson(value)}\n`),
    progress: (line) => stderr.write(`${line}\n`),
  }
}

/** Ids of 64 bits as hex, as etcdctl prints them. */
export function toJson(value: unknown): string {
  return JSON.stringify(value, (_, field: unknown) => (typeof field === 'bigint' ? field.toString(16) : field))
}

/** A pipe whose reader has gone swallows the rest: the command still ends as it would have. */
export function ignoreClosedPipes(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EPIPE' || error.code === 'EIO') return
      // A full disk, for instance: what was asked for was not delivered.
      if (stream === process.stdout) process.stderr.write(`skein: the output could not be written: ${error.message}\n`)
      process.exit(EXIT.refused)
    })
  }
}

/** Resolves when everything is written, or cannot be. */
export async function flushed(): Promise<void> {
  for (const stream of [process.stdout, process.stderr]) {
    await new Promise<void>((resolve) => {
      stream.write('', () => resolve())
    })
  }
}

const CODES = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 } as const
export type Style = keyof typeof CODES

export function paint(output: Output, style: Style, text: string): string {
  return output.colour && text !== '' ? `\u001B[${CODES[style]}m${text}\u001B[0m` : text
}
