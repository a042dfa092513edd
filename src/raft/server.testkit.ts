/**
 * A core with a disk and a state machine around it, for tests: does what a replica does with Readies, but one duty at a
 * time, so that a test says when something becomes durable, is applied, or is lost in a crash.
 */
import type { LogIndex, MemberId, Result } from '../base/index.ts'
import { logIndex, memberId, term as makeTerm } from '../base/index.ts'
import { decodeConfig } from './config-codec.ts'
import type { Proposed, Raft } from './raft.ts'
import { createRaft } from './raft.ts'
import type { Config, Entry, HardState, RaftInput, RaftMessage, RaftOptions, Ready, SnapshotMeta } from './types.ts'

/** What the state machine has come to: `digest` depends on every entry applied and on their order. */
export type State = SnapshotMeta & { readonly digest: number }

/** What survives a crash. `checkpoint` is the state machine's. */
export type Disk = { base: SnapshotMeta; entries: Entry[]; hardState: HardState; checkpoint: State }

/** A snapshot carries the state that belongs to it. */
export type Packet = { readonly message: RaftMessage; readonly state: State | undefined }

export type Hooks = {
  /** Right after the Ready was taken, before any of its duties is done. */
  onReady(server: Server, ready: Ready): void
  onApply(server: Server, entry: Entry, digest: number): void
  send(server: Server, packet: Packet): void
}

export type Server = {
  readonly id: MemberId
  readonly options: RaftOptions
  readonly disk: Disk
  readonly hooks: Hooks
  raft: Raft
  up: boolean
  /** Readies whose durable part is not on disk yet, with the staged state of a snapshot. */
  queue: { readonly ready: Ready; readonly staged: State | undefined }[]
  wanted: Ready['entriesWanted'][number][]
  state: State
  /** Committed and durable here: may be applied. */
  allowed: LogIndex
  staged: State | undefined
  /** The log as the core holds it, durable or not: from `mirrorBase` on. */
  mirror: Entry[]
  mirrorBase: SnapshotMeta
}

export const DEFAULTS: Omit<RaftOptions, 'id' | 'random'> = {
  electionTimeoutMs: 1000,
  heartbeatIntervalMs: 100,
  preVote: true,
  checkQuorum: true,
  lease: undefined,
  maxAppendBytes: 1024 * 1024,
  maxInflightMessages: 64,
  maxInflightBytes: 16 * 1024 * 1024,
  maxUncommittedBytes: 16 * 1024 * 1024,
  maxTailBytes: 16 * 1024 * 1024,
}

export function ids(...names: number[]): MemberId[] {
  return names.map((name) => memberId(BigInt(name)))
}

export function configOf(voters: readonly number[], learners: readonly number[] = []): Config {
  return { voters: ids(...voters), votersOutgoing: [], learners: ids(...learners), learnersNext: [], autoLeave: false }
}

export function emptyDisk(config: Config): Disk {
  const base = { index: logIndex(0), term: makeTerm(0), config }
  const hardState = { term: makeTerm(0), vote: undefined, commit: logIndex(0) }
  return { base, entries: [], hardState, checkpoint: { ...base, digest: 0 } }
}

function boot(options: RaftOptions, disk: Disk, now: number): Raft {
  const runs: { term: Entry['term']; firstIndex: LogIndex }[] = []
  for (const entry of disk.entries) {
    if (entry.term !== runs.at(-1)?.term) runs.push({ term: entry.term, firstIndex: entry.index })
  }
  return createRaft(
    options,
    {
      hardState: disk.hardState,
      snapshot: disk.base,
      configEntries: disk.entries.filter((entry) => entry.type === 'config'),
      termRuns: runs,
      lastIndex: disk.entries.at(-1)?.index ?? disk.base.index,
      applied: disk.checkpoint.index,
    },
    now,
  )
}

