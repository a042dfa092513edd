/**
 * The contract of the world's doors as one suite of tests, run over the Node.js world and over the simulated one. What
 * passes here behaves alike in both, so that a server need not know where it runs.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { compareBytes, concatBytes, type Failure, type Result, toHex, utf8, text } from '../src/base/index.ts'
import type { Connection, ConnectionHandlers, DiskFile, Done, Listener, World } from '../src/world/index.ts'

export interface Rig {
  /** Two processes that can reach each other, with disks of their own. */
  readonly here: World
  readonly there: World
  /** The host part under which each can be dialled. */
  readonly hereHost: string
  readonly thereHost: string
  /** Starts something and lets time pass until it calls back. Rejects when it does not within some seconds. */
  settle<T>(start: (done: (value: T) => void) => void): Promise<T>
  end(): Promise<void>
}

export type MakeRig = () => Promise<Rig>

type Closed = { readonly reason: Failure | undefined }

/** An end of a connection that keeps what it hears and lets a test wait for it. */
class Ear implements ConnectionHandlers {
  readonly received: Uint8Array[] = []
  drains = 0
  closed: Closed | undefined
  connection: Connection | undefined
  heard: () => void = () => {}

  onData(bytes: Uint8Array): void {
    assert.equal(this.closed, undefined, 'data after the close')
    assert.equal(Object.getPrototypeOf(bytes), Uint8Array.prototype)
    this.received.push(bytes)
    this.heard()
  }
  onDrain(): void {
    this.drains++
    this.heard()
  }
  onClose(reason: Failure | undefined): void {
    assert.equal(this.closed, undefined, 'closed twice')
    this.closed = { reason }
    this.heard()
  }
  /** Why it ended; undefined for an orderly end. Fails while it has not. */
  get reason(): Failure | undefined {
    assert.ok(this.closed)
    return this.closed.reason
  }
  get bytes(): Uint8Array {
    return concatBytes(this.received)
  }
  get size(): number {
    return this.received.reduce((sum, part) => sum + part.length, 0)
  }
  get end(): Connection {
    assert.ok(this.connection)
    return this.connection
  }
}

function value<T>(result: Result<T>): T {
  assert.ok(result.ok, result.ok ? '' : result.error.message)
  return result.value
}

function code<T>(result: Result<T>): string {
  assert.ok(!result.ok, 'a failure was expected')
  assert.ok(result.error.message.length > 10)
  return result.error.code
}

/** Waits until `met` holds, looking after each event that the ear hears. */
function until(rig: Rig, ear: Ear, met: () => boolean): Promise<void> {
  return rig.settle<void>((done) => {
    const look = (): void => {
      if (!met()) return
      ear.heard = () => {}
      done()
    }
    ear.heard = look
    look()
  })
}

type Pair = { readonly listener: Listener; readonly dialled: Ear; readonly accepted: Ear }

async function connect(rig: Rig): Promise<Pair> {
  const accepted = new Ear()
  const listener = value(
    await rig.settle<Result<Listener>>((done) => {
      rig.there.network.listen(
        `${rig.thereHost}:0`,
        {},
        (connection) => {
          accepted.connection = connection
          accepted.heard()
          return accepted
        },
        done,
      )
    }),
  )
  const dialled = new Ear()
  await rig.settle<void>((done) => {
    rig.here.network.dial(listener.address, { timeoutMs: 5000 }, (result) => {
      dialled.connection = value(result)
      done()
      return dialled
    })
  })
  await until(rig, accepted, () => accepted.connection !== undefined)
  return { listener, dialled, accepted }
}

function wait(rig: Rig, ms: number): Promise<void> {
  return rig.settle<void>((done) => void rig.here.clock.setTimer(ms, done))
}

function pattern(size: number, salt: number): Uint8Array {
  const bytes = new Uint8Array(size)
  for (let i = 0; i < size; i++) bytes[i] = (i * 31 + (i >> 8) * 7 + salt) & 0xff
  return bytes
}

