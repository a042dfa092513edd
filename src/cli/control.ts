/**
 * The control socket of `skein up`: how `kill`, `pause`, `resume` and `restart` reach the supervisor. One JSON object a line,
 * one answer for each, over a unix socket in the data directory that only its owner may open.
 */
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { createConnection, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import type { FailureCode } from '../base/index.ts'
import { failure, FAILURES, SkeinError } from '../base/index.ts'
import { refuse } from './exit.ts'
import { commandLine } from './name.ts'
import type { ServerView } from './supervisor.ts'

export type ControlCommand = 'kill' | 'pause' | 'resume' | 'restart' | 'list'
export type ControlRequest = { readonly command: ControlCommand; readonly server?: string }
/** The servers as they are after the command. */
export type ControlAnswer = { readonly servers: readonly ServerView[] }

const SOCKET = 'control.sock'
/** The shortest limit of a socket's path among unix systems is 104 with its final zero. */
const MAX_PATH_BYTES = 100
const MAX_LINE_BYTES = 65_536
const MAX_CONNECTIONS = 64
/** A restart waits until the server serves, which after a long life includes reading its log. */
const ANSWER_MS = 120_000

export interface Control {
  close(): void
}

/** The caller holds the directory's lock: a socket that is there already was left by a supervisor that died. */
export async function openControl(
  directory: string,
  handle: (request: ControlRequest) => Promise<ControlAnswer>,
): Promise<Control> {
  const path = join(directory, SOCKET)
  rmSync(path, { force: true })
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy())
    eachLine(socket, (line) => {
      answerTo(line, handle)
        .then((answer) => void socket.write(`${JSON.stringify(answer)}\n`))
        .catch(() => socket.destroy())
    })
  })
  server.maxConnections = MAX_CONNECTIONS
  await withShortPath(directory, (short) => {
    const mask = process.umask(0o177)
    try {
      return new Promise<void>((opened, failed) => {
        server.once('error', failed)
        // Binding happens within this call, under the mask.
        server.listen(short, opened)
      })
    } finally {
      process.umask(mask)
    }
  })
  server.unref()
  return {
    close() {
      server.close()
      rmSync(path, { force: true })
    },
  }
}

async function answerTo(
  line: string,
  handle: (request: ControlRequest) => Promise<ControlAnswer>,
): Promise<Record<string, unknown>> {
  try {
    return { ok: true, ...(await handle(JSON.parse(line) as ControlRequest)) }
  } catch (error) {
    if (error instanceof SkeinError) return { ok: false, code: error.code, message: error.message, hint: error.hint }
    return { ok: false, code: 'internal', message: error instanceof Error ? error.message : String(error) }
  }
}

/** Throws `unreachable` where no supervisor listens, and what the supervisor refused with. */
export async function askControl(directory: string, request: ControlRequest): Promise<ControlAnswer> {
  const line = await withShortPath(directory, (short) => exchange(short, `${JSON.stringify(request)}\n`)).catch(
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'EACCES' || error.code === 'EPERM') {
        return refuse(
          'permission-denied',
          `${join(directory, SOCKET)} may only be opened by the user who started the cluster`,
        )
      }
      if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED' || error.code === 'ENOTDIR') {
        return refuse(
          'unreachable',
          `no cluster runs on ${directory}`,
          `Start one with: ${commandLine('up', directory)}`,
        )
      }
      return refuse('connection-lost', `the supervisor of ${directory} gave no answer: ${error.message}`)
    },
  )
  const answer = JSON.parse(line) as ControlAnswer & { ok: boolean; code: FailureCode; message: string; hint?: string }
  if (answer.ok) return answer
  const code = Object.hasOwn(FAILURES, answer.code) ? answer.code : 'internal'
  const base = failure(code, answer.message)
  throw new SkeinError({ ...base, hint: answer.hint ?? base.hint })
}

function exchange(path: string, line: string): Promise<string> {
  return new Promise((answered, failed) => {
    const socket = createConnection(path)
    const timer = setTimeout(() => socket.destroy(new Error(`none within ${ANSWER_MS} ms`)), ANSWER_MS)
    socket.on('error', failed)
    socket.on('close', () => {
      clearTimeout(timer)
      failed(new Error('it closed the connection'))
    })
    eachLine(socket, (answer) => {
      answered(answer)
      socket.destroy()
    })
    socket.write(line)
  })
}

function eachLine(socket: NodeJS.ReadableStream & { destroy(): void }, take: (line: string) => void): void {
  let pending = ''
  socket.setEncoding('utf8')
  socket.on('data', (text: string) => {
    const lines = (pending + text).split('\n')
    pending = lines.pop() as string
    if (pending.length > MAX_LINE_BYTES) return socket.destroy()
    for (const line of lines) take(line)
    return undefined
  })
}

/**
 * The path of the socket, or where that is too long for a unix socket another that leads to the same file: through a
 * symbolic link to the directory, which is needed only while the socket is bound or connected.
 */
async function withShortPath<T>(directory: string, use: (path: string) => Promise<T>): Promise<T> {
  const path = join(directory, SOCKET)
  if (Buffer.byteLength(path) <= MAX_PATH_BYTES) return use(path)
  const temporary = mkdtempSync(join(tmpdir(), 'skein-'))
  try {
    const link = join(temporary, 'd')
    symlinkSync(resolve(directory), link)
    return await use(join(link, SOCKET))
  } finally {
    rmSync(temporary, { recursive: true, force: true })
  }
}
