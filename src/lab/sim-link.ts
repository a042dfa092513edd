/**
 * One direction between two processes: latency, bandwidth and what a partition does to it. Streams and handshakes both
 * travel over links; a link keeps what cannot pass while it is held and lets it go when it heals.
 */
import { type Draws, drawsOf, type Seed } from './draws.ts'
import type { SimCore } from './sim-host.ts'
import type { Traced } from './trace.ts'

/** Delays are uniform in [minMs, typicalMs), and with `tailChance` in [typicalMs, tailMs): only exact arithmetic. */
export type LinkProfile = {
  readonly minMs: number
  readonly typicalMs: number
  readonly tailMs: number
  /** In [0, 1]. */
  readonly tailChance: number
  readonly bytesPerMs: number
  /** How likely a write arrives in two pieces, in [0, 1]. */
  readonly splitChance: number
  /** How likely a piece waits for the one behind it and arrives joined, in [0, 1]. */
  readonly mergeChance: number
}

/** A switched network in one building: 1 Gbit/s. */
export const LAN: LinkProfile = {
  minMs: 0.1,
  typicalMs: 0.5,
  tailMs: 10,
  tailChance: 0.001,
  bytesPerMs: 125_000,
  splitChance: 0.1,
  mergeChance: 0.1,
}

export interface SimLink {
  readonly id: number
  readonly from: Traced
  readonly to: Traced
  readonly draws: Draws
  profile: LinkProfile
  /** Nothing passes. */
  readonly blocked: boolean
  /** The number of the next thing on this link: the key of its draws. */
  nextItem(): number
  /** When something of this size, sent now, arrives. Takes its share of the bandwidth. */
  arrivalMs(item: number, sizeBytes: number): number
  /** Runs `arrive` after the latency; what a blocked link holds arrives some time after it heals. */
  carry(sizeBytes: number, arrive: () => void): void
  /** Keeps `again` until the link heals. */
  hold(again: () => void): void
  block(): void
  heal(): void
}

/** Draws of several kinds about one item must differ: kinds take turns in the key. */
const KINDS = 4
export const DRAW = { latency: 0, tail: 1, split: 2, merge: 3 } as const

export function createLink(
  core: SimCore,
  seed: Seed,
  id: number,
  from: Traced,
  to: Traced,
  start: LinkProfile,
): SimLink {
  const { scheduler } = core
  const draws = drawsOf(seed, 'link', `${from.name}>${to.name}`)
  let items = 0
  let blocked = false
  let busyUntilMs = 0
  let held: (() => void)[] = []

  const link: SimLink = {
    id,
    from,
    to,
    draws,
    profile: start,
    get blocked() {
      return blocked
    },
    nextItem: () => items++,
    arrivalMs(item, sizeBytes) {
      const { minMs, typicalMs, tailMs, tailChance, bytesPerMs } = link.profile
      const u = draws.fraction(item * KINDS + DRAW.latency)
      const slow = draws.fraction(item * KINDS + DRAW.tail) < tailChance
      busyUntilMs = Math.max(busyUntilMs, scheduler.nowMs) + sizeBytes / bytesPerMs
      return busyUntilMs + (slow ? typicalMs + (tailMs - typicalMs) * u : minMs + (typicalMs - minMs) * u)
    },
    carry(sizeBytes, arrive) {
      const attempt = (): void => {
        if (blocked) held.push(() => link.carry(sizeBytes, arrive))
        else arrive()
      }
      scheduler.at(link.arrivalMs(items++, sizeBytes), attempt)
    },
    hold: (again) => void held.push(again),
    block() {
      blocked = true
    },
    heal() {
      if (!blocked) return
      blocked = false
      const waiting = held
      held = []
      for (const again of waiting) again()
    },
  }
  return link
}

/** The fraction drawn about a link's item for one kind of question. */
export function linkDraw(link: SimLink, item: number, kind: keyof typeof DRAW): number {
  return link.draws.fraction(item * KINDS + DRAW[kind])
}
