import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { InvariantViolation } from '../base/index.ts'
import { createWindows, WINDOW_SIZE } from './window.ts'

const SERVER = 7n

function origin(
  sequence: number,
  completedBelow = 0,
  incarnation = 1n,
): Parameters<ReturnType<typeof createWindows>['admit']>[0] {
  return { server: SERVER, incarnation, sequence, completedBelow }
}

test('a proposal that reaches the log twice is admitted once', () => {
  const windows = createWindows()
  assert.equal(windows.admit(origin(1)), true)
  assert.equal(windows.admit(origin(1)), false)
  assert.equal(windows.admit(origin(3)), true)
  assert.equal(windows.admit(origin(2)), true)
  assert.equal(windows.admit(origin(3)), false)
})

test('a proposal that its originator has given up is not admitted any more', () => {
  const windows = createWindows()
  assert.equal(windows.admit(origin(9, 5)), true)
  assert.equal(windows.admit(origin(4)), false)
})

test('an earlier run of a server is over once a later one was seen', () => {
  const windows = createWindows()
  assert.equal(windows.admit(origin(1, 0, 1n)), true)
  assert.equal(windows.admit(origin(1, 0, 2n)), true)
  assert.equal(windows.admit(origin(2, 0, 1n)), false)
  assert.equal(windows.applied(SERVER, 1n, 1), false)
  assert.equal(windows.applied(SERVER, 2n, 1), true)
})

test('a sequence further ahead than the window is a broken invariant', () => {
  const windows = createWindows()
  windows.admit(origin(10, 10))
  assert.throws(() => windows.admit(origin(10 + WINDOW_SIZE, 10)), InvariantViolation)
})

test('windows agree with a set of all sequences, across encoding at any point', () => {
  const step = fc.record({
    ahead: fc.integer({ min: 0, max: 300 }),
    complete: fc.integer({ min: 0, max: 120 }),
    save: fc.boolean(),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      let windows = createWindows()
      const seen = new Set<number>()
      let completedBelow = 0
      for (const { ahead, complete, save } of steps) {
        completedBelow += complete
        const sequence = completedBelow + ahead
        const fresh = !seen.has(sequence)
        assert.equal(windows.admit(origin(sequence, completedBelow)), fresh)
        seen.add(sequence)
        if (!save) continue
        const reloaded = createWindows()
        for (const { server, bytes } of windows.takeChanged()) reloaded.load(server, bytes)
        windows = reloaded
      }
      for (let sequence = completedBelow; sequence < completedBelow + 400; sequence++) {
        assert.equal(windows.applied(SERVER, 1n, sequence), seen.has(sequence))
      }
    }),
  )
})
