/**
 * The simulated network: names, listeners, handshakes and partitions over links between processes. A process is reached
 * under its name (`s1:7701`); `localhost` and loopback addresses mean the process itself.
 *
 * TLS is only played: a TLS dial of a plain listener (or the other way round) fails, and a certificate is the text
 * `sim-cert:NAME` or `sim-cert:NAME;ALT;ALT`, which the other side sees as identity and takes at its word.
 */
import { err, failure, ok } from '../base/index.ts'
import type { Address, Connection, ConnectionHandlers, ListenOptions, Network, TlsIdentity } from '../world/index.ts'
import type { Seed } from './draws.ts'
import type { SimCore, SimHost } from './sim-host.ts'
import { createLink, type LinkProfile, type SimLink } from './sim-link.ts'
import { SimEnd } from './sim-stream.ts'

const FIRST_EPHEMERAL_PORT = 49_152
/** Between two sockets of one process. */
const LOOPBACK_FACTOR = 0.05

type Accept = (connection: Connection) => ConnectionHandlers
type SimListener = { readonly options: ListenOptions; readonly accept: Accept }

/** A life of a process as the network sees it. */
type Station = {
  readonly host: SimHost
  readonly listeners: Map<number, SimListener>
  readonly ends: Set<SimEnd>
  nextPort: number
}

export type NetworkOptions = {
  readonly seed: Seed
  readonly profile: LinkProfile
  /** How long a stream tries to reach a silent other side before it is lost. */
  readonly giveUpMs: number
}

export interface SimNetwork {
  /** The doors of a new life of a process. */
  join(host: SimHost): Network
  /** The life ends. Unless `silent`, the operating system resets its connections and refuses new ones. */
  leave(name: string, silent: boolean): void
  isReachable(name: string): boolean
  link(from: string, to: string): SimLink
  /** Resets every connection between two processes, at both ends. */
  resetBetween(one: string, other: string): void
  links(): Iterable<SimLink>
}

type HostPort = { readonly host: string; readonly port: number }

function parse(address: Address): HostPort | undefined {
  const match = /^(\[[0-9a-fA-F:.]+\]|[^\s:[\]/]+):(\d{1,5})$/.exec(address)
  if (match === null || Number(match[2]) > 65535) return undefined
  return { host: match[1] ?? '', port: Number(match[2]) }
}

function isSelf(host: string): boolean {
  return host === 'localhost' || host === '[::1]' || /^127(\.\d+){3}$/.test(host)
}

function identityOf(cert: string | undefined): TlsIdentity | undefined {
  if (cert?.startsWith('sim-cert:') !== true) return undefined
  const [commonName = '', ...subjectAltNames] = cert.slice('sim-cert:'.length).trim().split(';')
  return { commonName, subjectAltNames }
}

