/** `etcdctl watch` against a Skein cluster and against real etcd: what it prints must be equal, but for ids and terms. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { after, before, describe, test } from 'node:test'
import type { TestCluster } from './cluster.testkit.ts'
import { startCluster } from './cluster.testkit.ts'
import type { EtcdCluster } from './etcd.testkit.ts'
import { missing, startEtcd } from './etcd.testkit.ts'
import { argv, etcdctl, normalised } from './etcdctl.testkit.ts'

const PATIENCE_MS = 20_000

type Row = {
  /** Behind `etcdctl watch`; BASE+n is n revisions after the first write of the row. */
  readonly line: string
  /** Typed into `-i`. */
  readonly stdin?: readonly string[]
  /** Before the watch begins; each takes one revision. */
  readonly before?: readonly string[]
  /** Once everything of before was printed. */
  readonly live?: readonly string[]
  /** How many lines are printed in all, and before the live ones. */
  readonly lines: readonly [before: number, all: number]
  /** Where it ends by itself. */
  readonly ends?: true
}

const PUTS = ['put a 1', 'put ab 2', 'put b 3', 'put a 4', 'del ab', 'put ab ""']
const ROWS: readonly Row[] = [
  { line: 'a --rev=BASE+1', before: PUTS, live: ['put a 5', 'del a', 'del a'], lines: [6, 12] },
  { line: 'a --prefix --rev=BASE+1', before: PUTS, live: ['put abc 5', 'del a --prefix'], lines: [15, 27] },
  { line: 'a --prefix --rev=BASE+3 --prev-kv', before: PUTS, live: ['put a 5', 'del ab'], lines: [13, 23] },
  { line: 'a b --rev=BASE+1', before: PUTS, live: ['put az 5', 'put b 5', 'put ay 6'], lines: [15, 21] },
  { line: '"" --prefix --rev=BASE+1', before: PUTS, live: ['put z 5'], lines: [18, 21] },
  { line: 'a --rev=BASE+1 --hex', before: PUTS, live: ['put a 5'], lines: [6, 9] },
  { line: 'a --rev=BASE+1 -w json', before: ['put a 1'], live: ['put a 2', 'del a'], lines: [1, 3] },
  { line: 'a --rev=BASE+1 -w fields', before: ['put a 1'], live: ['put a 2'], lines: [11, 22] },
  { line: 'a --rev=BASE+1 -- echo changed', before: ['put a 1'], live: ['put a 2'], lines: [4, 8] },
  { line: 'a --rev=BASE+2', before: ['put a 1', 'put a 2', 'put a 3', 'compaction BASE+3'], lines: [0, 0], ends: true },
  { line: 'b a --rev=BASE+1', lines: [0, 0], ends: true },
  {
    line: '-i',
    stdin: ['watch a --rev=BASE+1', 'watch b --rev=BASE+1'],
    before: PUTS,
    live: ['put b 9', 'put a 9'],
    lines: [9, 15],
  },
  { line: '-i', stdin: ['watch a', 'progress'], lines: [1, 1] },
  { line: '-i', stdin: ['nonsense'], lines: [0, 0], ends: true },
]

const skip = missing('etcdctl') || missing('etcd')

describe('etcdctl 3.4 watch', { skip }, () => {
  let skein: TestCluster
  let etcd: EtcdCluster
  before(async () => {
    ;[skein, etcd] = await Promise.all([startCluster(3), startEtcd(1)])
  })
  after(async () => {
    await Promise.all([skein?.close(), etcd?.close()])
  })

  for (const row of ROWS) {
    test(`as etcd: watch ${row.line}${row.stdin === undefined ? '' : ` < ${row.stdin.join('; ')}`}`, async () => {
      const [expected, actual] = await Promise.all([
        watched(etcd.endpoints, row),
        watched(skein.endpoints.slice(0, 1), row),
      ])
      const [theirs, ours] = [normalised('watch', expected), normalised('watch', actual)]
      // Two watches of one stream may be told in either order.
      const order = row.stdin === undefined ? (text: string) => text : byThrees
      assert.deepEqual({ ...ours, stdout: order(ours.stdout) }, { ...theirs, stdout: order(theirs.stdout) })
    })
  }
})

function byThrees(text: string): string {
  const lines = text.trimEnd().split('\n')
  return lines
    .flatMap((_, i) => (i % 3 === 0 ? [lines.slice(i, i + 3).join('\n')] : []))
    .sort()
    .join('\n')
}

async function watched(endpoints: readonly string[], row: Row): ReturnType<typeof etcdctl> {
  const clean = await etcdctl(endpoints, 'del "" --from-key')
  assert.equal(clean.status, 0, clean.stderr)
  const { stdout } = await etcdctl(endpoints, 'put base 1 -w json')
  const base = (JSON.parse(stdout) as { header: { revision: number } }).header.revision
  const placed = (text: string): string => text.replace(/BASE\+(\d+)/g, (_, n: string) => String(base + Number(n)))
  const run = async (lines: readonly string[] = []): Promise<void> => {
    for (const line of lines) {
      const { status, stderr } = await etcdctl(endpoints, placed(line))
      assert.equal(status, 0, stderr)
    }
  }
  await run(row.before)
  const child = spawn('etcdctl', [`--endpoints=${endpoints.join(',')}`, 'watch', ...argv(placed(row.line))], {
    env: { ...process.env, ETCDCTL_API: '3' },
  })
  let out = ''
  let errors = ''
  let wake = (): void => undefined
  const exited = new Promise<number | null>((resolve) => child.on('close', resolve))
  child.stdout.setEncoding('latin1').on('data', (data: string) => {
    out += data
    wake()
  })
  child.stderr.setEncoding('latin1').on('data', (data: string) => (errors += data))
  child.stdin.on('error', () => undefined)
  let ended = false
  void exited.then(() => {
    ended = true
    wake()
  })
  /** Resolves when so many lines were printed, or it has ended, or was killed because it takes too long. */
  const printed = (count: number): Promise<void> =>
    new Promise((resolve) => {
      const limit = setTimeout(() => child.kill('SIGKILL'), PATIENCE_MS)
      wake = () => {
        if (!ended && out.split('\n').length - 1 < count) return
        clearTimeout(limit)
        resolve()
      }
      wake()
    })
  if (row.stdin !== undefined) child.stdin.write(`${placed(row.stdin.join('\n'))}\n`)
  const hang = setTimeout(() => child.kill('SIGKILL'), PATIENCE_MS * 2)
  if (row.ends === undefined) {
    await printed(row.lines[0])
    await run(row.live)
    await printed(row.lines[1])
    child.kill('SIGTERM')
  }
  const status = await exited
  clearTimeout(hang)
  const lines = out.split('\n').length - 1
  assert.equal(lines, row.lines[1], `as many lines as the row says: ${out} ${errors}`)
  return { status, stdout: out, stderr: errors }
}
