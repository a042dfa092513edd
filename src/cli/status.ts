/** `skein status`: who is there, who leads, how far each server is. */
import { SkeinError } from '../base/index.ts'
import type { Client } from '../client/index.ts'
import type { Member, StatusResponse } from '../wire/index.ts'
import { leaderAmong, majorityOf } from './agreement.ts'
import type { Connect, Session } from './client-session.ts'
import { inFewWords } from './client-session.ts'
import { askControl } from './control.ts'
import { EXIT } from './exit.ts'
import { commandLine } from './name.ts'
import type { Output, Style } from './output.ts'
import { paint } from './output.ts'
import type { ServerState } from './supervisor.ts'
import type { Cell, Column, Row } from './table.ts'
import { table } from './table.ts'

const ASK_MS = 1_000

export type Asked = {
  readonly name: string
  readonly address: string
  readonly status: StatusResponse | undefined
  readonly latencyMs: number
  /** Why there is no status, in a few words. */
  readonly problem: string | undefined
  /** What the supervisor on this machine says about its process. */
  readonly process: ServerState | undefined
}

export async function showStatus({ connect, options, endpoints }: Session, output: Output): Promise<number> {
  const [members, processes] = await Promise.all([
    membersFrom(connect, options, endpoints.addresses),
    processesOf(endpoints.directory),
  ])
  const servers =
    members.length > 0
      ? members.map((member) => ({ name: member.name, address: addressOf(member) }))
      : endpoints.addresses.map((address) => ({ name: processes.get(address)?.name ?? '?', address }))
  const client = connect({ ...options, endpoints: servers.map((server) => server.address) })
  const asked = await Promise.all(
    servers.map(async ({ name, address }) => ask(client, name, address, processes.get(address)?.state)),
  )
  const leader = leaderAmong(asked.map((server) => server.status))
  if (output.json) output.object(plain(asked, leader))
  else for (const line of render(asked, leader, output, endpoints.directory)) output.print(line)
  return leader === undefined ? EXIT.unreachable : EXIT.ok
}

/** The members as any of the servers tells them: the first answer counts. */
async function membersFrom(
  connect: Connect,
  options: Session['options'],
  addresses: readonly string[],
): Promise<readonly Member[]> {
  const answers = addresses.map(async (address) => {
    const response = await connect({ ...options, endpoints: [address] }).memberList({ timeoutMs: ASK_MS })
    return response.members
  })
  return Promise.any(answers).catch(() => [])
}

/** By address, what the supervisor knows; nothing where there is none. */
async function processesOf(
  directory: string | undefined,
): Promise<ReadonlyMap<string, { readonly name: string; readonly state: ServerState }>> {
  if (directory === undefined) return new Map()
  const answer = await askControl(directory, { command: 'list' }).catch(() => undefined)
  return new Map((answer?.servers ?? []).map((server) => [server.address, server]))
}

async function ask(client: Client, name: string, address: string, process: ServerState | undefined): Promise<Asked> {
  const began = performance.now()
  const told = (status: StatusResponse | undefined, problem: string | undefined): Asked => ({
    name,
    address,
    status,
    latencyMs: performance.now() - began,
    problem,
    process,
  })
  try {
    return told(await client.status(address, { timeoutMs: ASK_MS }), undefined)
  } catch (error) {
    return told(undefined, problemOf(error))
  }
}

function problemOf(error: unknown): string {
  if (!(error instanceof SkeinError)) return error instanceof Error ? error.message : String(error)
  if (error.code === 'unreachable') return inFewWords(error)
  return `no answer within ${ASK_MS / 1000} s`
}

function plain(asked: readonly Asked[], leader: number | undefined): Record<string, unknown> {
  const up = asked.filter((server) => server.status !== undefined)
  return {
    leader: leader === undefined ? undefined : asked[leader]?.name,
    up: up.length,
    servers: asked.length,
    majority: majorityOf(asked.length),
    members: asked.map((server, i) => ({
      name: server.name,
      address: server.address,
      up: server.status !== undefined,
      leader: i === leader,
      ...(server.process !== undefined && { process: server.process }),
      ...(server.status && {
        term: server.status.raftTerm,
        durableIndex: server.status.raftIndex,
        appliedIndex: server.status.raftAppliedIndex,
        revision: server.status.header?.revision,
        sizeBytes: server.status.dbSize,
        latencyMs: Number(server.latencyMs.toFixed(2)),
      }),
      ...(server.problem !== undefined && { problem: server.problem }),
    })),
  }
}

