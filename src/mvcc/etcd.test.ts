/**
 * Random requests to real etcd and to the store, in lockstep from an empty store on: every answer must be equal field by
 * field, every refusal in code and text. Revisions need no translation, because both have seen the same requests.
 *
 * Left out is what etcd answers by chance or not at all: equal entries in a sort of more than 12 pairs (its sort is not
 * stable; fewer keys are drawn), an unknown sort target, and `tamed` transactions, at which it panics.
 *
 * SKEIN_MVCC_RUNS is the number of sequences; a failure prints the line that reproduces it, and the shortest sequence.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import fc from 'fast-check'
import type { Failure } from '../base/index.ts'
import { spaceId } from '../base/index.ts'
import { etcdService, toPlain } from '../../test/etcd-proto.ts'
import type { Plain } from '../../test/etcd-proto.ts'
import type { EtcdServer, Refusal } from '../../test/etcd-server.testkit.ts'
import { etcdVersion, startEtcdServer } from '../../test/etcd-server.testkit.ts'
import type { Operation } from '../../test/mvcc-operations.testkit.ts'
import { etcdOperation, KNOWN_LEASE, placed } from '../../test/mvcc-operations.testkit.ts'
import { deleteRequest, execute } from '../../test/mvcc-requests.ts'
import { createSortedEngine } from '../../test/sorted-engine.ts'
import {
  decodeCompactionRequest,
  decodeDeleteRangeRequest,
  decodePutRequest,
  decodeRangeRequest,
  decodeTxnRequest,
  ETCD_ERRORS,
  withHeader,
} from '../wire/index.ts'
import { openStore } from './index.ts'

const RUNS = Number(process.env['SKEIN_MVCC_RUNS'] ?? 250)
const SEED = Number(process.env['SKEIN_MVCC_SEED'] ?? 1)
const MAX_OPERATIONS = Number(process.env['SKEIN_MVCC_OPERATIONS'] ?? 30)

const skip = etcdVersion() === undefined ? 'etcd is not installed' : false

const KV = etcdService('KV')
const METHODS = {
  range: { name: 'Range', decode: decodeRangeRequest },
  put: { name: 'Put', decode: decodePutRequest },
  deleteRange: { name: 'DeleteRange', decode: decodeDeleteRangeRequest },
  txn: { name: 'Txn', decode: decodeTxnRequest },
  compact: { name: 'Compact', decode: decodeCompactionRequest },
} as const

/** What a run must have met, or it has not compared much. */
const EXPECTED: readonly string[] = [
  ...Object.keys(METHODS),
  ...[
    'ErrEmptyKey',
    'ErrKeyNotFound',
    'ErrValueProvided',
    'ErrLeaseProvided',
    'ErrTooManyOps',
    'ErrDuplicateKey',
    'ErrCompacted',
    'ErrFutureRev',
    'ErrLeaseNotFound',
  ].map((name) => ETCD_ERRORS[name]?.message ?? name),
]

type Outcome = { readonly response: Plain } | { readonly refusal: Refusal }

/** How many answers of each kind, and refusals of each text, were compared. */
const met = new Map<string, number>()

let etcd: EtcdServer
const engine = createSortedEngine()
const store = openStore(engine, spaceId(0), { leases: { has: (id) => id === KNOWN_LEASE } })

before(async () => {
  if (skip !== false) return
  etcd = await startEtcdServer()
  const granted = await etcd.call('Lease', 'LeaseGrant', { ID: KNOWN_LEASE.toString(), TTL: 1_000_000 })
  assert.ok('response' in granted)
})

after(async () => {
  if (skip === false) await etcd.close()
})

/** The store's answer, through the bytes of the request and of the response. */
function ours(asked: Operation): Outcome {
  const method = METHODS[asked.type]
  const { requestSerialize, responseDeserialize } = KV[method.name] as (typeof KV)[string]
  const decoded = method.decode(requestSerialize(toPlain(asked.request)))
  assert.ok(decoded.ok)
  const request = { type: asked.type, request: decoded.value } as Operation
  const result = execute(store, (write) => write(engine.writer), request)
  if (!result.ok) return { refusal: refusalOf(result.error) }
  const header = { clusterId: 0n, memberId: 0n, revision: result.value.revision, raftTerm: 0 }
  return { response: responseDeserialize(Buffer.from(withHeader(header, result.value.body))) }
}

function refusalOf(failure: Failure): Refusal {
  const error = ETCD_ERRORS[String(failure.details?.['etcd'])]
  assert.ok(error !== undefined, `${failure.code}: ${failure.message}`)
  return { code: error.code, message: error.message }
}

async function theirs(asked: Operation): Promise<Outcome> {
  const answer = await etcd.call('KV', METHODS[asked.type].name, toPlain(asked.request))
  if ('refusal' in answer) return answer
  // Who answered is no part of the comparison. An answer that holds only that is an empty header to us.
  const header = { ...(answer.response['header'] as Plain), clusterId: '0', memberId: '0', raftTerm: '0' }
  return { response: { ...answer.response, header } }
}

async function same(asked: Operation): Promise<void> {
  const expected = await theirs(asked)
  assert.deepEqual(ours(asked), expected, JSON.stringify(toPlain(asked.request)))
  const what = 'refusal' in expected ? expected.refusal.message : asked.type
  met.set(what, (met.get(what) ?? 0) + 1)
}

/** One sequence: from a store without keys. */
async function sequence(operations: readonly Operation[], scrubEach: number): Promise<void> {
  await same({ type: 'deleteRange', request: deleteRequest('\0', '\0') })
  for (const drawn of operations) {
    await same(placed(drawn, { current: store.revision, compacted: Math.max(0, store.compactedRevision) }))
    if (scrubEach > 0) store.scrub(scrubEach, engine.writer)
  }
  while (!store.scrub(100, engine.writer));
}

test('random requests: every answer as etcd gives it', { skip }, async (t) => {
  const property = fc.asyncProperty(
    fc.array(etcdOperation, { minLength: 1, maxLength: MAX_OPERATIONS, size: 'max' }),
    fc.integer({ min: 0, max: 5 }),
    sequence,
  )
  const path = process.env['SKEIN_MVCC_PATH']
  const details = await fc.check(property, { seed: SEED, numRuns: RUNS, ...(path !== undefined && { path }) })
  t.diagnostic(`compared with ${etcd.version}: ${JSON.stringify(Object.fromEntries(met))}`)
  if (!details.failed) {
    if (path === undefined) for (const what of EXPECTED) assert.ok(met.has(what), `never met: ${what}`)
    return
  }
  const line = `SKEIN_MVCC_SEED=${details.seed} SKEIN_MVCC_PATH=${details.counterexamplePath} node scripts/test.mjs mvcc/etcd`
  assert.fail(`${String(details.errorInstance)}\nreproduce: ${line}\n${fc.stringify(details.counterexample)}`)
})
