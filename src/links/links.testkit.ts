/** Members with links in the simulated world, for tests: who they are, what they heard, and what can be done to them. */
import { type ClusterId, clusterId, type Failure, type MemberId, memberId, text, utf8 } from '../base/index.ts'
import { createSimulation, type SimProcess, type Simulation, type SimulationOptions } from '../lab/index.ts'
import type { TlsOptions, World } from '../world/index.ts'
import { createLinks, type Lane, type Links, type LinksOptions, recognisePeer } from './index.ts'

export const PORT = 7000
export const CLUSTER: ClusterId = clusterId(0xc1n)
export const KEY: Uint8Array = new Uint8Array(32).fill(7)

export type Overrides = Partial<LinksOptions>

/** One member: its disk is `instance` and `known`; its life is `links`. */
export interface Member {
  readonly name: string
  readonly id: MemberId
  readonly process: SimProcess
  links: Links
  instance: Uint8Array
  /** Instance ids persisted, per peer. */
  readonly known: Map<MemberId, Uint8Array>
  /** What its handlers heard, in order: `up b control`, `frame b control hello`, `down b control`, `refused b code`. */
  readonly heard: string[]
  readonly refusals: Failure[]
  readonly frames: { readonly from: string; readonly lane: Lane; readonly frame: Uint8Array }[]
  /** How long it takes to persist an instance; undefined: for ever. */
  persistMs: number | undefined
  /** Hears each frame before it is noted. */
  onFrame: ((from: MemberId, lane: Lane, frame: Uint8Array) => void) | undefined
  onDrain: ((peer: MemberId, lane: Lane) => void) | undefined
  /** Hears each session begin and end. */
  onSession: ((what: 'up' | 'down', peer: MemberId, lane: Lane) => void) | undefined
  options: Overrides
  /** Where it dials the others, if not where they are. */
  readonly routes: Map<string, string>
  /** Stands between its links and its world. */
  wrap: (world: World) => World
  /** Tells its links about these members; about all others at its start. */
  setPeers(peers: readonly Member[]): void
  start(): void
  restart(): void
  send(to: Member, lane: Lane, what: string): 'sent' | 'full' | 'down'
  isUp(peer: Member, lane?: Lane): boolean
}

export interface Cluster {
  readonly simulation: Simulation
  readonly members: readonly Member[]
  /** Runs until `condition`, or says what everybody heard. */
  readonly until: (condition: () => boolean, withinMs?: number) => void
  readonly run: (forMs: number) => void
}

/** Serves a member's links on its port, as the shared port does. */
export function serve(
  world: World,
  address: string,
  accept: ReturnType<typeof createLinks>['accept'],
  done: (address: string) => void = () => {},
  tls?: TlsOptions,
): void {
  world.network.listen(
    address,
    tls === undefined ? {} : { tls },
    (connection) => {
      let handlers: ReturnType<typeof accept> | undefined
      let prefix = new Uint8Array(0)
      return {
        onData(bytes) {
          if (handlers !== undefined) return handlers.onData(bytes)
          const joined = new Uint8Array(prefix.length + bytes.length)
          joined.set(prefix)
          joined.set(bytes, prefix.length)
          prefix = joined
          const recognised = recognisePeer(prefix)
          if (recognised === 'yes') handlers = accept(connection, prefix)
          else if (recognised === 'no') connection.reset()
        },
        onDrain: () => handlers?.onDrain(),
        onClose: (reason) => handlers?.onClose(reason),
      }
    },
    (listening) => {
      if (!listening.ok) throw new Error(listening.error.message)
      done(listening.value.address)
    },
  )
}

export function optionsOf(id: MemberId, instance: Uint8Array, overrides: Overrides = {}): LinksOptions {
  return {
    cluster: CLUSTER,
    self: id,
    instance,
    clusterKey: KEY,
    tls: undefined,
    lowestProtocol: 1,
    highestProtocol: 1,
    maxFrameBytes: 1_048_576,
    maxQueuedBytes: 4_194_304,
    redialMinMs: 20,
    redialMaxMs: 1_000,
    handshakeTimeoutMs: 1_000,
    ...overrides,
  }
}

