/**
 * The network over node:net and node:tls: Nagle off, handlers in place before the first byte, failures as values.
 * A listener's TLS handshake and a dial have a bounded time.
 */
import net from 'node:net'
import tls from 'node:tls'
import { err, failure, ok } from '../../base/index.ts'
import type { Diagnostics, Listener, Network, TlsOptions } from '../index.ts'
import { formatAddress, parseAddress } from './addresses.ts'
import { adoptSocket } from './connection.ts'
import { dialFailure, listenFailure } from './failures.ts'
import type { Turns } from './turns.ts'

const TLS_HANDSHAKE_MS = 10_000
const BACKLOG = 1024

function secureContext(options: TlsOptions): tls.SecureContextOptions {
  return {
    ...(options.cert === undefined ? {} : { cert: options.cert }),
    ...(options.key === undefined ? {} : { key: options.key }),
    ...(options.ca === undefined ? {} : { ca: options.ca }),
    minVersion: 'TLSv1.2',
  }
}

function makeServer(options: TlsOptions | undefined, diagnostics: Diagnostics): net.Server {
  if (options === undefined) return net.createServer({ noDelay: true })
  const server = tls.createServer({
    ...secureContext(options),
    noDelay: true,
    handshakeTimeout: TLS_HANDSHAKE_MS,
    requestCert: options.requestClientCert === true,
    rejectUnauthorized: options.requestClientCert === true,
    // gRPC over TLS needs the protocol negotiated; a client that offers none still gets in.
    ALPNProtocols: ['h2', 'http/1.1'],
  })
  server.on('tlsClientError', (error, socket) => {
    diagnostics.log('warn', 'tls-handshake-failed', { peer: socket.remoteAddress, reason: error.message })
    socket.destroy()
  })
  return server
}

/** Waits for `listening` or the error that comes instead. */
function listenOn(server: net.Server, host: string, port: number, settled: (error: Error | undefined) => void): void {
  const onError = (error: Error): void => settled(error)
  server.once('error', onError)
  server.listen({ host, port, backlog: BACKLOG }, () => {
    server.off('error', onError)
    settled(undefined)
  })
}

export function createNetwork(turns: Turns, diagnostics: Diagnostics): Network {
  return {
    listen(address, options, accept, done) {
      if (turns.stopped) return
      const where = parseAddress(address)
      if (where === undefined) {
        turns.later(done, err(failure('invalid-request', `"${address}" is not host:port`, { address })))
        return
      }
      let server: net.Server
      try {
        server = makeServer(options.tls, diagnostics)
      } catch (error) {
        const why = error instanceof Error ? error.message : String(error)
        turns.later(done, err(failure('invalid-request', `TLS for ${address} cannot be set up: ${why}`, { address })))
        return
      }
      const forget = turns.onStop(() => server.close())
      server.on(options.tls === undefined ? 'connection' : 'secureConnection', (socket: net.Socket) => {
        adoptSocket(socket, turns, accept)
      })
      listenOn(server, where.host, where.port, (error) => {
        if (error !== undefined) {
          forget()
          turns.enter(done, err(listenFailure(address, error)))
          return
        }
        server.on('error', (later) => diagnostics.log('error', 'listener-error', { address, reason: later.message }))
        const bound = server.address() as net.AddressInfo | null
        const listener: Listener = {
          address: formatAddress(where.host, bound?.port ?? where.port),
          close(closed) {
            forget()
            // The callback of server.close waits for open connections, which the contract lets stay.
            server.close()
            turns.later(closed, undefined)
          },
        }
        turns.enter(done, ok(listener))
      })
    },

    dial(address, options, opened) {
      if (turns.stopped) return
      const where = parseAddress(address)
      if (where === undefined) {
        const why = failure('unreachable', `cannot connect to "${address}": it is not host:port`, { address })
        turns.later(opened, err(why))
        return
      }
      let socket: net.Socket
      try {
        socket =
          options.tls === undefined
            ? net.connect({ ...where, noDelay: true })
            : tls.connect({
                ...where,
                ...secureContext(options.tls),
                servername: options.tls.serverName ?? (net.isIP(where.host) === 0 ? where.host : ''),
                ALPNProtocols: ['h2'],
              })
      } catch (error) {
        turns.later(opened, err(dialFailure(address, error)))
        return
      }
      const forget = turns.onStop(() => socket.destroy())
      let settled = false
      const settle = (): boolean => {
        if (settled) return false
        settled = true
        forget()
        clearTimeout(timer)
        return true
      }
      const giveUp = (error: Error): void => {
        if (!settle()) return
        socket.destroy()
        turns.enter(opened, err(dialFailure(address, error)))
      }
      const timer = setTimeout(
        () => giveUp(new Error(`no answer within ${options.timeoutMs} ms`)),
        Math.min(options.timeoutMs, 2 ** 31 - 1),
      )
      socket.on('error', giveUp)
      socket.on('close', () => giveUp(new Error('the connection was closed before it was ready')))
      socket.once(options.tls === undefined ? 'connect' : 'secureConnect', () => {
        if (!settle()) return
        socket.setNoDelay(true)
        adoptSocket(socket, turns, (connection) => opened(ok(connection)))
      })
    },
  }
}
