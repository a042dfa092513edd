/** The demo's story, each step checked before it is told. */
import { FAILURES, SkeinError, text, utf8 } from '../base/index.ts'
import type { Client } from '../client/index.ts'
import { askAll, countAgreed, majorityOf, pause, waitForLeader } from './agreement.ts'
import type { Connect } from './client-session.ts'
import { prefixEnd } from './prefix.ts'
import type { ServerView, Supervisor } from './supervisor.ts'

export type Teller = {
  readonly chapter: (title: string) => void
  readonly tell: (sentence: string, facts: Readonly<Record<string, unknown>>) => void
}

const KEY = utf8('User_Balance')
const LEDGER = utf8('payment/')
const PAYMENTS = 20
/** A write must have been refused by then, and a leader found. */
const LIMIT_MS = 15_000

export async function tellStory(supervisor: Supervisor, connect: Connect, { chapter, tell }: Teller): Promise<void> {
  const servers = supervisor.servers
  const addresses = servers.map((server) => server.address)
  const all = connect({ endpoints: addresses })
  const to = (server: ServerView): Client => connect({ endpoints: [server.address], timeoutMs: LIMIT_MS })
  const server = (i: number): ServerView => servers[i % servers.length] as ServerView
  const quorum = majorityOf(servers.length)
  /** Every write that was acknowledged: what must never be missing. */
  const acknowledged = new Map<string, string>()
  const save = async (client: Client, key: Uint8Array, value: string): Promise<number> => {
    const began = performance.now()
    await client.put(key, utf8(value))
    acknowledged.set(text(key), value)
    return performance.now() - began
  }
  const expectBalance = async (client: Client, value: string, serializable: boolean): Promise<void> => {
    const response = await client.range({ key: KEY, serializable })
    const found = response.kvs[0] === undefined ? 'nothing' : text(response.kvs[0].value)
    expect(found === value, `User_Balance should be ${value} and is ${found}`)
  }
  const leaderNow = async (): Promise<number> => {
    const end = performance.now() + LIMIT_MS
    const leader = await waitForLeader(all, addresses, () => performance.now() > end)
    expect(leader !== undefined, `no server leads after ${LIMIT_MS / 1000} s`)
    return leader as number
  }

  chapter('Five servers act as one.')
  const first = await leaderNow()
  tell(`${servers.map((one) => one.name).join(', ')} run as processes of their own; ${server(first).name} leads.`, {
    leader: server(first).name,
  })
  const [writer, reader] = [server(first + 1), server(first + 2)]
  await all.status(writer.address)
  const through = to(writer)
  await through.status(writer.address)
  const tookMs = await save(through, KEY, '100')
  await expectBalance(to(reader), '100', false)
  const agreedBy = await countAgreed(all, addresses, LIMIT_MS)
  expect(agreedBy === servers.length, `only ${agreedBy} of ${servers.length} servers have the write on disk`)
  tell(
    `User_Balance=100 saved through ${writer.name}, read through ${reader.name}: agreed by ${agreedBy} of ${servers.length}, quorum ${quorum}, ${tookMs.toFixed(1)} ms.`,
    { agreedBy, servers: servers.length, quorum, tookMs: Number(tookMs.toFixed(1)) },
  )
  for (let i = 1; i <= PAYMENTS; i++) await save(through, utf8(`payment/${String(i).padStart(2, '0')}`), `paid ${i}`)
  tell(`${PAYMENTS} payments recorded.`, { payments: PAYMENTS })

  chapter('Two are killed, the leader among them.')
  const dead = [server(first), server(first + 4)]
  for (const one of dead) await supervisor.kill(one.name)
  const nextMs = await save(to(server(first + 1)), KEY, '80')
  await expectBalance(to(server(first + 3)), '80', false)
  const second = await leaderNow()
  tell(
    `SIGKILL ends ${dead.map((one) => one.name).join(' and ')}. User_Balance=80 is saved all the same, by the ${quorum} that are left, in ${(nextMs / 1000).toFixed(1)} s: they had to elect ${server(second).name} first.`,
    { killed: dead.map((one) => one.name), leader: server(second).name, tookMs: Number(nextMs.toFixed(1)) },
  )

  chapter('A third is killed: two of five are no majority.')
  dead.push(server(second))
  await supervisor.kill(server(second).name)
  const left = servers.filter((one) => dead.every((other) => other.name !== one.name))
  await untilLeaderless(all, left)
  const survivor = to(left[0] as ServerView)
  const refusedMs = await expectRefusal(survivor, tell)
  await expectBalance(survivor, '80', true)
  tell(`A serializable read still answers, from what ${left[0]?.name} knows: User_Balance=80.`, {
    serializable: '80',
    refusedMs: Number(refusedMs.toFixed(1)),
  })

  chapter('All come back.')
  await Promise.all(dead.map(async (one) => supervisor.restart(one.name)))
  const third = await leaderNow()
  for (const one of servers) {
    const client = to(one)
    await expectBalance(client, '80', false)
    const { kvs } = await client.range({ key: LEDGER, rangeEnd: prefixEnd(LEDGER) })
    const found = new Map(kvs.map((kv) => [text(kv.key), text(kv.value)]))
    found.set(text(KEY), '80')
    const missing = [...acknowledged].filter(([key, value]) => found.get(key) !== value)
    expect(missing.length === 0, `${one.name} lacks ${missing.map(([key]) => key).join(', ')}`)
    expect(
      found.size === acknowledged.size,
      `${one.name} has ${found.size} keys, and ${acknowledged.size} were written`,
    )
  }
  tell(
    `${server(third).name} leads. Asked one by one, all ${servers.length} have all ${acknowledged.size} keys that were acknowledged, and not the write that was refused.`,
    { leader: server(third).name, keys: acknowledged.size },
  )
}

/** Until those who are left have noticed that they are too few. */
async function untilLeaderless(client: Client, left: readonly ServerView[]): Promise<void> {
  const end = performance.now() + LIMIT_MS
  const addresses = left.map((server) => server.address)
  for (;;) {
    const statuses = await askAll(client, addresses)
    if (statuses.every((status) => status?.leader === 0n)) return
    expect(
      performance.now() < end,
      `${LIMIT_MS / 1000} s after the majority was lost a server still believes in a leader`,
    )
    await pause(20)
  }
}

/** Returns how long the refusal took. */
async function expectRefusal(client: Client, tell: Teller['tell']): Promise<number> {
  const began = performance.now()
  const refusal = await client.put(KEY, utf8('60')).then(
    () => undefined,
    (error: unknown) => error,
  )
  const tookMs = performance.now() - began
  expect(refusal !== undefined, 'a write was acknowledged by two servers of five')
  if (!(refusal instanceof SkeinError)) throw refusal
  expect(refusal.code === 'no-leader', `the write should be refused with no-leader, not with ${refusal.code}`)
  expect(tookMs < LIMIT_MS, `the refusal took ${tookMs} ms`)
  const { meaning, hint } = FAILURES[refusal.code]
  tell(`User_Balance=60 is refused after ${(tookMs / 1000).toFixed(1)} s with ${refusal.code}: ${meaning}`, {
    refused: refusal.code,
    message: refusal.message,
  })
  tell(hint, { hint })
  return tookMs
}

function expect(isSo: boolean, otherwise: string): void {
  if (!isSo) throw new Error(`the demo's story did not come true: ${otherwise}`)
}
