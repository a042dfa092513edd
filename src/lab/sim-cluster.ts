/**
 * A cluster of real servers in a simulated world: the same `startServer` that a process calls, on simulated doors. A
 * server that cannot start, or that ends by itself, is a problem that the run reports.
 */
import type { ServerEvent, ServerOptions, RunningServer } from '../server/index.ts'
import { startServer } from '../host/index.ts'
import type { CrashOptions, SimProcess, Simulation } from './simulation.ts'

const PORT = 2379

export interface SimServer {
  readonly name: string
  readonly address: string
  readonly process: SimProcess
  /** Undefined while it is down or still starting. */
  readonly running: RunningServer | undefined
  readonly up: boolean
  crash(options?: CrashOptions): void
  /** A graceful stop; the process ends when it is done. */
  stop(): void
  /** Does nothing while it is up; where it is stopping, it starts when it has. */
  start(): void
}

export interface SimCluster {
  readonly servers: readonly SimServer[]
  readonly endpoints: readonly string[]
  /** The server that believes it leads, with the highest term. */
  leader(): SimServer | undefined
  /** What should never happen: two leaders in a term, a server that does not start again. */
  readonly problems: readonly string[]
  readonly elections: number
}

export function createSimCluster(
  simulation: Simulation,
  count: number,
  options: Partial<ServerOptions> = {},
): SimCluster {
  const members = Array.from({ length: count }, (_, i) => ({ name: `S${i + 1}`, address: `S${i + 1}:${PORT}` }))
  const problems: string[] = []
  const leaders = new Map<number, string>()

  const heard = (name: string, event: ServerEvent, self: bigint | undefined): void => {
    if (event.type === 'peer-refused')
      problems.push(`${name} refused a peer: ${event.reason.code}: ${event.reason.message}`)
    if (event.type !== 'leader' || event.leader === undefined || event.leader !== self) return
    const other = leaders.get(event.term)
    if (other !== undefined && other !== name) problems.push(`${other} and ${name} both led in term ${event.term}`)
    leaders.set(event.term, name)
  }

  const servers = members.map(({ name, address }): SimServer => {
    const process = simulation.process(name, { callbacksOnly: true })
    let running: RunningServer | undefined
    let life = 0
    let stopping = false
    let again = false

    const start = (): void => {
      const mine = ++life
      stopping = false
      again = false
      // Of a life that ended by itself.
      running = undefined
      const { world } = process
      const isFull = (): boolean => process.disk.capacityBytes !== Number.POSITIVE_INFINITY
      const wasFull = isFull()
      let self: bigint | undefined
      startServer(
        world,
        {
          name,
          dataDirectory: 'data',
          listen: address,
          cluster: members,
          clusterKey: new Uint8Array(32).fill(9),
          engine: 'memory',
          // Names of simulated machines are no loopback addresses.
          insecure: true,
          ...options,
        },
        (event) => heard(name, event, self ?? running?.memberId),
        (result) => {
          if (mine !== life) return
          if (!result.ok) {
            // That is what it must do on a full disk: it cannot note that it runs again.
            const isExcused = result.error.code === 'disk-full' && (wasFull || isFull())
            if (!isExcused) problems.push(`${name} does not start: ${result.error.code}: ${result.error.message}`)
            process.crash({ keepWrites: true, silent: false })
            if (!isExcused || isFull()) return
            process.restart()
            start()
            return
          }
          running = result.value
          self = running.memberId
        },
      )
    }
    start()

    return {
      name,
      address,
      process,
      get running() {
        return process.running ? running : undefined
      },
      get up() {
        return process.running
      },
      crash(how) {
        life++
        running = undefined
        process.crash(how)
      },
      stop() {
        if (running === undefined || stopping) return
        const mine = life
        stopping = true
        running.stop(() => {
          if (mine !== life) return
          life++
          running = undefined
          process.crash({ keepWrites: true, silent: false })
          if (!again) return
          process.restart()
          start()
        })
      },
      start() {
        if (stopping && process.running) again = true
        if (process.running) return
        process.restart()
        start()
      },
    }
  })

  return {
    servers,
    endpoints: members.map((member) => member.address),
    leader() {
      let best: { readonly server: SimServer; readonly term: number } | undefined
      for (const server of servers) {
        const status = server.running?.status()
        if (status?.role !== 'leader' || (best !== undefined && best.term >= status.term)) continue
        best = { server, term: status.term }
      }
      return best?.server
    },
    problems,
    get elections() {
      return leaders.size
    },
  }
}
