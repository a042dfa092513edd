/** Opens a log: recovers it, then makes durable what recovery says about it, before anybody hears of it. */
import type { Result } from '../base/index.ts'
import { ok } from '../base/index.ts'
import type { DiskFile, Done, World } from '../world/index.ts'
import { segmentName } from './format.ts'
import { Log } from './log.ts'
import { type RecoveredLog, recoverLog } from './recovery.ts'
import type { LogOptions, WriteAheadLog } from './types.ts'

/** Failures: `log-damaged` with file and offset in its details, `data-newer`, or of the disk. */
export function openLog(world: World, options: LogOptions, done: (result: Result<WriteAheadLog>) => void): void {
  const { disk } = world
  const { directory } = options
  disk.makeDirectory(directory, (made) => {
    if (!made.ok) return done(made)
    recoverLog(world, directory, (recovered) => {
      if (!recovered.ok) return done(recovered)
      const found = recovered.value
      removeUnfinished(world, directory, found, (removed) => {
        if (!removed.ok) return done(removed)
        // The names of what was found may not be durable either.
        disk.syncDirectory(directory, (synced) => {
          if (!synced.ok) return done(synced)
          const last = found.segments.at(-1)
          if (last === undefined) return done(ok(new Log(world, options, found, undefined)))
          disk.open(`${directory}/${segmentName(last.number)}`, { create: false }, (opened) => {
            if (!opened.ok) return done(opened)
            settleTail(world, opened.value, found, (settled) => {
              if (settled.ok) done(ok(new Log(world, options, found, opened.value)))
              else opened.value.close(() => done(settled))
            })
          })
        })
      })
    })
  })
}

function removeUnfinished(world: World, directory: string, { unfinished }: RecoveredLog, done: Done<void>): void {
  if (unfinished === undefined) return done(ok())
  world.diagnostics.log('warn', 'log-segment-unfinished', { segment: unfinished })
  world.disk.remove(`${directory}/${segmentName(unfinished)}`, done)
}

/** Cuts a torn tail and writes the last batch again (see recovery.ts), then syncs. */
function settleTail(world: World, file: DiskFile, found: RecoveredLog, done: Done<void>): void {
  const { rewrite, isTorn, segments } = found
  const last = segments.at(-1)
  if (last === undefined || rewrite === undefined) return done(ok())
  const settle = (): void => {
    file.read(rewrite.offset, rewrite.sizeBytes, (read) => {
      if (!read.ok) return done(read)
      file.write(rewrite.offset, [read.value], (written) => {
        if (!written.ok) return done(written)
        file.datasync(done)
      })
    })
  }
  if (!isTorn) return settle()
  world.diagnostics.log('warn', 'log-tail-cut', { file: file.path, offset: last.endBytes })
  file.truncate(last.endBytes, (cut) => {
    if (!cut.ok) return done(cut)
    last.fileBytes = last.endBytes
    settle()
  })
}
