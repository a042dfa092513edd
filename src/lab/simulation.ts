/**
 * A whole simulated world: processes with networks, disks and clocks in one thread and one virtual time. Two
 * simulations of one seed and one scenario have equal trace hashes.
 */
import { InvariantViolation, crc32, invariant } from '../base/index.ts'
import type { LogFields, LogLevel, World } from '../world/index.ts'
import { drawsOf, type Seed } from './draws.ts'
import { createClockState, createSimClock, type SimClockState } from './sim-clock.ts'
import { createSimDisk, type DiskProfile, NVME, type SimDisk } from './sim-disk.ts'
import { createHost, type SimCore, type SimHost } from './sim-host.ts'
import { LAN, type LinkProfile, type SimLink } from './sim-link.ts'
import { createSimNetwork } from './sim-network.ts'
import { createScheduler } from './sim-scheduler.ts'
import { createTrace, type TraceEvent, type TraceKind } from './trace.ts'

export type SimulationOptions = {
  readonly seed: Seed
  readonly link?: LinkProfile
  readonly disk?: DiskProfile
  /** How long a stream tries to reach a silent other side; 60 s when left out. */
  readonly giveUpMs?: number
  /**
   * Lets every continuation of resolved promises run; needed by `runAsync`. Comes from outside, because it touches the
   * host's event loop (`yieldMacrotask` of world/node).
   */
  readonly yieldMacrotask?: () => Promise<void>
  /** Hears each event of the trace. */
  readonly onEvent?: (event: TraceEvent) => void
  /** Hears what processes log; they log nothing when it is left out. */
  readonly onLog?: (
    process: string,
    atMs: number,
    level: LogLevel,
    event: string,
    fields: LogFields | undefined,
  ) => void
}

/** A process that failed by itself: a broken invariant or an exception. */
export type Finding = { readonly process: string; readonly atMs: number; readonly violation: InvariantViolation }

export type ProcessOptions = {
  /** Its code never awaits, so that time need not stop for continuations: faster in `runAsync`. False by default. */
  readonly callbacksOnly?: boolean
}

export type CrashOptions = {
  /** The machine goes too: others hear nothing until they give up. Drawn (1 in 5) when left out. */
  readonly silent?: boolean
  /** Only the process ends (SIGKILL): the operating system keeps every write. False, power loss, when left out. */
  readonly keepWrites?: boolean
}

export interface SimProcess {
  readonly name: string
  readonly running: boolean
  /** The doors of its present life; of the last one while it is down. */
  readonly world: World
  readonly disk: SimDisk
  readonly clock: SimClockState
  /** Ends it between two turns. Does nothing while it is down. */
  crash(options?: CrashOptions): void
  /** Begins a new life on the same disk. Only while it is down. */
  restart(): World
}

export type RunLimits = {
  /** Stops before the first event after this time, and moves time there. */
  readonly untilMs?: number
  /** Stops after the first event that makes this true; asked after every event. */
  readonly until?: () => boolean
  /** Stops after this many events; 100 million when left out. */
  readonly maxEvents?: number
}
export type RunEnd = 'until' | 'time' | 'idle' | 'events'

export type PartitionOptions = {
  /** `hold` keeps what is sent and delivers it after the heal; `reset` also breaks every open connection. */
  readonly mode?: 'hold' | 'reset'
  /** Only what the first sends to the second is stopped. */
  readonly oneWay?: boolean
}

export interface Simulation {
  readonly nowMs: number
  readonly events: number
  readonly findings: readonly Finding[]
  /** The process of this name, started at the first call. */
  process(name: string, options?: ProcessOptions): SimProcess
  /** Runs a step of the scenario (a fault, say) at a time. */
  at(atMs: number, step: () => void): void
  partition(one: string, other: string, options?: PartitionOptions): void
  heal(one: string, other: string): void
  /** Resets every connection between the two. */
  resetConnections(one: string, other: string): void
  /** The link in one direction, to change its profile. */
  link(from: string, to: string): SimLink
  run(limits?: RunLimits): RunEnd
  /**
   * Runs a scenario made of promises. Time passes only while it waits. Rejects with the scenario's own error, or with
   * `scenario-stuck` when nothing can happen any more, or a limit was reached, while it still waits.
   */
  runAsync<T>(scenario: () => Promise<T>, limits?: Pick<RunLimits, 'untilMs' | 'maxEvents'>): Promise<T>
  /** For scenarios: resolves after this much simulated time. */
  sleep(ms: number): Promise<void>
  /** For scenarios: resolves with what `start`'s callback is given, whoever's turn calls it. */
  call<T>(start: (done: (value: T) => void) => void): Promise<T>
  traceHash(): string
}

const DEFAULT_MAX_EVENTS = 100_000_000
const DEFAULT_GIVE_UP_MS = 60_000
const SILENT_ODDS = 5

