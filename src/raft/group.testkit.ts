/** A small group whose messages and disks move only when a test says so: for the paper's claims and for transcripts. */
import type { MemberId, Result, Term } from '../base/index.ts'
import { logIndex, memberId, term as makeTerm } from '../base/index.ts'
import type { Proposed } from './raft.ts'
import type { Disk, Packet, Server } from './server.testkit.ts'
import {
  apply,
  configOf,
  crash,
  createServer,
  DEFAULTS,
  drain,
  emptyDisk,
  persist,
  readWanted,
  receive,
  restart,
  step,
} from './server.testkit.ts'
import type { Config, Entry, RaftInput, RaftMessage, RaftOptions, Ready } from './types.ts'

export type Group = {
  readonly servers: ReadonlyMap<number, Server>
  /** Undelivered, oldest first. */
  flights: Packet[]
  /** Every Ready since the start, per server. */
  readonly readies: { readonly name: number; readonly ready: Ready }[]
  now: number
  at(name: number): Server
  step(name: number, input: RaftInput): Result<Proposed | undefined>
  propose(name: number, ...data: string[]): Result<Proposed | undefined>
  /** Writes everything that waits for this disk. */
  sync(name: number): void
  /** Delivers one message, which must be in flight. */
  deliver(from: number, to: number, type: RaftMessage['type']): void
  /** Loses what is in flight between the two, both ways, or all of one. */
  lose(name: number, other?: number): void
  /** Until nothing moves: messages arrive, disks write, states are applied; except for the names left out. */
  settle(...without: number[]): void
  pass(ms: number, ...only: number[]): void
  /** `name` campaigns and wins with everybody else's help. */
  elect(name: number, ...without: number[]): void
  crash(name: number): void
  restart(name: number): void
  sent(name: number, type: RaftMessage['type']): RaftMessage[]
}

export type GroupOptions = {
  readonly options?: Partial<RaftOptions>
  readonly disks?: ReadonlyMap<number, Disk>
  readonly config?: Config
}

/** Servers `1..count`, all voters unless a configuration is given. Election timeouts are 1100 ms for 1, 1200 for 2... */
export function createGroup(count: number, { options = {}, disks, config }: GroupOptions = {}): Group {
  const servers = new Map<number, Server>()
  const names = Array.from({ length: count }, (_, i) => i + 1)
  const initial = config ?? configOf(names)
  const nameOf = (id: MemberId): number => Number(id)
  const group: Group = {
    servers,
    flights: [],
    readies: [],
    now: 0,
    at: (name) => servers.get(name) as Server,
    step(name, input) {
      const result = step(group.at(name), input, group.now)
      drain(group.at(name))
      return result
    },
    propose: (name, ...data) => group.step(name, { type: 'propose', data: data.map(bytes) }),
    sync(name) {
      while (persist(group.at(name), group.now)) drain(group.at(name))
    },
    deliver(from, to, type) {
      const at = group.flights.findIndex(
        ({ message }) => nameOf(message.from) === from && nameOf(message.to) === to && message.type === type,
      )
      if (at < 0) throw new Error(`no ${type} is in flight from ${from} to ${to}`)
      const [packet] = group.flights.splice(at, 1)
      arrive(packet as Packet)
    },
    lose(name, other) {
      group.flights = group.flights.filter(({ message: { from, to } }) => {
        const ends = [nameOf(from), nameOf(to)]
        return !(ends.includes(name) && (other === undefined || ends.includes(other)))
      })
    },
    settle(...without) {
      for (let round = 0; round < 500; round++) {
        for (const [name, server] of servers) {
          if (!server.up || without.includes(name)) continue
          drain(server)
          group.sync(name)
          while (readWanted(server, group.now)) drain(server)
          apply(server, 1000, group.now)
          drain(server)
        }
        if (group.flights.length === 0) return
        const arriving = group.flights
        group.flights = []
        for (const packet of arriving) {
          const { from, to } = packet.message
          if (!without.includes(nameOf(from)) && !without.includes(nameOf(to))) arrive(packet)
        }
      }
      throw new Error('the group does not settle')
    },
    pass(ms, ...only) {
      group.now += ms
      for (const [name, server] of servers) {
        if (!server.up || (only.length > 0 && !only.includes(name))) continue
        if (group.now >= server.raft.nextDeadline()) group.step(name, { type: 'tick' })
      }
    },
    elect(name, ...without) {
      group.step(name, { type: 'campaign' })
      group.settle(...without)
    },
    crash: (name) => crash(group.at(name)),
    restart(name) {
      restart(group.at(name), group.now)
      drain(group.at(name))
    },
    sent: (name, type) =>
      group.flights.map(({ message }) => message).filter((one) => nameOf(one.from) === name && one.type === type),
  }
  const arrive = (packet: Packet): void => {
    const server = servers.get(nameOf(packet.message.to))
    if (server === undefined || !server.up) return
    receive(server, packet, group.now)
    drain(server)
    if (packet.state === undefined) return
    const from = group.at(nameOf(packet.message.from))
    step(from, { type: 'snapshotSent', to: server.id, index: packet.state.index, ok: true }, group.now)
    drain(from)
  }
  for (const name of names) {
    const id = memberId(BigInt(name))
    const disk = disks?.get(name) ?? emptyDisk(initial)
    const whole = { ...DEFAULTS, ...options, id, random: () => name / 10 }
    const hooks = {
      onReady: (_: Server, ready: Ready) => void group.readies.push({ name, ready }),
      onApply: () => undefined,
      send: (_: Server, packet: Packet) => void group.flights.push(packet),
    }
    servers.set(name, createServer(whole, disk, hooks, 0))
    drain(servers.get(name) as Server)
  }
  return group
}

export function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

export function readable(data: Uint8Array): string {
  return new TextDecoder().decode(data)
}

/** A disk whose log holds entries of these terms from index 1 on. */
export function diskWith(terms: readonly number[], config: Config, term?: number, vote?: number): Disk {
  const disk = emptyDisk(config)
  disk.entries = terms.map((at, i): Entry => {
    return { index: logIndex(i + 1), term: makeTerm(at), type: 'normal', data: bytes(`${at}.${i + 1}`) }
  })
  disk.hardState = {
    term: makeTerm(term ?? terms.at(-1) ?? 0),
    vote: vote === undefined ? undefined : memberId(BigInt(vote)),
    commit: logIndex(0),
  }
  return disk
}

/** The terms along the log as the core of `server` holds it. */
export function termsOf(server: Server): Term[] {
  return server.mirror.map(({ term }) => term)
}