export function createServer(options: RaftOptions, disk: Disk, hooks: Hooks, now: number): Server {
  return {
    id: options.id,
    options,
    disk,
    hooks,
    raft: boot(options, disk, now),
    up: true,
    queue: [],
    wanted: [],
    state: disk.checkpoint,
    allowed: disk.checkpoint.index,
    staged: undefined,
    mirror: [...disk.entries],
    mirrorBase: disk.base,
  }
}

/** What was not durable is gone. */
export function crash(server: Server): void {
  server.up = false
  server.queue = []
  server.wanted = []
  server.staged = undefined
}

export function restart(server: Server, now: number): void {
  const { disk } = server
  server.raft = boot(server.options, disk, now)
  server.up = true
  server.state = disk.checkpoint
  server.allowed = disk.checkpoint.index
  server.mirror = [...disk.entries]
  server.mirrorBase = disk.base
}

export function step(server: Server, input: RaftInput, now: number): Result<Proposed | undefined> {
  return server.raft.step(input, now)
}

export function receive(server: Server, packet: Packet, now: number): void {
  server.staged = packet.state
  step(server, { type: 'message', message: packet.message }, now)
  // As a replica does: the core takes a snapshot in the turn in which it was offered, or not at all.
  if (packet.state !== undefined) drain(server)
  server.staged = undefined
}

/** Takes all Readies; sends what may be sent at once; queues the rest for the disk. */
export function drain(server: Server): void {
  for (let ready = server.raft.ready(); ready !== undefined; ready = server.raft.ready()) {
    mirrorReady(server, ready)
    server.hooks.onReady(server, ready)
    for (const message of ready.messages) sendFrom(server, message)
    for (const wanted of ready.entriesWanted) server.wanted.push(wanted)
    if (ready.committed !== undefined) server.allowed = ready.committed.to
    const staged = ready.snapshot === undefined ? undefined : server.staged
    const nothing = ready.snapshot === undefined && ready.entries.length === 0 && ready.hardState === undefined
    if (!nothing || ready.messagesAfterPersist.length > 0) server.queue.push({ ready, staged })
    // As a replica does, which does not wait for the disk to write nothing: it must not count for what is still waiting.
    else step(server, { type: 'persisted', ready: ready.number, term: makeTerm(0), index: logIndex(0) }, 0)
  }
}

function mirrorReady(server: Server, ready: Ready): void {
  if (ready.snapshot !== undefined) {
    server.mirror = []
    server.mirrorBase = ready.snapshot
  }
  extend(server.mirror, server.mirrorBase.index, ready.entries)
}

function extend(log: Entry[], base: number, entries: readonly Entry[]): void {
  const first = entries[0]
  if (first === undefined) return
  if (first.index <= base || first.index > base + log.length + 1) {
    throw new Error(`a Ready's entries begin at ${first.index}, the log is (${base}, ${base + log.length}]`)
  }
  log.length = first.index - base - 1
  for (const entry of entries) log.push(entry)
}

function sendFrom(server: Server, message: RaftMessage): void {
  if (message.type !== 'snapshot') return server.hooks.send(server, { message, state: undefined })
  const { index, term, config } = server.state
  server.hooks.send(server, { message: { ...message, meta: { index, term, config } }, state: server.state })
}

/** Writes the durable part of the oldest waiting Ready. False where none waits. */
export function write(server: Server): Ready | undefined {
  const next = server.queue.shift()
  if (next === undefined) return undefined
  const { ready, staged } = next
  const { disk } = server
  if (ready.snapshot !== undefined) {
    if (staged === undefined || staged.index !== ready.snapshot.index) throw new Error('a snapshot without its state')
    disk.base = ready.snapshot
    disk.entries = []
    disk.checkpoint = staged
    server.state = staged
    if (server.allowed < staged.index) server.allowed = staged.index
  }
  extend(disk.entries, disk.base.index, ready.entries)
  if (ready.hardState !== undefined) disk.hardState = ready.hardState
  return ready
}

