/**
 * What a program wrote to one file, in order, from a trace of its system calls, and what a loss of power at any moment may
 * leave of the file: everything up to the last sync, and of later writes any sectors.
 */
import assert from 'node:assert/strict'

export type FileEvent =
  | { readonly type: 'write'; readonly offset: number; readonly bytes: Uint8Array; readonly isSynced: boolean }
  | { readonly type: 'sync' }
  | { readonly type: 'truncate'; readonly sizeBytes: number }
  /** A line that the program printed. */
  | { readonly type: 'said'; readonly line: string }

/** System calls that `parseTrace` understands. */
export const TRACED = 'openat,close,lseek,write,writev,pwrite64,pwritev,pwritev2,fdatasync,fsync,msync,ftruncate,mmap'

/**
 * Of the output of `strace -f -xx`. A write counts from its beginning, a sync from its end. Fails on whatever could change
 * the file and is not understood.
 */
export function parseTrace(trace: string, path: string): FileEvent[] {
  const events: FileEvent[] = []
  /** Descriptors of the file: where they stand, and whether their writes are synced ones. */
  const open = new Map<number, { at: number; isSynced: boolean }>()
  const unfinished = new Map<string, string>()
  for (const line of trace.split('\n')) {
    const [, pid, rest] = /^(\d+)\s+(.*)$/.exec(line) ?? []
    if (pid === undefined || rest === undefined) continue
    const resumed = /^<\.\.\. \w+ resumed>(.*)$/.exec(rest)
    if (rest.endsWith('<unfinished ...>')) {
      const call = rest.slice(0, -'<unfinished ...>'.length)
      unfinished.set(pid, call)
      if (/^(?:p?write|ftruncate)/.test(call)) apply(`${call}) = ?`)
    } else if (resumed) {
      const call = `${unfinished.get(pid) ?? ''}${resumed[1] ?? ''}`
      if (!/^(?:p?write|ftruncate)/.test(call)) apply(call)
    } else apply(rest)
  }
  return events

  function apply(call: string): void {
    const name: string = /^\w+/.exec(call)?.[0] ?? ''
    const result = Number(/= (-?\d+)[^=]*$/.exec(call)?.[1] ?? Number.NaN)
    const fd = Number(/^\w+\((\d+)/.exec(call)?.[1])
    const file = open.get(fd)
    switch (name) {
      case 'openat': {
        const opened = textOf(/^openat\([^,]*, "([^"]*)"/.exec(call)?.[1] ?? '')
        if (opened === path && result >= 0) open.set(result, { at: 0, isSynced: /O_DSYNC|O_SYNC/.test(call) })
        return
      }
      case 'close':
        open.delete(fd)
        return
      case 'lseek':
        if (file !== undefined && result >= 0) file.at = result
        return
      case 'write':
        if (fd === 1) {
          for (const line of textOf(/"([^"]*)"/.exec(call)?.[1] ?? '').split('\n'))
            if (line !== '') events.push({ type: 'said', line })
          return
        }
        break
      case 'mmap':
        assert.ok(
          !(
            /PROT_WRITE/.test(call) &&
            /MAP_SHARED/.test(call) &&
            open.has(Number(/, (\d+), (?:0x)?[\da-f]+\)/.exec(call)?.[1]))
          ),
          `the file is mapped for writing, and what is written so is not recorded: ${call}`,
        )
        return
      default:
    }
    if (file === undefined) return
    switch (name) {
      case 'pwrite64':
        put(Number(/, (\d+)\s*\)[^)]*$/.exec(call)?.[1]), call, file.isSynced)
        return
      case 'write':
      case 'writev':
        file.at += put(file.at, call, file.isSynced)
        return
      case 'fdatasync':
      case 'fsync':
        if (result === 0) events.push({ type: 'sync' })
        return
      case 'ftruncate':
        events.push({ type: 'truncate', sizeBytes: Number(/, (\d+)\)/.exec(call)?.[1]) })
        return
      default:
        assert.fail(`a call that is not understood: ${call.slice(0, 200)}`)
    }
  }

  function put(offset: number, call: string, isSynced: boolean): number {
    const bytes = Buffer.concat([...call.matchAll(/"((?:\\x[\da-f]{2})*)"/g)].map(([, hex]) => bytesOf(hex ?? '')))
    assert.ok(Number.isSafeInteger(offset) && bytes.length > 0, `a write that is not understood: ${call.slice(-200)}`)
    events.push({ type: 'write', offset, bytes, isSynced })
    return bytes.length
  }
}

function bytesOf(escaped: string): Buffer {
  return Buffer.from(escaped.replaceAll('\\x', ''), 'hex')
}

function textOf(escaped: string): string {
  return bytesOf(escaped).toString('utf8')
}

/** Which part of an unsynced write survives: asked for each sector. */
export type Survival = (write: number, sector: number) => boolean

/** The file at `crashAt` (the event under way or next), on top of `initial`. `ignoreSyncs` is for showing that they matter. */
export function imageAt(
  initial: Uint8Array,
  events: readonly FileEvent[],
  crashAt: number,
  sectorBytes: number,
  survives: Survival,
  ignoreSyncs = false,
): Uint8Array {
  const past = events.slice(0, crashAt)
  const lastSync = ignoreSyncs ? -1 : past.findLastIndex(({ type }) => type === 'sync')
  let image = Buffer.from(initial)
  const put = (offset: number, bytes: Uint8Array): void => {
    if (offset + bytes.length > image.length)
      image = Buffer.concat([image, Buffer.alloc(offset + bytes.length - image.length)])
    image.set(bytes, offset)
  }
  past.forEach((event, at) => {
    if (event.type === 'truncate') assert.fail('truncation is not modelled')
    if (event.type !== 'write') return
    // The last one may be under way.
    const isDurable = at < lastSync || (event.isSynced && at < crashAt - 1)
    if (isDurable) return put(event.offset, event.bytes)
    for (let from = 0; from < event.bytes.length;) {
      const to = Math.min(event.bytes.length, from + sectorBytes - ((event.offset + from) % sectorBytes))
      if (survives(at, from)) put(event.offset + from, event.bytes.subarray(from, to))
      from = to
    }
  })
  return image
}
