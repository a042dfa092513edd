/** A strict reader of Prometheus' text format 0.0.4: throws at whatever a scraper would refuse. */
export type Family = {
  readonly name: string
  readonly type: string
  readonly help: string
  readonly samples: { readonly labels: Readonly<Record<string, string>>; readonly value: number }[]
}

const NAME = '[a-zA-Z_:][a-zA-Z0-9_:]*'
const LABEL = '([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\\\\n]|\\\\["\\\\n])*)"'
const SAMPLE = new RegExp(`^(${NAME})(?:\\{((?:${LABEL},?)*)\\})? (NaN|[+-]Inf|-?[0-9.]+(?:e[+-]?[0-9]+)?)$`)

export function parseExposition(text: string): Family[] {
  const families = new Map<string, Family>()
  if (!text.endsWith('\n')) throw new Error('the last line does not end')
  let last: Family | undefined
  let help: { readonly name: string; readonly text: string } | undefined
  for (const line of text.slice(0, -1).split('\n')) {
    const about = /^# HELP (\S+) (.*)$/.exec(line)
    if (about !== null) {
      help = { name: about[1] as string, text: unescape(about[2] as string) }
      continue
    }
    const typed = /^# TYPE (\S+) (counter|gauge|histogram|summary|untyped)$/.exec(line)
    if (typed !== null) {
      const name = typed[1] as string
      if (help?.name !== name) throw new Error(`no HELP before ${line}`)
      if (families.has(name)) throw new Error(`a second group of ${name}`)
      last = { name, type: typed[2] as string, help: help.text, samples: [] }
      families.set(name, last)
      continue
    }
    const sample = SAMPLE.exec(line)
    if (sample === null) throw new Error(`not a line of the format: ${JSON.stringify(line)}`)
    if (last === undefined || last.name !== sample[1]) throw new Error(`${line} stands outside of its group`)
    last.samples.push({ labels: labelsOf(sample[2] ?? ''), value: valueOf(sample.at(-1) as string) })
  }
  for (const { name, samples } of families.values()) {
    const sets = samples.map((sample) => JSON.stringify(Object.entries(sample.labels).map(String).sort()))
    if (new Set(sets).size !== sets.length) throw new Error(`${name} has two samples with the same labels`)
  }
  return [...families.values()]
}

function labelsOf(text: string): Record<string, string> {
  const labels: Record<string, string> = {}
  for (const [, name, value] of text.matchAll(new RegExp(LABEL, 'g'))) {
    if (Object.hasOwn(labels, name as string)) throw new Error(`label ${name} comes twice`)
    labels[name as string] = unescape(value as string)
  }
  return labels
}

function unescape(text: string): string {
  return text.replace(/\\(["\\n])/g, (_, escaped: string) => (escaped === 'n' ? '\n' : escaped))
}

function valueOf(text: string): number {
  return text === '+Inf' ? Number.POSITIVE_INFINITY : text === '-Inf' ? Number.NEGATIVE_INFINITY : Number(text)
}
