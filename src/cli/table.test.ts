import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { StatusResponse } from '../wire/index.ts'
import type { Output } from './output.ts'
import type { Asked, Standing } from './status.ts'
import { render, standingOf, summary } from './status.ts'
import type { Column, Row } from './table.ts'
import { table } from './table.ts'

const output = (over: Partial<Output> = {}): Output => ({
  json: false,
  colour: false,
  terminal: false,
  columns: undefined,
  print: assert.fail,
  raw: () => assert.fail(),
  object: assert.fail,
  progress: assert.fail,
  ...over,
})
const COLUMNS: readonly Column[] = [
  { title: 'NAME', leaveOut: 0 },
  { title: 'N', right: true, leaveOut: 1 },
  { title: 'EXTRA', leaveOut: 2 },
]
const row = (...texts: string[]): Row => ({ cells: texts.map((text) => ({ text })) })

test('columns are as wide as their widest cell, numbers to the right', () => {
  assert.deepEqual(table(output(), COLUMNS, [row('a', '1', 'x'), row('longer', '1000', '')]), [
    'NAME       N  EXTRA',
    'a          1  x',
    'longer  1000',
  ])
})

test('a narrow terminal loses the least important columns, and never the first', () => {
  const rows = [row('a', '1', 'x')]
  assert.deepEqual(table(output({ columns: 10 }), COLUMNS, rows), ['NAME  N', 'a     1'])
  assert.deepEqual(table(output({ columns: 1 }), COLUMNS, rows), ['NAME', 'a'])
})

test('a remark takes the place of missing cells; colours do not disturb the widths', () => {
  const rows: Row[] = [row('abc', '1', 'x'), { cells: [{ text: 'a', style: 'red' }], remark: { text: 'gone' } }]
  assert.deepEqual(table(output(), COLUMNS, rows).slice(1), ['abc   1  x', 'a     gone'])
  const painted = table(output({ colour: true }), COLUMNS, rows)
  assert.equal(painted[2], '\u001B[31ma\u001B[0m     \u001B[2mgone\u001B[0m')
})

const status = (over: Partial<StatusResponse>): StatusResponse => ({
  version: '3.4.0',
  dbSize: 20_480,
  leader: 1n,
  raftIndex: 12,
  raftTerm: 3,
  raftAppliedIndex: 12,
  errors: [],
  dbSizeInUse: 20_480,
  isLearner: false,
  ...over,
})
const asked = (name: string, over: Partial<Asked>): Asked => ({
  name,
  address: `127.0.0.1:770${name.slice(1)}`,
  status: undefined,
  latencyMs: 0.84,
  problem: undefined,
  process: undefined,
  ...over,
})

test('the status of a cluster with one leader, one without, one paused, one down and one unheard of', () => {
  const servers = [
    asked('S1', { status: status({ header: { clusterId: 1n, memberId: 1n, revision: 7, raftTerm: 3 } }) }),
    asked('S2', { status: status({ leader: 0n, raftAppliedIndex: 11 }) }),
    asked('S3', { process: 'paused', problem: 'no answer within 1 s' }),
    asked('S4', { process: 'down', problem: 'nothing listens there' }),
    asked('S5', { problem: 'nothing listens there' }),
  ]
  assert.deepEqual(render(standingOf(servers), output(), undefined), [
    'SERVER  ADDRESS         ROLE     TERM  DURABLE  APPLIED  REVISION    SIZE  ANSWERS IN',
    'S1      127.0.0.1:7701  leader      3       12       12         7  20 KiB      0.8 ms',
    'S2      127.0.0.1:7702  cut off  no leader known; see its server.log',
    'S3      127.0.0.1:7703  paused   let it go on: skein resume S3',
    'S4      127.0.0.1:7704  down     bring it back: skein restart S4',
    'S5      127.0.0.1:7705  down     nothing listens there',
    '',
    '1 of 5 servers take part and 3 are needed: nothing can be written. Bring back 2 more.',
  ])
})

/** A cluster as its servers' words: each the leader that it knows and its term; undefined where it does not answer. */
const cluster = (...told: (readonly [leader: bigint, term: number] | undefined)[]): Standing =>
  standingOf(
    told.map((one, i) => {
      if (one === undefined) return asked(`S${i + 1}`, {})
      const [leader, raftTerm] = one
      const header = { clusterId: 1n, memberId: BigInt(i + 1), revision: 7, raftTerm }
      return asked(`S${i + 1}`, { status: status({ leader, raftTerm, header }) })
    }),
  )

test('the summary says what is needed', () => {
  const [follows, leaderless, lost] = [[1n, 3] as const, [0n, 3] as const, [0n, 0] as const]
  const cases: [standing: Standing, told: string][] = [
    [
      cluster(follows, follows, follows, follows, follows),
      'S1 leads. 5 of 5 servers are up, 3 are needed: 2 more may fail.',
    ],
    [
      cluster(follows, follows, follows, follows, undefined),
      'S1 leads. 4 of 5 servers are up, 3 are needed: one more may fail.',
    ],
    [
      cluster(follows, follows, lost, follows, follows),
      'S1 leads. 4 of 5 servers take part, 3 are needed: one more may fail.',
    ],
    [
      cluster(follows, undefined, lost, undefined, undefined),
      '1 of 5 servers take part and 3 are needed: nothing can be written. Bring back 2 more.',
    ],
    [
      cluster(undefined, undefined, lost, leaderless, leaderless),
      '2 of 5 servers take part and 3 are needed: nothing can be written. Bring back 1 more.',
    ],
    [
      cluster(undefined, undefined, undefined, leaderless, leaderless),
      '2 of 5 servers are up and 3 are needed: nothing can be written. Bring back 1 more.',
    ],
    [
      cluster(undefined, undefined, leaderless, leaderless, leaderless),
      '3 of 5 servers are up, and none leads yet: nothing can be written. Ask again in a second.',
    ],
    // Right after the leader's end the others still name it.
    [
      cluster(undefined, follows, follows),
      '2 of 3 servers are up, and none leads yet: nothing can be written. Ask again in a second.',
    ],
  ]
  for (const [standing, told] of cases) assert.equal(summary(standing), told)
  assert.match(summary(cluster(undefined, undefined)), /No server answers/)
})
