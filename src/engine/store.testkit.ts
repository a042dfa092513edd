/**
 * A store for tests: slots in memory that outlive the process, commits that take simulated time, a disk that can be full.
 * At a crash those under way have happened up to a drawn one.
 */
import { compareBytes, err, failure, ok, type Result } from '../base/index.ts'
import { drawsOf, type Seed } from '../lab/index.ts'
import type { World } from '../world/index.ts'
import { OrderedMap } from './ordered-map.ts'
import type { Pair, ReadOptions, Store, StoreView } from './store.ts'

const SLOTS = 8
const TOP = new Uint8Array(64).fill(255)

type Slots = readonly OrderedMap<Uint8Array>[]
type UnderWay = { readonly apply: () => void; readonly done: (result: Result<void>) => void }

export type TestDisk = {
  full: boolean
  /** How long a commit takes. */
  commitMs: number
  readonly largestCommit: number
  /** A new life. The one before it must be over: `crash` ends one that was not closed. */
  open(world: World): Store
  crash(): void
}

export function createTestDisk(seed: Seed): TestDisk {
  const draws = drawsOf(seed, 'disk-crash', 'test-store')
  let crashes = 0
  let underWay: UnderWay[] = []
  let life = 0
  let largestCommit = 0
  const slots: OrderedMap<Uint8Array>[] = Array.from({ length: SLOTS }, () => new OrderedMap())

  const disk: TestDisk = {
    full: false,
    commitMs: 1,
    get largestCommit() {
      return largestCommit
    },
    crash() {
      const happened = draws.integer(crashes++, underWay.length + 1)
      for (const { apply } of underWay.slice(0, happened)) apply()
      underWay = []
      life++
    },
    open(world) {
      const mine = ++life
      const views = new Map<StoreView, Slots>()
      const of = (view: StoreView | undefined): Slots => {
        const pinned = view === undefined ? slots : views.get(view)
        if (pinned === undefined) throw new Error('the view is closed')
        return pinned
      }
      /** The first in line ends: with the disk full, it and all behind it fail. */
      const end = (): void => {
        if (life !== mine) return
        if (disk.full) {
          const failed = underWay
          underWay = []
          for (const { done } of failed) done(err(failure('disk-full', 'the disk of the test is full')))
          return
        }
        const first = underWay.shift()
        first?.apply()
        first?.done(ok())
        if (underWay.length > 0) world.clock.setTimer(disk.commitMs, end)
      }
      return {
        maxKeyBytes: 1978,
        slots: SLOTS,
        get: (slot, key, view) => of(view)[slot]?.get(key),
        read: (slot, from, options, view) => readRun(of(view)[slot] as OrderedMap<Uint8Array>, from, options),
        pin() {
          const view: StoreView = { close: () => void views.delete(view) }
          views.set(
            view,
            slots.map((slot) => slot.snapshot()),
          )
          return view
        },
        commit(write, done) {
          const steps: (() => void)[] = []
          const at = (slot: number): OrderedMap<Uint8Array> => slots[slot] as OrderedMap<Uint8Array>
          write({
            put: (slot, key, value) => void steps.push(() => at(slot).set(key, value)),
            remove: (slot, key) => void steps.push(() => void at(slot).delete(key)),
            clear: (slot) => void steps.push(() => void (slots[slot] = new OrderedMap())),
          })
          largestCommit = Math.max(largestCommit, steps.length)
          const apply = (): void => {
            for (const step of steps) step()
          }
          if (underWay.push({ apply, done }) === 1) world.clock.setTimer(disk.commitMs, end)
        },
        sizeBytes: () => 4096,
        close(done) {
          life++
          world.endOfTurn(() => done(ok()))
        },
      }
    },
  }
  return disk
}

function readRun(map: OrderedMap<Uint8Array>, from: Uint8Array, options: ReadOptions): Pair[] {
  const cursor = map.cursor(new Uint8Array(0), TOP, options.reverse)
  const pairs: Pair[] = []
  let found = cursor.seek(from)
  if (found && options.exclusive && compareBytes(cursor.key, from) === 0) found = cursor.next()
  for (; found && pairs.length < options.limit; found = cursor.next())
    pairs.push({ key: cursor.key.slice(), value: cursor.value.slice() })
  return pairs
}