export function createCluster(
  seed: SimulationOptions['seed'],
  names: readonly string[],
  overrides: Readonly<Record<string, Overrides>> = {},
  simulationOptions: Omit<SimulationOptions, 'seed'> = {},
): Cluster {
  const simulation = createSimulation({ seed, giveUpMs: 10_000, ...simulationOptions })
  const members: Member[] = []
  const nameOf = (id: MemberId | undefined): string => members.find((member) => member.id === id)?.name ?? '?'

  for (const [at, name] of names.entries()) {
    const process = simulation.process(name, { callbacksOnly: true })
    const id = memberId(BigInt(at + 1))
    const member: Member = {
      name,
      id,
      process,
      instance: new Uint8Array(16).fill(at + 1),
      known: new Map(),
      heard: [],
      refusals: [],
      frames: [],
      persistMs: 1,
      onFrame: undefined,
      onDrain: undefined,
      onSession: undefined,
      options: overrides[name] ?? {},
      routes: new Map(),
      wrap: (world) => world,
      get links(): Links {
        throw new Error(`${name} is not started`)
      },
      start() {
        const world = member.wrap(process.world)
        const { links, accept } = createLinks(world, optionsOf(id, member.instance, member.options), {
          onFrame(from, lane, frame) {
            member.onFrame?.(from, lane, frame)
            member.frames.push({ from: nameOf(from), lane, frame })
            if (frame.length < 50) member.heard.push(`frame ${nameOf(from)} ${lane} ${text(frame)}`)
          },
          onUp(peer, lane) {
            member.heard.push(`up ${nameOf(peer)} ${lane}`)
            member.onSession?.('up', peer, lane)
          },
          onDown(peer, lane) {
            member.heard.push(`down ${nameOf(peer)} ${lane}`)
            member.onSession?.('down', peer, lane)
          },
          onDrain(peer, lane) {
            member.heard.push(`drain ${nameOf(peer)} ${lane}`)
            member.onDrain?.(peer, lane)
          },
          onInstance(peer, instance, done) {
            member.heard.push(`instance ${nameOf(peer)}`)
            if (member.persistMs === undefined) return
            world.clock.setTimer(member.persistMs, () => {
              member.known.set(peer, instance)
              member.heard.push(`persisted ${nameOf(peer)}`)
              done()
            })
          },
          onRefused(peer, reason) {
            member.refusals.push(reason)
            member.heard.push(`refused ${nameOf(peer)} ${reason.code}`)
          },
        })
        Object.defineProperty(member, 'links', { value: links, configurable: true })
        serve(world, `${name}:${PORT}`, accept)
        member.setPeers(members.filter((other) => other !== member))
      },
      setPeers: (peers) =>
        member.links.setPeers(
          peers.map((other) => ({
            id: other.id,
            address: member.routes.get(other.name) ?? `${other.name}:${PORT}`,
            instance: member.known.get(other.id),
          })),
        ),
      restart() {
        process.restart()
        member.start()
      },
      send: (to, lane, what) => member.links.send(to.id, lane, [utf8(what)]),
      isUp: (peer, lane) =>
        lane === undefined
          ? member.links.isUp(peer.id, 'control') && member.links.isUp(peer.id, 'bulk')
          : member.links.isUp(peer.id, lane),
    }
    members.push(member)
  }

  const report = (): string =>
    members.map(({ name, heard }) => `${name}:\n  ${heard.slice(-40).join('\n  ')}`).join('\n')
  return {
    simulation,
    members,
    until(condition, withinMs = 10_000) {
      const end = simulation.run({ until: condition, untilMs: simulation.nowMs + withinMs })
      const [finding] = simulation.findings
      if (finding !== undefined) throw new Error(`seed ${seed}: ${finding.violation.stack}`)
      if (end !== 'until') throw new Error(`seed ${seed}: not within ${withinMs} ms (${end})\n${report()}`)
    },
    run(forMs) {
      simulation.run({ untilMs: simulation.nowMs + forMs })
      const [finding] = simulation.findings
      if (finding !== undefined) throw new Error(`seed ${seed}: ${finding.violation.stack}`)
    },
  }
}

/** Two members, started, both lanes up on both sides. */
export function pairUp(
  seed: SimulationOptions['seed'],
  overrides: Readonly<Record<string, Overrides>> = {},
  simulationOptions: Omit<SimulationOptions, 'seed'> = {},
): Cluster & { readonly a: Member; readonly b: Member } {
  const cluster = createCluster(seed, ['a', 'b'], overrides, simulationOptions)
  const [a, b] = cluster.members
  if (a === undefined || b === undefined) throw new Error('two members')
  a.start()
  b.start()
  cluster.until(() => a.isUp(b) && b.isUp(a))
  return { ...cluster, a, b }
}