/** Writes the oldest waiting Ready, sends what waited for it, reports. False where none waits. */
export function persist(server: Server, now: number): boolean {
  const ready = write(server)
  if (ready === undefined) return false
  for (const message of ready.messagesAfterPersist) sendFrom(server, message)
  const last = ready.entries.at(-1) ?? ready.snapshot
  step(
    server,
    { type: 'persisted', ready: ready.number, term: last?.term ?? makeTerm(0), index: last?.index ?? logIndex(0) },
    now,
  )
  return true
}

/** Answers the oldest request for older entries from the disk. */
export function readWanted(server: Server, now: number): boolean {
  const wanted = server.wanted.shift()
  if (wanted === undefined) return false
  const { base, entries } = server.disk
  const from = wanted.from - base.index - 1
  const found: Entry[] = []
  let sizeBytes = 0
  for (const entry of from < 0 ? [] : entries.slice(from)) {
    sizeBytes += entry.data.length
    if (entry.index > wanted.through || (found.length > 0 && sizeBytes > wanted.maxBytes)) break
    found.push(entry)
  }
  step(
    server,
    { type: 'entriesRead', to: wanted.to, from: wanted.from, entries: found.length > 0 ? found : undefined },
    now,
  )
  return true
}

/** Applies at most `count` entries. */
export function apply(server: Server, count: number, now: number): void {
  if (server.queue.some(({ ready }) => ready.snapshot !== undefined)) return
  const { disk } = server
  let applied = 0
  while (applied < count && server.state.index < server.allowed) {
    const index = server.state.index + 1
    const entry = disk.entries[index - disk.base.index - 1]
    if (entry === undefined) throw new Error(`member ${server.id} may apply ${index}, which is not on its disk`)
    const config = entry.type === 'config' ? configIn(entry) : server.state.config
    const digest = mix(server.state.digest, entry)
    server.state = { index: entry.index, term: entry.term, config, digest }
    server.hooks.onApply(server, entry, digest)
    applied++
  }
  if (applied > 0) step(server, { type: 'applied', index: server.state.index }, now)
}

export function configIn(entry: Entry): Config {
  const config = decodeConfig(entry.data)
  if (!config.ok) throw new Error(config.error.message)
  return config.value
}

export function mix(digest: number, entry: Entry): number {
  let hash = Math.imul(digest ^ entry.term, 0x01000193) ^ entry.index
  for (const byte of entry.data) hash = Math.imul(hash ^ byte, 0x01000193)
  return hash >>> 0
}

/** The state machine's state becomes durable, and with it the end of what the log must keep; `keep` entries stay. */
export function compact(server: Server, keep: number, now: number): void {
  const { disk, state } = server
  if (server.queue.some(({ ready }) => ready.snapshot !== undefined)) return
  disk.checkpoint = state
  const index = state.index - keep
  if (index <= disk.base.index) return
  const entry = disk.entries[index - disk.base.index - 1] as Entry
  let config = disk.base.config
  for (const old of disk.entries) if (old.index <= index && old.type === 'config') config = configIn(old)
  disk.entries = disk.entries.slice(index - disk.base.index)
  disk.base = { index: entry.index, term: entry.term, config }
  step(server, { type: 'compacted', index: entry.index }, now)
  server.mirror = server.mirror.slice(index - server.mirrorBase.index)
  server.mirrorBase = disk.base
}

/** The term of the entry at `index` in the log as the core holds it. */
export function mirrorTerm(server: Server, index: number): number | undefined {
  if (index === server.mirrorBase.index) return server.mirrorBase.term
  return server.mirror[index - server.mirrorBase.index - 1]?.term
}

export function diskTerm(disk: Disk, index: number): number | undefined {
  if (index === disk.base.index) return disk.base.term
  return disk.entries[index - disk.base.index - 1]?.term
}
