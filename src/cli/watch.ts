/** `skein watch`: prints what happens to a key or a range as it happens, whichever servers come and go. */
import type { Client, WatchEvent } from '../client/index.ts'
import { EXIT } from './exit.ts'
import { plain, RANGE_OPTIONS, rangeOf, show } from './kv.ts'
import type { OptionSpecs, Parsed } from './options.ts'
import { flag, option } from './options.ts'
import type { Output } from './output.ts'
import { listenForStop } from './until-stopped.ts'

export const WATCH_OPTIONS: OptionSpecs = {
  ...RANGE_OPTIONS,
  rev: option('R', 'everything since revision R, not only what happens from now on'),
  prev: flag('also print the value before'),
  'no-put': flag('only deletions'),
  'no-delete': flag('only puts'),
}

export async function watch(client: Client, parsed: Parsed, output: Output): Promise<number> {
  const startRevision = parsed.number('rev', 1, Number.MAX_SAFE_INTEGER)
  const watched = client.watch({
    ...rangeOf('watch', parsed),
    ...(startRevision !== undefined && { startRevision }),
    prevKv: parsed.flag('prev'),
    noPut: parsed.flag('no-put'),
    noDelete: parsed.flag('no-delete'),
  })
  const signals = listenForStop()
  void signals.asked.then(() => watched.close())
  try {
    // In case of an error the loop below throws it.
    watched.started.then(
      (revision) => output.progress(`skein: watching from revision ${startRevision ?? revision + 1}; Ctrl-C ends it`),
      () => undefined,
    )
    for await (const { events } of watched) for (const event of events) print(event, output)
    return EXIT.ok
  } finally {
    signals.release()
    watched.close()
  }
}

/** As etcdctl prints it: what happened, the value before where it was asked for, the key, the value. */
function print({ type, kv, prevKv }: WatchEvent, output: Output): void {
  if (output.json) return output.object({ type, ...plain(kv), ...(prevKv && { prev: plain(prevKv) }) })
  output.print(type === 'put' ? 'PUT' : 'DELETE')
  if (prevKv !== undefined) {
    output.print(show(prevKv.key, output))
    output.print(show(prevKv.value, output))
  }
  output.print(show(kv.key, output))
  output.print(show(kv.value, output))
}
