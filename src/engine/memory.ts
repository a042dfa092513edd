/**
 * The engine that keeps everything in memory. A checkpoint writes the whole content to one file, atomically, so after a
 * crash the engine is back at its last checkpoint: in the simulator and in the real world alike.
 *
 * File: magic "SKEM", format u32, group count u32, then per group id u32 and applied index f64; pair count f64; then per pair key
 * length u32, value length u32, key, value; last a CRC-32 over all before. Little-endian.
 */
import type { GroupId, LogIndex, Result } from '../base/index.ts'
import { concatBytes, err, failure, groupId, invariant, logIndex, ok } from '../base/index.ts'
import type { World } from '../world/index.ts'
import { OrderedMap } from './ordered-map.ts'
import type { Engine, EngineCursor, EngineOptions, EngineReader, EngineRestore, EngineSnapshot } from './types.ts'

const FILE = 'memory.checkpoint'
const MAGIC = 0x4d454b53
const FORMAT = 1
const MAX_FILE_BYTES = 4 * 1024 * 1024 * 1024
/** Bytes of pairs put into the file's parts in one turn. */
const SLICE_BYTES = 1024 * 1024
const MAX_SNAPSHOTS = 4
const MAX_KEY_BYTES = 1978

type Content = { readonly map: OrderedMap<Uint8Array>; readonly applied: Map<GroupId, LogIndex> }

/** Failures: engine-damaged, data-newer, and the disk's. */
export function openMemoryEngine(world: World, options: EngineOptions, done: (result: Result<Engine>) => void): void {
  world.disk.makeDirectory(options.directory, (made) => {
    if (!made.ok) return done(made)
    world.disk.readWhole(`${options.directory}/${FILE}`, MAX_FILE_BYTES, (read) => {
      if (!read.ok && read.error.code !== 'not-found') return done(read)
      const content: Result<Content> = read.ok
        ? parse(world, read.value, `${options.directory}/${FILE}`)
        : ok({ map: new OrderedMap(), applied: new Map() })
      done(content.ok ? ok(engineOver(world, options, content.value)) : content)
    })
  })
}

