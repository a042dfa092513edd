import assert from 'node:assert/strict'
import { test } from 'node:test'
import { failure } from '../base/index.ts'
import { ETCD_ERRORS, GRPC_STATUS } from '../wire/index.ts'
import { toStatus } from './errors.ts'

test("a failure that names etcd's error is told in etcd's words, and Skein's code travels beside it", () => {
  for (const [name, { code, message }] of Object.entries(ETCD_ERRORS)) {
    const status = toStatus(failure('timed-out', 'in our words', { etcd: name }))
    assert.deepEqual([status.code, status.message], [code, message])
    assert.equal(status.metadata?.get('skein-code'), 'timed-out')
    assert.match(message, /^etcdserver: /)
  }
  assert.equal(
    toStatus(failure('timed-out', '', { etcd: 'ErrTimeoutLeaderTransfer' })).message,
    'etcdserver: request timed out, leader transfer took too long',
  )
})

test("what etcd has no words for is told in Skein's, and never with code ok", () => {
  const status = toStatus(failure('space-unknown', 'there is no space "x"'))
  assert.deepEqual([status.code, status.message], [GRPC_STATUS.notFound, 'skein: there is no space "x"'])
  assert.equal(toStatus(failure('disk-failed', 'x')).code, GRPC_STATUS.internal)
})
