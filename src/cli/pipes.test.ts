/** Outputs and inputs that are not a terminal: closed, full, narrow, absent. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { test } from 'node:test'
import { MAIN } from './cli.testkit.ts'

const shell = (script: string): { code: number | null; stdout: string; stderr: string } => {
  const { status, stdout, stderr } = spawnSync('/bin/sh', ['-c', script, 'sh', process.execPath, MAIN], {
    encoding: 'utf8',
  })
  return { code: status, stdout, stderr }
}

test('a reader that goes away is no error, and no stack trace', () => {
  const { stdout, stderr } = shell('"$1" "$2" explain | head -n 1')
  assert.match(stdout, /^not-leader +This server does not lead[^\n]*\n$/)
  assert.equal(stderr, '')
  assert.equal(shell('("$1" "$2" explain no-leader; echo $? >&2) | :').stderr, '0\n')
})

test('closed standard streams do not disturb it', () => {
  assert.equal(shell('"$1" "$2" version <&- >&- 2>&-').code, 0)
  assert.match(shell('"$1" "$2" version <&-').stdout, /^skein \d/)
})

test('output that cannot be written is an error', { skip: existsSync('/dev/full') ? false : 'needs /dev/full' }, () => {
  const { code, stderr } = shell('"$1" "$2" version > /dev/full')
  assert.equal(code, 1)
  assert.match(stderr, /^skein: the output could not be written: ENOSPC/)
})

test('there are no colours where nobody looks', () => {
  assert.ok(!shell('"$1" "$2" help').stdout.includes('\u001B'))
})
