/** For tests of the log: a simulated machine that opens it, a plain model of what it should hold, and a count of what the disk does. */
import assert from 'node:assert/strict'
import { groupId, type GroupId, logIndex, memberId, type Result, term, utf8 } from '../base/index.ts'
import { createSimulation, type SimProcess, type Simulation } from '../lab/index.ts'
import type { Disk, DiskFile, World } from '../world/index.ts'
import {
  type LogEntry,
  type LogOptions,
  type LogWrite,
  openLog,
  type RecoveredGroup,
  type WriteAheadLog,
} from './index.ts'

export const G1: GroupId = groupId(1)
export const G2: GroupId = groupId(2)
export const DIRECTORY = 'log'

/** A simulated machine with a log on it. */
export class Rig {
  readonly simulation: Simulation
  readonly machine: SimProcess
  readonly options: LogOptions
  readonly fullness: boolean[] = []
  readonly logged: string[] = []
  private opened: WriteAheadLog | undefined

  constructor(seed: string | number, options: Partial<LogOptions> = {}) {
    this.simulation = createSimulation({ seed, onLog: (_process, _at, _level, event) => void this.logged.push(event) })
    this.machine = this.simulation.process('a')
    this.options = {
      directory: DIRECTORY,
      segmentBytes: 64 * 1024,
      markerDelayMs: 50,
      fullRetryMs: 100,
      onFull: (full) => void this.fullness.push(full),
      ...options,
    }
  }

  get log(): WriteAheadLog {
    assert.ok(this.opened !== undefined)
    return this.opened
  }

  settle<T>(start: (done: (value: T) => void) => void): T {
    const box: { value?: T } = {}
    start((value) => {
      box.value = value
    })
    const untilMs = this.simulation.nowMs + 60_000
    this.simulation.run({ until: () => 'value' in box, untilMs })
    assert.ok(
      'value' in box,
      `nothing came; ${this.simulation.findings.map((found) => found.violation.message).join()}`,
    )
    return box.value
  }

  tryOpen(world: World = this.machine.world): Result<WriteAheadLog> {
    const result = this.settle<Result<WriteAheadLog>>((done) => openLog(world, this.options, done))
    this.opened = result.ok ? result.value : undefined
    return result
  }

  /** Begins to open it, without waiting. */
  begin(): void {
    openLog(this.machine.world, this.options, () => {})
  }

  open(world: World = this.machine.world): WriteAheadLog {
    const result = this.tryOpen(world)
    assert.ok(result.ok, result.ok ? '' : result.error.message)
    return result.value
  }

  append(writes: readonly LogWrite[]): void {
    this.settle<void>((done) => this.log.append(writes, () => done()))
  }

  close(): void {
    this.settle<void>((done) => this.log.close(() => done()))
    this.opened = undefined
  }

  /** Power is lost and comes back. */
  crash(keepWrites = false): void {
    this.machine.crash({ silent: false, keepWrites })
    this.opened = undefined
    this.machine.restart()
  }

  rest(ms: number): void {
    this.simulation.run({ untilMs: this.simulation.nowMs + ms })
  }

  files(): string[] {
    const listed = this.settle<Result<string[]>>((done) => this.machine.world.disk.list(DIRECTORY, done))
    return listed.ok ? listed.value : []
  }

  content(name: string): Uint8Array {
    const content = this.machine.disk.peek(`${DIRECTORY}/${name}`)
    assert.ok(content !== undefined, name)
    return content
  }

  /** Replaces a file's content, durably, behind the log's back. */
  put(name: string, content: Uint8Array): void {
    const { disk } = this.machine.world
    this.must<void>((done) => disk.makeDirectory(DIRECTORY, done))
    this.must<void>((done) => disk.replace(`${DIRECTORY}/${name}`, [content], done))
  }

  must<T>(start: (done: (result: Result<T>) => void) => void): T {
    const result = this.settle<Result<T>>(start)
    assert.ok(result.ok, result.ok ? '' : result.error.message)
    return result.value
  }

  /** Every entry above the base, read back in small pieces. */
  entriesOf(group: RecoveredGroup, maxBytes = 100): LogEntry[] {
    return readAll(this, group.group, group.base.index + 1, group.lastIndex, maxBytes)
  }
}

export function readAll(rig: Rig, group: GroupId, from: number, through: number, maxBytes = 100): LogEntry[] {
  return readAllOf(rig.simulation, rig.log, group, from, through, maxBytes)
}

export function readAllOf(
  simulation: Simulation,
  log: WriteAheadLog,
  group: GroupId,
  from: number,
  through: number,
  maxBytes = 100,
): LogEntry[] {
  const entries: LogEntry[] = []
  for (let next = from; next <= through; next = (entries.at(-1)?.index ?? 0) + 1) {
    let read: Result<readonly LogEntry[]> | undefined
    log.read(group, logIndex(next), logIndex(through), maxBytes, (result) => {
      read = result
    })
    simulation.run({ until: () => read !== undefined, untilMs: simulation.nowMs + 60_000 })
    assert.ok(read?.ok, read?.ok === false ? read.error.message : 'nothing came')
    assert.ok(read.value.length > 0, 'at least one')
    assert.equal(read.value[0]?.index, next)
    entries.push(...read.value)
  }
  return entries
}

export function entry(index: number, inTerm: number, data: string | Uint8Array = `${index}.${inTerm}`): LogEntry {
  const bytes = typeof data === 'string' ? utf8(data) : data
  return { index: logIndex(index), term: term(inTerm), type: 'normal', data: bytes }
}

export function entries(from: number, through: number, inTerm: number, sizeBytes = 0): LogEntry[] {
  const made: LogEntry[] = []
  for (let index = from; index <= through; index++) {
    const data = sizeBytes === 0 ? undefined : new Uint8Array(sizeBytes).fill((index * 31 + inTerm) & 255)
    made.push(entry(index, inTerm, data))
  }
  return made
}

export function base(
  index: number,
  inTerm: number,
): { index: LogEntry['index']; term: LogEntry['term']; config: Uint8Array } {
  return { index: logIndex(index), term: term(inTerm), config: utf8(`config at ${index}`) }
}

export function hardState(inTerm: number, vote: number, commit: number): NonNullable<LogWrite['hardState']> {
  return { term: term(inTerm), vote: vote === 0 ? undefined : memberId(BigInt(vote)), commit: logIndex(commit) }
}

export function recoveredOf(log: WriteAheadLog, group: GroupId): RecoveredGroup {
  const found = log.recovered.find((one) => one.group === group)
  assert.ok(found !== undefined, `group ${group}`)
  return found
}

export type Counts = { writes: number; datasyncs: number; bytes: number }

/** The world with what its disk's files do counted, and, where `onWrite` is given, told. */
export function counting(world: World, counts: Counts): World {
  const { disk } = world
  const watched = (file: DiskFile): DiskFile => ({
    ...file,
    write(offset, parts, done) {
      counts.writes++
      // What follows the first part is zeros, written ahead.
      counts.bytes += parts[0]?.length ?? 0
      file.write(offset, parts, done)
    },
    datasync(done) {
      counts.datasyncs++
      file.datasync(done)
    },
  })
  const counted: Disk = {
    ...disk,
    open: (path, options, done) =>
      disk.open(path, options, (opened) => done(opened.ok ? { ok: true, value: watched(opened.value) } : opened)),
  }
  return { ...world, disk: counted }
}