function engineOver(world: World, options: EngineOptions, content: Content): Engine {
  const { map, applied } = content
  let durable = new Map(applied)
  /** Bytes of batches since the last checkpoint began, and at its beginning. */
  let freshBytes = 0
  let frozenBytes = 0
  let diskBytes = 0
  let checkpoints = 0
  let snapshots = 0
  let pressure = false
  let running = false
  let closed = false
  let failed = false
  let waiting: ((result: Result<void>) => void)[] = []
  /** Restores to be swapped in: with the checkpoint that has them, so that nobody sees one that a crash could undo. */
  let unswapped: Swap[] = []
  let timer: { cancel(): void } | undefined

  const reader = readerOver(map)

  const look = (): void => {
    const now = freshBytes + frozenBytes > options.maxOverlayBytes
    if (now !== pressure) {
      pressure = now
      options.onPressure(now)
    }
    // The whole content is written each time: a large store waits for proportionally more changes. After a failure the
    // timer comes first, or a full disk would be asked without end.
    if (!failed && freshBytes > Math.max(options.checkpointBytes, diskBytes / 4)) checkpoint()
  }

  const written = (bytes: number): void => {
    freshBytes += bytes
    if (timer === undefined && !running && !closed)
      timer = world.clock.setTimer(options.checkpointDelayMs, () => checkpoint())
  }

  const checkpoint = (done?: (result: Result<void>) => void): void => {
    if (done !== undefined) waiting.push(done)
    if (running || closed) return
    running = true
    timer?.cancel()
    timer = undefined
    const told = waiting
    const swaps = unswapped
    waiting = []
    unswapped = []
    frozenBytes = freshBytes
    freshBytes = 0
    const indexes = new Map(applied)
    const image = map.snapshot()
    for (const swap of swaps) swapInto(image, indexes, swap)
    serialise(world, image, indexes, (parts) => {
      world.disk.replace(`${options.directory}/${FILE}`, parts, (result) => {
        running = false
        failed = !result.ok
        if (result.ok) {
          for (const swap of swaps) swapInto(map, applied, swap)
          for (const { done } of swaps) done(result)
          diskBytes = parts.reduce((sum, part) => sum + part.length, 0)
          durable = indexes
          checkpoints++
          frozenBytes = 0
        } else {
          unswapped = [...swaps, ...unswapped]
          freshBytes += frozenBytes
          frozenBytes = 0
          world.diagnostics.log('error', 'checkpoint-failed', {
            code: result.error.code,
            message: result.error.message,
          })
        }
        for (const tell of told) tell(result)
        if (result.ok) options.onDurable()
        if (closed) return
        look()
        if (waiting.length > 0 || (unswapped.length > 0 && !failed)) checkpoint()
        else if (freshBytes > 0 || unswapped.length > 0) written(0)
      })
    })
  }

  return {
    maxKeyBytes: MAX_KEY_BYTES,
    get: (key) => reader.get(key),
    scan: (start, end, scanOptions) => reader.scan(start, end, scanOptions),
    applyBatch(group, index, write) {
      let bytes = 0
      write({
        put(key, value) {
          invariant(key.length > 0 && key.length <= MAX_KEY_BYTES, 'engine-key-size', () => `${key.length} bytes`)
          map.set(key, value)
          bytes += key.length + value.length
        },
        remove(key) {
          map.delete(key)
          bytes += key.length
        },
      })
      const to = typeof index === 'function' ? index() : index
      invariant(to >= (applied.get(group) ?? 0), 'applied-never-back', () => `group ${group}: ${to}`)
      applied.set(group, to)
      written(bytes)
      look()
    },
    appliedIndex: (group) => applied.get(group) ?? logIndex(0),
    durableIndex: (group) => durable.get(group) ?? logIndex(0),
    get underPressure() {
      return pressure
    },
    checkpoint,
    openSnapshot(): Result<EngineSnapshot> {
      if (snapshots >= MAX_SNAPSHOTS)
        return err(failure('too-many-requests', `${snapshots} snapshots are open, the limit is ${MAX_SNAPSHOTS}`))
      snapshots++
      const frozen = map.snapshot()
      const indexes = new Map(applied)
      let open = true
      return ok({
        reader: readerOver(frozen),
        appliedIndex: (group) => indexes.get(group) ?? logIndex(0),
        close() {
          if (open) snapshots--
          open = false
        },
      })
    },
    openRestore(group, start, end): EngineRestore {
      let staged: { key: Uint8Array; value: Uint8Array }[] = []
      return {
        refusal: undefined,
        add(key, value) {
          staged.push({ key, value })
          return true
        },
        onDrain: (callback) => world.endOfTurn(callback),
        commit(index, done) {
          unswapped.push({ group, index, start, end, pairs: staged, done })
          staged = []
          checkpoint()
        },
        abort() {
          staged = []
        },
      }
    },
    stats: () => ({ diskBytes, overlayBytes: freshBytes + frozenBytes, checkpoints }),
    close(done) {
      const finish = (): void => {
        closed = true
        timer?.cancel()
        done(ok())
      }
      // After the checkpoint under way, and one that was asked for before.
      if (running) waiting.push(finish)
      else finish()
    },
  }
}

type Swap = {
  readonly group: GroupId
  readonly index: LogIndex
  readonly start: Uint8Array
  readonly end: Uint8Array
  readonly pairs: readonly { readonly key: Uint8Array; readonly value: Uint8Array }[]
  readonly done: (result: Result<void>) => void
}

function swapInto(map: OrderedMap<Uint8Array>, applied: Map<GroupId, LogIndex>, swap: Swap): void {
  const old: Uint8Array[] = []
  const cursor = map.cursor(swap.start, swap.end, false)
  while (cursor.next()) old.push(cursor.key)
  for (const key of old) map.delete(key)
  for (const { key, value } of swap.pairs) map.set(key, value)
  applied.set(swap.group, swap.index)
}

