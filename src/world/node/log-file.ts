/**
 * A log file of bounded size: once it is full it is set aside as `path.1`, in place of the one before, and begun anew. Lines
 * are never split between the two. Opened when first written to; a disk that refuses costs log lines, never the server.
 */
import fs from 'node:fs'
import { Writable } from 'node:stream'

type Settled = (error?: Error | null) => void

export function openLogFile(path: string, maxBytes: number): Writable {
  let fd: number | undefined
  let sizeBytes = 0

  const open = (settled: Settled): void => {
    if (fd !== undefined) return settled()
    return fs.open(path, 'a', 0o600, (error, opened) => {
      if (error !== null) return settled(error)
      fd = opened
      return fs.fstat(opened, (statError, stats) => {
        sizeBytes = statError === null ? stats.size : 0
        settled()
      })
    })
  }
  const close = (settled: Settled): void => {
    if (fd === undefined) return settled()
    const closing = fd
    fd = undefined
    return fs.close(closing, settled)
  }
  /** Makes room for `bytes` more. */
  const turnOver = (bytes: number, settled: Settled): void => {
    if (sizeBytes === 0 || sizeBytes + bytes <= maxBytes) return settled()
    return close(() => {
      fs.rename(path, `${path}.1`, (error) => {
        // Without room for another file the present one is emptied: the bound holds.
        if (error === null) return open(settled)
        return fs.truncate(path, 0, () => open(settled))
      })
    })
  }
  const append = (chunk: Uint8Array, settled: Settled): void => {
    open((openError) => {
      if (openError) return settled(openError)
      return turnOver(chunk.length, (turnError) => {
        if (turnError || fd === undefined) return settled(turnError)
        return writeAll(fd, chunk, (error) => {
          sizeBytes += chunk.length
          settled(error)
        })
      })
    })
  }

  return new Writable({
    decodeStrings: true,
    write(chunk: Uint8Array, _encoding, settled) {
      // A failed write loses its lines and nothing else; an error would end the stream for good.
      append(chunk, () => settled())
    },
    final: (settled) => close(() => settled()),
    destroy: (error, settled) => close(() => settled(error)),
  })
}

function writeAll(fd: number, bytes: Uint8Array, settled: Settled): void {
  fs.write(fd, bytes, (error, written) => {
    if (error === null && written < bytes.length) return writeAll(fd, bytes.subarray(written), settled)
    return settled(error)
  })
}
