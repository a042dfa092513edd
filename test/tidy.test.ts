/**
 * The laws of the design, enforced: one test each, and for each law a test that small bad snippets break it and good
 * ones do not, so that a law cannot fall asleep.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LAWS } from './tidy-laws.ts'
import { blank, importsOf, readSources, repository, source } from './tidy-sources.ts'

const sources = readSources(repository())
const TYPICAL_LINES = 200

/** Breaches that are known and owed: each names its file, the law, and what will end it. To be emptied, not filled. */
const OWED: readonly { readonly path: string; readonly law: string; readonly until: string }[] = []

for (const law of LAWS) {
  test(`tidy: ${law.name}`, (t) => {
    const owed = OWED.filter((one) => law.name.startsWith(one.law))
    const found = law.check(sources)
    for (const { path, until } of owed) {
      t.diagnostic(
        found.some((one) => one.path === path) ? `owed: ${path}, until ${until}` : `paid, delete it: ${path}`,
      )
    }
    const breaches = found
      .filter(({ path }) => owed.every((one) => one.path !== path))
      .map(({ path, line, what }) => `${path}:${line}: ${what}`)
    assert.equal(breaches.length, 0, `\n${breaches.join('\n')}\nThe law: ${law.name}.\nThe fix: ${law.fix}.\n`)
  })
}

test('tidy: long files, for information', (t) => {
  const long = sources
    .filter(({ path }) => !path.endsWith('.test.ts'))
    .map(({ path, text }) => ({ path, lines: text.split('\n').length - 1 }))
    .filter(({ lines }) => lines > TYPICAL_LINES)
  t.diagnostic(
    `over ${TYPICAL_LINES} lines: ${long.map(({ path, lines }) => `${path} (${lines})`).join(', ') || 'none'}`,
  )
  assert.ok(sources.length > 20, 'the sources were found')
})

/** What these files must not hold themselves, in two parts. */
const split = (head: string, tail: string): string => head + tail

