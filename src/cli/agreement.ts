/** What can be learnt by asking every server: who leads, and how many have something on their disks. */
import type { Client } from '../client/index.ts'
import type { StatusResponse } from '../wire/index.ts'

const ASK_MS = 1_000
const POLL_MS = 15

/** One status per address; undefined where none came. */
export async function askAll(client: Client, addresses: readonly string[]): Promise<(StatusResponse | undefined)[]> {
  return Promise.all(
    addresses.map((address) => client.status(address, { timeoutMs: ASK_MS }).catch((): undefined => undefined)),
  )
}

export function majorityOf(servers: number): number {
  return Math.floor(servers / 2) + 1
}

/** Which of them leads: it says so itself, in the highest term that anybody answered with. */
export function leaderAmong(statuses: readonly (StatusResponse | undefined)[]): number | undefined {
  let found: number | undefined
  let term = -1
  for (const [i, status] of statuses.entries()) {
    if (status === undefined || status.raftTerm < term) continue
    if (status.raftTerm > term) found = undefined
    term = status.raftTerm
    if (status.leader !== 0n && status.leader === status.header?.memberId) found = i
  }
  return found
}

/** Asks until a majority knows the same leader, or `given up` returns true. Returns its index. */
export async function waitForLeader(
  client: Client,
  addresses: readonly string[],
  givenUp: () => boolean,
  majority: number = majorityOf(addresses.length),
): Promise<number | undefined> {
  while (!givenUp()) {
    const statuses = await askAll(client, addresses)
    const at = leaderAmong(statuses)
    const leader = at === undefined ? undefined : statuses[at]?.leader
    const known = statuses.filter((status) => leader !== undefined && status?.leader === leader).length
    if (at !== undefined && known >= majority) return at
    await pause(POLL_MS)
  }
  return undefined
}

/**
 * How many servers have everything on disk that has taken effect anywhere by now. Those that are a little behind are waited
 * for until all have it or the limit is over.
 */
export async function countAgreed(client: Client, addresses: readonly string[], limitMs: number): Promise<number> {
  const end = performance.now() + limitMs
  const effective = (await askAll(client, addresses)).map((status) => status?.raftAppliedIndex ?? 0)
  const target = Math.max(...effective)
  for (;;) {
    // Skein's status says how far the server's own log is durable, in the field for the log's index.
    const statuses = await askAll(client, addresses)
    const agreed = statuses.filter((status) => status !== undefined && status.raftIndex >= target).length
    if (agreed === addresses.length || performance.now() >= end) return agreed
    await pause(POLL_MS)
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms)
  })
}
