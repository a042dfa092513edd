/**
 * One socket write per connection per turn: sessions that have output mark themselves, and at the end of the turn each
 * writes all it has gathered.
 */
import type { World } from '../world/index.ts'

export interface Flushable {
  flush(): void
}

export interface Flusher {
  mark(session: Flushable): void
}

export function createFlusher(world: World): Flusher {
  let marked: Set<Flushable> = new Set()
  const flushAll = (): void => {
    const now = marked
    marked = new Set()
    for (const session of now) session.flush()
  }
  return {
    mark(session) {
      if (marked.size === 0) world.endOfTurn(flushAll)
      marked.add(session)
    },
  }
}
