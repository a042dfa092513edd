import assert from 'node:assert/strict'
import { test } from 'node:test'
import { considerOffer, type Offer, type Standing } from './crossing.ts'

const bytes = (size: number, byte: number): Uint8Array => new Uint8Array(size).fill(byte)
const [NOW, BEFORE] = [bytes(8, 1), bytes(8, 2)]
const [THIS, OTHER] = [bytes(16, 1), bytes(16, 2)]

const offer = (of: Partial<Offer> = {}): Offer => ({ process: NOW, attempt: 5, last: OTHER, ...of })
const ours: Standing = { id: THIS, process: NOW, dialledBy: 'us', attempt: 9 }
const theirs: Standing = { id: THIS, process: NOW, dialledBy: 'them', attempt: 5 }

const TABLE: readonly (readonly [string, 'accept' | 'busy', Parameters<typeof considerOffer>])[] = [
  ['nothing is open, nothing on its way', 'accept', [offer(), undefined, undefined, true]],
  ['both have said their last word: the lower keeps its own', 'busy', [offer(), undefined, NOW, true]],
  ['both have said their last word: the higher gives in', 'accept', [offer(), undefined, NOW, false]],
  ['our last word went to a process that is gone', 'accept', [offer(), undefined, BEFORE, true]],
  ['the dialler has restarted since we dialled it', 'accept', [offer(), { ...ours, process: BEFORE }, undefined, true]],
  [
    'the dialler has restarted since it dialled',
    'accept',
    [offer({ attempt: 1 }), { ...theirs, process: BEFORE }, undefined, false],
  ],
  ['it lost the session that we dialled', 'accept', [offer({ last: THIS }), ours, undefined, true]],
  ['it did not know yet of the session that we dialled', 'busy', [offer(), ours, undefined, true]],
  [
    'it never got to know of the session that it dialled, and dials again',
    'accept',
    [offer({ attempt: 6 }), theirs, undefined, true],
  ],
  ['it lost the session that it dialled', 'accept', [offer({ attempt: 6, last: THIS }), theirs, undefined, false]],
  ['an earlier dial of it arrives late', 'busy', [offer({ attempt: 4 }), theirs, undefined, true]],
  ['the same dial, twice', 'busy', [offer(), theirs, undefined, false]],
]

for (const [story, verdict, given] of TABLE) {
  test(`crossing dials: ${story}: ${verdict}`, () => assert.equal(considerOffer(...given), verdict))
}
