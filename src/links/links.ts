/** All connections of one member with the others: the peers it is told of, two lanes each, and what they share. */
import { equalBytes, invariant, type MemberId } from '../base/index.ts'
import type { Connection, ConnectionHandlers, Timer, World } from '../world/index.ts'
import { createAdmission, type PeerAdmission } from './admission.ts'
import type { Context } from './context.ts'
import { INSTANCE_BYTES, PROCESS_BYTES } from './handshake-messages.ts'
import { createIncoming } from './incoming.ts'
import { createLink, type Link } from './link.ts'
import { createRefusals } from './refusals.ts'
import { TICK_MS } from './session.ts'
import type { Lane, Links, LinksHandlers, LinksOptions, Peer } from './types.ts'

export const KEY_BYTES = 32

type Neighbour = {
  readonly id: MemberId
  address: string
  readonly admission: PeerAdmission
  readonly lanes: Readonly<Record<Lane, Link>>
}

/** `accept` takes over a connection of which `recognisePeer` said yes, with the bytes it began with. */
export function createLinks(
  world: World,
  options: LinksOptions,
  handlers: LinksHandlers,
): { readonly links: Links; readonly accept: (connection: Connection, firstBytes: Uint8Array) => ConnectionHandlers } {
  invariant(options.clusterKey.length === KEY_BYTES, 'cluster-key-length', `${options.clusterKey.length} bytes`)
  invariant(options.instance.length === INSTANCE_BYTES, 'instance-length', `${options.instance.length} bytes`)
  const neighbours = new Map<bigint, Neighbour>()
  let closed = false
  let attempts = 0
  let flushes: (() => void)[] = []
  let ticker: Timer | undefined

  const context: Context = {
    world,
    options,
    handlers,
    party: {
      cluster: options.cluster,
      self: options.self,
      instance: options.instance,
      process: world.random.bytes(PROCESS_BYTES),
      lowest: options.lowestProtocol,
      highest: options.highestProtocol,
      key: options.clusterKey,
    },
    refusals: createRefusals(world, (peer, reason) => handlers.onRefused(peer, reason)),
    nextAttempt: () => ++attempts,
    flushSoon(flush) {
      if (flushes.push(flush) > 1) return
      world.endOfTurn(() => {
        const now = flushes
        flushes = []
        for (const each of now) each()
      })
    },
  }
  const incoming = createIncoming(context, (who) => neighbours.get(who.member)?.lanes[who.lane])

  const addNeighbour = (peer: Peer): Neighbour => {
    const admission = createAdmission(peer.id, peer.instance, (id, instance, done) =>
      handlers.onInstance(id, instance, done),
    )
    const remote = { id: peer.id, address: () => neighbour.address, admission }
    const laneOf = (lane: Lane, other: Lane): Link =>
      // Whoever has one lane up answers on the other.
      createLink(context, remote, lane, () => neighbour.lanes[other].hurry())
    const neighbour: Neighbour = {
      id: peer.id,
      address: peer.address,
      admission,
      lanes: { control: laneOf('control', 'bulk'), bulk: laneOf('bulk', 'control') },
    }
    neighbours.set(peer.id, neighbour)
    for (const link of lanesOf(neighbour)) link.start()
    return neighbour
  }

  const remove = (neighbour: Neighbour): void => {
    neighbours.delete(neighbour.id)
    context.refusals.forget(neighbour.id)
    for (const link of lanesOf(neighbour)) link.stop(false)
  }

  const isOther = (neighbour: Neighbour, peer: Peer): boolean => {
    const { instance } = neighbour.admission
    return peer.instance !== undefined && instance !== undefined && !equalBytes(instance, peer.instance)
  }

  const tickFrom = (lastMs: number): void => {
    ticker = world.clock.setTimer(TICK_MS, () => {
      const nowMs = world.clock.monotonicMs()
      const stalledMs = Math.max(0, nowMs - lastMs - 2 * TICK_MS)
      tickFrom(nowMs)
      for (const neighbour of neighbours.values()) {
        for (const link of lanesOf(neighbour)) link.tick(nowMs, stalledMs)
      }
    })
  }
  tickFrom(world.clock.monotonicMs())

  const links: Links = {
    setPeers(peers) {
      if (closed) return
      const ids = new Set<bigint>(peers.map(({ id }) => id))
      for (const neighbour of neighbours.values()) if (!ids.has(neighbour.id)) remove(neighbour)
      for (const peer of peers) {
        invariant(peer.id !== options.self, 'peer-is-another', `member ${peer.id}`)
        const known = neighbours.get(peer.id)
        if (known === undefined || isOther(known, peer)) {
          if (known !== undefined) remove(known)
          addNeighbour(peer)
        } else if (known.address !== peer.address) {
          known.address = peer.address
          for (const link of lanesOf(known)) link.hurry()
        }
      }
    },
    send: (to, lane, parts) => neighbours.get(to)?.lanes[lane].send(parts) ?? 'down',
    isUp: (peer, lane) => neighbours.get(peer)?.lanes[lane].up ?? false,
    stats: () =>
      [...neighbours.values()].flatMap((neighbour) =>
        lanesOf(neighbour).map(({ lane, up, sentBytes, receivedBytes, queuedBytes, dials }) => ({
          peer: neighbour.id,
          lane,
          up,
          sentBytes,
          receivedBytes,
          queuedBytes,
          dials,
        })),
      ),
    pause: (peer, lane) => neighbours.get(peer)?.lanes[lane].pause(),
    resume: (peer, lane) => neighbours.get(peer)?.lanes[lane].resume(),
    close() {
      if (closed) return
      closed = true
      ticker?.cancel()
      incoming.close()
      const all = [...neighbours.values()]
      neighbours.clear()
      for (const neighbour of all) for (const link of lanesOf(neighbour)) link.stop(true)
    },
  }
  return { links, accept: (connection, firstBytes) => incoming.accept(connection, firstBytes) }
}

function lanesOf(neighbour: Neighbour): readonly Link[] {
  return [neighbour.lanes.control, neighbour.lanes.bulk]
}
