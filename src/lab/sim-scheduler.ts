/**
 * Virtual time: one queue of events, ordered by (time, order of scheduling), which is the only source of order in a
 * simulation. A binary heap in an array; cancelled events stay until they are due or until they are the majority, when
 * the heap is rebuilt without them, so that timers that are set and cancelled for ever take no memory.
 */

export interface SimEvent {
  readonly atMs: number
  readonly order: number
  /** Undefined once it ran or was cancelled. */
  run: (() => void) | undefined
}

export interface Scheduler {
  /** Milliseconds since the simulation began. */
  readonly nowMs: number
  /** Events that will run. */
  readonly pending: number
  /** Runs `run` at `atMs`, or now where that is past. */
  at(atMs: number, run: () => void): SimEvent
  cancel(event: SimEvent): void
  /** The time of the next event, Infinity without one. */
  nextMs(): number
  /** Runs the next event; false where there is none. */
  step(): boolean
  /** Moves time forward to `atMs`, where no event lies before it. */
  advance(atMs: number): void
}

const FEWEST_TO_REBUILD = 1024

function before(left: SimEvent, right: SimEvent): boolean {
  return left.atMs < right.atMs || (left.atMs === right.atMs && left.order < right.order)
}

/** Restores the heap below `from`. */
function sink(heap: SimEvent[], from: number): void {
  const size = heap.length
  // `as SimEvent`: every index is checked against the size.
  const moved = heap[from] as SimEvent
  let at = from
  for (;;) {
    let child = 2 * at + 1
    if (child >= size) break
    if (child + 1 < size && before(heap[child + 1] as SimEvent, heap[child] as SimEvent)) child++
    if (!before(heap[child] as SimEvent, moved)) break
    heap[at] = heap[child] as SimEvent
    at = child
  }
  heap[at] = moved
}

function rise(heap: SimEvent[], from: number): void {
  const moved = heap[from] as SimEvent
  let at = from
  while (at > 0) {
    const parent = (at - 1) >> 1
    if (!before(moved, heap[parent] as SimEvent)) break
    heap[at] = heap[parent] as SimEvent
    at = parent
  }
  heap[at] = moved
}

export function createScheduler(): Scheduler {
  let heap: SimEvent[] = []
  let nowMs = 0
  let order = 0
  let cancelled = 0

  function pop(): SimEvent | undefined {
    const first = heap[0]
    const last = heap.pop()
    if (first === undefined || last === undefined) return undefined
    if (heap.length > 0) {
      heap[0] = last
      sink(heap, 0)
    }
    return first
  }

  function dropCancelled(): void {
    while (heap.length > 0 && (heap[0] as SimEvent).run === undefined) {
      pop()
      cancelled--
    }
  }

  function rebuild(): void {
    heap = heap.filter((event) => event.run !== undefined)
    for (let at = (heap.length >> 1) - 1; at >= 0; at--) sink(heap, at)
    cancelled = 0
  }

  return {
    get nowMs() {
      return nowMs
    },
    get pending() {
      return heap.length - cancelled
    },
    at(atMs, run) {
      const event: SimEvent = { atMs: atMs > nowMs ? atMs : nowMs, order: order++, run }
      heap.push(event)
      rise(heap, heap.length - 1)
      return event
    },
    cancel(event) {
      if (event.run === undefined) return
      event.run = undefined
      cancelled++
      if (cancelled > FEWEST_TO_REBUILD && cancelled * 2 > heap.length) rebuild()
    },
    nextMs() {
      dropCancelled()
      return heap[0]?.atMs ?? Infinity
    },
    step() {
      dropCancelled()
      const event = pop()
      if (event?.run === undefined) return false
      nowMs = event.atMs
      const { run } = event
      event.run = undefined
      run()
      return true
    },
    advance(atMs) {
      if (atMs > nowMs) nowMs = atMs
    },
  }
}