/** For each law, by a piece of its name: `[path, text]` that break it, and that do not. */
type Snippet = readonly [path: string, text: string]
const EXAMPLES: readonly {
  readonly law: string
  readonly bad: readonly Snippet[]
  readonly good: readonly Snippet[]
}[] = [
  {
    law: 'imports between rooms',
    bad: [
      ['src/raft/a.ts', "import { x } from '../log/index.ts'"],
      ['src/base/a.ts', "export { x } from '../raft/index.ts'"],
      ['src/port/a.ts', "import type { X } from '../server/index.ts'"],
      ['src/server/a.ts', "import { openNodeWorld } from '../world/node/index.ts'"],
      ['src/lab/sim-a.ts', "import { openNodeWorld } from '../world/node/index.ts'"],
      ['src/lab/a.ts', "import { x } from '../cli/main.ts'"],
      ['src/client/a.ts', "const x = import('../server/index.ts')"],
      ['src/raft/a.ts', "import '../../test/a.ts'"],
      ['src/unheard/a.ts', "import { x } from '../raft/index.ts'"],
    ],
    good: [
      ['src/raft/a.ts', "import { x } from '../base/index.ts'\nimport type { World } from '../world/index.ts'"],
      ['src/replica/a.ts', "import { x } from '../mvcc/index.ts'"],
      ['src/raft/a.test.ts', "import { x } from '../log/index.ts'"],
      ['src/index.ts', "import { x } from './world/node/index.ts'"],
      ['src/cli/a.ts', "import { x } from '../world/node/index.ts'"],
      ['src/lab/real-a.ts', "import { x } from '../world/node/index.ts'"],
      ['src/lab/a.ts', "import { x } from '../raft/index.ts'"],
      ['src/raft/a.ts', "// like import { x } from '../log/index.ts'"],
    ],
  },
  {
    law: 'whole face',
    bad: [['src/replica/a.ts', "import { x } from '../raft/progress.ts'"]],
    good: [
      ['src/replica/a.ts', "import { x } from './b.ts'\nimport { y } from '../raft/index.ts'"],
      ['src/replica/a.test.ts', "import { x } from '../raft/progress.ts'"],
    ],
  },
  {
    law: 'node:* only',
    bad: [
      ['src/raft/a.ts', "import fs from 'node:fs'"],
      ['src/world/a.ts', "import fs from 'node:fs'"],
      ['src/lab/sim-a.ts', "import 'node:fs'"],
    ],
    good: [
      ['src/world/node/a.ts', "import fs from 'node:fs'"],
      ['src/raft/a.test.ts', "import fs from 'node:fs'"],
      ['src/raft/a.ts', "const text = `import fs from 'node:fs'`"],
    ],
  },
  {
    law: 'packages only',
    bad: [
      ['src/raft/a.ts', "import x from 'left-pad'"],
      ['src/engine/memory.ts', "import { open } from 'lmdb'"],
      ['src/engine/lmdb/open.ts', "import { open } from 'lmdb'"],
      ['src/wire/a.ts', "import x from '@grpc/grpc-js'"],
    ],
    good: [
      ['src/engine/lmdb.ts', "import { open } from 'lmdb'"],
      ['src/engine/lmdb-cursor.ts', "import type { Key } from 'lmdb'"],
      ['src/links/a.ts', "import { sha256 } from '@noble/hashes/sha2.js'"],
      ['src/wire/a.test.ts', "import x from '@grpc/grpc-js'"],
    ],
  },
  {
    law: 'no clock, chance',
    bad: [
      ['src/raft/a.ts', 'const now = Date.now()'],
      ['src/raft/a.ts', 'const now = new Date()'],
      ['src/raft/a.ts', 'x = `${Math.random()}`'],
      ['src/raft/a.ts', 'setTimeout(f, 1)'],
      ['src/raft/a.ts', 'const later = { f: setImmediate }'],
      ['src/raft/a.ts', 'if (process.env.X) y()'],
      ['src/raft/a.ts', 'performance.now()'],
      ['src/lab/sim-a.ts', 'console.log(1)'],
      ['src/client/a.ts', 'AbortSignal.timeout(5)'],
      ['src/client/a.ts', 'names.sort((a, b) => a.localeCompare(b))'],
      ['src/index.ts', 'crypto.randomUUID()'],
    ],
    good: [
      ['src/raft/a.ts', 'clock.setTimer(1, f) // not setTimeout(f, 1)'],
      ['src/raft/a.ts', 'const message = "use Date.now()"'],
      ['src/lab/sim-a.ts', 'host.process.name; const { process } = x; process.name'],
      ['src/cli/a.ts', 'process.exit(1)'],
      ['src/raft/a.test.ts', 'setTimeout(f, 1)'],
    ],
  },
  {
    law: 'mutable state',
    bad: [
      ['src/raft/a.ts', 'let count = 0'],
      ['src/raft/a.ts', 'export var count = 0'],
      ['src/raft/a.ts', 'const cache = new Map<string, number>()'],
      ['src/raft/a.ts', 'const cache: Map<string, number> = new Map()'],
      ['src/raft/a.ts', 'const list: number[] = []'],
      ['src/raft/a.ts', 'const state = { count: 0 }'],
      ['src/raft/a.ts', 'export const state: Record<string, number> = {\n  a: 1,\n}'],
    ],
    good: [
      ['src/raft/a.ts', 'function f() {\n  let count = 0\n}'],
      ['src/raft/a.ts', 'const names: ReadonlySet<string> = new Set(["a"])'],
      ['src/raft/a.ts', 'const list: readonly number[] = [1]'],
      ['src/raft/a.ts', 'const list = [1, [2]] as const'],
      ['src/raft/a.ts', 'const state: Readonly<Record<string, number>> = { a: 1 }'],
      ['src/raft/a.ts', 'export const silent: Diagnostics = { log() {} }'],
      ['src/raft/a.ts', 'const add = (a: number): number => a'],
    ],
  },
  {
    law: 'by callback',
    bad: [
      ['src/raft/a.ts', 'async function f() {}'],
      ['src/server/a.ts', 'function f(): Promise<void> {}'],
      ['src/engine/memory.ts', 'x.then(f)'],
    ],
    good: [
      ['src/engine/lmdb.ts', 'await x'],
      ['src/engine/open.ts', "import('./lmdb.ts').then(opened, failed)"],
      ['src/client/a.ts', 'async function f() {}'],
      ['src/raft/a.ts', '// no Promise here\nconst x = { async: 1 }'],
      ['src/mvcc/a.ts', 'if (request.then) f(node.then)'],
    ],
  },
  {
    law: 'real or simulated',
    bad: [['src/server/a.ts', 'if (world.isSimulated) skip()']],
    good: [
      ['src/server/a.ts', '// the same when simulated'],
      ['src/lab/a.ts', 'const simulation = 1'],
    ],
  },
  {
    law: 'ends its host',
    bad: [
      ['src/world/node/a.ts', 'process.exit(1)'],
      ['src/index.ts', "process.on('SIGTERM', f)"],
    ],
    good: [
      ['src/world/node/a.ts', 'process.kill(id, 0)'],
      ['src/cli/a.ts', 'process.exit(1)'],
    ],
  },
  {
    law: 'Buffer only',
    bad: [['src/wire/a.ts', 'Buffer.from(x)']],
    good: [
      ['src/wire/a.ts', 'const x: ArrayBuffer = y'],
      ['src/world/node/a.ts', 'Buffer.from(x)'],
    ],
  },
  {
    law: 'folders at most',
    bad: [['src/raft/a/b/c.ts', '']],
    good: [['src/world/node/a.ts', '']],
  },
  {
    law: 'no file over',
    bad: [['src/raft/a.ts', '\n'.repeat(601)]],
    good: [['src/raft/a.ts', '\n'.repeat(600)]],
  },
  {
    law: 'a face that says',
    bad: [
      ['src/raft/a.ts', ''],
      ['src/raft/index.ts', 'export {}'],
      ['src/raft/index.ts', '/** Raft. Never: lies. */'],
      ['src/raft/index.ts', '/** Raft. Promises: (1) much. */'],
    ],
    good: [
      ['src/raft/types.ts', ''],
      ['src/wire/etcd-types.ts', ''],
      ['src/raft/index.ts', '/**\n * Raft.\n * Promises: (1) safety.\n * Never: lies.\n */'],
    ],
  },
  {
    law: 'opens with its purpose',
    bad: [['src/raft/a.ts', "import { x } from './b.ts'"]],
    good: [
      ['src/raft/a.ts', '/** Why. */'],
      ['src/cli/main.ts', '#!/usr/bin/env node\n// Why.'],
      ['src/raft/a.test.ts', "import { x } from './b.ts'"],
    ],
  },
  {
    law: 'left for later',
    bad: [['src/raft/a.ts', split('// TO', 'DO: more')]],
    good: [['src/raft/a.ts', '// done']],
  },
  {
    law: 'one machine',
    bad: [['test/a.ts', split("open('/ho", "me/me/x')")]],
    good: [['src/raft/a.ts', "import x from '../work/root.ts' // a/work/b"]],
  },
  {
    law: 'left out in silence',
    bad: [
      ['src/raft/a.test.ts', "test.only('x', f)"],
      ['test/a.test.ts', "test('x', { skip: true }, f)"],
    ],
    good: [['test/a.test.ts', "test('x', { skip: 'needs etcdctl' }, f)"]],
  },
  {
    law: 'not silenced',
    bad: [
      ['src/raft/a.ts', 'x as any'],
      ['test/a.ts', split('// @ts-', 'ignore')],
    ],
    good: [['src/raft/a.ts', '// as any server would\nx as unknown']],
  },
]

