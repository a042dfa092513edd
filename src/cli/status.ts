/** `skein status`: who is there, who leads, how far each server is. */
import { SkeinError } from '../base/index.ts'
import type { Client } from '../client/index.ts'
import type { Member, StatusResponse } from '../wire/index.ts'
import { leaderAmong, majorityOf, pause } from './agreement.ts'
import type { Connect, Session } from './client-session.ts'
import { inFewWords, tlsHint } from './client-session.ts'
import { serverName } from './cluster-directory.ts'
import { askControl } from './control.ts'
import { EXIT } from './exit.ts'
import { commandLine } from './name.ts'
import type { Output, Style } from './output.ts'
import { paint } from './output.ts'
import type { ServerState } from './supervisor.ts'
import type { Cell, Column, Row } from './table.ts'
import { table } from './table.ts'

const ASK_MS = 1_000
/** An election or a restart that is under way is waited for, so that `kill leader ; status` shows what comes of it. */
const SETTLE_MS = 1_500
const ASK_AGAIN_MS = 50

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
      : endpoints.addresses.map((address, i) => ({
          name: processes.get(address)?.name ?? knownName(endpoints, i),
          address,
        }))
  const client = connect({ ...options, endpoints: servers.map((server) => server.address) })
  const askEach = async (): Promise<Standing> =>
    standingOf(
      await Promise.all(
        servers.map(async ({ name, address }) => ask(client, name, address, processes.get(address)?.state)),
      ),
    )
  const end = performance.now() + SETTLE_MS
  let standing = await askEach()
  while (!isSettled(standing) && performance.now() < end) {
    await pause(ASK_AGAIN_MS)
    standing = await askEach()
  }
  if (output.json) output.object(plain(standing))
  else for (const line of render(standing, output, endpoints.directory, options.tls !== undefined)) output.print(line)
  return isWritable(standing) ? EXIT.ok : EXIT.unreachable
}

/** What all the answers say together. */
export type Standing = {
  readonly asked: readonly Asked[]
  readonly leader: number | undefined
  /** Which of them take part: they follow that leader; where nobody leads, those that may elect one. */
  readonly takesPart: readonly boolean[]
}

export function standingOf(asked: readonly Asked[]): Standing {
  const statuses = asked.map((server) => server.status)
  const leader = leaderAmong(statuses)
  const id = leader === undefined ? undefined : statuses[leader]?.leader
  const highest = Math.max(0, ...statuses.map((status) => status?.raftTerm ?? 0))
  return {
    asked,
    leader,
    takesPart: statuses.map((status) => {
      if (status === undefined) return false
      // One that has lost its disk is in no term, and the others accept nothing from it.
      return id === undefined ? status.raftTerm > 0 || highest === 0 : status.leader === id
    }),
  }
}

function takingPart({ takesPart }: Standing): number {
  return takesPart.filter(Boolean).length
}

function answering({ asked }: Standing): number {
  return asked.filter((server) => server.status !== undefined).length
}

function isWritable(standing: Standing): boolean {
  return standing.leader !== undefined && takingPart(standing) >= majorityOf(standing.asked.length)
}

/** Whether asking again would show nothing else: too few are there to elect anybody, or all that are there follow one. */
function isSettled(standing: Standing): boolean {
  const there = answering(standing)
  if (there < majorityOf(standing.asked.length)) return standing.leader === undefined
  return standing.leader !== undefined && takingPart(standing) === there
}

/** The cluster of a directory has its names by their order; of other servers nothing is known. */
function knownName({ from }: Session['endpoints'], index: number): string {
  return from === 'data' || from === 'default' ? serverName(index) : '?'
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

function plain(standing: Standing): Record<string, unknown> {
  const { asked, leader, takesPart } = standing
  return {
    leader: leader === undefined ? undefined : asked[leader]?.name,
    up: answering(standing),
    takingPart: takingPart(standing),
    writable: isWritable(standing),
    servers: asked.length,
    majority: majorityOf(asked.length),
    members: asked.map((server, i) => plainMember(server, i === leader, takesPart[i] === true)),
  }
}

function plainMember(server: Asked, leads: boolean, takesPart: boolean): Record<string, unknown> {
  const { name, address, process, status, problem } = server
  return {
    name,
    address,
    up: status !== undefined,
    takesPart,
    leader: leads,
    ...(process !== undefined && { process }),
    ...(status && {
      term: status.raftTerm,
      durableIndex: status.raftIndex,
      appliedIndex: status.raftAppliedIndex,
      revision: status.header?.revision,
      sizeBytes: status.dbSize,
      latencyMs: Number(server.latencyMs.toFixed(2)),
    }),
    ...(problem !== undefined && { problem }),
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

export function render(standing: Standing, output: Output, directory: string | undefined, speaksTls = false): string[] {
  const { asked, leader, takesPart } = standing
  const writable = isWritable(standing)
  const style: Style = !writable ? 'red' : takingPart(standing) === asked.length ? 'green' : 'yellow'
  const rows = asked.map((server, i) => rowOf(server, i === leader, takesPart[i] === true, directory))
  return [...table(output, COLUMNS, rows), '', paint(output, style, summary(standing, directory, speaksTls))]
}

function rowOf(server: Asked, leads: boolean, takesPart: boolean, directory: string | undefined): Row {
  const { name, address, status, process, problem } = server
  const who: Cell[] = [leads ? { text: name, style: 'bold' } : { text: name }, { text: address }]
  if (status === undefined) {
    const [role, remark] = absence(name, process, problem, directory)
    return { cells: [...who, { text: role, style: role === 'paused' ? 'yellow' : 'red' }], remark: { text: remark } }
  }
  if (!takesPart) {
    const why = status.leader === 0n ? 'no leader known' : 'follows a leader that the others do not'
    const log = directory === undefined ? 'its server.log' : `${directory}/${name}/server.log`
    return { cells: [...who, { text: 'cut off', style: 'red' }], remark: { text: `${why}; see ${log}` } }
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

export function summary(standing: Standing, directory?: string, speaksTls = false): string {
  const servers = standing.asked.length
  const majority = majorityOf(servers)
  const up = answering(standing)
  const count = takingPart(standing)
  const are = count === up ? 'are up' : 'take part'
  const leader = standing.leader === undefined ? undefined : standing.asked[standing.leader]?.name
  if (up === 0) {
    const problems = standing.asked.flatMap(({ problem }) => problem ?? [])
    const hint = problems.map((problem) => tlsHint(problem, speaksTls)).find((one) => one !== undefined)
    return `No server answers. ${hint ?? `Start them with: ${commandLine('up', directory)}`}`
  }
  if (count < majority)
    return `${count} of ${servers} servers ${are} and ${majority} are needed: nothing can be written. Bring back ${majority - count} more.`
  if (leader === undefined)
    return `${count} of ${servers} servers ${are}, and none leads yet: nothing can be written. Ask again in a second.`
  const spare = count - majority
  const more = spare === 0 ? 'no further server may fail' : spare === 1 ? 'one more may fail' : `${spare} more may fail`
  return `${leader} leads. ${count} of ${servers} servers ${are}, ${majority} are needed: ${more}.`
}

function size(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`
  if (bytes < 1024 * 1024) return `${(bytes / 1024).toFixed(0)} KiB`
  return `${(bytes / 1024 / 1024).toFixed(1)} MiB`
}

export function addressOf(member: Member): string {
  return (member.clientUrls[0] ?? member.peerUrls[0] ?? '').replace(/^https?:\/\//, '')
}
