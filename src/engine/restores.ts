/**
 * Replacing key intervals as a whole. Pairs are staged in a slot of their own, in commits of bounded size; then one small
 * commit routes the interval to that slot and sets the applied index. A crash before it leaves the old state, and what
 * was staged is cleared at the next opening. Afterwards what the interval held before is removed, a little at a time.
 */
import type { Failure, GroupId, LogIndex } from '../base/index.ts'
import { compareBytes, EMPTY, err, failure, invariant, ok } from '../base/index.ts'
import type { World } from '../world/index.ts'
import type { Committer } from './committer.ts'
import { putIndex, putRoutes } from './records.ts'
import { reroute, type RoutePart, type Routes } from './routes.ts'
import { FIRST_DATA_SLOT, type Store, type StoreTransaction } from './store.ts'
import type { EngineRestore } from './types.ts'

/** Of pairs in one commit. */
const CHUNK_BYTES = 1024 * 1024
const CHUNK_PAIRS = 4096
/** Chunks not durable at which `add` asks to wait. */
const MAX_CHUNKS = 2
/** Old pairs removed in one commit. */
const CLEAN_PAIRS = 1024

export type RestoreHooks = {
  /** Calls back when everything applied so far is in the store. */
  readonly flush: (then: () => void) => void
  /** The new routes count from now on. */
  readonly swapped: (group: GroupId, index: LogIndex) => void
}

export interface Restores {
  readonly routes: Routes
  open(group: GroupId, start: Uint8Array, end: Uint8Array): EngineRestore
  /** Whether a restore of the group is being swapped in. */
  isSwapping(group: GroupId): boolean
  close(): void
}

type Change = {
  readonly make: (routes: Routes) => Routes
  readonly write: (transaction: StoreTransaction) => void
  readonly done: () => void
}

