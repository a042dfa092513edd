/**
 * The laws of the design that a program can check, each as a function from the sources to its breaches. They scan text,
 * not types: quick, and understandable enough that an exception is a line here with a reason.
 */
import { importsOf, isTest, lineOf, roomOf, type Source } from './tidy-sources.ts'

export type Breach = { readonly path: string; readonly line: number; readonly what: string }

export type Law = {
  readonly name: string
  /** What to do about a breach. */
  readonly fix: string
  check(sources: readonly Source[]): Breach[]
}

/**
 * Which rooms a room may import, beside base and world. DESIGN, 'The rooms'; where a room opens or feeds what lies below
 * its neighbours, that is listed too.
 */
const KNOWS: Readonly<Record<string, readonly string[] | 'all'>> = {
  base: [],
  world: [],
  'world/node': [],
  wire: [],
  raft: [],
  log: [],
  engine: [],
  mvcc: ['engine', 'wire'],
  // It feeds the engine and reads the messages that mvcc executes.
  replica: ['raft', 'log', 'mvcc', 'engine', 'wire'],
  links: ['wire'],
  // It opens the log and the engine that its replicas share, and hands raft's messages to links.
  server: ['replica', 'links', 'raft', 'log', 'engine', 'wire'],
  port: ['wire'],
  // It renders mvcc's refusals with etcd's codes.
  etcd: ['port', 'wire', 'server', 'mvcc'],
  client: ['wire'],
  // One whole member: the only room that joins server, port and the client APIs.
  host: ['server', 'links', 'port', 'etcd', 'wire'],
  lab: 'all',
  cli: 'all',
  // The library's face.
  '': ['client', 'server', 'host', 'world/node'],
}
/** Rooms that nobody below may know. */
const TOP_ROOMS: readonly string[] = ['cli', 'lab', '']

/** Rooms that run inside a server: results come by callback there. */
const SERVER_ROOMS: ReadonlySet<string> = new Set([
  'raft',
  'log',
  'engine',
  'mvcc',
  'replica',
  'links',
  'server',
  'port',
  'etcd',
  'wire',
])

const LONGEST_FILE = 600
const DEEPEST = 3

/** The files of the lmdb engine: the one library that does its own I/O, and answers with promises. */
function isLmdb(path: string): boolean {
  return /^src\/engine\/lmdb(?:-[a-z-]+)?\.ts$/.test(path)
}

function touchesWorld(path: string): boolean {
  const room = roomOf(path)
  const file = path.slice(path.lastIndexOf('/') + 1)
  return (
    isTest(path) ||
    path.startsWith('bench/') ||
    room === 'world/node' ||
    room === 'cli' ||
    (room === 'lab' && file.startsWith('real-'))
  )
}

/** Where `from` a relative specifier leads, as a path in the repository. */
function resolvePath(from: string, specifier: string): string {
  const parts = from.split('/').slice(0, -1)
  for (const part of specifier.split('/')) {
    if (part === '..') parts.pop()
    else if (part !== '.') parts.push(part)
  }
  return parts.join('/')
}

function breach(source: Source, at: number, what: string): Breach {
  return { path: source.path, line: lineOf(source.text, at), what }
}

/** Breaches for every match of `pattern` in the code (or the text) of the files that `applies` picks. */
function scan(
  sources: readonly Source[],
  applies: (path: string) => boolean,
  pattern: RegExp,
  field: 'code' | 'text' = 'code',
): Breach[] {
  const found: Breach[] = []
  for (const source of sources) {
    if (!applies(source.path)) continue
    for (const match of source[field].matchAll(pattern)) found.push(breach(source, match.index, match[0].trim()))
  }
  return found
}

function mayKnow(from: string, room: string, to: string): boolean {
  if (room === to || to === 'base' || to === 'world') return true
  if (to === 'world/node') return touchesWorld(from) || room === ''
  const known = KNOWS[room]
  if (known === 'all') return to !== 'cli' && (room === 'cli' || to !== '')
  return known?.includes(to) === true && !TOP_ROOMS.includes(to)
}

