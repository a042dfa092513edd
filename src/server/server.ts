/**
 * One member: its identity, its disk, its links, and the replicas it hosts. Everything opens in an order in which each
 * step's failure can be told and undone; nothing is answered before all of it stands.
 */
import type { Failure, GroupId, MemberId, Result } from '../base/index.ts'
import { err, failure, groupId, ok, spaceId } from '../base/index.ts'
import type { Engine } from '../engine/index.ts'
import { openEngine } from '../engine/index.ts'
import type { Links, LinksHandlers } from '../links/index.ts'
import { createLinks } from '../links/index.ts'
import type { WriteAheadLog } from '../log/index.ts'
import { openLog } from '../log/index.ts'
import type { Config } from '../raft/index.ts'
import type { Replica } from '../replica/index.ts'
import { openReplica } from '../replica/index.ts'
import type { Connection, ConnectionHandlers, World } from '../world/index.ts'
import { LIMITS } from './limits.ts'
import type { Identity } from './identity.ts'
import { openIdentity, saveIdentity } from './identity.ts'
import { serverMetrics } from './metrics.ts'
import type { Settings } from './options.ts'
import { settle } from './options.ts'
import type { Requests } from './requests.ts'
import { createLeaderless } from './leaderless.ts'
import { createRouter } from './router.ts'
import { createStopper } from './stopper.ts'
import { createTransport } from './transport.ts'
import type { ServerEvent, ServerOptions, ServerStatus } from './types.ts'

/** The only group there is until spaces are sharded. */
const GROUP: GroupId = groupId(1)
const SPACE = spaceId(1)

/** A member without its port: what the APIs ask, and what the port hands over. */
export interface Server {
  readonly memberId: MemberId
  readonly requests: Requests
  acceptPeer(connection: Connection, firstBytes: Uint8Array): ConnectionHandlers
  status(): ServerStatus
  /** First part of a graceful stop: tells the peers, and hands leadership over where somebody is left to take it. */
  handOver(done: () => void): void
  /** Second part, once the port has answered its clients: makes everything durable and closes. */
  close(done: () => void): void
}

/** Failures: those of `settle`, of the disk, of the log's and the engine's recovery. */
export function openServer(
  world: World,
  options: ServerOptions,
  onEvent: (event: ServerEvent) => void,
  done: (result: Result<Server>) => void,
): void {
  const settled = settle(options)
  if (!settled.ok) return done(settled)
  const settings = settled.value
  const directory = options.dataDirectory
  const { disk } = world

  disk.makeDirectory(directory, (made) => {
    if (!made.ok) return done(made)
    disk.lock(directory, (locked) => {
      if (!locked.ok) return done(locked)
      const lock = locked.value
      const refuse = (result: Result<never>): void => {
        lock.release()
        done(result)
      }
      openIdentity(
        world,
        directory,
        { cluster: settings.cluster, member: settings.member, name: settings.name },
        (identity) => {
          if (!identity.ok) return refuse(identity)
          openStorage(world, options, settings, directory, (storage) => {
            if (!storage.ok) return refuse(storage)
            assemble(
              world,
              options,
              settings,
              identity.value,
              storage.value,
              onEvent,
              () => lock.release(),
              (server) => {
                if (!server.ok) return refuse(server)
                done(server)
              },
            )
          })
        },
      )
    })
  })
}

/** Log and engine, with the hooks that replicas are connected to once they exist. */
type Storage = {
  readonly log: WriteAheadLog
  readonly engine: Engine
  readonly hooks: { onFull: (full: boolean) => void; onPressure: (under: boolean) => void; onDurable: () => void }
}

function openStorage(
  world: World,
  options: ServerOptions,
  settings: Settings,
  directory: string,
  done: (result: Result<Storage>) => void,
): void {
  const hooks: Storage['hooks'] = { onFull: () => {}, onPressure: () => {}, onDurable: () => {} }
  const engineOptions = {
    directory: `${directory}/engine`,
    checkpointBytes: options.tuning?.checkpointBytes ?? LIMITS.checkpointBytes,
    checkpointDelayMs: options.tuning?.checkpointDelayMs ?? LIMITS.checkpointDelayMs,
    maxOverlayBytes: options.tuning?.maxOverlayBytes ?? LIMITS.maxOverlayBytes,
    onPressure: (under: boolean) => hooks.onPressure(under),
    onDurable: () => hooks.onDurable(),
  }
  openEngine(settings.engine, world, engineOptions, (engine) => {
    if (!engine.ok) return done(engine)
    const logOptions = {
      directory: `${directory}/log`,
      segmentBytes: options.tuning?.segmentBytes ?? LIMITS.segmentBytes,
      markerDelayMs: LIMITS.markerDelayMs,
      fullRetryMs: LIMITS.fullRetryMs,
      onFull: (full: boolean) => hooks.onFull(full),
    }
    openLog(world, logOptions, (log) => {
      if (log.ok) return done(ok({ log: log.value, engine: engine.value, hooks }))
      engine.value.close(() => done(log))
    })
  })
}

