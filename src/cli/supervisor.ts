/**
 * The servers of `skein up` as real processes.
 *
 * Promises: (1) a server that ends by itself stays down until somebody asks for it; (2) `stop` ends every process within two
 * seconds, paused ones too; (3) a server that was asked to stop by a signal ends the whole cluster (`onStopAsked`), one that
 * was killed does not; (4) commands for one server run one after another.
 */
import { join } from 'node:path'
import { failure, SkeinError } from '../base/index.ts'
import type { Child, ChildEnd } from './child.ts'
import { startChild } from './child.ts'
import { refuse } from './exit.ts'
import { commandLine } from './name.ts'

export type ServerState = 'down' | 'starting' | 'up' | 'paused' | 'stopping'
export type ServerView = {
  readonly name: string
  readonly address: string
  readonly state: ServerState
  readonly pid: number | undefined
}

export type NotStarted = { readonly name: string; readonly error: SkeinError }

export type SupervisorOptions = {
  /** The command's own script. */
  readonly script: string
  readonly servers: readonly { readonly name: string; readonly address: string }[]
  readonly directory: string
  readonly keyFile: string
  readonly token: string
  readonly logLevel: string
  /** A server ended that nobody asked to. */
  onDown(name: string, how: string): void
  /** A server was asked to stop by a signal: whoever sent it wants all to end. */
  onStopAsked(name: string): void
  /** What a server tells a person. */
  onLine(line: string): void
}

export interface Supervisor {
  readonly servers: readonly ServerView[]
  /** Starts all; resolves, once each is up or has ended, with those that did not come up and their own words. */
  startAll(): Promise<readonly NotStarted[]>
  /** SIGKILL. */
  kill(name: string): Promise<void>
  /** SIGSTOP: it keeps its connections and answers nothing. */
  pause(name: string): Promise<void>
  resume(name: string): Promise<void>
  /** Stops it in order where it runs, then starts it. Resolves when it serves. */
  restart(name: string): Promise<void>
  /** Idempotent; resolves when every process has ended. */
  stop(): Promise<void>
}

/** Half of the default: servers on one machine hear each other at once, and nobody wants to wait for their election. */
const ELECTION_TIMEOUT_MS = 500
/** A server that has not stopped in order by then is killed: the promise is two seconds for all. */
const STOP_MS = 1_800
const START_MS = 60_000

type Slot = {
  readonly name: string
  readonly address: string
  state: ServerState
  child: Child | undefined
  /** Whether the present child's end was ordered here. */
  ordered: boolean
  /** Wait for the present child to serve, or to end. */
  serving: ((error: SkeinError | undefined) => void)[]
  gone: (() => void)[]
  /** Commands for this server. */
  queue: Promise<unknown>
}