/** The end of the value that begins at `at`: the matching bracket of its first one. */
function endOfValue(code: string, at: number): number {
  let depth = 0
  for (let i = at; i < code.length; i++) {
    const character = code[i] ?? ''
    if ('([{'.includes(character)) depth++
    else if (')]}'.includes(character) && --depth === 0) return i + 1
  }
  return code.length
}

function mutableModuleState(source: Source): Breach[] {
  const found: Breach[] = []
  for (const match of source.code.matchAll(/^(?:export )?(?:let|var) \w+/gm)) {
    found.push(breach(source, match.index, match[0]))
  }
  const constant =
    /^(?:export )?const (\w+)(?:: ([^=]*(?:=>[^=]*)*?))? = (new (?:Map|Set|WeakMap|WeakSet|Array)\b|\[|\{)/gm
  for (const match of source.code.matchAll(constant)) {
    const [whole, name, type = '', value = ''] = match
    if (/readonly|Readonly/.test(type)) continue
    // A named type decides for itself; Map and the like are mutable by name.
    if (value === '{' && type !== '' && !/^(?:Record|Partial|object)\b|^\{/.test(type.trim())) continue
    const end = endOfValue(source.code, match.index + whole.length - (value.length === 1 ? 1 : 0))
    if (/^\s*(?:as const|satisfies)\b/.test(source.code.slice(end))) continue
    found.push(breach(source, match.index, `const ${name} = ${value}`))
  }
  return found
}

const isSource = (path: string): boolean => path.startsWith('src/') && !isTest(path)

/** Globals that could differ between two runs; the lookbehind lets a property of the same name pass. */
const WORLDLY = new RegExp(
  [
    String.raw`(?<![.\w])(?:setTimeout|setInterval|setImmediate|clearTimeout|clearInterval|clearImmediate)\b`,
    String.raw`(?<![.\w])(?:queueMicrotask|require)\s*\(|\bglobalThis\.fetch\b|\bawait fetch\s*\(`,
    String.raw`(?<![.\w])new Date\b|(?<![.\w])Date\s*\(|(?<![.\w])Date\.\w+`,
    String.raw`\bMath\.random\b|\bAbortSignal\.timeout\b`,
    String.raw`(?<![.\w])process\.(?:env|argv|pid|ppid|hrtime|nextTick|exit|exitCode|abort|on|once|cwd|memoryUsage|platform|stdin|stdout|stderr|versions?|uptime|cpuUsage|kill|arch|execPath)\b`,
    String.raw`(?<![.\w])performance\.\w+`,
    String.raw`(?<![.\w])crypto\.(?:getRandomValues|randomUUID|randomBytes|subtle)\b`,
    String.raw`(?<![.\w])(?:console|Intl)\.\w+|\.(?:toLocale\w+|localeCompare)\s*\(`,
    String.raw`(?<![.\w])(?:new WeakRef|new FinalizationRegistry|new Worker|new MessageChannel|Atomics\.\w+)\b`,
  ].join('|'),
  'g',
)

/** Which other packages a file may name: what the library depends on, where it may be named. */
function mayUsePackage(path: string, name: string): boolean {
  if (touchesWorld(path) && !path.startsWith('src/')) return true
  if (isTest(path)) return true
  if (name === 'lmdb') return isLmdb(path)
  return name === '@noble/hashes'
}

export const LAWS: readonly Law[] = [
  {
    name: 'imports between rooms point downwards (The rooms)',
    fix: 'move the code to the room that may know both, or pass what is needed as an argument',
    check: (sources) =>
      sources.flatMap((source) => {
        const room = roomOf(source.path)
        if (room === undefined || isTest(source.path)) return []
        return importsOf(source).flatMap(({ specifier, at }) => {
          if (!specifier.startsWith('.')) return []
          const target = resolvePath(source.path, specifier)
          const to = roomOf(target)
          if (to === undefined) return [breach(source, at, `src must not import ${target}`)]
          const isAllowed = mayKnow(source.path, room, to) && (room in KNOWS || room === to)
          return isAllowed ? [] : [breach(source, at, `${room === '' ? 'src' : room} must not know ${to || target}`)]
        })
      }),
  },
  {
    name: "a room's index.ts is its whole face (The rooms)",
    fix: "import from the room's index.ts, and export there what others need",
    check: (sources) =>
      sources.flatMap((source) => {
        const room = roomOf(source.path)
        if (room === undefined || isTest(source.path)) return []
        return importsOf(source).flatMap(({ specifier, at }) => {
          if (!specifier.startsWith('.')) return []
          const target = resolvePath(source.path, specifier)
          const to = roomOf(target)
          if (to === undefined || to === room || to === '' || target === `src/${to}/index.ts`) return []
          return [breach(source, at, `${target} is inside ${to}`)]
        })
      }),
  },
  {
    name: 'node:* only where the world is touched (law 1)',
    fix: 'go through a door of World, or move the code to world/node, cli, bench, a test or lab/real-*.ts',
    check: (sources) =>
      sources.flatMap((source) =>
        touchesWorld(source.path)
          ? []
          : importsOf(source)
              .filter(({ specifier }) => specifier.startsWith('node:'))
              .map(({ specifier, at }) => breach(source, at, specifier)),
      ),
  },
  {
    name: 'packages only where they belong (law 1)',
    fix: 'the library may use @noble/hashes anywhere and lmdb in engine/lmdb*.ts; do without others',
    check: (sources) =>
      sources.flatMap((source) =>
        importsOf(source).flatMap(({ specifier, at }) => {
          if (specifier.startsWith('.') || specifier.startsWith('node:')) return []
          const name = specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/')
          return mayUsePackage(source.path, name) ? [] : [breach(source, at, specifier)]
        }),
      ),
  },
  {
    name: 'no clock, chance, timer or process outside of the world (law 1)',
    fix: 'take it from World: clock, random, endOfTurn, diagnostics',
    check: (sources) => scan(sources, (path) => isSource(path) && !touchesWorld(path), WORLDLY),
  },
  {
    name: 'no mutable state at module level (law 1)',
    fix: 'hold it in what createX() returns; a constant says so: `as const`, readonly T[], ReadonlyMap, ReadonlySet',
    check: (sources) => sources.filter(({ path }) => isSource(path)).flatMap(mutableModuleState),
  },
  {
    name: 'servers complete by callback (law 3)',
    fix: 'give the result to a callback; promises are for client, the library face, cli, lab and tests',
    check: (sources) =>
      scan(
        sources,
        (path) => isSource(path) && SERVER_ROOMS.has(roomOf(path) ?? '') && !isLmdb(path),
        // `import('./x.ts').then(a, b)` takes callbacks: loading on demand has no other form.
        /(?<![.\w])(?:async|await|Promise)\b(?!\s*:)|(?<!\bimport\('[^']*'\))\.then\s*\(/g,
      ),
  },
  {
    name: 'the same code, real or simulated (law 5)',
    fix: 'give the simulator another World; the code must not know',
    check: (sources) =>
      scan(
        sources,
        (path) => isSource(path) && roomOf(path) !== 'lab' && roomOf(path) !== 'cli',
        /\b(?:is|in|when|if)?_?[sS]imulat(?:ed|ion|or|ing)\b/g,
      ),
  },
  {
    name: 'the library never ends its host or takes its signals (law 8)',
    fix: 'call world.fail, or return a Failure; only cli decides about the process',
    check: (sources) =>
      scan(
        sources,
        (path) => isSource(path) && roomOf(path) !== 'cli',
        /(?<![.\w])process\.(?:exit|abort|exitCode|on|once|addListener|prependListener)\b/g,
      ),
  },
  {
    name: 'Buffer only where Node.js is at home (law 10)',
    fix: 'use Uint8Array and the helpers of base/bytes.ts',
    check: (sources) =>
      scan(
        sources,
        (path) => isSource(path) && !touchesWorld(path) && path !== 'src/base/bytes.ts' && !isLmdb(path),
        /(?<![.\w'"])Buffer\b/g,
      ),
  },
  {
    name: 'folders at most three deep (The rooms)',
    fix: 'src/room/file.ts; a room that needs folders is two rooms',
    check: (sources) =>
      sources
        .filter(({ path }) => path.split('/').length - 1 > DEEPEST)
        .map(({ path }) => ({ path, line: 1, what: 'too deep' })),
  },
  {
    name: `no file over ${LONGEST_FILE} lines (The rooms)`,
    fix: 'one noun per file: split it',
    check: (sources) =>
      sources.flatMap(({ path, text }) => {
        const lines = text.split('\n').length - 1
        return lines > LONGEST_FILE ? [{ path, line: LONGEST_FILE + 1, what: `${lines} lines` }] : []
      }),
  },
  {
    name: 'every room has a face that says what it promises (The rooms)',
    fix: "open the room's index.ts with what it is for, `Promises: (1) …`, `Never: …` and `Source: …`",
    check(sources) {
      const rooms = new Map<string, string[]>()
      for (const { path } of sources) {
        const room = roomOf(path)
        // A room that holds nothing but contracts yet has not been moved into.
        if (room === undefined || room === '' || isTest(path) || /(?:^|[/-])types\.ts$/.test(path)) continue
        rooms.set(room, [...(rooms.get(room) ?? []), path])
      }
      const found: Breach[] = []
      for (const room of rooms.keys()) {
        const path = `src/${room}/index.ts`
        const face = sources.find((source) => source.path === path)
        const opening = face === undefined ? undefined : /^\/\*\*[\s\S]*?\*\//.exec(face.text)?.[0]
        if (opening === undefined)
          found.push({ path, line: 1, what: face === undefined ? 'missing' : 'no doc comment' })
        else if (!/Promises:\s[\s\S]*\(1\)/.test(opening)) found.push({ path, line: 1, what: 'no numbered Promises' })
        else if (!opening.includes('Never:')) found.push({ path, line: 1, what: 'no Never' })
      }
      return found
    },
  },
  {
    name: 'every source file opens with its purpose (STYLE)',
    fix: 'open it with two to ten lines of comment: what for, what it promises, what it never does',
    check: (sources) =>
      sources
        .filter(({ path, text }) => !path.endsWith('.test.ts') && !/^(?:#!.*\n)?(?:\/\*\*|\/\/ )/.test(text))
        .map(({ path }) => ({ path, line: 1, what: 'no opening comment' })),
  },
  {
    name: 'nothing is left for later in a comment',
    fix: 'do it, or write it where open work is kept',
    check: (sources) => scan(sources, () => true, /\b(?:[T]ODO|[F]IXME|[X]XX)\b/g, 'text'),
  },
  {
    name: 'no path of one machine',
    fix: 'use os.tmpdir(), or a path relative to the repository',
    check: (sources) => scan(sources, () => true, /(?<![\w.\]*)])\/(?:work|home|root|Users|tmp)\//g, 'text'),
  },
  {
    name: 'no test is left out in silence',
    fix: "run it, or say why not: { skip: 'reason' }",
    check: (sources) => scan(sources, isTest, /\.(?:only|skip|todo)\s*\(|(?<![.\w])(?:only|skip|todo):\s*true\b/g),
  },
  {
    name: 'the type checker is not silenced',
    fix: 'describe the type; where it cannot be described, `unknown` and a check',
    check: (sources) => [
      ...scan(sources, () => true, /\bas any\b|<any>/g),
      ...scan(sources, () => true, /@ts-(?:ignore|nocheck)\b/g, 'text'),
    ],
  },
]