function readerOver(map: OrderedMap<Uint8Array>): EngineReader {
  return {
    get: (key) => map.get(key),
    scan(start, end, scanOptions): EngineCursor {
      const cursor = map.cursor(start, end, scanOptions?.reverse === true)
      let open = true
      return {
        next: () => open && cursor.next(),
        seek: (key) => open && cursor.seek(key),
        get key() {
          return cursor.key
        },
        get value() {
          return cursor.value
        },
        close() {
          open = false
        },
      }
    },
  }
}

/** Makes the file's parts, a slice a turn. */
function serialise(
  world: World,
  map: OrderedMap<Uint8Array>,
  applied: ReadonlyMap<GroupId, LogIndex>,
  done: (parts: Uint8Array[]) => void,
): void {
  const head = new Uint8Array(12 + applied.size * 12 + 8)
  const view = new DataView(head.buffer)
  view.setUint32(0, MAGIC, true)
  view.setUint32(4, FORMAT, true)
  view.setUint32(8, applied.size, true)
  let at = 12
  for (const [group, index] of applied) {
    view.setUint32(at, group, true)
    view.setFloat64(at + 4, index, true)
    at += 12
  }
  view.setFloat64(at, map.size, true)
  const parts: Uint8Array[] = [head]
  let crc = world.checksum(head)
  const cursor = map.cursor(new Uint8Array(0), new Uint8Array(MAX_KEY_BYTES + 1).fill(255), false)
  const slice = (): void => {
    const pieces: Uint8Array[] = []
    let bytes = 0
    let more = true
    while (bytes < SLICE_BYTES && (more = cursor.next())) {
      const { key, value } = cursor
      const lengths = new Uint8Array(8)
      const lengthView = new DataView(lengths.buffer)
      lengthView.setUint32(0, key.length, true)
      lengthView.setUint32(4, value.length, true)
      pieces.push(lengths, key, value)
      bytes += 8 + key.length + value.length
    }
    if (pieces.length > 0) {
      const part = concatBytes(pieces)
      crc = world.checksum(part, crc)
      parts.push(part)
    }
    if (more) return world.endOfTurn(slice)
    const tail = new Uint8Array(4)
    new DataView(tail.buffer).setUint32(0, crc, true)
    parts.push(tail)
    done(parts)
  }
  slice()
}

function parse(world: World, bytes: Uint8Array, path: string): Result<Content> {
  const damaged = (why: string): Result<Content> => err(failure('engine-damaged', `${path}: ${why}`, { file: path }))
  if (bytes.length < 24) return damaged(`the file has only ${bytes.length} bytes`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (view.getUint32(0, true) !== MAGIC) return damaged('it is no checkpoint')
  const end = bytes.length - 4
  if (world.checksum(bytes.subarray(0, end)) !== view.getUint32(end, true)) return damaged('its checksum is wrong')
  const format = view.getUint32(4, true)
  if (format > FORMAT)
    return err(failure('data-newer', `${path} has format ${format}; this version knows up to ${FORMAT}`))
  const applied = new Map<GroupId, LogIndex>()
  let at = 12
  for (let i = view.getUint32(8, true); i > 0; i--) {
    applied.set(groupId(view.getUint32(at, true)), logIndex(view.getFloat64(at + 4, true)))
    at += 12
  }
  const count = view.getFloat64(at, true)
  at += 8
  const map = new OrderedMap<Uint8Array>()
  for (let i = 0; i < count; i++) {
    const keyEnd = at + 8 + view.getUint32(at, true)
    const valueEnd = keyEnd + view.getUint32(at + 4, true)
    map.set(bytes.slice(at + 8, keyEnd), bytes.slice(keyEnd, valueEnd))
    at = valueEnd
  }
  return at === end ? ok({ map, applied }) : damaged('its length is wrong')
}