export function createRestores(
  world: World,
  store: Store,
  committer: Committer,
  first: Routes,
  hooks: RestoreHooks,
): Restores {
  let routes = first
  const staging = new Set<number>()
  const swapping = new Set<GroupId>()
  /** Changes of the routes, one at a time, since each begins with the result of the one before. */
  const changes: Change[] = []
  let cleaning = false
  let closed = false

  const change = (next: Change): void => {
    if (changes.push(next) === 1) startChange()
  }

  const startChange = (): void => {
    const next = changes[0]
    if (next === undefined) return
    let changed = routes
    committer.push({
      write(transaction) {
        changed = next.make(routes)
        next.write(transaction)
        putRoutes(transaction, changed)
      },
      done() {
        routes = changed
        changes.shift()
        next.done()
        startChange()
      },
    })
  }

  const isRouted = (slot: number): boolean => routes.routes.some((route) => route.slot === slot)
  const isGarbage = (slot: number): boolean => routes.garbage.some((part) => part.slot === slot)

  const takeSlot = (): number | undefined => {
    for (let slot = FIRST_DATA_SLOT; slot < store.slots; slot++) {
      if (isRouted(slot) || isGarbage(slot) || staging.has(slot)) continue
      staging.add(slot)
      return slot
    }
    return undefined
  }

  /** Clears a slot that was staged in vain. */
  const giveBack = (slot: number): void => {
    committer.push({ write: (transaction) => transaction.clear(slot), done: () => void staging.delete(slot) })
  }

  const clean = (): void => {
    const part = routes.garbage[0]
    if (part === undefined || cleaning || closed) return
    cleaning = true
    const forget = (isGone: (other: RoutePart) => boolean, write: Change['write']): void =>
      change({
        make: ({ routes: same, garbage }) => ({ routes: same, garbage: garbage.filter((other) => !isGone(other)) }),
        write,
        done() {
          cleaning = false
          clean()
        },
      })
    if (!isRouted(part.slot)) {
      return forget(
        ({ slot }) => slot === part.slot,
        (transaction) => transaction.clear(part.slot),
      )
    }
    const options = { reverse: false, exclusive: false, limit: CLEAN_PAIRS }
    const keys = store
      .read(part.slot, part.start, options)
      .map(({ key }) => key)
      .filter((key) => compareBytes(key, part.end) < 0)
    if (keys.length === 0) {
      return forget(
        (other) => other === part,
        () => {},
      )
    }
    committer.push({
      write(transaction) {
        for (const key of keys) transaction.remove(part.slot, key)
      },
      done() {
        cleaning = false
        clean()
      },
    })
  }

  /** What earlier lives left: staged in vain, or not cleaned yet. */
  const tidy = (): void => {
    for (let slot = FIRST_DATA_SLOT; slot < store.slots; slot++) {
      if (isRouted(slot) || isGarbage(slot)) continue
      if (store.read(slot, EMPTY, { reverse: false, exclusive: false, limit: 1 }).length === 0) continue
      staging.add(slot)
      giveBack(slot)
    }
    clean()
  }
  tidy()

  const open = (group: GroupId, start: Uint8Array, end: Uint8Array): EngineRestore => {
    invariant(compareBytes(start, end) < 0, 'restore-interval')
    const slot = takeSlot()
    let chunk: { readonly key: Uint8Array; readonly value: Uint8Array }[] = []
    let chunkBytes = 0
    let chunks = 0
    let last: Uint8Array | undefined
    let state: 'staging' | 'committing' | 'ended' = 'staging'
    let drained: (() => void) | undefined

    const full: Failure | undefined =
      slot === undefined
        ? failure('too-many-requests', `all ${store.slots - FIRST_DATA_SLOT} slots of the store are in use`)
        : undefined

    const flushChunk = (): void => {
      if (slot === undefined || chunk.length === 0) return
      const pairs = chunk
      chunk = []
      chunkBytes = 0
      chunks++
      committer.push({
        write(transaction) {
          if (state === 'ended') return
          for (const { key, value } of pairs) transaction.put(slot, key, value)
        },
        done() {
          chunks--
          const call = drained
          if (call === undefined || chunks >= MAX_CHUNKS) return
          drained = undefined
          call()
        },
      })
    }

    return {
      refusal: full,
      add(key, value) {
        invariant(state === 'staging', 'restore-open')
        invariant(key.length > 0 && key.length <= store.maxKeyBytes, 'engine-key-size', () => `${key.length} bytes`)
        invariant(compareBytes(key, last ?? EMPTY) > 0, 'restore-in-key-order')
        invariant(compareBytes(key, start) >= 0 && compareBytes(key, end) < 0, 'restore-in-interval')
        last = key
        chunk.push({ key, value })
        chunkBytes += key.length + value.length
        if (chunkBytes > CHUNK_BYTES || chunk.length >= CHUNK_PAIRS) flushChunk()
        return chunks < MAX_CHUNKS
      },
      onDrain(callback) {
        if (chunks < MAX_CHUNKS) world.endOfTurn(callback)
        else drained = callback
      },
      commit(index, done) {
        invariant(state === 'staging', 'restore-open')
        state = 'committing'
        if (slot === undefined) return world.endOfTurn(() => done(err(full as Failure)))
        invariant(!swapping.has(group), 'one-swap-at-a-time', () => `group ${group}`)
        swapping.add(group)
        flushChunk()
        hooks.flush(() =>
          change({
            make: (before) => reroute(before, start, end, slot),
            write: (transaction) => putIndex(transaction, group, index),
            done() {
              swapping.delete(group)
              staging.delete(slot)
              hooks.swapped(group, index)
              done(ok())
              clean()
            },
          }),
        )
      },
      abort() {
        if (state !== 'staging') return
        state = 'ended'
        chunk = []
        drained = undefined
        if (slot !== undefined) giveBack(slot)
      },
    }
  }

  return {
    get routes() {
      return routes
    },
    open,
    isSwapping: (group) => swapping.has(group),
    close() {
      closed = true
    },
  }
}