export function createSimulation(options: SimulationOptions): Simulation {
  const { seed } = options
  const scheduler = createScheduler()
  const trace = createTrace(options.onEvent)
  const findings: Finding[] = []
  const processes = new Map<string, SimProcess>()
  const scenario = { name: 'scenario', id: 0 }
  let awaits = false

  const core: SimCore = {
    scheduler,
    trace,
    mayAwait() {
      awaits = true
    },
    isReachable: (process) => network.isReachable(process.name),
  }
  const network = createSimNetwork(core, {
    seed,
    profile: options.link ?? LAN,
    giveUpMs: options.giveUpMs ?? DEFAULT_GIVE_UP_MS,
  })

  function note(kind: TraceKind, subject: number, amount: number): void {
    trace.add(scheduler.nowMs, kind, scenario, subject, amount, 0)
  }

  function createProcess(name: string, { callbacksOnly = false }: ProcessOptions): SimProcess {
    const traced = { name, id: processes.size + 1 }
    const disk = createSimDisk(core, seed, traced, options.disk ?? NVME)
    const clock = createClockState(core)
    const chance = drawsOf(seed, 'process', name)
    const random = drawsOf(seed, 'random', name)
    let items = 0
    let crashes = 0
    let host: SimHost
    let world: World

    function end(silent: boolean, keepWrites: boolean): void {
      host.die()
      network.leave(name, silent)
      disk.leave(keepWrites)
    }

    function begin(): World {
      host = createHost(core, traced, callbacksOnly, (violation) => {
        findings.push({ process: name, atMs: scheduler.nowMs, violation })
        note('fail', traced.id, 0)
        end(false, true)
      })
      const { endOfTurn, fail } = host
      const { onLog } = options
      world = {
        clock: createSimClock(core, host, clock),
        network: network.join(host),
        disk: disk.join(host),
        random: {
          fraction: () => random.fraction(items++),
          bytes(count) {
            const bytes = new Uint8Array(count)
            for (let i = 0; i < count; i++) bytes[i] = random.word(items++)
            return bytes
          },
        },
        diagnostics: {
          enabled: () => onLog !== undefined,
          log: (level, event, fields) => onLog?.(name, scheduler.nowMs, level, event, fields),
        },
        endOfTurn,
        checksum: crc32,
        fail,
      }
      return world
    }
    begin()

    return {
      name,
      get running() {
        return host.alive
      },
      get world() {
        return world
      },
      disk,
      clock,
      crash({ silent, keepWrites = false } = {}) {
        if (!host.alive) return
        const isSilent = silent ?? chance.integer(crashes, SILENT_ODDS) === 0
        crashes++
        note('crash', traced.id, (isSilent ? 1 : 0) + (keepWrites ? 2 : 0))
        end(isSilent, keepWrites)
      },
      restart() {
        invariant(!host.alive, 'restart-after-crash', name)
        note('restart', traced.id, 0)
        return begin()
      },
    }
  }

  /** Why a run must stop before its next event; undefined to go on. */
  function limit(limits: RunLimits, firstEvent: number): RunEnd | undefined {
    if (trace.events - firstEvent >= (limits.maxEvents ?? DEFAULT_MAX_EVENTS)) return 'events'
    const { untilMs } = limits
    if (untilMs !== undefined && scheduler.nextMs() > untilMs) {
      scheduler.advance(untilMs)
      return 'time'
    }
    return undefined
  }

  function run(limits: RunLimits = {}): RunEnd {
    const firstEvent = trace.events
    for (;;) {
      const reached = limit(limits, firstEvent)
      if (reached !== undefined) return reached
      if (!scheduler.step()) return 'idle'
      if (limits.until?.() === true) return 'until'
    }
  }

  async function runAsync<T>(body: () => Promise<T>, limits: RunLimits = {}): Promise<T> {
    const { yieldMacrotask } = options
    invariant(yieldMacrotask !== undefined, 'macrotask-given', 'runAsync needs the option yieldMacrotask')
    const firstEvent = trace.events
    const state = { settled: false }
    const result = body().finally(() => {
      state.settled = true
    })
    // The loop below decides when to look; a rejection meanwhile must not count as unhandled.
    result.catch(() => {})
    await yieldMacrotask()
    while (!state.settled) {
      awaits = false
      const reached = limit(limits, firstEvent) ?? (scheduler.step() ? undefined : 'idle')
      if (reached !== undefined) {
        throw new InvariantViolation('scenario-stuck', `at ${scheduler.nowMs} ms it still waits (${reached})`)
      }
      if (awaits) await yieldMacrotask()
    }
    return result
  }

  function call<T>(start: (done: (value: T) => void) => void): Promise<T> {
    return new Promise((resolve) => {
      start((value) => {
        awaits = true
        resolve(value)
      })
    })
  }

  function at(atMs: number, step: () => void): void {
    scheduler.at(atMs, () => {
      note('scenario', 0, 0)
      awaits = true
      step()
    })
  }

  return {
    get nowMs() {
      return scheduler.nowMs
    },
    get events() {
      return trace.events
    },
    findings,
    process(name, processOptions = {}) {
      const known = processes.get(name)
      if (known !== undefined) return known
      const made = createProcess(name, processOptions)
      processes.set(name, made)
      return made
    },
    at,
    partition(one, other, { mode = 'hold', oneWay = false } = {}) {
      note('fault', network.link(one, other).id, oneWay ? 1 : 2)
      network.link(one, other).block()
      if (!oneWay) network.link(other, one).block()
      if (mode === 'reset') network.resetBetween(one, other)
    },
    heal(one, other) {
      note('fault', network.link(one, other).id, 0)
      network.link(one, other).heal()
      network.link(other, one).heal()
    },
    resetConnections(one, other) {
      note('fault', network.link(one, other).id, 3)
      network.resetBetween(one, other)
    },
    link: (from, to) => network.link(from, to),
    run,
    runAsync,
    sleep: (ms) => call<void>((done) => at(scheduler.nowMs + ms, done)),
    call,
    traceHash: () => trace.hash(),
  }
}