export function createSupervisor(options: SupervisorOptions): Supervisor {
  const slots: Slot[] = options.servers.map(({ name, address }) => ({
    name,
    address,
    state: 'down',
    child: undefined,
    ordered: false,
    serving: [],
    gone: [],
    queue: Promise.resolve(),
  }))
  let stopping: Promise<void> | undefined

  const cluster = slots.map(({ name, address }) => `${name}=${address}`).join(',')
  const argsFor = (slot: Slot): string[] => {
    const { directory, keyFile, token, logLevel } = options
    const named = {
      name: slot.name,
      data: join(directory, slot.name),
      listen: slot.address,
      cluster,
      'cluster-key-file': keyFile,
      'cluster-token': token,
      'log-level': logLevel,
      'election-timeout-ms': String(ELECTION_TIMEOUT_MS),
    }
    const words = Object.entries(named).map(([option, value]) => `--${option}=${value}`)
    return ['server', ...words, '--supervised', '--json']
  }

  const start = (slot: Slot): Promise<void> =>
    new Promise((resolve, reject) => {
      if (stopping !== undefined) return reject(new SkeinError(failure('stopping', 'the cluster is being stopped')))
      slot.state = 'starting'
      slot.ordered = false
      const timer = setTimeout(() => {
        settle(new SkeinError(failure('timed-out', `${slot.name} did not come up within ${START_MS / 1000} s`)))
      }, START_MS)
      const settle = (error: SkeinError | undefined): void => {
        clearTimeout(timer)
        if (error === undefined) resolve()
        else reject(error)
      }
      slot.serving.push(settle)
      slot.child = startChild(options.script, argsFor(slot), {
        onServing() {
          if (slot.state === 'starting') slot.state = 'up'
          for (const tell of slot.serving.splice(0)) tell(undefined)
        },
        onStopping() {
          if (slot.ordered) return
          slot.ordered = true
          slot.state = 'stopping'
          options.onStopAsked(slot.name)
        },
        onLine: (line) => options.onLine(line),
        onExit: (end) => ended(slot, end),
      })
      return undefined
    })

  const ended = (slot: Slot, end: ChildEnd): void => {
    const { ordered } = slot
    const wasStarting = slot.serving.length > 0
    slot.state = 'down'
    slot.child = undefined
    const how =
      end.error?.message ??
      (end.signal === null ? `it ended with exit code ${end.code}` : `it was ended by ${end.signal}`)
    for (const tell of slot.serving.splice(0)) {
      tell(end.error ?? new SkeinError(failure('internal', `${slot.name} did not come up: ${how}`)))
    }
    for (const tell of slot.gone.splice(0)) tell()
    if (ordered || wasStarting || stopping !== undefined) return
    // TERM before it could say so, or an end in order: the same wish as a signal to this process.
    if (end.code === 0 || end.signal === 'SIGTERM' || end.signal === 'SIGINT') options.onStopAsked(slot.name)
    else options.onDown(slot.name, how)
  }

  /** Sends a signal that ends it, and waits for the end. */
  const end = async (slot: Slot, signal: NodeJS.Signals, limitMs: number): Promise<void> => {
    const { child } = slot
    if (child === undefined) return
    const gone = new Promise<void>((resolve) => void slot.gone.push(resolve))
    const isPaused = slot.state === 'paused'
    slot.ordered = true
    slot.state = 'stopping'
    child.signal(signal)
    // A stopped process gets its signals when it goes on.
    if (isPaused) child.resume()
    const timer = setTimeout(() => child.signal('SIGKILL'), limitMs)
    await gone
    clearTimeout(timer)
  }

  const find = (name: string): Slot => {
    const found = slots.find((slot) => slot.name.toLowerCase() === name.toLowerCase())
    const names = slots.map((slot) => slot.name).join(', ')
    return found ?? refuse('invalid-request', `there is no server ${JSON.stringify(name)}`, `Name one of ${names}.`)
  }

  const inTurn = (name: string, act: (slot: Slot) => Promise<void>): Promise<void> => {
    const slot = find(name)
    const done = slot.queue.then(async () => {
      if (stopping !== undefined) refuse('stopping', 'the cluster is being stopped')
      await act(slot)
    })
    slot.queue = done.catch(() => undefined)
    return done
  }

  const alreadySo = (slot: Slot, what: string, next: string, command: string): never =>
    refuse(
      'invalid-request',
      `${slot.name} ${what}`,
      `Nothing to do. ${next}: ${commandLine(`${command} ${slot.name}`, options.directory)}`,
    )

  const needsProcess = (slot: Slot): Child =>
    slot.child ??
    refuse(
      'invalid-request',
      `${slot.name} does not run`,
      `Start it with: ${commandLine(`restart ${slot.name}`, options.directory)}`,
    )

  return {
    get servers() {
      return slots.map(({ name, address, state, child }) => ({ name, address, state, pid: child?.pid }))
    },
    async startAll() {
      const ends = await Promise.all(
        slots.map(async (slot) =>
          start(slot).then(
            () => [],
            (error: unknown): NotStarted[] => [{ name: slot.name, error: error as SkeinError }],
          ),
        ),
      )
      return ends.flat()
    },
    kill: async (name) =>
      inTurn(name, async (slot) => {
        needsProcess(slot)
        await end(slot, 'SIGKILL', STOP_MS)
      }),
    pause: async (name) =>
      inTurn(name, async (slot) => {
        const child = needsProcess(slot)
        if (slot.state === 'paused') alreadySo(slot, 'is paused already', 'Let it go on with', 'resume')
        child.pause()
        slot.state = 'paused'
      }),
    resume: async (name) =>
      inTurn(name, async (slot) => {
        const child = needsProcess(slot)
        if (slot.state !== 'paused') alreadySo(slot, 'is not paused', 'Pause it with', 'pause')
        child.resume()
        slot.state = 'up'
      }),
    restart: async (name) =>
      inTurn(name, async (slot) => {
        await end(slot, 'SIGTERM', STOP_MS)
        await start(slot)
      }),
    stop() {
      stopping ??= Promise.all(slots.map(async (slot) => end(slot, 'SIGTERM', STOP_MS))).then(() => undefined)
      return stopping
    },
  }
}