test('tidy: every law has examples, and each example is judged rightly', () => {
  for (const law of LAWS) {
    const examples = EXAMPLES.filter((example) => law.name.includes(example.law))
    assert.equal(examples.length, 1, `examples of "${law.name}"`)
    for (const { bad, good } of examples) {
      for (const [path, text] of bad) {
        assert.notEqual(law.check([source(path, text)]).length, 0, `${law.name} misses ${path}: ${text}`)
      }
      for (const [path, text] of good) {
        assert.deepEqual(law.check([source(path, text)]), [], `${law.name} is wrong about ${path}: ${text}`)
      }
    }
  }
})

test('tidy: a breach is told by file and line', () => {
  const law = LAWS.find(({ name }) => name.startsWith('no clock'))
  assert.deepEqual(law?.check([source('src/raft/a.ts', '/* Date.now()\n */\n\nf(Date.now())')]), [
    { path: 'src/raft/a.ts', line: 4, what: 'Date.now' },
  ])
})

test('tidy: blanking keeps lines and code, and drops prose', () => {
  const text = [
    "const a = 'it''s' // don't",
    'const b = `x ${c + `y ${d}` + "}"} z` /* `',
    ' */ const e = /["\'/`]/g.test(f) ? 1 / 2 / 3 : { g: `h` }',
    "const i = '\\'' + j",
  ].join('\n')
  const code = blank(text)
  assert.equal(code.length, text.length)
  assert.equal(code.split('\n').length, 4)
  for (const name of ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'i', 'j']) assert.match(code, new RegExp(`\\b${name}\\b`))
  for (const name of ['it', 'don', 'x', 'y', 'z', 'h']) assert.doesNotMatch(code, new RegExp(`\\b${name}\\b`))
  assert.match(code, /1 \/ 2 \/ 3/)
})

test('tidy: imports are found in every form', () => {
  const text = [
    "import a from './a.ts'",
    'import type { B } from "./b.ts"',
    "import './c.ts'",
    "export * from './d.ts'",
    "const e = import('./e.ts')",
    "import {\n  f,\n} from './f.ts'",
    "// import './g.ts'",
  ].join('\n')
  assert.deepEqual(
    importsOf(source('src/a.ts', text)).map(({ specifier }) => specifier),
    ['./a.ts', './b.ts', './c.ts', './d.ts', './e.ts', './f.ts'],
  )
})
