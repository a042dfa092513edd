import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { concatBytes, utf8 } from '../base/index.ts'
import {
  type AcceptorHandshake,
  type Agreement,
  createAcceptorHandshake,
  createDiallerHandshake,
  type DiallerHandshake,
  encodeRefusal,
  NO_SESSION,
  type Party,
  type Proven,
  type Step,
} from './handshake.ts'
import { decodeMessage, encodeMessage, type HandshakeMessage, MAX_MESSAGE_BYTES } from './handshake-messages.ts'
import { equalProofs, prove } from './secrets.ts'
import type { Lane } from './types.ts'

const fill = (size: number, byte: number): Uint8Array => new Uint8Array(size).fill(byte)

const DIALLER: Party = {
  cluster: 0xc1n,
  self: 1n,
  instance: fill(16, 1),
  process: fill(8, 1),
  lowest: 1,
  highest: 4,
  key: fill(32, 9),
}
const ACCEPTOR: Party = { ...DIALLER, self: 2n, instance: fill(16, 2), process: fill(8, 2), lowest: 2, highest: 3 }

const dial = (party: Partial<Party> = {}, lane: Lane = 'control', nonce = 11): DiallerHandshake =>
  createDiallerHandshake({ ...DIALLER, ...party }, 2n, lane, 5, fill(32, nonce))
const answer = (party: Partial<Party> = {}, nonce = 22): AcceptorHandshake =>
  createAcceptorHandshake({ ...ACCEPTOR, ...party }, fill(32, nonce))

type Outcome = {
  /** hello, challenge, finish, ready: as many as were sent, before `change`. */
  readonly said: readonly Uint8Array[]
  readonly dialler: { readonly end: Step; readonly who: Proven | undefined; readonly agreement: Agreement | undefined }
  readonly acceptor: { readonly end: Step; readonly who: Proven | undefined; readonly agreement: Agreement | undefined }
}

/** A whole handshake; `change` is somebody in between, who sees each message and gives what arrives. */
function shake(
  dialler: DiallerHandshake,
  acceptor: AcceptorHandshake,
  change: (message: Uint8Array, at: number) => Uint8Array = (message) => message,
): Outcome {
  const said: Uint8Array[] = []
  const carry = (message: Uint8Array): Uint8Array => {
    said.push(message.slice())
    return change(message.slice(), said.length - 1)
  }
  const nothing = { end: { type: 'wait' }, who: undefined, agreement: undefined } as const
  const greeted = acceptor.receive(carry(dialler.hello))
  if (greeted.type !== 'send') return { said, dialler: nothing, acceptor: { ...nothing, end: greeted } }
  const challenged = dialler.receive(carry(greeted.bytes))
  if (challenged.type !== 'proved') {
    return { said, dialler: { ...nothing, end: challenged }, acceptor: { ...nothing, end: greeted } }
  }
  const finished = acceptor.receive(carry(dialler.finish(fill(16, 77))))
  if (finished.type !== 'proved') {
    return {
      said,
      dialler: { ...nothing, end: challenged, who: challenged.who },
      acceptor: { ...nothing, end: finished },
    }
  }
  const { bytes, agreement } = acceptor.accept()
  const opened = dialler.receive(carry(bytes))
  return {
    said,
    dialler: {
      end: opened,
      who: challenged.who,
      agreement: opened.type === 'open' ? opened.agreement : undefined,
    },
    acceptor: { end: finished, who: finished.who, agreement },
  }
}

