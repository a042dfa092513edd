import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createCluster, pairUp } from './links.testkit.ts'

test('two members find each other, persist who they are, and exchange frames on both lanes', () => {
  const { a, b, until } = pairUp('first')
  assert.equal(a.send(b, 'control', 'one'), 'sent')
  assert.equal(a.send(b, 'control', 'two'), 'sent')
  assert.equal(b.send(a, 'bulk', 'three'), 'sent')
  until(() => b.frames.length === 2 && a.frames.length === 1)
  assert.deepEqual(
    b.heard.filter((line) => line.startsWith('frame')),
    ['frame a control one', 'frame a control two'],
  )
  for (const member of [a, b]) {
    const other = member === a ? 'b' : 'a'
    assert.equal(member.heard.filter((line) => line === `instance ${other}`).length, 1)
    assert.ok(member.heard.indexOf(`persisted ${other}`) < member.heard.indexOf(`up ${other} control`))
    assert.equal(member.known.size, 1)
    assert.deepEqual(member.refusals, [])
  }
})

test('dials that cross: one connection per lane on both sides, whatever the order (200 seeds)', () => {
  for (let seed = 0; seed < 200; seed++) {
    // The higher id dials as early as the lower.
    const cluster = createCluster(seed, ['a', 'b'], { b: { redialMinMs: 0.05 } })
    const [a, b] = cluster.members
    assert.ok(a !== undefined && b !== undefined)
    b.start()
    cluster.run((seed % 10) / 10)
    a.start()
    cluster.until(() => a.isUp(b) && b.isUp(a), 200)
    cluster.run(500)
    for (const member of [a, b]) {
      assert.deepEqual(
        member.heard.filter((line) => line.startsWith('up') || line.startsWith('down')).sort(),
        [`up ${member === a ? 'b' : 'a'} bulk`, `up ${member === a ? 'b' : 'a'} control`],
        `seed ${seed}`,
      )
    }
  }
})
