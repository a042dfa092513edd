import assert from 'node:assert/strict'
import { test } from 'node:test'
import { killServers } from './kills.ts'

test('eight SIGKILLs of random servers under load lose no acknowledged write', async (t) => {
  const report = await killServers(8, 1, (line) => t.diagnostic(line))
  t.diagnostic(JSON.stringify({ ...report, missing: report.missing.length, forbidden: report.forbidden.length }))
  assert.deepEqual(report.missing, [])
  assert.deepEqual(report.forbidden, [])
  assert.ok(report.acknowledged > 100, `only ${report.acknowledged} writes were acknowledged`)
})
