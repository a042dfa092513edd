/**
 * One copy of one range: joins raft, log and mvcc. This file is the control flow of a turn; what is proposed, read,
 * applied and streamed is kept by its neighbours.
 *
 * A turn: inputs are stepped into the core as they come; at its end waiting proposals and reads are handed over, the
 * core's Readies are carried out in the order that their type prescribes, and a slice of committed entries is applied.
 */
import type { Failure, LogIndex, MemberId, Result, Term } from '../base/index.ts'
import { err, failure, invariant, ok } from '../base/index.ts'
import type { LogWrite } from '../log/index.ts'
import type { RaftInput, RaftMessage, RaftStatus, Ready, Role } from '../raft/index.ts'
import { createRaft, encodeConfig } from '../raft/index.ts'
import type { PeerFrame } from '../wire/index.ts'
import { encodeCommand } from '../wire/index.ts'
import type { World } from '../world/index.ts'
import { answerLost, createApplier } from './applier.ts'
import { checkCommand } from './command-check.ts'
import { createProposals } from './proposals.ts'
import { createReads } from './reads.ts'
import { recover } from './recovery.ts'
import { createSnapshotReceiver } from './snapshot-receiver.ts'
import { createSnapshotSender } from './snapshot-sender.ts'
import { createTransfers } from './transfers.ts'
import type { Replica, ReplicaEnvironment, ReplicaOptions } from './types.ts'

/** Least time between two looks at deadlines, and the pause before a member that refused a proposal is asked again. */
const LOOK_STEP_MS = 20

/** Reads answered in one turn: one takes about 5 microseconds. */
const READS_PER_TURN = 1_000

/** A storage engine that takes nothing for so long is not merely busy: its disk is full, or as good as that. */
const PRESSURE_GRACE_MS = 1_000

/** In election timeouts: an election that succeeds is over by then; until then requests wait, afterwards they are refused. */
const LEADER_GRACE = 3

/** Opens the group's copy: recovers it, or begins it with the bootstrap configuration. */
export function openReplica(
  world: World,
  options: ReplicaOptions,
  environment: ReplicaEnvironment,
  done: (result: Result<Replica>) => void,
): void {
  recover(options, environment, (recovered) => {
    if (!recovered.ok) done(err(recovered.error))
    else done(ok(createReplica(world, options, environment, recovered.value)))
  })
}

