/**
 * Applies committed entries to the store, in slices, and answers the proposals that they carry.
 *
 * Promises: (1) entries are applied once, in order, each slice as one engine batch together with everything that must
 * agree with it (applied proposals, session results, position); (2) no slice takes longer than about SLICE_MS; (3) applying waits
 * while the engine is under pressure, and while a snapshot is being swapped in; (4) an answer is given only after the
 * batch that produced it is complete.
 */
import type { LogIndex, Result } from '../base/index.ts'
import { failure, err, invariant, logIndex } from '../base/index.ts'
import type { EngineRestore, EngineWriter } from '../engine/index.ts'
import type { LogBase } from '../log/index.ts'
import type { MvccStore, WatchHub } from '../mvcc/index.ts'
import { createWatchHub, openStore } from '../mvcc/index.ts'
import type { Config, Entry, RaftStart, SnapshotMeta } from '../raft/index.ts'
import { decodeConfig, encodeConfig } from '../raft/index.ts'
import type { Command } from '../wire/index.ts'
import { decodeCommand } from '../wire/index.ts'
import type { World } from '../world/index.ts'
import { operationOf } from './operations.ts'
import { readU64, readPosition, recordEnd, recordKey, u64, writePosition } from './records.ts'
import { earlierResult, remember } from './sessions.ts'
import type { Applied, ReplicaEnvironment, ReplicaOptions } from './types.ts'
import { createWindows } from './window.ts'

/** Half of the longest turn that is allowed. */
const SLICE_MS = 10
/** How many entries, or bytes of them, go by between two looks at the clock. */
const ENTRIES_PER_LOOK = 32
const BYTES_PER_LOOK = 65_536
/** Of entries read back from the log at once. */
const READ_BYTES = 1024 * 1024
/** Of what the log may keep, in entries or in bytes, until the next index is marked to which it may be cut. */
const MARK_PART = 1 / 8
/** Versions looked at per slice while the store is cleared of compacted ones. */
const SCRUB_KEYS = 500

export type ApplierHandlers = {
  readonly tail: (from: LogIndex, through: LogIndex) => readonly Entry[] | undefined
  readonly onApplied: (index: LogIndex) => void
  readonly onAnswer: (sequence: number, result: Result<Applied>) => void
  readonly wake: () => void
}

export interface Applier {
  readonly store: MvccStore
  /** Those who watch the store: they outlive it where a snapshot takes its place. */
  readonly watches: WatchHub
  /** Tells watchers what was applied; asks to be woken where more waits. */
  tellWatchers(): void
  readonly appliedIndex: LogIndex
  /** Entries up to `index` may be applied. */
  allow(index: LogIndex): void
  /** Applies a slice where there is something to apply and nothing forbids it; asks to be woken for the next one. */
  slice(): void
  /** Swaps the staged state in; `done` once that is durable. */
  restore(staged: EngineRestore, meta: SnapshotMeta, done: () => void): void
  /** Applies nothing from then on. */
  close(): void
  /** Whether a proposal of this run of this server has been applied. */
  wasApplied(sequence: number): boolean
  /** Where the log may be cut now, keeping some entries, and those above `heldBy`; undefined where that is not worth it. */
  compactionBase(firstIndex: LogIndex, heldBy: number): LogBase | undefined
}