function assertSame(actual: Uint8Array, expected: Uint8Array): void {
  assert.equal(actual.length, expected.length)
  assert.equal(compareBytes(actual, expected), 0, 'bytes differ')
}

function streams(name: string, makeRig: MakeRig): void {
  const on = (title: string, body: (rig: Rig) => Promise<void>): void => {
    test(`${name}: streams: ${title}`, async () => {
      const rig = await makeRig()
      try {
        await body(rig)
      } finally {
        await rig.end()
      }
    })
  }

  on('bytes arrive whole and in order, both ways at once', async (rig) => {
    const { dialled, accepted } = await connect(rig)
    const sent: Uint8Array[] = []
    const answered: Uint8Array[] = []
    for (let i = 0; i < 200; i++) {
      sent.push(pattern(i * 7, i))
      answered.push(pattern(i * 5, i + 100))
      dialled.end.write(sent[i] as Uint8Array)
      accepted.end.write(answered[i] as Uint8Array)
    }
    const up = concatBytes(sent)
    const down = concatBytes(answered)
    await until(rig, accepted, () => accepted.size >= up.length)
    await until(rig, dialled, () => dialled.size >= down.length)
    assertSame(accepted.bytes, up)
    assertSame(dialled.bytes, down)
    assert.equal(accepted.end.localAddress, dialled.end.remoteAddress)
  })

  on('write says stop while the other side does not read, and drain says go', async (rig) => {
    const { dialled, accepted } = await connect(rig)
    accepted.end.pause()
    const chunk = pattern(64 * 1024, 1)
    let written = 0
    let refusedAt = 0
    // The sender hears "stop" within a bounded amount, whatever the system buffers.
    while (refusedAt === 0 && written < 1024) {
      written++
      if (!dialled.end.write(chunk)) {
        // A buffer that only waits for the system to take it drains by itself: one that stays full does not.
        await wait(rig, 50)
        if (dialled.end.bufferedBytes > 0 && dialled.drains === 0) refusedAt = written
        dialled.drains = 0
      }
    }
    assert.ok(refusedAt > 0, 'never said stop')
    const buffered = dialled.end.bufferedBytes
    await wait(rig, 50)
    assert.equal(dialled.end.bufferedBytes, buffered, 'still stuck')
    assert.equal(accepted.size, 0, 'a paused side hears nothing')
    accepted.end.resume()
    await until(rig, dialled, () => dialled.drains > 0)
    await until(rig, accepted, () => accepted.size === written * chunk.length)
    assert.equal(dialled.end.bufferedBytes, 0)
    const expected = concatBytes(Array.from({ length: written }, () => chunk))
    assertSame(accepted.bytes, expected)
  })

  on('close delivers what was written first, and both sides hear an orderly end', async (rig) => {
    const { dialled, accepted } = await connect(rig)
    const bytes = pattern(700_000, 3)
    dialled.end.write(bytes)
    dialled.end.close()
    assert.equal(dialled.closed, undefined, 'not within the call')
    assert.equal(dialled.end.write(utf8('late')), true)
    await until(rig, accepted, () => accepted.closed !== undefined)
    await until(rig, dialled, () => dialled.closed !== undefined)
    assertSame(accepted.bytes, bytes)
    assert.equal(accepted.reason, undefined)
    assert.equal(dialled.reason, undefined)
  })

  on('a side that is closed by the other still delivers what it had queued', async (rig) => {
    const { dialled, accepted } = await connect(rig)
    // The answer is queued before the end arrives.
    accepted.end.write(utf8('answer'))
    await until(rig, dialled, () => dialled.size === 6)
    dialled.end.close()
    await until(rig, accepted, () => accepted.closed !== undefined)
    assert.equal(accepted.reason, undefined)
    assert.equal(text(dialled.bytes), 'answer')
  })

  on('after its own close a side hears no more data', async (rig) => {
    const { dialled, accepted } = await connect(rig)
    dialled.end.close()
    accepted.end.write(utf8('into the void'))
    await until(rig, dialled, () => dialled.closed !== undefined)
    assert.equal(dialled.size, 0)
    assert.equal(dialled.reason, undefined)
  })

  on('reset is told to both sides as a lost connection', async (rig) => {
    const { dialled, accepted } = await connect(rig)
    dialled.end.reset()
    dialled.end.reset()
    assert.equal(dialled.closed, undefined, 'not within the call')
    await until(rig, dialled, () => dialled.closed !== undefined)
    await until(rig, accepted, () => accepted.closed !== undefined)
    assert.equal(dialled.reason?.code, 'connection-lost')
    assert.equal(accepted.reason?.code, 'connection-lost')
    assert.equal(accepted.end.write(utf8('x')), true, 'writing after the end is ignored')
    accepted.end.close()
    accepted.end.reset()
    await wait(rig, 20)
  })

  on('dialling where nobody listens is unreachable, and names the address', async (rig) => {
    const { listener } = await connect(rig)
    await rig.settle<void>((done) => listener.close(done))
    const result = await rig.settle<Result<Connection>>((done) => {
      rig.here.network.dial(listener.address, { timeoutMs: 5000 }, (dialled) => {
        done(dialled)
        return undefined
      })
    })
    assert.equal(code(result), 'unreachable')
    assert.ok(!result.ok && result.error.message.includes(listener.address))
  })

  on('an address that is none is refused as a value', async (rig) => {
    for (const address of ['nonsense', 'host:', ':80', 'host:70000', 'a b:1']) {
      const dialled = await rig.settle<Result<Connection>>((done) => {
        rig.here.network.dial(address, { timeoutMs: 5000 }, (result) => {
          done(result)
          return undefined
        })
      })
      assert.equal(code(dialled), 'unreachable')
      const listening = await rig.settle<Result<Listener>>((done) => {
        rig.here.network.listen(address, {}, () => new Ear(), done)
      })
      assert.equal(code(listening), 'invalid-request')
    }
  })

  on('two listeners cannot share an address; closing one frees it and leaves its connections', async (rig) => {
    const { listener, dialled, accepted } = await connect(rig)
    const again = (): Promise<Result<Listener>> =>
      rig.settle((done) => rig.there.network.listen(listener.address, {}, () => new Ear(), done))
    assert.equal(code(await again()), 'address-in-use')
    await rig.settle<void>((done) => listener.close(done))
    const second = value(await again())
    assert.equal(second.address, listener.address)
    dialled.end.write(utf8('still here'))
    await until(rig, accepted, () => accepted.size === 10)
    await rig.settle<void>((done) => second.close(done))
  })

  on('a connection that its owner does not want is dropped', async (rig) => {
    const { listener } = await connect(rig)
    const kept = new Ear()
    const connection = await rig.settle<Connection>((done) => {
      rig.here.network.dial(listener.address, { timeoutMs: 5000 }, (result) => {
        done(value(result))
        return undefined
      })
    })
    assert.equal(connection.write(utf8('x')), true)
    assert.equal(kept.size, 0)
  })
}