export function createSimNetwork(core: SimCore, options: NetworkOptions): SimNetwork {
  const { scheduler, trace } = core
  const stations = new Map<string, Station>()
  const names = new Map<string, { readonly id: number; readonly name: string }>()
  const silent = new Set<string>()
  const links = new Map<string, SimLink>()
  let ends = 0

  function link(from: string, to: string): SimLink {
    const key = `${from}>${to}`
    const known = links.get(key)
    if (known !== undefined) return known
    const [source, target] = [names.get(from), names.get(to)]
    if (source === undefined || target === undefined) throw new RangeError(`no process of the name ${key}`)
    const { profile } = options
    const own: LinkProfile =
      from === to
        ? {
            ...profile,
            minMs: profile.minMs * LOOPBACK_FACTOR,
            typicalMs: profile.typicalMs * LOOPBACK_FACTOR,
            tailChance: 0,
          }
        : profile
    const made = createLink(core, options.seed, links.size, source, target, own)
    links.set(key, made)
    return made
  }

  /** The life of the process that `host` means to `from`; undefined for an unknown name. */
  function resolve(from: string, host: string): string | undefined {
    if (isSelf(host)) return from
    return names.has(host) ? host : undefined
  }

  function makeEnd(
    station: Station,
    out: SimLink,
    local: string,
    remote: string,
    tlsIdentity: TlsIdentity | undefined,
  ): SimEnd {
    const end = new SimEnd(core, {
      id: ends++,
      host: station.host,
      link: out,
      localAddress: local,
      remoteAddress: remote,
      tlsIdentity,
      giveUpMs: options.giveUpMs,
      onGone: (gone) => void station.ends.delete(gone),
    })
    station.ends.add(end)
    return end
  }

  function join(host: SimHost): Network {
    const { name } = host.process
    const station: Station = { host, listeners: new Map(), ends: new Set(), nextPort: FIRST_EPHEMERAL_PORT }
    stations.set(name, station)
    names.set(name, host.process)
    silent.delete(name)

    const soon = <T>(kind: 'accepted' | 'dialled', callback: (value: T) => void, value: T): void => {
      scheduler.at(scheduler.nowMs, () => {
        if (!host.alive) return
        trace.add(scheduler.nowMs, kind, host.process, 0, 0, 0)
        host.enter(callback, value)
      })
    }

    return {
      listen(address, listenOptions, accept, done) {
        if (!host.alive) return
        const where = parse(address)
        if (where === undefined) {
          soon('accepted', done, err(failure('invalid-request', `"${address}" is not host:port`, { address })))
          return
        }
        const isAny = where.host === '0.0.0.0' || where.host === '[::]'
        if (!isAny && !isSelf(where.host) && where.host !== name) {
          const why = `cannot listen on ${address}: this machine (${name}) has no such address`
          soon('accepted', done, err(failure('invalid-request', why, { address })))
          return
        }
        const port = where.port === 0 ? station.nextPort++ : where.port
        if (station.listeners.has(port)) {
          const why = `cannot listen on ${address}: another process already does`
          soon('accepted', done, err(failure('address-in-use', why, { address })))
          return
        }
        const listener: SimListener = { options: listenOptions, accept }
        station.listeners.set(port, listener)
        soon(
          'accepted',
          done,
          ok({
            address: `${where.host}:${port}`,
            close(closed: () => void) {
              if (station.listeners.get(port) === listener) station.listeners.delete(port)
              soon('accepted', closed, undefined)
            },
          }),
        )
      },

      dial(address, dialOptions, opened) {
        if (!host.alive) return
        const where = parse(address)
        const targetName = where === undefined ? undefined : resolve(name, where.host)
        if (where === undefined || targetName === undefined) {
          const why = where === undefined ? 'it is not host:port' : 'the name cannot be resolved'
          soon('dialled', opened, err(failure('unreachable', `cannot connect to ${address}: ${why}`, { address })))
          return
        }
        let settled = false
        const refuse = (why: string): void => {
          if (settled || !host.alive) return
          settled = true
          scheduler.cancel(timer)
          trace.add(scheduler.nowMs, 'dialled', host.process, 0, 1, 0)
          host.enter(opened, err(failure('unreachable', `cannot connect to ${address}: ${why}`, { address })))
        }
        const timer = scheduler.at(scheduler.nowMs + dialOptions.timeoutMs, () => {
          refuse(`no answer within ${dialOptions.timeoutMs} ms`)
        })
        const there = link(name, targetName)
        const back = link(targetName, name)
        const remote = `${targetName}:${where.port}`
        const local = `${name}:${station.nextPort++}`

        there.carry(0, () => {
          const target = stations.get(targetName)
          // A machine that is off answers nothing; one that is on refuses.
          if (silent.has(targetName)) return
          const listener = target?.listeners.get(where.port)
          if (target === undefined || listener === undefined || !target.host.alive) {
            back.carry(0, () => refuse('nothing listens there'))
            return
          }
          const listenTls = listener.options.tls
          const dialTls = dialOptions.tls
          if ((listenTls === undefined) !== (dialTls === undefined)) {
            back.carry(0, () => refuse('only one side speaks TLS'))
            return
          }
          const dialler = listenTls?.requestClientCert === true ? identityOf(dialTls?.cert) : undefined
          if (listenTls?.requestClientCert === true && dialler === undefined) {
            back.carry(0, () => refuse('the other side asks for a client certificate'))
            return
          }
          const near = makeEnd(station, there, local, remote, identityOf(listenTls?.cert))
          const far = makeEnd(target, back, remote, local, dialler)
          near.other = far
          far.other = near
          back.carry(0, () => {
            if (settled || !host.alive) {
              near.vanish()
              near.sendReset()
              return
            }
            if (near.gone) {
              refuse('the connection was closed before it was ready')
              return
            }
            settled = true
            scheduler.cancel(timer)
            trace.add(scheduler.nowMs, 'dialled', host.process, 0, 0, 0)
            host.enter((connection) => {
              near.handlers = opened(ok(connection))
            }, near)
            if (near.handlers === undefined) near.reset()
            else near.open()
          })
          trace.add(scheduler.nowMs, 'accepted', target.host.process, 0, 0, 0)
          target.host.enter((connection) => {
            far.handlers = listener.accept(connection)
          }, far)
          far.open()
        })
      },
    }
  }

  return {
    join,
    leave(name, quiet) {
      const station = stations.get(name)
      if (station === undefined) return
      station.listeners.clear()
      if (quiet) silent.add(name)
      const open = [...station.ends]
      for (const end of open) {
        end.vanish()
        if (!quiet) end.sendReset()
      }
    },
    isReachable: (name) => !silent.has(name),
    link,
    resetBetween(one, other) {
      for (const name of [one, other]) {
        const to = name === one ? other : one
        const affected = [...(stations.get(name)?.ends ?? [])].filter((end) => end.link.to.name === to)
        for (const end of affected) scheduler.at(scheduler.nowMs, () => end.lose('the network reset it'))
      }
    },
    links: () => links.values(),
  }
}
