import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Metric } from '../server/index.ts'
import { exposition } from './http.ts'
import { parseExposition } from '../../test/exposition.ts'

const gauge = (name: string, value: number, labels?: Metric['labels']): Metric => ({
  ...{ name, help: `About ${name}.`, type: 'gauge', value },
  ...(labels && { labels }),
})

describe('exposition', () => {
  test('what is written is what is read', () => {
    const label = 'a "b" \\ c\nd\te ü'
    const families = parseExposition(
      exposition([gauge('one', 1), gauge('two', 2.5, { x: label, y: '' }), gauge('two', -1, { x: 'z', y: '1' })]),
    )
    assert.deepEqual(families, [
      { name: 'one', type: 'gauge', help: 'About one.', samples: [{ labels: {}, value: 1 }] },
      {
        ...{ name: 'two', type: 'gauge', help: 'About two.' },
        samples: [
          { labels: { x: label, y: '' }, value: 2.5 },
          { labels: { x: 'z', y: '1' }, value: -1 },
        ],
      },
    ])
  })

  test('help texts and special values', () => {
    const text = exposition([
      { name: 'odd', help: 'back\\slash\nnew line', type: 'counter', value: Number.POSITIVE_INFINITY },
    ])
    const [family] = parseExposition(text)
    assert.equal(family?.help, 'back\\slash\nnew line')
    assert.equal(family?.samples[0]?.value, Number.POSITIVE_INFINITY)
  })
})
