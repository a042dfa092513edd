import assert from 'node:assert/strict'
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { drawsOf } from '../lab/index.ts'
import { type FileEvent, imageAt, parseTrace, type Survival, TRACED } from './recording.testkit.ts'
import { PROGRAM, verify } from './workload.testkit.ts'

/** SKEIN_ENGINE_RUNS multiplies what is tried; SKEIN_ENGINE_SEED repeats it. */
const factor = Number(process.env['SKEIN_ENGINE_RUNS'] ?? 1)
const seed = Number(process.env['SKEIN_ENGINE_SEED'] ?? Math.trunc(Math.random() * 2 ** 31))
const FILE = 'data.mdb'

function inTemporary(body: (directory: string) => Promise<void>): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'skein-power-'))
  return body(directory).finally(() => rmSync(directory, { recursive: true, force: true, maxRetries: 5 }))
}

/** Why tests that trace a program are left out; in continuous integration they run, and fail. */
const untraceable: string | false =
  process.env['CI'] !== 'true' && spawnSync('strace', ['-f', '-o', '/dev/null', 'true']).status !== 0
    ? 'strace is not installed, or may not trace'
    : false

/** Writes images, and has a program of its own open them, since a broken one may end it. Verdicts: a step, or why not. */
class Checker {
  private readonly directory: string
  private count = 0

  constructor(directory: string) {
    this.directory = directory
  }

  async verdicts(images: Iterable<{ readonly image: Uint8Array; readonly floor: number }>): Promise<string[]> {
    const verdicts: string[] = []
    let lines: { next: (directory: string, floor: number) => Promise<string | undefined>; end: () => void } | undefined
    for (const { image, floor } of images) {
      const at = join(this.directory, `image-${this.count++}`)
      mkdirSync(at)
      writeFileSync(join(at, FILE), image)
      lines ??= checkerProcess()
      const verdict = await lines.next(at, floor)
      if (verdict === undefined) lines = undefined
      verdicts.push(verdict ?? 'it ended the program')
    }
    lines?.end()
    return verdicts
  }
}

function checkerProcess(): {
  next: (directory: string, floor: number) => Promise<string | undefined>
  end: () => void
} {
  const child = spawn(process.execPath, [PROGRAM, 'check'], { stdio: ['pipe', 'pipe', 'ignore'] })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  child.stdin.on('error', () => {})
  return {
    async next(directory, floor) {
      child.stdin.write(`${directory} ${floor}\n`)
      const { value, done } = (await lines.next()) as IteratorResult<string, undefined>
      return done === true ? undefined : value
    },
    end: () => void child.kill('SIGKILL'),
  }
}

const floorAt = (events: readonly FileEvent[], crashAt: number): number => {
  let floor = 0
  for (const event of events.slice(0, crashAt)) {
    const said = event.type === 'said' ? /^durable (\d+)$/.exec(event.line) : null
    if (said) floor = Number(said[1])
  }
  return floor
}

test(
  'a recorded write order of lmdb with unsynced writes dropped shows that power loss leaves it sound',
  { skip: untraceable },
  async () => {
    await inTemporary(async (directory) => {
      const data = join(directory, 'data')
      mkdirSync(data)
      // The file's making is the disk's atomic replacement, which has its own tests; and free pages to write over.
      execFileSync(process.execPath, [PROGRAM, 'run', data, '35'])
      const initial = readFileSync(join(data, FILE))
      const trace = join(directory, 'trace')
      const flags = ['-f', '-xx', '-s', '100000000', '-e', `trace=${TRACED}`, '-e', 'signal=none', '-o', trace]
      execFileSync('strace', [...flags, process.execPath, PROGRAM, 'run', data, '90'])
      const events = parseTrace(readFileSync(trace, 'latin1'), join(data, FILE))
      const count = (type: FileEvent['type']): number => events.filter((event) => event.type === type).length
      assert.ok(count('write') > 100 && count('sync') > 10 && count('said') > 15, 'the recording is too short')
      assert.ok(
        events.some((event) => event.type === 'write' && event.isSynced),
        'no meta page was written',
      )
      // The recording is complete: with every write, it is the file.
      const all: Survival = () => true
      assert.ok(Buffer.from(imageAt(initial, events, events.length, 512, all)).equals(readFileSync(join(data, FILE))))

      const draws = drawsOf(seed, 'power', 'images')
      const points = events.flatMap((event, at) => (event.type === 'said' ? [] : [at + 1]))
      const subset =
        (run: number): Survival =>
        (write, sector) =>
          draws.integer(((run * 4099 + write) * 4099 + sector) % 2 ** 40, 2) === 0
      const tried: { image: Uint8Array; floor: number; how: string }[] = []
      const picked = (run: number): number => points[draws.integer(run, points.length)] as number
      for (let run = 0; run < 40 * factor; run++) {
        const crashAt = picked(run)
        const sectorBytes = run % 2 === 0 ? 512 : 4096
        const survival: Survival[] = [() => false, all, subset(run), subset(run + 1_000_000)]
        const kind = run % survival.length
        const image = imageAt(initial, events, crashAt, sectorBytes, survival[kind] as Survival)
        tried.push({ image, floor: Math.max(35, floorAt(events, crashAt)), how: `event ${crashAt}, kind ${kind}` })
      }
      const checker = new Checker(directory)
      const verdicts = await checker.verdicts(tried)
      const failed = verdicts.flatMap((verdict, i) => (/^\d+$/.test(verdict) ? [] : [`${tried[i]?.how}: ${verdict}`]))
      assert.deepEqual(failed, [], `SKEIN_ENGINE_SEED=${seed}`)
      assert.ok(new Set(verdicts).size > 5, 'the images were of few states')

      // That the syncs are what makes it sound: without them some of the same images are not.
      const unsound: { image: Uint8Array; floor: number }[] = []
      for (let run = 0; run < 12; run++) {
        const crashAt = picked(run)
        unsound.push({
          image: imageAt(initial, events, crashAt, 512, subset(run), true),
          floor: floorAt(events, crashAt),
        })
      }
      const broken = (await checker.verdicts(unsound)).filter((verdict) => !/^\d+$/.test(verdict))
      assert.ok(broken.length > 0, 'no image without syncs was found to be broken')
    })
  },
)