const COLUMNS: readonly Column[] = [
  { title: 'SERVER', leaveOut: 0 },
  { title: 'ADDRESS', leaveOut: 0 },
  { title: 'ROLE', leaveOut: 0 },
  { title: 'TERM', right: true, leaveOut: 3 },
  { title: 'DURABLE', right: true, leaveOut: 1 },
  { title: 'APPLIED', right: true, leaveOut: 2 },
  { title: 'REVISION', right: true, leaveOut: 1 },
  { title: 'SIZE', right: true, leaveOut: 4 },
  { title: 'ANSWERS IN', right: true, leaveOut: 3 },
]

export function render(
  asked: readonly Asked[],
  leader: number | undefined,
  output: Output,
  directory: string | undefined,
): string[] {
  const up = asked.filter((server) => server.status !== undefined).length
  const majority = majorityOf(asked.length)
  const style: Style = leader === undefined ? 'red' : up === asked.length ? 'green' : 'yellow'
  return [
    ...table(
      output,
      COLUMNS,
      asked.map((server, i) => rowOf(server, i === leader, directory)),
    ),
    '',
    paint(
      output,
      style,
      summary(asked.length, up, majority, leader === undefined ? undefined : asked[leader]?.name, directory),
    ),
  ]
}

function rowOf(server: Asked, leads: boolean, directory: string | undefined): Row {
  const { name, address, status, process, problem } = server
  const who: Cell[] = [leads ? { text: name, style: 'bold' } : { text: name }, { text: address }]
  if (status === undefined) {
    const [role, remark] = absence(name, process, problem, directory)
    return { cells: [...who, { text: role, style: role === 'paused' ? 'yellow' : 'red' }], remark: { text: remark } }
  }
  const role: Cell = leads
    ? { text: 'leader', style: 'green' }
    : status.leader === 0n
      ? { text: 'no leader', style: 'yellow' }
      : { text: status.isLearner ? 'learner' : 'follower' }
  const rest = [
    String(status.raftTerm),
    String(status.raftIndex),
    String(status.raftAppliedIndex),
    String(status.header?.revision ?? ''),
    size(status.dbSize),
    `${server.latencyMs.toFixed(1)} ms`,
  ]
  return { cells: [...who, role, ...rest.map((text) => ({ text }))] }
}

function absence(
  name: string,
  process: ServerState | undefined,
  problem: string | undefined,
  directory: string | undefined,
): readonly [role: string, remark: string] {
  switch (process) {
    case 'paused':
      return ['paused', `let it go on: ${commandLine(`resume ${name}`, directory)}`]
    case 'down':
      return ['down', `bring it back: ${commandLine(`restart ${name}`, directory)}`]
    case 'starting':
    case 'stopping':
      return [process, '']
    case 'up':
    case undefined:
      return ['down', problem ?? '']
    default:
      return process satisfies never
  }
}

export function summary(
  servers: number,
  up: number,
  majority: number,
  leader: string | undefined,
  directory?: string,
): string {
  if (up === 0) return `No server answers. Start them with: ${commandLine('up', directory)}`
  if (leader === undefined) {
    const lacking = majority - up
    return lacking > 0
      ? `${up} of ${servers} servers are up and ${majority} are needed: nothing can be written. Bring back ${lacking} more.`
      : `${up} of ${servers} servers are up, and none leads yet: ask again in a second.`
  }
  const spare = up - majority
  const more = spare <= 0 ? 'no further server may fail' : spare === 1 ? 'one more may fail' : `${spare} more may fail`
  return `${leader} leads. ${up} of ${servers} servers are up, ${majority} are needed: ${more}.`
}

function size(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`
  if (bytes < 1024 * 1024) return `${(bytes / 1024).toFixed(0)} KiB`
  return `${(bytes / 1024 / 1024).toFixed(1)} MiB`
}

export function addressOf(member: Member): string {
  return (member.clientUrls[0] ?? member.peerUrls[0] ?? '').replace(/^https?:\/\//, '')
}