function assemble(
  world: World,
  options: ServerOptions,
  settings: Settings,
  first: Identity,
  storage: Storage,
  onEvent: (event: ServerEvent) => void,
  release: () => void,
  done: (result: Result<Server>) => void,
): void {
  const { log, engine, hooks } = storage
  const self = settings.member
  const others = settings.members.filter((member) => member.id !== self)
  const names = new Map(settings.members.map((member) => [member.id, member.name]))
  let identity = first
  let replica: Replica | undefined
  let leaderChanges = 0

  const handlers: LinksHandlers = {
    onFrame(from, _lane, bytes) {
      const frame = transport.decode(from, bytes)
      if (frame === undefined || replica === undefined) return
      if (frame.type === 'raft') {
        for (const { group, message } of frame.messages) if (group === GROUP) replica.onRaft(message)
      } else if (frame.type === 'stopping') stopper.peerStops(from)
      else if (frame.group === GROUP) replica.onFrame(from, frame)
    },
    onUp(peer, lane, protocol) {
      stopper.peerIsBack(peer)
      world.diagnostics.log('info', 'peer-up', { peer: names.get(peer), lane, protocol })
      replica?.onPeerUp(peer, lane)
    },
    onDown(peer, lane, reason) {
      world.diagnostics.log('info', 'peer-down', { peer: names.get(peer), lane, reason: reason?.message })
      replica?.onPeerDown(peer, lane)
    },
    onDrain(peer, lane) {
      if (lane === 'bulk') replica?.onBulkDrain(peer)
    },
    onInstance(peer, instance, persisted) {
      identity = { ...identity, peers: new Map([...identity.peers, [peer, instance]]) }
      savePeers(persisted)
    },
    onRefused(peer, reason) {
      world.diagnostics.log('error', 'peer-refused', {
        peer: peer === undefined ? undefined : names.get(peer),
        code: reason.code,
        message: reason.message,
      })
      onEvent({ type: 'peer-refused', reason })
    },
  }

  /** One save at a time; whoever waits is told after a save that began once its change was made. */
  let saving = false
  /** While the server closes: the directory may only be given up when nothing is written there any more. */
  let afterSaves: (() => void) | undefined
  let unsaved: (() => void)[] = []
  const savePeers = (persisted: () => void): void => {
    unsaved.push(persisted)
    if (saving) return
    saving = true
    const covered = unsaved
    unsaved = []
    saveIdentity(world, options.dataDirectory, identity, (saved) => {
      saving = false
      if (saved.ok) for (const tell of covered) tell()
      else world.diagnostics.log('error', 'identity-not-saved', { message: saved.error.message })
      const more = unsaved.pop()
      if (more !== undefined) savePeers(more)
      else afterSaves?.()
    })
  }

  const { links, accept } = createLinks(
    world,
    {
      cluster: settings.cluster,
      self,
      instance: identity.instance,
      clusterKey: options.clusterKey,
      tls: options.peerTls,
      ...LIMITS.links,
    },
    handlers,
  )
  const setPeers = (): void =>
    links.setPeers(
      others.map((member) => ({
        id: member.id,
        address: options.dialOverrides?.[member.name] ?? member.address,
        instance: identity.peers.get(member.id),
      })),
    )
  const transport = createTransport(
    world,
    (): Links => links,
    () => others.map((member) => member.id),
  )
  const bootstrap: Config = {
    voters: settings.members.map((member) => member.id).sort((a, b) => (a < b ? -1 : 1)),
    votersOutgoing: [],
    learners: [],
    learnersNext: [],
    autoLeave: false,
  }
  const stopper = createStopper(world, self, transport, () => replica, settings.electionTimeoutMs)

  const leaderless = createLeaderless(world, settings.electionTimeoutMs)
  const onChange = (change: { role: string; leader: MemberId | undefined; term: number }): void => {
    leaderChanges++
    leaderless.changed(change.leader)
    const leader = change.leader === undefined ? undefined : names.get(change.leader)
    world.diagnostics.log('info', 'raft-change', { role: change.role, leader, term: change.term })
    onEvent({ type: 'leader', leader: change.leader, term: change.term })
  }

  const serverOver = (live: Replica): Server => {
    const status = (): ServerStatus => {
      const now = live.status()
      return {
        name: settings.name,
        memberId: self,
        leader: now.leader,
        role: now.role,
        term: now.term,
        lastIndex: now.lastIndex,
        durableIndex: now.durableIndex,
        commitIndex: now.commitIndex,
        appliedIndex: now.appliedIndex,
        revision: now.revision,
      }
    }
    const router = createRouter(world, settings.requestTimeoutMs, (space) => (space === 'default' ? live : undefined))
    const members = settings.members.map((member) => ({
      id: member.id,
      name: member.name,
      address: member.id === self ? (options.advertise ?? member.address) : member.address,
      isLearner: false,
    }))
    const storageBytes = (): { sizeBytes: number; inUseBytes: number } => {
      const { diskBytes, overlayBytes } = engine.stats()
      return { sizeBytes: diskBytes + overlayBytes, inUseBytes: diskBytes + overlayBytes }
    }
    const requests: Requests = {
      clusterId: settings.cluster,
      memberId: self,
      write: (write, answer) => router.write(write, answer),
      read: (read, answer) => router.read(read, answer),
      watch: (space, sink) => router.watch(space, sink),
      onLeaderless: (lost) => leaderless.on(lost),
      members(linearizable, deadlineMs, answer) {
        const tell = (): void => answer(ok({ members, revision: live.store.revision }))
        if (!linearizable) return tell()
        live.linearizable(deadlineMs, (confirmed) => (confirmed.ok ? tell() : answer(confirmed)))
      },
      status,
      storage: storageBytes,
      moveLeader(to, deadlineMs, answer) {
        const now = live.status()
        if (now.role !== 'leader')
          return answer(err(failure('not-leader', `${settings.name} does not lead: ask the leader to hand over`)))
        if (!now.config.voters.includes(to)) {
          return answer(
            err(
              failure('invalid-request', `member ${to.toString(16)} is no voter of this cluster`, {
                etcd: 'ErrBadLeaderTransferee',
              }),
            ),
          )
        }
        const limit = world.clock.monotonicMs() + settings.requestTimeoutMs
        live.transferLeadership(to, Math.min(deadlineMs, limit), answer)
      },
      healthy: () => live.status().leader !== undefined,
      metrics: () =>
        serverMetrics(
          status(),
          live.status(),
          leaderChanges,
          log.stats(),
          engine.stats(),
          links.stats(),
          names,
          live.watches.stats(),
        ),
    }
    return {
      memberId: self,
      requests,
      acceptPeer: accept,
      status,
      handOver: (handed) => stopper.handOver(handed),
      close(closed) {
        router.close()
        leaderless.close()
        live.close()
        links.close()
        const ended = (): void => {
          release()
          closed()
        }
        engine.checkpoint(() =>
          log.close(() =>
            engine.close(() => {
              if (saving) afterSaves = ended
              else ended()
            }),
          ),
        )
      },
    }
  }

  const giveUp = (why: Failure): void => {
    links.close()
    log.close(() => engine.close(() => done(err(why))))
  }
  const recovered = log.recovered.find((group) => group.group === GROUP)
  if (identity.founded && recovered === undefined) {
    return giveUp(
      failure(
        'log-damaged',
        `${options.dataDirectory}/log holds nothing of what this server has acknowledged: its files are missing`,
      ),
    )
  }
  const found = (live: Replica, then: () => void): void => {
    if (identity.founded) return then()
    identity = { ...identity, founded: true }
    saveIdentity(world, options.dataDirectory, identity, (saved) => {
      if (saved.ok) return then()
      live.close()
      giveUp(saved.error)
    })
  }

  openReplica(
    world,
    {
      group: GROUP,
      space: SPACE,
      self,
      incarnation: identity.incarnation,
      bootstrap,
      raft: {
        electionTimeoutMs: settings.electionTimeoutMs,
        heartbeatIntervalMs: settings.heartbeatIntervalMs,
        ...LIMITS.raft,
      },
      ...LIMITS.replica,
      keepEntries: options.tuning?.keepEntries ?? LIMITS.replica.keepEntries,
      maxHeldLogBytes: options.tuning?.maxHeldLogBytes ?? LIMITS.replica.maxHeldLogBytes,
      snapshotTimeoutMs: options.tuning?.snapshotTimeoutMs ?? LIMITS.replica.snapshotTimeoutMs,
    },
    {
      log,
      engine,
      transport: transport.of(GROUP),
      recovered,
      onChange,
    },
    (opened) => {
      if (!opened.ok) return giveUp(opened.error)
      const live = opened.value
      hooks.onFull = (full) => {
        world.diagnostics.log(full ? 'error' : 'info', full ? 'disk-full' : 'disk-has-space')
        live.onLogFull(full)
      }
      hooks.onPressure = (under) => {
        world.diagnostics.log(under ? 'warn' : 'info', 'engine-pressure', { under })
        live.onEnginePressure(under)
      }
      hooks.onDurable = () => live.onEngineDurable()
      found(live, () => {
        replica = live
        setPeers()
        done(ok(serverOver(live)))
      })
    },
  )
}
