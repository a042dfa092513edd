/** Runs etcdctl, and takes out of what it says all that is a cluster's own: ids, addresses, terms, indexes, sizes, times. */
import { spawn } from 'node:child_process'
import { etcdService } from './etcd-proto.ts'
import type { Plain } from './etcd-proto.ts'

export type Outcome = { readonly status: number | null; readonly stdout: string; readonly stderr: string }

/** What is longer than any of etcdctl's own timeouts counts as a hang. */
const HANG_MS = 30_000

/** Splits at spaces outside of quotes. */
export function argv(line: string): string[] {
  return [...line.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? (plain as string))
}

/** Output is read byte by byte (latin1), so that binary output survives. */
export function etcdctl(endpoints: readonly string[], line: string, input = ''): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn('etcdctl', [`--endpoints=${endpoints.join(',')}`, ...argv(line)], {
      env: { ...process.env, ETCDCTL_API: '3' },
    })
    const hang = setTimeout(() => child.kill('SIGKILL'), HANG_MS)
    let stdout = ''
    let stderr = ''
    child.stdout.setEncoding('latin1').on('data', (data: string) => (stdout += data))
    child.stderr.setEncoding('latin1').on('data', (data: string) => (stderr += data))
    child.on('error', reject)
    child.on('close', (status) => {
      clearTimeout(hang)
      if (status === null) reject(new Error(`etcdctl ${line} did not end within ${HANG_MS} ms: ${stdout}${stderr}`))
      else resolve({ status, stdout, stderr })
    })
    // etcdctl may end without reading all of it.
    child.stdin.on('error', () => {})
    child.stdin.end(input)
  })
}

/** For commands about keys: everything else must be equal. */
export function normalised(line: string, outcome: Outcome): Outcome {
  const { status } = outcome
  const stdout = line.includes('-w protobuf') ? plainText(line, outcome) : clean(outcome.stdout)
  // A usage error shows the addresses and ids that etcdctl was given.
  return { status, stdout, stderr: clean(outcome.stderr) }
}

function clean(text: string): string {
  return text
    .replace(/"(ClusterID|MemberID|RaftTerm)" : \d+/g, '"$1" : N')
    .replace(/"(cluster_id|member_id|raft_term)":\d+/g, '"$1":N')
    .replace(/"ts":("[^"]*"|[\d.]+)/g, '"ts":"T"')
    .replace(/"caller":"[^"]*"/g, '"caller":"C"')
    .replace(/127\.0\.0\.1:\d+/g, 'ADDRESS')
    .replace(/endpoint:\/\/client-[0-9a-f-]+/g, 'endpoint://CLIENT')
}

/** For commands about members and endpoints: sets of lines or records, with what differs by nature replaced. */
export function normalisedSet(line: string, outcome: Outcome): Outcome {
  const { status } = outcome
  if (line.includes('-w protobuf')) return { status, stdout: plainText(line, outcome), stderr: clean(outcome.stderr) }
  if (line.includes('-w json') && outcome.stdout.startsWith('[')) {
    const rows = JSON.parse(outcome.stdout) as unknown[]
    return { status, stdout: sorted(rows.map((row) => JSON.stringify(row, blank))), stderr: lines(outcome.stderr) }
  }
  if (line.includes('-w json') && outcome.stdout.startsWith('{')) {
    const value = JSON.parse(outcome.stdout, (key, part: unknown) =>
      key === 'members' ? (part as unknown[]).map((member) => JSON.stringify(member, blank)).sort() : part,
    )
    return { status, stdout: JSON.stringify(value, blank), stderr: lines(outcome.stderr) }
  }
  return { status, stdout: lines(outcome.stdout), stderr: lines(outcome.stderr) }
}

function sorted(parts: readonly string[]): string {
  return [...parts].sort().join('\n')
}

function lines(text: string): string {
  return sorted(
    clean(text)
      .split('\n')
      .map((line) =>
        line
          .replace(
            /"(ID|MemberID|Leader|RaftIndex|RaftAppliedIndex|RaftTerm|DBSize|DBSizeInUse|Revision)" : \d+/g,
            '"$1" : N',
          )
          .replace(/"took":"[^"]*"|took = [^ ]+|\b[\d.]+(µs|ms|s)\b/g, 'TOOK')
          .replace(/\b[0-9a-f]{15,16}\b/g, 'ID')
          .replace(/\b3\.4\.\d+\b/g, 'VERSION')
          .replace(/\b[\d.]+ [kMG]?B\b/g, 'SIZE')
          // Of a status: term, index, applied index.
          .replace(/, \d+, \d+, \d+, $/, ', T, I, I, ')
          .replace(/\| +\d+ \| +\d+ \| +\d+ \|/, '| T | I | I |')
          .replace(/-+/g, '-')
          .replace(/ +/g, ' '),
      ),
  )
}

const BLANKED = new Set(
  'cluster_id member_id raft_term revision ID leader raftIndex raftTerm raftAppliedIndex dbSize dbSizeInUse version took'.split(
    ' ',
  ),
)

function blank(key: string, value: unknown): unknown {
  if (BLANKED.has(key)) return typeof value
  if (typeof value === 'string') return clean(value)
  return value
}

const RESPONSES: Readonly<Record<string, readonly ['KV' | 'Cluster', string]>> = {
  put: ['KV', 'Put'],
  get: ['KV', 'Range'],
  del: ['KV', 'DeleteRange'],
  txn: ['KV', 'Txn'],
  member: ['Cluster', 'MemberList'],
}

/** A response printed in etcd's own encoding, decoded with etcd's .proto. */
function plainText(line: string, outcome: Outcome): string {
  const [service, method] = RESPONSES[argv(line)[0] as string] as readonly ['KV' | 'Cluster', string]
  const decode = etcdService(service)[method]?.responseDeserialize
  const message = decode?.(Buffer.from(outcome.stdout, 'latin1')) as Plain & { members?: { name: string }[] }
  message.members?.sort((a, b) => (a.name < b.name ? -1 : 1))
  return JSON.stringify(message, (key, value: unknown) => {
    if (['clusterId', 'memberId', 'raftTerm', 'ID'].includes(key)) return 'N'
    return typeof value === 'string' ? clean(value) : value
  })
}