test('killed at any moment, what was checkpointed is there', () =>
  inTemporary(async (directory) => {
    const draws = drawsOf(seed, 'power', 'kills')
    let floor = 0
    for (let round = 0; round < 5 * factor; round++) {
      const child = spawn(process.execPath, [PROGRAM, 'run', directory, '1000000'], {
        stdio: ['ignore', 'pipe', 'ignore'],
      })
      const ended = new Promise((resolve) => void child.on('exit', resolve))
      let kill: NodeJS.Timeout | undefined
      for await (const line of createInterface({ input: child.stdout })) {
        floor = Number(/^durable (\d+)$/.exec(line)?.[1] ?? floor)
        kill ??= setTimeout(() => child.kill('SIGKILL'), draws.integer(round, 150))
      }
      await ended
      clearTimeout(kill)
      const found = await verify(directory, floor)
      assert.ok(found >= floor, `SKEIN_ENGINE_SEED=${seed}`)
    }
    assert.ok(floor > 20, `only ${floor} steps were made`)
  }))

test(
  'lmdb on a disk without space: commits are refused, tried again, and nothing is lost',
  { skip: untraceable },
  async () => {
    await inTemporary(async (directory) => {
      execFileSync(process.execPath, [PROGRAM, 'run', directory, '20'])
      // Of the writes of data pages: the meta page's lie in space that the file has.
      const inject = ['-P', join(directory, FILE), '-e', 'trace=writev', '-e', 'inject=writev:error=ENOSPC:when=3..6']
      const output = execFileSync(
        'strace',
        ['-f', '-qq', '-o', '/dev/null', ...inject, process.execPath, PROGRAM, 'run', directory, '60'],
        { stdio: ['ignore', 'pipe', 'ignore'] },
      ).toString()
      assert.match(output, /^refused disk-full$/m)
      assert.match(output, /^done$/m)
      assert.equal(await verify(directory, 60), 60)
      // The pages that the refused transactions had taken are free again: the space is reused, and soundly.
      execFileSync(process.execPath, [PROGRAM, 'run', directory, '90'])
      assert.equal(await verify(directory, 90), 90)
    })
  },
)

test('lmdb on a disk whose sync fails ends the server, and claims nothing', { skip: untraceable }, async () => {
  await inTemporary(async (directory) => {
    execFileSync(process.execPath, [PROGRAM, 'run', directory, '20'])
    const inject = ['-P', join(directory, FILE), '-e', 'trace=fdatasync', '-e', 'inject=fdatasync:error=EIO:when=4+']
    const flags = ['-f', '-qq', '-o', '/dev/null', ...inject]
    const result = spawnSync('strace', [...flags, process.execPath, PROGRAM, 'run', directory, '200'])
    const lines = result.stdout.toString().trim().split('\n')
    assert.equal(lines.at(-1), 'failed engine-commits')
    assert.equal(result.status, 3)
    const claimed = Number(/^durable (\d+)$/.exec(lines.at(-2) ?? '')?.[1] ?? 20)
    await verify(directory, claimed)
  })
})
