/** The real command as a child process: what it prints, how it ends, and the certainty that nothing stays behind. */
import type { ChildProcess } from 'node:child_process'
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const MAIN: string = fileURLToPath(new URL('main.js', import.meta.url))
/** A failure of the test, far above what any step takes on a busy machine. */
const LIMIT_MS = 30_000

export type Ran = { readonly code: number | null; readonly stdout: string; readonly stderr: string }

export type RunOptions = {
  readonly cwd?: string
  readonly input?: string
  readonly env?: Readonly<Record<string, string>>
}

/** Runs one command to its end. */
export async function skein(args: readonly string[], options: RunOptions = {}): Promise<Ran> {
  const running = startSkein(args, options)
  running.child.stdin?.end(options.input ?? '')
  const { code } = await running.ended()
  return { code, stdout: running.stdout(), stderr: running.stderr() }
}

export type Running = {
  readonly child: ChildProcess
  readonly pid: number
  stdout(): string
  stderr(): string
  /** The first line of stdout that matches; rejects when the command ends without it. */
  line(pattern: RegExp): Promise<string>
  ended(): Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>
}

export function startSkein(
  args: readonly string[],
  options: RunOptions & { readonly detached?: boolean } = {},
): Running {
  const { npm_lifecycle_event: _, ...environment } = process.env
  const child = spawn(process.execPath, [MAIN, ...args], {
    cwd: options.cwd,
    detached: options.detached === true,
    env: { ...environment, SKEIN_COMMAND: 'skein', SKEIN_ENDPOINTS: '', ...options.env },
  })
  const texts = { stdout: '', stderr: '' }
  child.stdout.setEncoding('utf8').on('data', (text: string) => (texts.stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (texts.stderr += text))
  child.stdin.on('error', () => undefined)
  const said = (): string => `skein ${args.join(' ')}\nstdout: ${texts.stdout}\nstderr: ${texts.stderr}`
  const ended = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
    child.on('close', (code, signal) => resolve({ code, signal }))
  })
  return {
    child,
    pid: child.pid as number,
    stdout: () => texts.stdout,
    stderr: () => texts.stderr,
    ended: () => within(ended, () => `it did not end: ${said()}`),
    line: (pattern) =>
      within(
        new Promise((resolve, reject) => {
          const look = (): void => {
            const found = texts.stdout.split('\n').find((line) => pattern.test(line))
            if (found !== undefined) resolve(found)
          }
          child.stdout.on('data', look)
          child.on('close', () => {
            look()
            reject(new Error(`it ended without ${String(pattern)}: ${said()}`))
          })
          look()
        }),
        () => `it did not print ${String(pattern)}: ${said()}`,
      ),
  }
}

/** Rejects where a promise has not settled long after it should have. */
export async function within<T>(promise: Promise<T>, otherwise: () => string): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  try {
    return await Promise.race([
      promise,
      new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(new Error(otherwise())), LIMIT_MS)
      }),
    ])
  } finally {
    clearTimeout(timer)
  }
}

export async function untilTrue(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  const end = Date.now() + LIMIT_MS
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`never came true: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

/** Whether a process exists and is not merely waiting to be reaped. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

export type ReadyEvent = {
  readonly event: string
  readonly leader: string
  readonly servers: readonly { readonly name: string; readonly address: string; readonly pid: number }[]
  readonly proof?: Readonly<Record<string, unknown>>
}

/** `skein up --json …`, once clients may come. */
export async function startCluster(
  args: readonly string[],
  options: Parameters<typeof startSkein>[1] = {},
): Promise<Running & { readonly ready: ReadyEvent }> {
  const running = startSkein(['up', '--json', ...args], options)
  const ready = JSON.parse(await running.line(/"event":"ready"/)) as ReadyEvent
  return { ...running, ready }
}

/** A directory that is removed at the end, and whatever process was left over ended. */
export function temporaryDirectory(): { readonly path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), 'skein-cli-'))
  return { path, remove: () => rmSync(path, { recursive: true, force: true, maxRetries: 3 }) }
}

/** The first of `count` free ports in a row, below those that the system gives to others by itself. */
export async function freeRow(count: number): Promise<number> {
  for (let attempt = 0; attempt < 500; attempt++) {
    const first = 10_000 + ((process.pid * 16 + attempt * 16) % 20_000)
    const free = await Promise.all(Array.from({ length: count }, (_, i) => isFree(first + i)))
    if (free.every(Boolean)) return first
  }
  throw new Error(`there are no ${count} free ports in a row`)
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen({ host: '127.0.0.1', port }, () => server.close(() => resolve(true)))
  })
}
