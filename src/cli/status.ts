/** `skein status`: who is there, who leads, how far each server is. */
import type { Client } from '../client/index.ts'
import type { Member, StatusResponse } from '../wire/index.ts'
import { EXIT } from './exit.ts'
import type { Output } from './output.ts'
import { paint, table } from './output.ts'

const ASK_MS = 1_000

type Row = {
  readonly name: string
  readonly address: string
  readonly status: StatusResponse | undefined
  readonly latencyMs: number
  readonly problem: string | undefined
}

export async function showStatus(client: Client, endpoints: readonly string[], output: Output): Promise<number> {
  const members = await client
    .memberList({ timeoutMs: ASK_MS })
    .then((response) => response.members)
    .catch(() => [] as readonly Member[])
  const addresses =
    members.length > 0
      ? members.map((member) => ({ name: member.name, address: addressOf(member) }))
      : endpoints.map((address) => ({ name: '?', address }))
  const rows = await Promise.all(addresses.map(({ name, address }) => ask(client, name, address)))
  const up = rows.filter((row) => row.status !== undefined)
  const majority = Math.floor(rows.length / 2) + 1
  const leader = rows.find((row) => row.status !== undefined && row.status.leader === row.status.header?.memberId)
  if (output.json) {
    output.object({
      leader: leader?.name,
      up: up.length,
      servers: rows.length,
      majority,
      members: rows.map((row) => ({
        name: row.name,
        address: row.address,
        up: row.status !== undefined,
        leader: row === leader,
        ...(row.status && {
          term: row.status.raftTerm,
          durableIndex: row.status.raftIndex,
          appliedIndex: row.status.raftAppliedIndex,
          revision: row.status.header?.revision,
          sizeBytes: row.status.dbSize,
          latencyMs: Number(row.latencyMs.toFixed(2)),
        }),
        ...(row.problem !== undefined && { problem: row.problem }),
      })),
    })
  } else {
    for (const line of table([
      HEAD.map((cell) => paint(output, 'dim', cell)),
      ...rows.map((row) => cells(row, row === leader, output)),
    ])) {
      output.print(line)
    }
    output.print('')
    output.print(summary(rows.length, up.length, majority, leader?.name))
  }
  return leader === undefined ? EXIT.unreachable : EXIT.ok
}

const HEAD = ['SERVER', 'ADDRESS', 'ROLE', 'TERM', 'DURABLE', 'APPLIED', 'REVISION', 'SIZE', 'ANSWERS IN'] as const

function cells(row: Row, leads: boolean, output: Output): string[] {
  if (row.status === undefined)
    return [
      row.name,
      row.address,
      paint(output, 'red', 'down'),
      '',
      '',
      '',
      '',
      '',
      paint(output, 'dim', row.problem ?? ''),
    ]
  const { status } = row
  return [
    leads ? paint(output, 'bold', row.name) : row.name,
    row.address,
    leads ? paint(output, 'green', 'leader') : status.leader === 0n ? paint(output, 'yellow', 'no leader') : 'follower',
    String(status.raftTerm),
    String(status.raftIndex),
    String(status.raftAppliedIndex),
    String(status.header?.revision ?? ''),
    size(status.dbSize),
    `${row.latencyMs.toFixed(1)} ms`,
  ]
}

export function summary(servers: number, up: number, majority: number, leader: string | undefined): string {
  if (up === 0) return 'No server answers. Start them with: skein up'
  if (leader === undefined) {
    const lacking = majority - up
    return lacking > 0
      ? `${up} of ${servers} servers are up and ${majority} are needed: nothing can be written. Bring back ${lacking} more.`
      : `${up} of ${servers} servers are up, and none leads yet: ask again in a second.`
  }
  const spare = up - majority
  const more = spare === 0 ? 'no further server may fail' : spare === 1 ? 'one more may fail' : `${spare} more may fail`
  return `${leader} leads. ${up} of ${servers} servers are up, ${majority} are needed: ${more}.`
}

function size(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`
  if (bytes < 1024 * 1024) return `${(bytes / 1024).toFixed(0)} KiB`
  return `${(bytes / 1024 / 1024).toFixed(1)} MiB`
}

async function ask(client: Client, name: string, address: string): Promise<Row> {
  const began = performance.now()
  try {
    const status = await client.status(address, { timeoutMs: ASK_MS })
    return { name, address, status, latencyMs: performance.now() - began, problem: undefined }
  } catch (error) {
    return {
      name,
      address,
      status: undefined,
      latencyMs: performance.now() - began,
      problem: error instanceof Error ? error.message : String(error),
    }
  }
}

export function addressOf(member: Member): string {
  return (member.clientUrls[0] ?? member.peerUrls[0] ?? '').replace(/^https?:\/\//, '')
}
