/**
 * One socket as the contract's Connection. Socket events become handler calls, each in a turn; a close flushes first and
 * then waits a bounded time for the other side's end, reading and dropping, because closing a socket with unread bytes
 * makes the kernel send a reset that can destroy what was just flushed.
 */
import type { Socket } from 'node:net'
import { type TLSSocket } from 'node:tls'
import { failure, type Failure } from '../../base/index.ts'
import type { Connection, ConnectionHandlers, TlsIdentity } from '../index.ts'
import { formatAddress } from './addresses.ts'
import { connectionFailure } from './failures.ts'
import type { Turns } from './turns.ts'

/** `write` answers false from this many queued bytes on. */
export const WRITE_LIMIT_BYTES: number = 256 * 1024
/** How long an ended connection waits for the other side's end before it is destroyed. */
const LINGER_MS = 2000

/** Splits Node.js's `DNS:a, IP Address:b` text, in which odd names are JSON strings. */
export function splitSubjectAltNames(text: string): string[] {
  const names: string[] = []
  for (const match of text.matchAll(/([A-Za-z ]+):("(?:[^"\\]|\\.)*"|[^,"]*)(?:, |$)/g)) {
    const value = match[2] ?? ''
    if (!value.startsWith('"')) {
      names.push(value)
      continue
    }
    try {
      names.push(JSON.parse(value) as string)
    } catch {
      // Not a name that anybody can be granted rights by.
    }
  }
  return names
}

function identityOf(socket: Socket): TlsIdentity | undefined {
  if (!('getPeerCertificate' in socket)) return undefined
  const certificate = (socket as TLSSocket).getPeerCertificate()
  // An empty object where the other side showed none.
  if (certificate?.subject === undefined) return undefined
  // A certificate with several common names gives an array, whatever the types say: such a one names nobody.
  const commonName: unknown = certificate.subject.CN
  return {
    commonName: typeof commonName === 'string' ? commonName : '',
    subjectAltNames: splitSubjectAltNames(certificate.subjectaltname ?? ''),
  }
}

/**
 * Wraps an open socket. `own` is called with the Connection and returns its handlers, within the caller's turn; bytes
 * flow only after that.
 */
export function adoptSocket(
  socket: Socket,
  turns: Turns,
  own: (connection: Connection) => ConnectionHandlers | undefined,
): void {
  const localAddress = formatAddress(socket.localAddress, socket.localPort)
  const remoteAddress = formatAddress(socket.remoteAddress, socket.remotePort)
  const tlsIdentity = identityOf(socket)
  let wantsDrain = false
  let ending = false
  let reason: Failure | undefined
  let linger: NodeJS.Timeout | undefined

  const connection: Connection = {
    localAddress,
    remoteAddress,
    tlsIdentity,
    write(bytes) {
      if (ending || socket.destroyed || !socket.writable) return true
      socket.write(bytes)
      if (socket.writableLength < WRITE_LIMIT_BYTES) return true
      wantsDrain = true
      return false
    },
    get bufferedBytes() {
      return socket.writableLength
    },
    pause() {
      if (!ending) socket.pause()
    },
    resume() {
      if (!ending) socket.resume()
    },
    close() {
      if (ending || socket.destroyed) return
      ending = true
      socket.end()
      socket.resume()
    },
    reset() {
      if (socket.destroyed) return
      ending = true
      reason = failure('connection-lost', `connection with ${remoteAddress} was reset by this side`, {
        address: remoteAddress,
      })
      // A TLS socket cannot send a TCP reset; destroying it drops what is queued all the same. Nor can one whose end is
      // on its way: there Node.js 20 loses the request for it, and the process would never exit.
      const canReset = tlsIdentity === undefined && !('encrypted' in socket) && !socket.writableEnded
      if (canReset) socket.resetAndDestroy()
      else socket.destroy()
    },
  }

  const forget = turns.onStop(() => socket.destroy())
  socket.on('error', (error) => {
    reason ??= connectionFailure(remoteAddress, error)
  })
  // Without allowHalfOpen Node.js answers the other side's end with ours, after what is queued.
  socket.on('finish', () => {
    linger = setTimeout(() => socket.destroy(), LINGER_MS)
    linger.unref()
  })
  let handlers: ConnectionHandlers | undefined
  socket.on('close', () => {
    clearTimeout(linger)
    forget()
    ending = true
    if (handlers !== undefined) turns.enter((ended) => handlers?.onClose(ended), reason)
  })

  turns.enter((given) => {
    handlers = own(given)
  }, connection)
  if (handlers === undefined) {
    socket.destroy()
    return
  }
  const owner = handlers
  const onData = (bytes: Uint8Array): void => owner.onData(bytes)
  socket.on('data', (chunk: Buffer) => {
    // A plain view: Buffer's slice() shares memory where Uint8Array's copies.
    if (!ending) turns.enter(onData, new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length))
  })
  const onDrain = (): void => owner.onDrain()
  socket.on('drain', () => {
    if (!wantsDrain || ending) return
    wantsDrain = false
    turns.enter(onDrain, undefined)
  })
}
