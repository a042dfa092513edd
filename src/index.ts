/**
 * The library's face. `Skein.start` runs a server inside this process; `Skein.connect` speaks to any etcd v3 cluster.
 *
 * Promises: (1) promises, and typed errors (`SkeinError`) that name one fix; (2) never ends its host process, takes its
 * signals or writes to its console.
 * Never: contains behaviour of its own: it joins client and host to the Node.js world.
 */
import type { Result } from './base/index.ts'
import { failure, SkeinError } from './base/index.ts'
import type { Client, ClientOptions } from './client/index.ts'
import { connectClient } from './client/index.ts'
import { startServer } from './host/index.ts'
import type { RunningServer, ServerEvent, ServerOptions, ServerStatus } from './server/index.ts'
import { openNodeWorld } from './world/node/index.ts'

export type { FailureCode } from './base/index.ts'
export { FAILURES, SkeinError } from './base/index.ts'
export type { Client, ClientOptions, Watch, WatchBatch, WatchEvent, WatchOptions } from './client/index.ts'
export type { BootstrapMember, ServerEvent, ServerOptions, ServerStatus } from './server/index.ts'

/** A server that runs inside this process. */
export interface EmbeddedServer {
  /** Where clients and members connect. */
  readonly address: string
  status(): ServerStatus
  /** A graceful stop: hands leadership over, makes everything durable. */
  stop(): Promise<void>
}

/** Starts a server in this process. Rejects with SkeinError: data-in-use, address-in-use, log-damaged and the like. */
async function start(
  options: ServerOptions,
  onEvent: (event: ServerEvent) => void = () => {},
): Promise<EmbeddedServer> {
  return new Promise((resolve, reject) => {
    const world = openNodeWorld({
      onFail: (violation) => {
        onEvent({ type: 'failed', violation })
        reject(new SkeinError(failure('internal', violation.message), { cause: violation }))
      },
    })
    startServer(world, options, onEvent, (result: Result<RunningServer>) => {
      if (!result.ok) return reject(new SkeinError(result.error))
      const running = result.value
      resolve({
        address: running.address,
        status: running.status,
        stop: () => new Promise((stopped) => running.stop(stopped)),
      })
    })
  })
}

/** A client of any etcd v3 cluster. Connects when it is first used. */
function connect(options: ClientOptions): Client {
  return connectClient(
    openNodeWorld({
      onFail: (violation) => {
        throw violation
      },
    }),
    options,
  )
}

export const Skein: { readonly start: typeof start; readonly connect: typeof connect } = { start, connect }