export function createApplier(
  world: World,
  options: ReplicaOptions,
  environment: ReplicaEnvironment,
  start: RaftStart,
  handlers: ApplierHandlers,
): Applier {
  const { engine, log } = environment
  const { group, space } = options
  const open = (): MvccStore => openStore(engine, space, { onWritten: (changes) => watches.record(changes) })
  let store = open()
  const watches = createWatchHub(store, () => handlers.wake())
  let windows = loadWindows()
  let appliedIndex = start.applied
  let allowed = start.applied
  let position = readPosition(engine, space) ?? {
    term: start.snapshot.term,
    config: start.snapshot.config,
    restored: false,
  }
  /** Terms and configurations at indexes to which the log may be cut, oldest first. */
  let unmarkedBytes = 0
  let marks: { index: LogIndex; term: Entry['term']; config: Config }[] = []
  let fetching = false
  let fetched: readonly Entry[] | undefined
  let restoring = false
  let closed = false

  function loadWindows(): ReturnType<typeof createWindows> {
    const loaded = createWindows()
    const prefix = recordKey(space, 'window', new Uint8Array(0))
    const cursor = engine.scan(prefix, recordEnd(space, 'window'))
    while (cursor.next()) loaded.load(readU64(cursor.key, prefix.length), cursor.value)
    cursor.close()
    return loaded
  }

  /** The next entries to apply from memory; undefined where they must be read from the log first. */
  const nextEntries = (): readonly Entry[] | undefined => {
    const from = logIndex(appliedIndex + 1)
    if (fetched !== undefined && fetched[0]?.index === from) return fetched
    fetched = undefined
    const recent = handlers.tail(from, allowed)
    if (recent !== undefined && recent.length > 0) return recent
    fetch(from)
    return undefined
  }

  const fetch = (from: LogIndex): void => {
    fetching = true
    log.read(group, from, allowed, READ_BYTES, (result) => {
      fetching = false
      if (closed) return
      if (restoring || from !== appliedIndex + 1) return handlers.wake()
      invariant(result.ok, 'committed-entry-readable', () => `index ${from}: ${result.ok ? '' : result.error.message}`)
      fetched = result.value
      handlers.wake()
    })
  }

  const applySlice = (entries: readonly Entry[]): void => {
    const answers: { sequence: number; result: Result<Applied> }[] = []
    const startMs = world.clock.monotonicMs()
    let count = 0
    let unlooked = 0
    let unlookedBytes = 0
    let { config } = position
    const last = (): Entry => entries[count - 1] as Entry
    // The batch's index must be known before its writes: so the slice is measured as it goes, and committed at its end.
    engine.applyBatch(
      group,
      () => last().index,
      (writer) => {
        while (count < entries.length) {
          const entry = entries[count] as Entry
          count++
          if (entry.type === 'config') config = configOf(entry)
          else if (entry.data.length > 0) applyCommand(entry, writer, answers)
          unlookedBytes += entry.data.length
          unmarkedBytes += entry.data.length
          if (++unlooked < ENTRIES_PER_LOOK && unlookedBytes < BYTES_PER_LOOK) continue
          if (world.clock.monotonicMs() - startMs > SLICE_MS) break
          unlooked = unlookedBytes = 0
        }
        for (const changed of windows.takeChanged())
          writer.put(recordKey(space, 'window', u64(changed.server)), changed.bytes)
        if (config !== position.config || last().term !== position.term || position.restored) {
          position = { config, term: last().term, restored: false }
          writePosition(writer, space, position)
        }
      },
    )
    appliedIndex = last().index
    mark()
    if (fetched !== undefined) fetched = count < fetched.length ? fetched.slice(count) : undefined
    for (const answer of answers) handlers.onAnswer(answer.sequence, answer.result)
    handlers.onApplied(appliedIndex)
  }

  const applyCommand = (
    entry: Entry,
    writer: EngineWriter,
    answers: { sequence: number; result: Result<Applied> }[],
  ): void => {
    const decoded = decodeCommand(entry.data)
    invariant(decoded.ok, 'log-entry-decodes', () => `index ${entry.index}`)
    const command = decoded.value
    if (!windows.admit(command)) return
    const result = execute(command, entry.index, writer)
    if (command.server === options.self && command.incarnation === options.incarnation) {
      answers.push({ sequence: command.sequence, result })
    }
  }

  const execute = (command: Command, index: LogIndex, writer: EngineWriter): Result<Applied> => {
    if (command.session !== undefined) {
      const earlier = earlierResult(engine, space, command.session)
      if (earlier !== undefined) return earlier
    }
    const operation = operationOf(command)
    // The client's bytes were looked at before they were proposed: whatever fails here is a bug or damage.
    invariant(operation.ok, 'proposed-request-decodes', () => (operation.ok ? '' : operation.error.message))
    const result = store.apply(operation.value, writer)
    if (result.ok && command.session !== undefined) {
      remember(engine, writer, space, command.session, index, result.value)
    }
    return result
  }

  const mark = (): void => {
    const newest = marks.at(-1)
    const isFar = newest === undefined || appliedIndex - newest.index >= Math.max(1, options.keepEntries * MARK_PART)
    if (isFar || unmarkedBytes > options.maxHeldLogBytes * MARK_PART) {
      unmarkedBytes = 0
      marks.push({ index: appliedIndex, term: position.term, config: position.config })
    }
  }

  const scrub = (): void => {
    if (!store.scrubPending || engine.underPressure) return
    engine.applyBatch(
      group,
      () => appliedIndex,
      (writer) => {
        store.scrub(SCRUB_KEYS, writer)
      },
    )
    if (store.scrubPending) handlers.wake()
  }

  return {
    get store() {
      return store
    },
    watches,
    tellWatchers() {
      // While another state is swapped in, what the store says is of neither.
      if (!closed && !restoring && watches.turn()) handlers.wake()
    },
    get appliedIndex() {
      return appliedIndex
    },
    allow(index) {
      if (index > allowed) allowed = index
    },
    slice() {
      if (closed || restoring || fetching || engine.underPressure) return
      if (appliedIndex >= allowed) return scrub()
      const entries = nextEntries()
      if (entries === undefined) return
      applySlice(entries)
      if (appliedIndex < allowed || store.scrubPending) handlers.wake()
    },
    restore(staged, meta, done) {
      restoring = true
      staged.commit(meta.index, (result) => {
        invariant(result.ok, 'snapshot-swapped-in', () => (result.ok ? '' : result.error.message))
        store = open()
        watches.replaced(store)
        windows = loadWindows()
        appliedIndex = meta.index
        if (allowed < meta.index) allowed = meta.index
        const stored = readPosition(engine, space)
        invariant(stored !== undefined && stored.term === meta.term, 'snapshot-position', `index ${meta.index}`)
        position = stored
        marks = []
        fetched = undefined
        restoring = false
        done()
        handlers.onApplied(appliedIndex)
        handlers.wake()
      })
    },
    close() {
      closed = true
    },
    wasApplied: (sequence) => windows.applied(options.self, options.incarnation, sequence),
    compactionBase(firstIndex, heldBy) {
      if (restoring) return undefined
      // Entries are counted, but large ones fill a disk: beyond the bound in bytes, none is kept that is not needed.
      const isLarge = log.stats().sizeBytes > options.maxHeldLogBytes
      const durable = engine.durableIndex(group)
      const limit = isLarge ? durable : Math.min(durable - options.keepEntries, heldBy)
      const usable = marks.filter((candidate) => candidate.index <= limit)
      const base = usable.at(-1)
      const worthwhile = isLarge ? 1 : options.keepEntries * MARK_PART
      if (base === undefined || base.index - firstIndex < worthwhile) return undefined
      marks = marks.filter((candidate) => candidate.index > base.index)
      return { index: base.index, term: base.term, config: encodeConfig(base.config) }
    },
  }
}

function configOf(entry: Entry): Config {
  const config = decodeConfig(entry.data)
  invariant(config.ok, 'config-entry-decodes', () => `index ${entry.index}`)
  return config.value
}

/** For proposals whose effect arrived inside a snapshot: applied, but the answer was computed elsewhere. */
export function answerLost(): Result<Applied> {
  return err(
    failure('outcome-unknown', 'the write took effect, but this server caught up by snapshot and has no answer for it'),
  )
}
