/** The signals that end a command which stays in the foreground. */

const PARENT_CHECK_MS = 200

export interface StopSignals {
  /** Resolves with the first reason to stop. */
  readonly asked: Promise<string>
  /** Any other reason. */
  ask(why: string): void
  release(): void
}

/**
 * Listens for TERM, INT and HUP. Under npm also for npm's end: npm and its shell do not pass every signal on, and what they
 * leave behind would hold its ports.
 */
export function listenForStop(): StopSignals {
  let ask: (why: string) => void = () => undefined
  const asked = new Promise<string>((resolve) => {
    ask = resolve
  })
  const signals = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const
  for (const signal of signals) process.on(signal, ask)
  const parent = process.ppid
  const watch =
    process.env['npm_lifecycle_event'] === undefined
      ? undefined
      : setInterval(() => {
          if (process.ppid !== parent) ask('the parent ended')
        }, PARENT_CHECK_MS)
  watch?.unref()
  return {
    asked,
    ask: (why) => ask(why),
    release() {
      clearInterval(watch)
      for (const signal of signals) process.off(signal, ask)
    },
  }
}
