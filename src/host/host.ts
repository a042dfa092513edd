/**
 * A whole running member: the server, its port, and the APIs on it. Used alike by the command line, by applications that
 * embed a server, and by the simulator.
 */
import type { Result } from '../base/index.ts'
import { err, ok } from '../base/index.ts'
import { etcdServices } from '../etcd/index.ts'
import { recognisePeer } from '../links/index.ts'
import type { Port } from '../port/index.ts'
import { openPort } from '../port/index.ts'
import type { RunningServer, Server, ServerEvent, ServerOptions } from '../server/index.ts'
import { LIMITS, openServer } from '../server/index.ts'
import type { World } from '../world/index.ts'
import { VERSION } from './version.ts'

/**
 * Opens a member and serves it. `done` is called once clients may come (an election may still be going on).
 * Failures: those of openServer, and of listening (address-in-use, permission-denied).
 */
export function startServer(
  world: World,
  options: ServerOptions,
  onEvent: (event: ServerEvent) => void,
  done: (result: Result<RunningServer>) => void,
): void {
  openServer(world, options, onEvent, (opened) => {
    if (!opened.ok) return done(opened)
    const server = opened.value
    const services = etcdServices(world, server.requests, {
      version: VERSION,
      tls: options.tls !== undefined,
      ...(options.tuning?.watchProgressMs !== undefined && { progressIntervalMs: options.tuning.watchProgressMs }),
    })
    openPort(
      world,
      {
        listen: options.listen,
        tls: options.tls,
        grpc: LIMITS.grpc,
        maxConnections: LIMITS.maxConnections,
        recogniseTimeoutMs: LIMITS.recogniseTimeoutMs,
      },
      {
        ...services,
        peer: (connection, firstBytes) => server.acceptPeer(connection, firstBytes),
      },
      recognisePeer,
      (listening) => {
        if (!listening.ok) return server.close(() => done(err(listening.error)))
        world.diagnostics.log('info', 'serving', {
          name: options.name,
          address: listening.value.address,
          version: VERSION,
        })
        done(ok(running(world, server, services.stop, listening.value)))
      },
    )
  })
}

function running(world: World, server: Server, stopServices: () => void, port: Port): RunningServer {
  let stopping: (() => void)[] | undefined
  let stopped = false
  return {
    memberId: server.memberId,
    address: port.address,
    status: () => server.status(),
    stop(done) {
      if (stopped) return world.endOfTurn(done)
      if (stopping !== undefined) {
        stopping.push(done)
        return
      }
      stopping = [done]
      world.diagnostics.log('info', 'stopping')
      server.handOver(() => {
        stopServices()
        port.drain(LIMITS.drainMs, () =>
          server.close(() =>
            port.close(() => {
              stopped = true
              world.diagnostics.log('info', 'stopped')
              for (const tell of stopping ?? []) tell()
            }),
          ),
        )
      })
    },
  }
}