test('both sides prove themselves, learn who the other is, and share a session', () => {
  const { said, dialler, acceptor } = shake(dial(), answer())
  assert.equal(said.length, 4)
  assert.deepEqual(dialler.who, {
    member: 2n,
    instance: fill(16, 2),
    process: fill(8, 2),
    lane: 'control',
    protocol: 3,
    attempt: 5,
    last: NO_SESSION,
  })
  assert.deepEqual(acceptor.who, {
    member: 1n,
    instance: fill(16, 1),
    process: fill(8, 1),
    lane: 'control',
    protocol: 3,
    attempt: 5,
    last: fill(16, 77),
  })
  assert.deepEqual(dialler.agreement?.id, acceptor.agreement?.id)
  assert.deepEqual(dialler.agreement?.sendKey, acceptor.agreement?.receiveKey)
  assert.deepEqual(dialler.agreement?.receiveKey, acceptor.agreement?.sendKey)
  assert.notDeepEqual(dialler.agreement?.sendKey, dialler.agreement?.receiveKey)
})

test('every session has its own keys: either nonce, the lane or an id makes all the difference', () => {
  const sessions = [
    shake(dial(), answer()),
    shake(dial({}, 'control', 12), answer()),
    shake(dial(), answer({}, 23)),
    shake(dial({}, 'bulk'), answer()),
    shake(dial({ self: 3n }), answer()),
    shake(dial({ process: fill(8, 5) }), answer()),
  ]
  const secrets = sessions.flatMap(({ dialler: { agreement } }) => [
    String(agreement?.id),
    String(agreement?.sendKey),
    String(agreement?.receiveKey),
  ])
  assert.equal(new Set(secrets).size, 3 * sessions.length)
})

test('every flipped bit of every message is found out by whom it reaches', () => {
  const { said } = shake(dial(), answer())
  for (const [at, message] of said.entries()) {
    for (let bit = 0; bit < message.length * 8; bit++) {
      const { dialler, acceptor } = shake(dial(), answer(), (bytes, now) => {
        if (now === at) bytes[bit >> 3] = (bytes[bit >> 3] as number) ^ (1 << (bit & 7))
        return bytes
      })
      assert.equal(dialler.agreement, undefined, `message ${at}, bit ${bit}`)
      // The acceptor has said its last word before the last message: it learns by the silence.
      if (at < 3) assert.equal(acceptor.agreement, undefined, `message ${at}, bit ${bit}`)
      if (at < 2) assert.equal(acceptor.who, undefined, `message ${at}, bit ${bit}`)
      if (at === 1) assert.equal(dialler.who, undefined, `message ${at}, bit ${bit}`)
    }
  }
})

test('another key: the dialler finds it out, and so does an acceptor that a dialler without key tries to pass', () => {
  const { dialler, said } = shake(dial({ key: fill(32, 8) }), answer())
  assert.equal(dialler.end.type === 'refuse' && dialler.end.reason, 'proof')
  assert.equal(said.length, 2)
  // A dialler that does not check goes no further.
  const acceptor = answer()
  acceptor.receive(dial().hello)
  const end = acceptor.receive(encodeMessage({ type: 'finish', last: NO_SESSION, proof: fill(32, 0) }))
  assert.equal(end.type === 'refuse' && end.reason, 'proof')
})

test('a recorded dialler gets nowhere with an acceptor, nor a recorded acceptor with a dialler', () => {
  const { said } = shake(dial(), answer())
  const [hello, challenge, finish, ready] = said as [Uint8Array, Uint8Array, Uint8Array, Uint8Array]
  const acceptor = answer({}, 23)
  assert.equal(acceptor.receive(hello).type, 'send')
  const end = acceptor.receive(finish)
  assert.equal(end.type === 'refuse' && end.reason, 'proof')

  const dialler = dial({}, 'control', 12)
  const refused = dialler.receive(challenge)
  assert.equal(refused.type === 'refuse' && refused.reason, 'proof')

  // Only the last message replayed.
  const late = dial({}, 'control', 12)
  const greeted = answer().receive(late.hello)
  assert.ok(greeted.type === 'send')
  assert.equal(late.receive(greeted.bytes).type, 'proved')
  late.finish(NO_SESSION)
  assert.equal(late.receive(ready).type, 'malformed')
})

