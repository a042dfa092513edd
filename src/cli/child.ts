/**
 * One server as a child process: `skein server … --supervised`. Its standard input is a pipe that nobody writes to: when this
 * process dies, however it dies, the pipe closes and the server ends. It says on standard output when it serves, and when it
 * was asked to stop.
 */
import type { ChildProcess } from 'node:child_process'
import { spawn } from 'node:child_process'
import type { FailureCode } from '../base/index.ts'
import { failure, FAILURES, SkeinError } from '../base/index.ts'

export type ChildEvents = {
  /** It serves clients. */
  onServing(): void
  /** Somebody sent it TERM or INT, or its own end of the pipe broke. */
  onStopping(): void
  /** A line that it wrote on standard error for a person. */
  onLine(line: string): void
  /** It has ended. `error` is what it said last, where it could not go on. */
  onExit(end: ChildEnd): void
}

export type ChildEnd = {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly error: SkeinError | undefined
}

export interface Child {
  readonly pid: number | undefined
  signal(signal: NodeJS.Signals): void
  /** SIGSTOP, and the certainty that it goes on, and so ends, when this process dies meanwhile. */
  pause(): void
  resume(): void
}

const MAX_LINE_LENGTH = 65_536

export function startChild(script: string, args: readonly string[], events: ChildEvents): Child {
  const child = spawn(process.execPath, [script, ...args], { stdio: ['pipe', 'pipe', 'pipe'] })
  let error: SkeinError | undefined
  let hasEnded = false
  const end = (code: number | null, signal: NodeJS.Signals | null): void => {
    if (hasEnded) return
    hasEnded = true
    dismiss()
    events.onExit({ code, signal, error })
  }
  let guard: ChildProcess | undefined
  /** A guard that is no longer needed must not signal: the process id may be another's by then. */
  const dismiss = (): void => {
    guard?.kill('SIGKILL')
    guard = undefined
  }
  lines(child.stdout, (line) => {
    const event = parse(line)?.['event']
    if (event === 'serving') events.onServing()
    else if (event === 'stopping') events.onStopping()
  })
  lines(child.stderr, (line) => {
    const told = errorOf(parse(line)?.['error'])
    if (told === undefined) events.onLine(line)
    else error = told
  })
  // A child that ends first breaks the pipe; that is no news.
  child.stdin.on('error', () => undefined)
  child.on('error', (cause) => {
    error = new SkeinError(failure('internal', `a server could not be started: ${cause.message}`))
    if (child.pid === undefined) end(null, null)
  })
  // `close` comes after the last line that it wrote; `exit` may come before.
  child.on('close', end)
  return {
    pid: child.pid,
    signal: (signal) => void child.kill(signal),
    pause() {
      if (child.pid === undefined) return
      guard ??= guardPaused(child.pid)
      child.kill('SIGSTOP')
    },
    resume() {
      dismiss()
      child.kill('SIGCONT')
    },
  }
}

/** A stopped process does not see its pipe close. This shell does, and wakes it. */
function guardPaused(pid: number): ChildProcess {
  const script = 'trap "" INT TERM HUP; read -r nothing; kill -CONT "$1"'
  const guard = spawn('/bin/sh', ['-c', script, 'skein-guard', String(pid)], { stdio: ['pipe', 'ignore', 'ignore'] })
  guard.on('error', () => undefined)
  guard.stdin.on('error', () => undefined)
  return guard
}

function lines(stream: NonNullable<ChildProcess['stdout']>, take: (line: string) => void): void {
  let pending = ''
  stream.setEncoding('utf8')
  stream.on('error', () => undefined)
  stream.on('data', (text: string) => {
    const parts = (pending + text).split('\n')
    pending = (parts.pop() as string).slice(-MAX_LINE_LENGTH)
    for (const part of parts) if (part !== '') take(part)
  })
}

function parse(line: string): Readonly<Record<string, unknown>> | undefined {
  if (!line.startsWith('{')) return undefined
  try {
    return Object(JSON.parse(line)) as Readonly<Record<string, unknown>>
  } catch {
    return undefined
  }
}

function errorOf(value: unknown): SkeinError | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { code, message, hint } = value as Partial<Record<string, unknown>>
  if (typeof code !== 'string' || typeof message !== 'string' || !Object.hasOwn(FAILURES, code)) return undefined
  const base = failure(code as FailureCode, message)
  return new SkeinError(typeof hint === 'string' ? { ...base, hint } : base)
}
