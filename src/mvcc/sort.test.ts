/** The sorter that takes its entries in slices, against the language's own stable sort. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createSorter } from './sort.ts'

type Entry = { readonly by: number; readonly place: number }
const order = (a: Entry, b: Entry): number => a.by - b.by

test('what was added comes back in order, equal entries as they came, cut to the limit', () => {
  fc.assert(
    fc.property(
      fc.array(fc.nat({ max: 50 }), { maxLength: 4_000, size: 'max' }),
      fc.oneof(fc.constant(Number.POSITIVE_INFINITY), fc.integer({ min: 1, max: 3_000 })),
      fc.nat({ max: 4_000 }),
      (numbers, limit, cutAfter) => {
        const entries = numbers.map((by, place) => ({ by, place }))
        const dropped = new Set<Entry>()
        const sorter = createSorter<Entry>(order, limit, (entry) => dropped.add(entry))
        for (const [added, entry] of entries.entries()) {
          sorter.add(entry)
          if (added === cutAfter) sorter.cutNow()
          assert.equal(sorter.size + dropped.size, added + 1)
        }
        const sorted = sorter.finish()
        assert.deepEqual(sorted, entries.toSorted(order).slice(0, limit))
        for (const entry of sorted) assert.ok(!dropped.has(entry))
      },
    ),
    { numRuns: 60, seed: 1 },
  )
})

test('with a limit little more than the limit is held, however much is added', () => {
  for (const limit of [1, 10, 500, 2_000]) {
    let largest = 0
    const sorter = createSorter<number>(
      (a, b) => b - a,
      limit,
      () => undefined,
    )
    for (let i = 0; i < 200_000; i++) {
      sorter.add(i)
      largest = Math.max(largest, sorter.size)
    }
    assert.equal(sorter.finish()[0], 199_999)
    assert.ok(largest <= 3 * limit + 2 * 512, `${largest} entries were held for a limit of ${limit}`)
  }
})