function createReplica(
  world: World,
  options: ReplicaOptions,
  environment: ReplicaEnvironment,
  start: Parameters<typeof createRaft>[1],
): Replica {
  const { log, engine, transport } = environment
  const { group, self } = options
  const raft = createRaft(
    { ...options.raft, id: self, random: () => world.random.fraction() },
    start,
    world.clock.monotonicMs(),
  )
  const proposals = createProposals({ maxPending: options.maxPendingProposals, maxBytes: options.maxPendingBytes })
  const reads = createReads(options.maxPendingReads)
  const transfers = createTransfers()
  let role: Role = 'follower'
  let leader: MemberId | undefined
  let term: Term = start.hardState.term
  let leaderlessSince = world.clock.monotonicMs()
  const leaderGraceMs = options.raft.electionTimeoutMs * LEADER_GRACE
  const readRetryMs = options.raft.electionTimeoutMs / 2
  let scheduled = false
  let closed = false
  let logFull = false
  /** Since when applying has waited for the engine. */
  let pressureSince: number | undefined
  let timer: { at: number; cancel: () => void } | undefined
  /** When proposals that were refused or held up are handed over again. */
  let pauseUntil: number | undefined
  let lookedAt = world.clock.monotonicMs()

  const applier = createApplier(world, options, environment, start, {
    tail: (from, through) => raft.tail(from, through),
    onApplied(index) {
      step({ type: 'applied', index })
      reads.applied(index)
    },
    onAnswer: (sequence, result) => proposals.complete(sequence, result),
    wake: () => schedule(),
  })
  reads.applied(applier.appliedIndex)

  const sender = createSnapshotSender(world, options, environment, {
    onDone: (to, index, success) => step({ type: 'snapshotSent', to, index, ok: success }),
  })
  const receiver = createSnapshotReceiver(world, options, environment, {
    onStaged: (message) => step({ type: 'message', message }),
  })

  /** Every input goes through here: what follows from it is done at the end of the turn. */
  const step = (input: RaftInput): ReturnType<typeof raft.step> => {
    if (closed) return { ok: true, value: undefined }
    const result = raft.step(input, world.clock.monotonicMs())
    schedule()
    return result
  }

  const schedule = (): void => {
    if (scheduled || closed) return
    scheduled = true
    world.endOfTurn(turn)
  }

  const turn = (): void => {
    scheduled = false
    if (closed) return
    handOver()
    let ready = raft.ready()
    while (ready !== undefined) {
      carryOut(ready)
      ready = raft.ready()
    }
    if (logFull && role === 'leader') giveWay()
    applier.slice()
    applier.tellWatchers()
    if (reads.release(READS_PER_TURN)) schedule()
    arm()
  }

  /** A leader that can write nothing holds up everybody: to one that has written what this one could not. */
  const giveWay = (): void => {
    const { persisted, progress, config, transferee } = raft.status()
    const able = progress.find(({ id, match }) => match > persisted && config.voters.includes(id))
    if (able === undefined || transferee !== undefined) return
    world.diagnostics.log('warn', 'gives-way', { to: able.id, why: 'disk-full' })
    step({ type: 'transferLeadership', to: able.id })
  }

  /** Gives waiting proposals and reads to the leader, here or elsewhere. */
  const handOver = (): void => {
    if (leader === undefined) return
    if (leader === self) proposeHere()
    else forward(leader)
    while (reads.wantsContext) {
      const now = world.clock.monotonicMs()
      raft.step({ type: 'readIndex', context: reads.ask(now) }, now)
    }
  }

  const proposeHere = (): void => {
    const waiting = proposals.waiting()
    if (waiting.length === 0) return
    const now = world.clock.monotonicMs()
    let refusal: Failure | undefined
    const all = raft.step({ type: 'propose', data: waiting.map((entry) => entry.command) }, now)
    for (const entry of waiting) {
      // One by one where all at once is too much: the first ones may still fit. After one that does not, none does.
      if (!all.ok && refusal === undefined) {
        const one = keepsWaiting(all.error) ? all : raft.step({ type: 'propose', data: [entry.command] }, now)
        if (!one.ok) refusal = one.error
      }
      proposals.handed(entry)
      if (refusal !== undefined) proposals.refused(entry.sequence, refusal, !keepsWaiting(refusal))
    }
  }

  const forward = (to: MemberId): void => {
    let isThrough = true
    for (const entry of proposals.waiting()) {
      isThrough &&=
        transport.sendControl(to, {
          type: 'proposal',
          group,
          server: self,
          incarnation: options.incarnation,
          sequence: entry.sequence,
          command: entry.command,
        }) === 'sent'
      if (isThrough) proposals.handed(entry)
      else proposals.pause(entry)
    }
  }

  const carryOut = (ready: Ready): void => {
    if (ready.change !== undefined) changed(ready.change)
    for (const message of ready.messages) send(message)
    for (const context of ready.readsRefused) reads.refused(context)
    for (const read of ready.reads) reads.confirmed(read.context, read.index)
    // Those that found no place among the contexts; after a refusal they wait for other news instead.
    if (ready.reads.length > 0 && reads.isStranded) schedule()
    for (const wanted of ready.entriesWanted) readFor(wanted)
    if (ready.snapshot !== undefined) {
      const meta = ready.snapshot
      // The engine first: a log that begins at an index which the engine lacks could not be recovered.
      applier.restore(receiver.take(meta.index), meta, () => {
        receiver.swapped()
        for (const sequence of proposals.sequences()) {
          if (applier.wasApplied(sequence)) proposals.complete(sequence, answerLost())
        }
        persist(ready)
      })
    } else {
      persist(ready)
    }
    if (ready.committed !== undefined) applier.allow(ready.committed.to)
  }

  const persist = (ready: Ready): void => {
    if (closed) return
    const write: LogWrite = {
      group,
      ...(ready.snapshot && {
        base: { index: ready.snapshot.index, term: ready.snapshot.term, config: encodeConfig(ready.snapshot.config) },
      }),
      ...(ready.entries.length > 0 && { entries: ready.entries }),
      ...(ready.hardState && { hardState: ready.hardState }),
    }
    const nothing = ready.snapshot === undefined && ready.entries.length === 0 && ready.hardState === undefined
    if (nothing && ready.messagesAfterPersist.length === 0) {
      // A report would say that everything before it is durable as well.
      return
    }
    const last = ready.entries.at(-1) ?? ready.snapshot
    // An empty write still waits its turn behind the batches of earlier Readies.
    log.append(nothing ? [] : [write], () => {
      if (closed) return
      for (const message of ready.messagesAfterPersist) send(message)
      step({
        type: 'persisted',
        ready: ready.number,
        term: last?.term ?? (0 as Term),
        index: last?.index ?? (0 as LogIndex),
      })
    })
  }

  const send = (message: RaftMessage): void => {
    if (message.type === 'snapshot') sender.start(message)
    else transport.sendRaft(message.to, message)
  }

  const readFor = (wanted: Ready['entriesWanted'][number]): void => {
    log.read(group, wanted.from, wanted.through, wanted.maxBytes, (result) => {
      if (closed) return
      if (!result.ok && result.error.code !== 'compacted') {
        world.diagnostics.log('error', 'log-read-failed', { group, from: wanted.from, message: result.error.message })
      }
      step({ type: 'entriesRead', to: wanted.to, from: wanted.from, entries: result.ok ? result.value : undefined })
    })
  }

  const changed = (change: NonNullable<Ready['change']>): void => {
    if (change.leader !== leader || change.term !== term) proposals.rewind()
    if (leader !== undefined && change.leader === undefined) leaderlessSince = world.clock.monotonicMs()
    role = change.role
    leader = change.leader
    term = change.term
    transfers.leaderIs(self, leader)
    if (role !== 'leader') sender.stop()
    environment.onChange(change)
    schedule()
  }

  /** True once there has been no leader for so long that waiting for one is no service to anybody. */
  const leaderless = (now: number): boolean => leader === undefined && now - leaderlessSince >= leaderGraceMs

  const noLeader = (): Failure =>
    failure(
      'no-leader',
      `no server leads: fewer than a majority of the ${raft.status().config.voters.length} voters can reach each other`,
    )

  /** When deadlines must be looked at next; not for every one of thousands of requests. */
  const nextLook = (): number => {
    let next = Math.min(proposals.nextDeadline, reads.nextLook(readRetryMs), transfers.nextDeadline)
    if (pauseUntil !== undefined) next = Math.min(next, pauseUntil)
    if (leader === undefined && proposals.size + reads.size > 0) next = Math.min(next, leaderlessSince + leaderGraceMs)
    return Math.max(next, lookedAt + LOOK_STEP_MS)
  }

  const look = (now: number): void => {
    lookedAt = now
    if (pauseUntil !== undefined && now >= pauseUntil) {
      pauseUntil = undefined
      proposals.resume()
    }
    if (leaderless(now)) {
      proposals.failUnsent(noLeader())
      reads.failUnconfirmed(noLeader())
    }
    proposals.expire(now)
    reads.expire(now, readRetryMs)
    transfers.expire(now)
  }

  const arm = (): void => {
    if (proposals.hasPaused) pauseUntil ??= world.clock.monotonicMs() + LOOK_STEP_MS
    const at = Math.min(raft.nextDeadline(), nextLook())
    if (timer !== undefined && timer.at <= at) return
    timer?.cancel()
    timer = undefined
    if (at === Number.POSITIVE_INFINITY) return
    const handle = world.clock.setTimer(Math.max(0, at - world.clock.monotonicMs()), onTimer)
    timer = { at, cancel: () => handle.cancel() }
  }

  const onTimer = (): void => {
    timer = undefined
    if (closed) return
    const now = world.clock.monotonicMs()
    if (now >= nextLook()) look(now)
    if (now >= raft.nextDeadline()) step({ type: 'tick' })
    schedule()
  }

  const onProposal = (from: MemberId, frame: Extract<PeerFrame, { type: 'proposal' }>): void => {
    const unsound = checkCommand(frame, from, options.space)
    const result = unsound
      ? err(unsound)
      : logFull
        ? err(failure('disk-full', 'the leader has no space left on its disk'))
        : step({ type: 'propose', data: [frame.command] })
    if (result.ok) return
    transport.sendControl(from, {
      type: 'proposalRefused',
      group,
      incarnation: frame.incarnation,
      sequence: frame.sequence,
      code: result.error.code,
      message: result.error.message,
    })
  }

  const onRefusal = (frame: Extract<PeerFrame, { type: 'proposalRefused' }>): void => {
    if (frame.incarnation !== options.incarnation) return
    const error = failure(frame.code, frame.message)
    // Where the member that was taken for the leader is not: news of another has probably come by the next attempt.
    proposals.refused(frame.sequence, error, !keepsWaiting(error))
    schedule()
  }

  /** Why this server takes no write now. */
  const writeRefusal = (now: number): Failure | undefined => {
    if (closed) return failure('stopping', 'this server is shutting down')
    if (logFull)
      return failure('disk-full', 'this server has no space left on its disk: writes are refused until there is')
    if (pressureSince !== undefined && now - pressureSince >= PRESSURE_GRACE_MS)
      return failure('disk-full', 'the storage engine of this server can write nothing to its disk: writes are refused')
    return leaderless(now) ? noLeader() : undefined
  }

  /**
   * Up to where the log may go without cutting off a follower that catches up: else one that took a snapshot would be
   * behind the log again by the time it has it, and need the next one for ever.
   */
  const heldBy = ({ progress }: RaftStatus): number => {
    if (role !== 'leader') return Number.POSITIVE_INFINITY
    let held = sender.lowestIndex
    for (const peer of progress) {
      if (peer.id === self || !peer.recentActive || peer.state === 'snapshot') continue
      // What a probe begins after may be there already, by snapshot; what is pipelined may have to be sent again.
      held = Math.min(held, peer.state === 'probe' ? peer.next - 1 : peer.match)
    }
    return held
  }

  const replica: Replica = {
    group,
    get store() {
      return applier.store
    },
    watches: applier.watches,
    propose(request, answer) {
      const refusal = writeRefusal(world.clock.monotonicMs()) ?? proposals.admit(request.bytes.length)
      if (refusal !== undefined) {
        answer(err(refusal))
        return
      }
      const sequence = proposals.nextSequence()
      const command = encodeCommand({
        kind: request.kind,
        space: options.space,
        server: self,
        incarnation: options.incarnation,
        sequence,
        completedBelow: Math.min(proposals.completedBelow, sequence),
        session: request.session,
        body: request.bytes,
      })
      proposals.add(sequence, command, request.deadlineMs, answer)
      schedule()
    },
    linearizable(deadlineMs, answer) {
      const refusal = closed
        ? failure('stopping', 'this server is shutting down')
        : leaderless(world.clock.monotonicMs())
          ? noLeader()
          : reads.add({ deadlineMs, done: answer })
      if (refusal !== undefined) answer(err(refusal))
      else schedule()
    },
    transferLeadership(to, deadlineMs, answer) {
      if (closed) return answer(err(failure('stopping', 'this server is shutting down')))
      const result = step({ type: 'transferLeadership', to })
      if (!result.ok) answer(err(result.error))
      else if (leader === to) answer(ok())
      else {
        transfers.add(to, deadlineMs, answer)
      }
    },
    successor(excluded) {
      let best: { id: MemberId; match: number } | undefined
      const now = raft.status()
      for (const peer of now.progress) {
        if (peer.id === self || excluded.has(peer.id) || !peer.recentActive || !now.config.voters.includes(peer.id))
          continue
        if (best === undefined || peer.match > best.match) best = { id: peer.id, match: peer.match }
      }
      return best?.id
    },
    onRaft(message) {
      step({ type: 'message', message })
    },
    onFrame(from, frame) {
      if (closed) return undefined
      switch (frame.type) {
        case 'proposal':
          return onProposal(from, frame)
        case 'proposalRefused':
          return onRefusal(frame)
        case 'snapshotStart':
        case 'snapshotChunk':
        case 'snapshotEnd':
          return receiver.onFrame(from, frame)
        case 'snapshotProgress':
          return sender.onProgress(from, frame)
        case 'snapshotAck':
          return sender.onAck(from, frame)
        case 'raft':
        case 'stopping':
          // The server's own.
          return undefined
        default:
          return frame satisfies never
      }
    },
    onBulkDrain: (peer) => sender.onDrain(peer),
    onPeerUp(peer, lane) {
      // What it had not read of the last connection is lost, and only this server knows that it was sent.
      if (lane === 'control' && peer === leader) {
        proposals.rewind()
        schedule()
      }
    },
    onPeerDown(peer, lane) {
      sender.onDown(peer, lane)
      if (lane === 'bulk') receiver.onDown(peer)
      else step({ type: 'unreachable', to: peer })
    },
    onEngineDurable() {
      if (closed) return
      const now = raft.status()
      const base = applier.compactionBase(now.firstIndex, heldBy(now))
      if (base === undefined) return
      log.compact(group, base)
      step({ type: 'compacted', index: base.index })
    },
    onEnginePressure(underPressure) {
      pressureSince = underPressure ? world.clock.monotonicMs() : undefined
      if (!underPressure) schedule()
    },
    onLogFull(full) {
      logFull = full
      schedule()
    },
    status() {
      const now = raft.status()
      return {
        role,
        leader,
        term,
        lastIndex: now.lastIndex,
        durableIndex: now.persisted,
        commitIndex: now.commit,
        appliedIndex: applier.appliedIndex,
        revision: applier.store.revision,
        config: now.config,
        pendingProposals: proposals.size,
        pendingReads: reads.size,
      }
    },
    close() {
      if (closed) return
      closed = true
      timer?.cancel()
      applier.close()
      sender.close()
      receiver.close()
      const stopping = failure('stopping', 'this server is shutting down')
      proposals.failAll(stopping)
      reads.failAll(stopping)
      transfers.failAll(stopping)
    },
  }
  invariant(engine.appliedIndex(group) >= start.snapshot.index, 'engine-covers-log-base', `group ${group}`)
  schedule()
  return replica
}

/** Refusals that another leader, or the same one a little later, may turn into acceptance. */
function keepsWaiting(error: Failure): boolean {
  return error.code === 'not-leader' || error.code === 'no-leader' || error.code === 'transfer-in-progress'
}