test('reflection: what a side says is no answer to itself', () => {
  // The same member as acceptor: it knows its own id.
  const own = createAcceptorHandshake(DIALLER, fill(32, 30))
  const end = own.receive(dial().hello)
  assert.equal(end.type === 'refuse' && end.reason, 'wrong-member')
  // A dialler gets its own hello, or its own finish, back.
  const echoed = dial()
  assert.equal(echoed.receive(concatBytes([echoed.hello, echoed.hello])).type, 'malformed')
  const dialler = dial()
  const greeted = answer().receive(dialler.hello)
  assert.ok(greeted.type === 'send')
  dialler.receive(greeted.bytes)
  assert.equal(dialler.receive(dialler.finish(NO_SESSION)).type, 'malformed')
})

test('versions: the highest that both speak; none is refused by the acceptor; a downgrade is found out', () => {
  const chosen = (a: [number, number], b: [number, number]): number | string => {
    const { dialler, acceptor } = shake(dial({ lowest: a[0], highest: a[1] }), answer({ lowest: b[0], highest: b[1] }))
    if (acceptor.end.type === 'refuse') return acceptor.end.reason
    assert.equal(dialler.who?.protocol, acceptor.who?.protocol)
    return dialler.who?.protocol ?? 'none'
  }
  assert.equal(chosen([1, 1], [1, 1]), 1)
  assert.equal(chosen([1, 9], [3, 5]), 5)
  assert.equal(chosen([4, 6], [1, 5]), 5)
  assert.equal(chosen([1, 2], [3, 5]), 'version')
  assert.equal(chosen([6, 7], [3, 5]), 'version')

  // Somebody in between lowers what the dialler speaks: the acceptor chooses lower, the dialler refuses.
  const lowered = shake(dial(), answer(), (message, at) => {
    const decoded = decodeMessage(message, at === 0)
    if (at !== 0 || decoded.type !== 'message' || decoded.message.type !== 'hello') return message
    return encodeMessage({ ...decoded.message, highest: 2 })
  })
  assert.equal(lowered.dialler.end.type === 'refuse' && lowered.dialler.end.reason, 'proof')

  // A member that chooses what was not offered is refused although it has the key.
  const dialler = dial({ lowest: 1, highest: 2 })
  const liar = answer({ lowest: 1, highest: 9 })
  const honest = dial({ lowest: 1, highest: 9 })
  const greeted = liar.receive(honest.hello)
  assert.ok(greeted.type === 'send')
  const decoded = decodeMessage(greeted.bytes, false)
  assert.ok(decoded.type === 'message' && decoded.message.type === 'challenge')
  const forged = encodeMessage({ ...decoded.message, proof: fill(32, 0) })
  const proof = createHmac('sha256', DIALLER.key)
    .update('skein link 1: acceptor\0')
    .update(dialler.hello)
    .update(forged.subarray(0, -32))
    .digest()
  forged.set(proof, forged.length - 32)
  const end = dialler.receive(forged)
  assert.equal(end.type === 'refuse' && end.reason, 'version')
})

test('a hello of a later handshake is told so, in words that every version understands', () => {
  const hello = dial().hello.slice()
  hello[8 + 2 + 1] = 2
  const end = answer().receive(hello)
  assert.ok(end.type === 'refuse')
  assert.equal(end.reason, 'version')
  const told = dial().receive(end.bytes)
  assert.ok(told.type === 'refused')
  assert.deepEqual(told.refusal, {
    type: 'refusal',
    reason: 'version',
    cluster: 0xc1n,
    member: 2n,
    lowest: 2,
    highest: 3,
  })
})

test('another cluster, or another member than was dialled, is told before any proof', () => {
  const cluster = answer({ cluster: 0xc2n }).receive(dial().hello)
  assert.equal(cluster.type === 'refuse' && cluster.reason, 'wrong-cluster')
  const member = answer({ self: 3n }).receive(dial().hello)
  assert.equal(member.type === 'refuse' && member.reason, 'wrong-member')
})

