/**
 * world/node: the Node.js side of the world's doors. One `openNodeWorld` per server; several may live in one process.
 *
 * Promises: (1) what `src/world/` promises; (2) an exception in a callback ends at `onFail` as an InvariantViolation
 * and never reaches the host process; (3) after `fail` or `stop` nothing is delivered and nothing new is issued: timers
 * are cleared, sockets and listeners closed, locks released once the operations in flight have ended.
 * Never: ends the process, touches its signals, blocks the event loop, keeps state between two worlds.
 * Source: etcd's and TigerBeetle's I/O layers for what must be looped, synced and bounded.
 */
import { createHmac, randomFillSync } from 'node:crypto'
import zlib from 'node:zlib'
import { crc32, type InvariantViolation } from '../../base/index.ts'
import type { Diagnostics, World } from '../index.ts'
import { createClock } from './clock.ts'
import { silentDiagnostics } from './diagnostics.ts'
import { createDisk } from './disk.ts'
import { createNetwork } from './network.ts'
import { createTurns } from './turns.ts'

export { fileDiagnostics, silentDiagnostics, streamDiagnostics } from './diagnostics.ts'

export type NodeWorldOptions = {
  /** What relative paths of the disk are relative to; the working directory when left out. */
  readonly directory?: string
  /** Where events go; nowhere when left out. */
  readonly diagnostics?: Diagnostics
  /** Hears at most once, after which the world is silent. */
  readonly onFail: (violation: InvariantViolation) => void
}

export interface NodeWorld extends World {
  /** Ends delivery and gives everything back, without a failure. Idempotent. */
  stop(): void
}

/** `zlib.crc32` came with Node.js 20.15. */
const nativeChecksum = (zlib as { crc32?: (bytes: Uint8Array, seed?: number) => number }).crc32

/** Opens the doors. Touches nothing until it is asked to. */
export function openNodeWorld(options: NodeWorldOptions): NodeWorld {
  const diagnostics = options.diagnostics ?? silentDiagnostics
  const turns = createTurns(options.onFail)
  return {
    clock: createClock(turns),
    network: createNetwork(turns, diagnostics),
    disk: createDisk(turns, options.directory ?? '.'),
    random: {
      fraction: () => Math.random(),
      bytes: (count) => randomFillSync(new Uint8Array(count)),
    },
    diagnostics,
    endOfTurn: turns.endOfTurn,
    checksum: nativeChecksum ?? crc32,
    hmacSha256(key, parts) {
      const hmac = createHmac('sha256', key)
      for (const part of parts) hmac.update(part)
      return new Uint8Array(hmac.digest())
    },
    fail: turns.fail,
    stop: turns.stop,
  }
}

/**
 * Resolves after one macrotask: every continuation of what ran before has run. For simulations, which may not use
 * Node.js themselves.
 */
export function yieldMacrotask(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve))
}