function disks(name: string, makeRig: MakeRig): void {
  const on = (title: string, body: (rig: Rig) => Promise<void>): void => {
    test(`${name}: disk: ${title}`, async () => {
      const rig = await makeRig()
      try {
        await body(rig)
      } finally {
        await rig.end()
      }
    })
  }
  const call = <T>(rig: Rig, start: (done: Done<T>) => void): Promise<Result<T>> =>
    rig.settle<Result<T>>((done) => {
      let returned = false
      start((result) => {
        assert.ok(returned, 'called back before the call returned')
        done(result)
      })
      returned = true
    })
  const open = async (rig: Rig, path: string): Promise<DiskFile> =>
    value(await call<DiskFile>(rig, (done) => rig.here.disk.open(path, { create: true }, done)))

  on('what was written is read, at any offset, and the end is where it is', async (rig) => {
    const file = await open(rig, 'f')
    value(await call<void>(rig, (done) => file.write(0, [utf8('hello '), utf8(''), utf8('world')], done)))
    assert.equal(value(await call<number>(rig, (done) => file.size(done))), 11)
    assert.equal(text(value(await call<Uint8Array>(rig, (done) => file.read(6, 100, done)))), 'world')
    assert.equal(text(value(await call<Uint8Array>(rig, (done) => file.read(1, 3, done)))), 'ell')
    assert.equal(value(await call<Uint8Array>(rig, (done) => file.read(11, 10, done))).length, 0)
    assert.equal(value(await call<Uint8Array>(rig, (done) => file.read(99, 10, done))).length, 0)
    assert.equal(value(await call<Uint8Array>(rig, (done) => file.read(0, 0, done))).length, 0)
    value(await call<void>(rig, (done) => file.write(3, [utf8('LO')], done)))
    value(await call<void>(rig, (done) => file.datasync(done)))
    assert.equal(
      text(value(await call<Uint8Array>(rig, (done) => rig.here.disk.readWhole('f', 100, done)))),
      'helLO world',
    )
    value(await call<void>(rig, (done) => file.write(0, [], done)))
    value(await call<void>(rig, (done) => file.close(done)))
  })

  on('a write past the end leaves zeros between', async (rig) => {
    const file = await open(rig, 'f')
    value(await call<void>(rig, (done) => file.write(5000, [utf8('x')], done)))
    const bytes = value(await call<Uint8Array>(rig, (done) => file.read(0, 6000, done)))
    assert.equal(bytes.length, 5001)
    assert.ok(bytes.subarray(0, 5000).every((byte) => byte === 0))
    value(await call<void>(rig, (done) => file.close(done)))
  })

  on('many parts in one write', async (rig) => {
    const file = await open(rig, 'f')
    const parts = Array.from({ length: 3000 }, (_, i) => pattern(i % 50, i))
    value(await call<void>(rig, (done) => file.write(0, parts, done)))
    const expected = concatBytes(parts)
    assertSame(value(await call<Uint8Array>(rig, (done) => file.read(0, expected.length + 1, done))), expected)
    value(await call<void>(rig, (done) => file.close(done)))
  })

  on('truncate cuts, and what is written later over the cut does not bring old bytes back', async (rig) => {
    const file = await open(rig, 'f')
    value(await call<void>(rig, (done) => file.write(0, [pattern(10_000, 9)], done)))
    value(await call<void>(rig, (done) => file.truncate(4100, done)))
    assert.equal(value(await call<number>(rig, (done) => file.size(done))), 4100)
    value(await call<void>(rig, (done) => file.write(5000, [utf8('y')], done)))
    const bytes = value(await call<Uint8Array>(rig, (done) => file.read(0, 6000, done)))
    assertSame(bytes.subarray(0, 4100), pattern(10_000, 9).subarray(0, 4100))
    assert.ok(bytes.subarray(4100, 5000).every((byte) => byte === 0))
    value(await call<void>(rig, (done) => file.close(done)))
  })

  on('absent files and directories are not-found', async (rig) => {
    const disk = rig.here.disk
    assert.equal(code(await call(rig, (done) => disk.open('no', { create: false }, done))), 'not-found')
    assert.equal(code(await call(rig, (done) => disk.open('no/such', { create: true }, done))), 'not-found')
    assert.equal(code(await call<Uint8Array>(rig, (done) => disk.readWhole('no', 10, done))), 'not-found')
    assert.equal(code(await call(rig, (done) => disk.remove('no', done))), 'not-found')
    assert.equal(code(await call(rig, (done) => disk.list('no', done))), 'not-found')
    assert.equal(code(await call(rig, (done) => disk.syncDirectory('no', done))), 'not-found')
    assert.equal(code(await call(rig, (done) => disk.replace('no/such', [utf8('x')], done))), 'not-found')
    assert.equal(code(await call(rig, (done) => disk.lock('no', done))), 'not-found')
  })

  on('readWhole refuses what is above its limit', async (rig) => {
    value(await call<void>(rig, (done) => rig.here.disk.replace('f', [utf8('12345')], done)))
    assert.equal(value(await call<Uint8Array>(rig, (done) => rig.here.disk.readWhole('f', 5, done))).length, 5)
    assert.equal(
      code(await call<Uint8Array>(rig, (done) => rig.here.disk.readWhole('f', 4, done))),
      'request-too-large',
    )
  })

  on('replace makes and overwrites; an open file keeps what it had; the last of several wins', async (rig) => {
    const { disk } = rig.here
    value(await call<void>(rig, (done) => disk.replace('f', [utf8('one')], done)))
    const file = value(await call<DiskFile>(rig, (done) => disk.open('f', { create: false }, done)))
    let first: Result<void> | undefined
    disk.replace('f', [utf8('two')], (result) => {
      first = result
    })
    value(await call<void>(rig, (done) => disk.replace('f', [utf8('th'), utf8('ree')], done)))
    assert.ok(first?.ok)
    assert.equal(text(value(await call<Uint8Array>(rig, (done) => disk.readWhole('f', 10, done)))), 'three')
    assert.equal(text(value(await call<Uint8Array>(rig, (done) => file.read(0, 10, done)))), 'one')
    value(await call<void>(rig, (done) => file.close(done)))
    assert.deepEqual(value(await call<string[]>(rig, (done) => disk.list('.', done))), ['f'])
  })

  on('directories: made with parents, listed in order, files removed', async (rig) => {
    const { disk } = rig.here
    value(await call<void>(rig, (done) => disk.makeDirectory('a/b/c', done)))
    value(await call<void>(rig, (done) => disk.makeDirectory('a/b', done)))
    for (const leaf of ['z', 'B', 'a', '10', '9']) {
      value(await call<void>(rig, (done) => disk.replace(`a/b/${leaf}`, [utf8(leaf)], done)))
    }
    value(await call<void>(rig, (done) => disk.syncDirectory('a/b', done)))
    assert.deepEqual(value(await call<string[]>(rig, (done) => disk.list('a/b', done))), [
      '10',
      '9',
      'B',
      'a',
      'c',
      'z',
    ])
    value(await call<void>(rig, (done) => disk.remove('a/b/B', done)))
    assert.deepEqual(value(await call<string[]>(rig, (done) => disk.list('a/b', done))), ['10', '9', 'a', 'c', 'z'])
    assert.deepEqual(value(await call<string[]>(rig, (done) => disk.list('a', done))), ['b'])
  })

  on('a lock excludes, and its release lets the next one in', async (rig) => {
    const { disk } = rig.here
    value(await call<void>(rig, (done) => disk.makeDirectory('d', done)))
    const first = value(await call<{ release(): void }>(rig, (done) => disk.lock('d', done)))
    assert.equal(code(await call(rig, (done) => disk.lock('d', done))), 'data-in-use')
    first.release()
    first.release()
    const second = value(await call<{ release(): void }>(rig, (done) => disk.lock('d', done)))
    assert.equal(code(await call(rig, (done) => disk.lock('d', done))), 'data-in-use')
    second.release()
  })

  on('two writes at once to one file break an invariant', async (rig) => {
    const file = await open(rig, 'f')
    const done = call<void>(rig, (finished) => {
      file.write(0, [utf8('a')], finished)
      assert.throws(() => file.write(1, [utf8('b')], () => {}), { invariant: 'one-write-in-flight' })
      assert.throws(() => file.datasync(() => {}), { invariant: 'one-write-in-flight' })
    })
    value(await done)
    value(await call<void>(rig, (finished) => file.datasync(finished)))
    value(await call<void>(rig, (finished) => file.close(finished)))
    assert.throws(() => file.size(() => {}), { invariant: 'disk-file-open' })
  })
}