test('a proven member that answers for another is refused by the dialler', () => {
  const dialler = dial()
  const { hello } = createDiallerHandshake(DIALLER, 3n, 'control', 5, fill(32, 11))
  // The challenge is about another hello, so even that fails at the proof already.
  const greeted = answer({ self: 3n }).receive(hello)
  assert.ok(greeted.type === 'send')
  const end = dialler.receive(greeted.bytes)
  assert.equal(end.type === 'refuse' && end.reason, 'proof')
})

test('messages arrive in any pieces, and what follows the last one is kept', () => {
  const dialler = dial()
  const acceptor = answer()
  const bytewise = (to: { receive(bytes: Uint8Array): Step }, bytes: Uint8Array): Step => {
    let step: Step = { type: 'wait' }
    for (const byte of bytes) {
      assert.equal(step.type, 'wait')
      step = to.receive(Uint8Array.of(byte))
    }
    return step
  }
  const greeted = bytewise(acceptor, dialler.hello)
  assert.ok(greeted.type === 'send')
  assert.equal(bytewise(dialler, greeted.bytes).type, 'proved')
  assert.equal(bytewise(acceptor, dialler.finish(NO_SESSION)).type, 'proved')
  const opened = dialler.receive(concatBytes([acceptor.accept().bytes, utf8('record')]))
  assert.ok(opened.type === 'open')
  assert.deepEqual(opened.agreement.rest, utf8('record'))
})

test('messages out of turn are refused in every stage', () => {
  const { said } = shake(dial(), answer())
  const [hello, challenge, finish, ready] = said as [Uint8Array, Uint8Array, Uint8Array, Uint8Array]
  for (const wrong of [finish, ready]) assert.equal(dial().receive(wrong).type, 'malformed')
  for (const wrong of [challenge, finish, ready]) assert.equal(answer().receive(wrong).type, 'malformed')
  for (const wrong of [challenge, ready]) {
    const acceptor = answer()
    acceptor.receive(hello)
    assert.equal(acceptor.receive(wrong).type, 'malformed')
  }
  // After its last word nothing is expected but the owner's decision.
  const asked = answer()
  asked.receive(hello)
  assert.equal(asked.receive(finish).type, 'proved')
  assert.equal(asked.receive(finish).type, 'malformed')
})

test('hostile bytes in every stage: never an exception, never a proof', () => {
  const { said } = shake(dial(), answer())
  const stages: readonly (() => { receive(bytes: Uint8Array): Step })[] = [
    dial,
    () => {
      const dialler = dial()
      dialler.receive(said[1] as Uint8Array)
      dialler.finish(NO_SESSION)
      return dialler
    },
    answer,
    () => {
      const acceptor = answer()
      acceptor.receive(said[0] as Uint8Array)
      return acceptor
    },
  ]
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 600 }),
    // A true message, mangled.
    fc
      .tuple(fc.nat(3), fc.array(fc.tuple(fc.nat(200), fc.nat(255)), { minLength: 1, maxLength: 3 }))
      .map(([at, edits]) => {
        const message = (said[at] as Uint8Array).slice()
        for (const [place, byte] of edits) message[place % message.length] = byte
        return message
      }),
  )
  fc.assert(
    fc.property(fc.nat(stages.length - 1), fc.array(bytes, { minLength: 1, maxLength: 5 }), (stage, chunks) => {
      const handshake = (stages[stage] as (typeof stages)[number])()
      for (const chunk of chunks) {
        if (said.some((message) => equalProofs(message, chunk))) return
        const step = handshake.receive(chunk)
        assert.ok(step.type !== 'open' && step.type !== 'proved')
        if (step.type !== 'wait' && step.type !== 'send') return
      }
    }),
    { numRuns: 2000 },
  )
})

