/** One cursor over several layers, newest first: of equal keys the newest counts, and undefined there means removed. */
import { compareBytes } from '../base/index.ts'
import type { MapCursor } from './ordered-map.ts'
import type { EngineCursor } from './types.ts'

type Layer = MapCursor<Uint8Array | undefined>

export class MergedCursor implements EngineCursor {
  private readonly open: () => readonly Layer[]
  private readonly generation: () => number
  private readonly version: () => number
  private readonly reverse: boolean
  private layers: readonly Layer[] = []
  /** Whether each layer stands on a pair. */
  private live: boolean[] = []
  private opened = -1
  private overlayVersion = -1
  private current: { readonly key: Uint8Array; readonly value: Uint8Array } | undefined
  private ended = false

  /** `generation` changes when the layers do, `version` when the first of them is written to. */
  constructor(open: () => readonly Layer[], generation: () => number, version: () => number, reverse: boolean) {
    this.open = open
    this.generation = generation
    this.version = version
    this.reverse = reverse
  }

  get key(): Uint8Array {
    return (this.current as { key: Uint8Array }).key
  }

  get value(): Uint8Array {
    return (this.current as { value: Uint8Array }).value
  }

  next(): boolean {
    if (this.ended) return false
    const last = this.current
    if (last === undefined) {
      if (this.opened !== -1) return false
      this.reopen()
      this.live = this.layers.map((layer) => layer.next())
      this.overlayVersion = this.version()
      return this.settle()
    }
    // When a checkpoint begins or completes, pairs have moved between layers; when the overlay was written to, only it
    // has changed. What has changed finds its place again.
    if (this.opened !== this.generation()) {
      this.reopen()
      this.live = this.layers.map((layer) => layer.seek(last.key))
    } else if (this.overlayVersion !== this.version()) {
      this.live[0] = (this.layers[0] as Layer).seek(last.key)
    }
    this.overlayVersion = this.version()
    this.pass(last.key)
    return this.settle()
  }

  seek(key: Uint8Array): boolean {
    this.reopen()
    this.live = this.layers.map((layer) => layer.seek(key))
    this.overlayVersion = this.version()
    return this.settle()
  }

  close(): void {
    this.layers = []
    this.live = []
    this.ended = true
  }

  private reopen(): void {
    if (this.opened === this.generation()) return
    this.layers = this.open()
    this.opened = this.generation()
  }

  /** Moves every layer that stands on `key`, or before it, behind it. */
  private pass(key: Uint8Array): void {
    for (let i = 0; i < this.layers.length; i++) {
      const layer = this.layers[i] as Layer
      while (this.live[i] && !this.isBehind(layer.key, key)) this.live[i] = layer.next()
    }
  }

  private isBehind(candidate: Uint8Array, key: Uint8Array): boolean {
    const order = compareBytes(candidate, key)
    return this.reverse ? order < 0 : order > 0
  }

  private settle(): boolean {
    for (;;) {
      let best: Layer | undefined
      for (let i = 0; i < this.layers.length; i++) {
        if (this.live[i] === false) continue
        const layer = this.layers[i] as Layer
        if (best === undefined || this.isBehind(best.key, layer.key)) best = layer
      }
      if (best === undefined) {
        this.current = undefined
        return false
      }
      const { key, value } = best
      if (value !== undefined) {
        this.current = { key, value }
        return true
      }
      this.pass(key)
    }
  }
}
