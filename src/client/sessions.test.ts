import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createSimulation } from '../lab/index.ts'
import { RESULTS_PER_SESSION } from '../wire/index.ts'
import type { Sessions, Slot } from './sessions.ts'
import { createSessions } from './sessions.ts'

const SERVER = { clusterId: 1n, memberId: 1n, appliedIndex: 7 }

function open(): Sessions {
  return createSessions(createSimulation({ seed: 1 }).process('client').world)
}

function takeAll(sessions: Sessions, count: number): Slot[] {
  return Array.from({ length: count }, () => {
    const slot = sessions.take(SERVER)
    assert.ok(slot)
    return slot
  })
}

describe('sessions of a client', () => {
  test('open writes of one session are never as far apart as the cluster remembers', () => {
    const sessions = open()
    const slots = takeAll(sessions, 5 * RESULTS_PER_SESSION)
    const bySession = new Map<string, number[]>()
    for (const { session, sequence } of slots)
      bySession.set(session.id, [...(bySession.get(session.id) ?? []), sequence])
    assert.equal(bySession.size, 5)
    for (const sequences of bySession.values())
      assert.ok(Math.max(...sequences) - Math.min(...sequences) < RESULTS_PER_SESSION)
  })

  test('one write that stays open holds its session back, and others take over', () => {
    const sessions = open()
    const [stuck] = takeAll(sessions, 1) as [Slot]
    for (let i = 0; i < 100; i++) {
      const [slot] = takeAll(sessions, 1) as [Slot]
      if (slot.session === stuck.session) assert.ok(slot.sequence - stuck.sequence < RESULTS_PER_SESSION)
      sessions.settle(slot)
    }
  })

  test('one write after another stays in one session', () => {
    const sessions = open()
    const used = new Set<string>()
    for (let i = 1; i <= 100; i++) {
      const [slot] = takeAll(sessions, 1) as [Slot]
      assert.equal(slot.sequence, i)
      used.add(slot.session.id)
      sessions.settle(slot)
    }
    assert.equal(used.size, 1)
    assert.match([...used][0] as string, /^after-7-[0-9a-f]{32}$/)
  })

  test('more open writes than all sessions hold go without one', () => {
    const sessions = open()
    takeAll(sessions, 64 * RESULTS_PER_SESSION)
    assert.equal(sessions.take(SERVER), undefined)
  })

  test('a retired session is not used again, nor another cluster’s', () => {
    const sessions = open()
    const [slot] = takeAll(sessions, 1) as [Slot]
    sessions.retire(slot.session)
    sessions.settle(slot)
    const [next] = takeAll(sessions, 1) as [Slot]
    assert.notEqual(next.session, slot.session)
    assert.notEqual(sessions.take({ ...SERVER, clusterId: 2n })?.session, next.session)
  })
})