test('what a stranger can make a handshake hold is bounded', () => {
  const endless = answer()
  const claim = concatBytes([
    dial().hello.subarray(0, 8),
    Uint8Array.of(MAX_MESSAGE_BYTES >> 8, MAX_MESSAGE_BYTES & 255),
  ])
  assert.equal(endless.receive(claim).type, 'wait')
  let step: Step = { type: 'wait' }
  let given = 0
  while (step.type === 'wait' && given < 10_000) {
    step = endless.receive(fill(7, 1))
    given += 7
  }
  assert.equal(step.type, 'malformed')
  assert.ok(given <= MAX_MESSAGE_BYTES + 7)
  assert.equal(answer().receive(concatBytes([claim.subarray(0, 8), Uint8Array.of(255, 255)])).type, 'malformed')
})

const bytesOf = (size: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ minLength: size, maxLength: size })
const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })
const u16 = fc.nat(65_535)
const introduction = {
  member: u64,
  instance: bytesOf(16),
  process: bytesOf(8),
  lowest: u16,
  highest: u16,
  nonce: bytesOf(32),
}
/** Plain objects, as decoders make them. */
const plain = { noNullPrototype: true }
const anyMessage: fc.Arbitrary<HandshakeMessage> = fc.oneof(
  fc.record(
    {
      type: fc.constant('hello' as const),
      lane: fc.constantFrom<Lane>('control', 'bulk'),
      cluster: u64,
      to: u64,
      attempt: fc.nat(2 ** 31),
      ...introduction,
    },
    plain,
  ),
  fc.record({ type: fc.constant('challenge' as const), protocol: u16, proof: bytesOf(32), ...introduction }, plain),
  fc.record({ type: fc.constant('finish' as const), last: bytesOf(16), proof: bytesOf(32) }, plain),
  fc.record({ type: fc.constant('ready' as const), proof: bytesOf(32) }, plain),
  fc.record(
    {
      type: fc.constant('refusal' as const),
      reason: fc.constantFrom(
        'wrong-cluster',
        'wrong-member',
        'unknown-member',
        'version',
        'proof',
        'instance',
        'busy',
      ),
      cluster: u64,
      member: u64,
      lowest: u16,
      highest: u16,
    },
    plain,
  ),
)

test('messages decode to what was encoded, and every proper prefix needs more', () => {
  fc.assert(
    fc.property(anyMessage, (message) => {
      const bytes = encodeMessage(message)
      const isFirst = message.type === 'hello'
      const decoded = decodeMessage(concatBytes([bytes, utf8('more')]), isFirst)
      assert.ok(decoded.type === 'message')
      assert.deepEqual(decoded.message, message)
      assert.deepEqual(decoded.raw, bytes)
      for (let size = 0; size < bytes.length; size++) {
        assert.equal(decodeMessage(bytes.subarray(0, size), isFirst).type, 'need-more', `${size} bytes`)
      }
    }),
    { numRuns: 200 },
  )
})

test('the layout on the wire, byte by byte', () => {
  const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
  assert.equal(
    hex(dial({ process: fill(8, 3) }, 'bulk').hello),
    [
      '00736b65696e0d0a', // magic
      '005b', // length: 91
      '01', // hello
      '01', // version of the handshake
      '01', // bulk
      '00000000000000c1', // cluster
      '0000000000000002', // to
      '00000005', // attempt
      '0000000000000001', // from
      '01'.repeat(16), // instance
      '03'.repeat(8), // process
      '0001',
      '0004', // protocols
      '0b'.repeat(32), // nonce
    ].join(''),
  )
  assert.equal(
    hex(encodeRefusal(ACCEPTOR, 'proof')),
    ['0016', '05', '04', '00000000000000c1', '0000000000000002', '0002', '0003'].join(''),
  )
})

test('proofs are HMAC-SHA256 of label, zero, and what was said', () => {
  const expected = createHmac('sha256', DIALLER.key).update('label\0one two').digest()
  const proof = prove(DIALLER.key, 'label', [utf8('one '), utf8('two')])
  assert.ok(equalProofs(proof, expected))
  assert.ok(!equalProofs(proof, expected.subarray(1)))
})
