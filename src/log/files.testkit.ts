/** For tests of recovery that run by the ten thousand: a world whose disk is a map of files, and nothing else happens. */
import assert from 'node:assert/strict'
import { crc32 as nodeCrc32 } from 'node:zlib'
import { err, failure, InvariantViolation, ok, type Result } from '../base/index.ts'
import type { Disk, DiskFile, World } from '../world/index.ts'
import { type LogEntry, type LogOptions, openLog, type WriteAheadLog } from './index.ts'

export type Files = Map<string, Uint8Array>

const OPTIONS: LogOptions = {
  directory: 'log',
  segmentBytes: 16 * 1024,
  markerDelayMs: 50,
  fullRetryMs: 100,
  onFull: () => {},
}

export class FilesWorld {
  /** By name in the log's directory. Contents are replaced, never changed in place: a copy of the map keeps them. */
  readonly files: Files
  readonly world: World
  readonly failures: InvariantViolation[] = []
  private steps: (() => void)[] = []
  private timers: (() => void)[] = []
  private salts = 0

  constructor(files: ReadonlyMap<string, Uint8Array> = new Map(), salt = 1) {
    this.files = new Map(files)
    this.salts = salt
    const nothing = (): never => assert.fail('not part of this world')
    this.world = {
      clock: {
        monotonicMs: () => 0,
        wallMs: () => 0,
        setTimer: (_ms, callback) => {
          this.timers.push(callback)
          return { cancel: () => void (this.timers = this.timers.filter((timer) => timer !== callback)) }
        },
      },
      network: { listen: nothing, dial: nothing },
      disk: this.disk(),
      random: { fraction: () => 0.5, bytes: (count) => new Uint8Array(count).fill(this.salts++) },
      diagnostics: { log() {}, enabled: () => false },
      endOfTurn: (callback) => void this.steps.push(callback),
      checksum: nodeCrc32,
      fail: (violation) => void this.failures.push(violation),
    }
  }

  /** Everything that was asked for happens, except timers. */
  run(): void {
    for (let step = this.steps.shift(); step !== undefined; step = this.steps.shift()) step()
    assert.deepEqual(this.failures, [])
  }

  /** The pending timers are due. */
  tick(): void {
    const due = this.timers
    this.timers = []
    for (const timer of due) timer()
    this.run()
  }

  settle<T>(start: (done: (value: T) => void) => void): T {
    const box: { value?: T } = {}
    start((value) => {
      box.value = value
    })
    this.run()
    assert.ok('value' in box, 'nothing came')
    return box.value
  }

  open(options: Partial<LogOptions> = {}): Result<WriteAheadLog> {
    return this.settle((done) => openLog(this.world, { ...OPTIONS, ...options }, done))
  }

  /** Everything that the log says of every group, as text that can be compared. */
  describe(log: WriteAheadLog): string {
    const groups = log.recovered.map(({ group, base, hardState, lastIndex, termRuns, configEntries }) => {
      const entries: LogEntry[] = []
      for (let next = base.index + 1; next <= lastIndex; next = (entries.at(-1)?.index ?? 0) + 1) {
        const read = this.settle<Result<readonly LogEntry[]>>((done) =>
          log.read(group, next as LogEntry['index'], lastIndex, 1e9, done),
        )
        assert.ok(read.ok, read.ok ? '' : read.error.message)
        entries.push(...read.value)
      }
      return describeGroup(group, base, hardState, entries, { lastIndex, termRuns, configEntries })
    })
    return groups.sort().join('\n')
  }

  private later<T>(done: (result: Result<T>) => void, settle: () => Result<T>): void {
    this.steps.push(() => done(settle()))
  }

  private disk(): Disk {
    const { files } = this
    const nameOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1)
    const absent = <T>(path: string): Result<T> => err(failure('not-found', path))
    const file = (path: string): DiskFile => {
      const name = nameOf(path)
      const content = (): Uint8Array => files.get(name) ?? new Uint8Array(0)
      return {
        path,
        write: (offset, parts, done) =>
          this.later(done, () => {
            const total = parts.reduce((sum, part) => sum + part.length, 0)
            const bytes = new Uint8Array(Math.max(content().length, offset + total))
            bytes.set(content())
            let at = offset
            for (const part of parts) {
              bytes.set(part, at)
              at += part.length
            }
            files.set(name, bytes)
            return ok()
          }),
        read: (offset, length, done) => this.later(done, () => ok(content().slice(offset, offset + length))),
        datasync: (done) => this.later(done, () => ok()),
        truncate: (size, done) =>
          this.later(done, () => {
            files.set(name, content().slice(0, size))
            return ok()
          }),
        size: (done) => this.later(done, () => ok(content().length)),
        close: (done) => this.later(done, () => ok()),
      }
    }
    return {
      open: (path, { create }, done) =>
        this.later(done, () => {
          if (!files.has(nameOf(path)) && !create) return absent(path)
          if (!files.has(nameOf(path))) files.set(nameOf(path), new Uint8Array(0))
          return ok(file(path))
        }),
      readWhole: (path, _limit, done) => this.later(done, () => ok(files.get(nameOf(path)) ?? new Uint8Array(0))),
      replace: (path, parts, done) =>
        this.later(done, () => {
          files.set(nameOf(path), parts[0] ?? new Uint8Array(0))
          return ok()
        }),
      remove: (path, done) => this.later(done, () => (files.delete(nameOf(path)) ? ok() : absent(path))),
      list: (_path, done) => this.later(done, () => ok([...files.keys()].sort())),
      makeDirectory: (_path, done) => this.later(done, () => ok()),
      syncDirectory: (_path, done) => this.later(done, () => ok()),
      lock: (_path, done) => this.later(done, () => ok({ release() {} })),
    }
  }
}

type Said = Pick<WriteAheadLog['recovered'][number], 'lastIndex' | 'termRuns' | 'configEntries'>

function describeGroup(
  group: number,
  base: { readonly index: number; readonly term: number; readonly config: Uint8Array },
  hardState: { readonly term: number; readonly vote: bigint | undefined; readonly commit: number },
  entries: readonly LogEntry[],
  { lastIndex, termRuns, configEntries }: Said,
): string {
  const runs: string[] = []
  entries.forEach(({ index, term }, i) => {
    if (i === 0 || entries[i - 1]?.term !== term) runs.push(`${term}@${index}`)
  })
  assert.deepEqual(
    termRuns.map((run) => `${run.term}@${run.firstIndex}`),
    runs,
  )
  assert.deepEqual(
    configEntries,
    entries.filter(({ type }) => type === 'config'),
  )
  assert.equal(lastIndex, entries.at(-1)?.index ?? base.index)
  const { term, vote, commit } = hardState
  const written = entries.map((one) => `${one.index}.${one.term}${one.type[0]}${Array.from(one.data).join(',')}`)
  return `${group}: ${base.index}.${base.term} ${Array.from(base.config).join()} [${term} ${vote} ${commit}] ${written.join(' ')}`
}

/** What the log says after a restart without damage. */
export function stateOf(files: ReadonlyMap<string, Uint8Array>): string {
  const world = new FilesWorld(files)
  const opened = world.open()
  assert.ok(opened.ok, opened.ok ? '' : opened.error.message)
  return world.describe(opened.value)
}