function clocks(name: string, makeRig: MakeRig): void {
  const on = (title: string, body: (rig: Rig) => Promise<void>): void => {
    test(`${name}: turns: ${title}`, async () => {
      const rig = await makeRig()
      try {
        await body(rig)
      } finally {
        await rig.end()
      }
    })
  }

  on('a timer never fires early and never within the call', async (rig) => {
    const { clock } = rig.here
    for (const delayMs of [0, 0.3, 1, 1.7, 5.5]) {
      const startMs = clock.monotonicMs()
      await rig.settle<void>((done) => {
        let returned = false
        clock.setTimer(delayMs, () => {
          assert.ok(returned)
          done()
        })
        returned = true
      })
      assert.ok(clock.monotonicMs() - startMs >= delayMs, `${delayMs} ms`)
    }
    assert.ok(clock.wallMs() > 1.6e12)
  })

  on('timers fire in the order of their times; a cancelled one never', async (rig) => {
    const { clock } = rig.here
    const fired: string[] = []
    await rig.settle<void>((done) => {
      clock.setTimer(30, done)
      clock.setTimer(20, () => fired.push('20'))
      clock.setTimer(10, () => {
        fired.push('10')
        late.cancel()
      })
      const late = clock.setTimer(15, () => fired.push('cancelled'))
      const never = clock.setTimer(1, () => fired.push('cancelled at once'))
      clock.setTimer(2 ** 40, () => fired.push('far')).cancel()
      never.cancel()
      never.cancel()
    })
    assert.deepEqual(fired, ['10', '20'])
  })

  on('endOfTurn: in order, after the turn, and what is asked for meanwhile comes in a next round', async (rig) => {
    const { here } = rig
    const told: string[] = []
    await rig.settle<void>((done) => {
      here.clock.setTimer(1, () => {
        here.endOfTurn(() => {
          told.push('first')
          here.endOfTurn(() => {
            told.push('round two')
            done()
          })
        })
        here.endOfTurn(() => told.push('second'))
        told.push('turn')
      })
    })
    assert.deepEqual(told, ['turn', 'first', 'second', 'round two'])
  })

  on('endOfTurn works outside of a turn too', async (rig) => {
    let returned = false
    await rig.settle<void>((done) => {
      rig.here.endOfTurn(() => {
        assert.ok(returned)
        done()
      })
      returned = true
    })
  })

  on('checksum is CRC-32', async (rig) => {
    const bytes = utf8('123456789')
    assert.equal(rig.here.checksum(bytes), 0xcbf43926)
    assert.equal(rig.here.checksum(bytes.subarray(4), rig.here.checksum(bytes.subarray(0, 4))), 0xcbf43926)
  })

  on('HMAC, where there is one, is HMAC-SHA256 (RFC 4231, test case 2)', async (rig) => {
    const { hmacSha256 } = rig.here
    if (hmacSha256 === undefined) return
    const expected = '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843'
    const whole = hmacSha256(utf8('Jefe'), [utf8('what do ya want for nothing?')])
    const parts = hmacSha256(utf8('Jefe'), [utf8('what do ya want '), utf8(''), utf8('for nothing?')])
    assert.deepEqual([toHex(whole), toHex(parts)], [expected, expected])
  })

  on('random bytes have the length asked for, and fractions are in [0, 1)', async (rig) => {
    assert.equal(rig.here.random.bytes(0).length, 0)
    assert.equal(rig.here.random.bytes(33).length, 33)
    assert.notDeepEqual(rig.here.random.bytes(16), rig.here.random.bytes(16))
    for (let i = 0; i < 1000; i++) {
      const fraction = rig.here.random.fraction()
      assert.ok(fraction >= 0 && fraction < 1)
    }
  })
}

/** Declares the whole suite as tests of the world that `makeRig` makes. */
export function worldContract(name: string, makeRig: MakeRig): void {
  streams(name, makeRig)
  disks(name, makeRig)
  clocks(name, makeRig)
}
