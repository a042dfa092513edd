import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SkeinError } from '../base/index.ts'
import type { OptionSpecs } from './options.ts'
import { flag, nearest, option, parseOptions } from './options.ts'

const SPECS: OptionSpecs = {
  limit: option('N', 'how many'),
  prefix: flag('all that begin'),
  secret: { ...flag('not for people'), hidden: true },
}

const usageOf = (args: readonly string[]): string => {
  try {
    const parsed = parseOptions('get', args, SPECS)
    parsed.number('limit', 0, 100)
  } catch (error) {
    assert.ok(error instanceof SkeinError && error.code === 'usage')
    return error.message
  }
  return assert.fail(`${args.join(' ')} was understood`)
}

test('options stand anywhere, with = or behind a space; the last one counts', () => {
  const parsed = parseOptions('get', ['a', '--limit', '3', 'b', '--prefix', '--limit=5'], SPECS)
  assert.deepEqual(parsed.positionals, ['a', 'b'])
  assert.equal(parsed.number('limit', 0, 100), 5)
  assert.equal(parsed.flag('prefix'), true)
  assert.equal(parsed.flag('json'), false)
  assert.equal(parsed.text('nothing'), undefined)
})

test('what begins with a minus and a digit is a value, and all is behind --', () => {
  assert.deepEqual(parseOptions('put', ['k', '-5'], SPECS).positionals, ['k', '-5'])
  assert.deepEqual(parseOptions('put', ['k', '-'], SPECS).positionals, ['k', '-'])
  assert.deepEqual(parseOptions('put', ['--', '--limit', '--x'], SPECS).positionals, ['--limit', '--x'])
  assert.deepEqual(parseOptions('put', ['k', ''], SPECS).positionals, ['k', ''])
  assert.equal(parseOptions('put', ['--limit='], SPECS).text('limit'), '')
  assert.equal(parseOptions('put', ['-h'], SPECS).flag('help'), true)
})

test('typing errors are told with what was probably meant', () => {
  assert.equal(usageOf(['--limti', '3']), 'skein get has no option --limti; did you mean --limit?')
  assert.equal(usageOf(['--frobnicate']), 'skein get has no option --frobnicate')
  assert.equal(usageOf(['--secrat']), 'skein get has no option --secrat')
  assert.equal(usageOf(['--limit']), '--limit needs a value: --limit N')
  assert.equal(usageOf(['--limit', '--prefix']), '--limit needs a value: --limit N')
  assert.equal(usageOf(['--prefix=yes']), '--prefix takes no value')
  assert.equal(usageOf(['-l', '3']), 'skein get has no option -l; options have long names, as in --help')
  for (const number of ['x', '1.5', '-1', '101', '']) {
    assert.equal(usageOf([`--limit=${number}`]), `--limit must be a whole number from 0 to 100, not "${number}"`)
  }
  assert.equal(usageOf(['--constructor']), 'skein get has no option --constructor')
})

test('the nearest word is at most two letters away, and never all of a short word', () => {
  const words = ['get', 'put', 'status', 'restart', 'resume']
  assert.equal(nearest('staus', words), 'status')
  assert.equal(nearest('GET', words), 'get')
  assert.equal(nearest('restrat', words), 'restart')
  assert.equal(nearest('gt', words), 'get')
  assert.equal(nearest('x', words), undefined)
  assert.equal(nearest('frobnicate', words), undefined)
})
