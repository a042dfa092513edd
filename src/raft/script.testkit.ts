/**
 * A small language for transcripts, over a group of cores whose messages and disks move only when told:
 *
 *   group 3 [newcomers 2] [pre-vote off] [check-quorum off] [inflight 2]   voters 1..3, and 4 and 5 who know nothing
 *   elect 1                   a whole election, without its details
 *   campaign 1 | propose 1 a b | read 2 | transfer 1 to 2 | change 1 to 1 2 4 [learners 5] | leave 1
 *   deliver 1>2 [kind] | deliver all | lose 1>2 [kind] | lose all
 *   write 1 | write all       the oldest Ready of that disk, or all of all
 *   apply 1 | apply all | read-log 1 | compact 1 [keep N]
 *   settle [without 3]        until nothing moves, printing everything
 *   pass 100 [only 2 3]       milliseconds; only they look at their clocks
 *   crash 1 | restart 1 | status [1]
 */
import type { MemberId } from '../base/index.ts'
import { memberId } from '../base/index.ts'
import type { Group } from './group.testkit.ts'
import { bytes, createGroup, readable } from './group.testkit.ts'
import type { Packet } from './server.testkit.ts'
import { apply, compact, configOf, drain, emptyDisk, persist, readWanted, receive, step } from './server.testkit.ts'
import type { Config, Entry, RaftInput, RaftMessage, RaftOptions, Ready } from './types.ts'
import { decodeConfig } from './config-codec.ts'

export interface Script {
  /** Runs one line; returns what it prints. */
  run(line: string): string[]
}

export function createScript(): Script {
  let group = createGroup(0)
  let told = 0
  let reading = 0

  /** What the Readies since the last call say, in order. */
  const news = (): string[] => {
    const fresh = group.readies.slice(told)
    told = group.readies.length
    return fresh.flatMap(({ name, ready }) => describeReady(name, ready))
  }
  const input = (name: number, what: RaftInput): string[] => {
    const result = group.step(name, what)
    return result.ok ? news() : [`  ${name} refuses: ${result.error.code}`]
  }
  const take = (route: string, type: string | undefined): Packet | undefined => {
    const at = group.flights.findIndex(
      ({ message }) => `${message.from}>${message.to}` === route && (type === undefined || message.type === type),
    )
    return at < 0 ? undefined : group.flights.splice(at, 1)[0]
  }
  const arrive = (packet: Packet): string[] => {
    const { message } = packet
    const to = group.at(Number(message.to))
    if (!to.up) return [`  ${describe(message)}: ${message.to} is down`]
    receive(to, packet, group.now)
    drain(to)
    const printed = [`  ${describe(message)}`, ...news()]
    if (packet.state === undefined) return printed
    const from = group.at(Number(message.from))
    step(from, { type: 'snapshotSent', to: to.id, index: packet.state.index, ok: true }, group.now)
    drain(from)
    return [...printed, ...news()]
  }
  const deliverAll = (without: readonly number[] = []): string[] => {
    const arriving = group.flights
    group.flights = []
    const open = (name: MemberId): boolean => !without.includes(Number(name))
    return arriving.filter(({ message }) => open(message.from) && open(message.to)).flatMap(arrive)
  }
  const writeOne = (name: number): string[] => {
    const server = group.at(name)
    const waiting = server.queue[0]
    if (waiting === undefined) return [`  nothing waits for the disk of ${name}`]
    persist(server, group.now)
    drain(server)
    return [`  disk ${name} has Ready ${waiting.ready.number}${describeWritten(waiting.ready)}`, ...news()]
  }
  const writeAll = (name: number): string[] => {
    const printed: string[] = []
    while (group.at(name).up && group.at(name).queue.length > 0) printed.push(...writeOne(name))
    return printed
  }
  const applyAll = (name: number): string[] => {
    const server = group.at(name)
    const from = server.state.index + 1
    apply(server, 1000, group.now)
    drain(server)
    const applied = server.disk.entries.filter(({ index }) => index >= from && index <= server.state.index)
    return [...applied.map((entry) => `  ${name} applies ${describeEntry(entry)}`), ...news()]
  }
  const readLog = (name: number): string[] => {
    const wanted = group.at(name).wanted[0]
    if (wanted === undefined) return []
    readWanted(group.at(name), group.now)
    drain(group.at(name))
    return [`  ${name} reads its log from ${wanted.from} for ${wanted.to}`, ...news()]
  }
  const everyone = (): number[] => [...group.servers.keys()]
  const those = (word: string): number[] => (word === 'all' ? everyone() : [Number(word)])

  const settle = (without: readonly number[]): string[] => {
    const printed: string[] = []
    for (let round = 0; round < 100; round++) {
      const before = printed.length
      for (const name of everyone()) {
        if (without.includes(name) || !group.at(name).up) continue
        printed.push(...writeAll(name), ...readLog(name), ...applyAll(name))
      }
      printed.push(...deliverAll(without))
      if (printed.length === before) return printed
    }
    throw new Error('the group does not settle')
  }

  const verbs: Readonly<Record<string, (words: readonly string[]) => string[]>> = {
    group(words) {
      const { count, learners, options } = parseGroup(words)
      const voters = Array.from({ length: count - learners.length }, (_, i) => i + 1)
      const config = configOf(voters)
      const newcomers = learners.map((name) => [name, emptyDisk({ ...config, voters: [] })] as const)
      group = createGroup(count, { config, options, disks: new Map(newcomers) })
      told = group.readies.length
      return []
    },
    elect([name]) {
      group.elect(Number(name))
      told = group.readies.length
      return [`  ${name} leads term ${group.at(Number(name)).raft.status().term}`]
    },
    campaign: ([name]) => input(Number(name), { type: 'campaign' }),
    propose: ([name, ...data]) => input(Number(name), { type: 'propose', data: data.map(bytes) }),
    read: ([name]) => input(Number(name), { type: 'readIndex', context: ++reading }),
    transfer: ([name, , to]) => input(Number(name), { type: 'transferLeadership', to: memberId(BigInt(to ?? '')) }),
    change([name, , ...rest]) {
      const at = rest.includes('learners') ? rest.indexOf('learners') : rest.length
      const change = configOf(rest.slice(0, at).map(Number), rest.slice(at + 1).map(Number))
      return input(Number(name), { type: 'changeConfig', change })
    },
    leave: ([name]) => input(Number(name), { type: 'leaveJoint' }),
    deliver([route = '', type]) {
      if (route === 'all') return deliverAll()
      const packet = take(route, type)
      return packet === undefined ? [`  nothing is in flight on ${route}`] : arrive(packet)
    },
    lose([route = '', type]) {
      if (route === 'all') group.flights = []
      else if (take(route, type) === undefined) return [`  nothing is in flight on ${route}`]
      return []
    },
    write: ([word = '']) => (word === 'all' ? everyone().flatMap(writeAll) : writeOne(Number(word))),
    apply: ([word = '']) => those(word).flatMap(applyAll),
    'read-log': ([name]) => readLog(Number(name)),
    compact([name, , keep]) {
      compact(group.at(Number(name)), Number(keep ?? 0), group.now)
      return [`  the log of ${name} begins after ${group.at(Number(name)).disk.base.index}`]
    },
    settle: ([, ...names]) => settle(names.map(Number)),
    pass([ms, , ...names]) {
      group.pass(Number(ms), ...names.map(Number))
      return news()
    },
    crash([name]) {
      group.crash(Number(name))
      return []
    },
    restart([name]) {
      group.restart(Number(name))
      return news()
    },
    status: ([name]) => those(name ?? 'all').map((one) => describeStatus(group, one)),
  }

  return {
    run(line) {
      const [verb = '', ...words] = line.trim().split(/ +/)
      const run = verbs[verb]
      if (run === undefined) throw new Error(`unknown command: ${line}`)
      return run(words)
    },
  }
}

type Shape = { readonly count: number; readonly learners: readonly number[]; readonly options: Partial<RaftOptions> }

function parseGroup([count = '', ...words]: readonly string[]): Shape {
  const options: { -readonly [Key in keyof RaftOptions]?: RaftOptions[Key] } = {}
  let newcomers = 0
  for (let i = 0; i < words.length; i += 2) {
    const value = words[i + 1] ?? ''
    switch (words[i] ?? '') {
      case 'newcomers':
        newcomers = Number(value)
        break
      case 'pre-vote':
        options.preVote = value === 'on'
        break
      case 'check-quorum':
        options.checkQuorum = value === 'on'
        break
      case 'inflight':
        options.maxInflightMessages = Number(value)
        break
      default:
        throw new Error(`unknown option: ${words[i]}`)
    }
  }
  const voters = Number(count)
  const learners = Array.from({ length: newcomers }, (_, i) => voters + 1 + i)
  return { count: voters + newcomers, learners, options }
}

function describeReady(name: number, ready: Ready): string[] {
  const printed: string[] = []
  const { change, entries, committed } = ready
  if (change !== undefined)
    printed.push(`  ${name} is ${change.role} in term ${change.term}, leader ${change.leader ?? 'unknown'}`)
  if (ready.snapshot !== undefined)
    printed.push(`  ${name} takes snapshot ${ready.snapshot.index}/${ready.snapshot.term}`)
  for (const entry of entries) printed.push(`  ${name} appends ${describeEntry(entry)}`)
  if (committed !== undefined) printed.push(`  ${name} may apply ${committed.from}..${committed.to}`)
  for (const { from, through, to } of ready.entriesWanted) printed.push(`  ${name} wants ${from}..${through} for ${to}`)
  for (const { context, index } of ready.reads) printed.push(`  ${name} may answer read ${context} at ${index}`)
  for (const context of ready.readsRefused) printed.push(`  ${name} must ask read ${context} again`)
  return printed
}

function describeWritten({ hardState, snapshot, entries }: Ready): string {
  const parts: string[] = []
  if (snapshot !== undefined) parts.push(`snapshot ${snapshot.index}`)
  const first = entries[0]
  const last = entries.at(-1)
  if (first !== undefined)
    parts.push(first === last ? `entry ${first.index}` : `entries ${first.index}..${last?.index}`)
  if (hardState !== undefined) parts.push(`term ${hardState.term}, vote ${hardState.vote ?? 'none'}`)
  return parts.length === 0 ? '' : `: ${parts.join(', ')}`
}

function describeEntry({ index, term, type, data }: Entry): string {
  if (type === 'normal') return `${index}/${term} ${data.length === 0 ? '(no-op)' : readable(data)}`
  const config = decodeConfig(data)
  return `${index}/${term} ${config.ok ? describeConfig(config.value) : 'broken'}`
}

function describeConfig({ voters, votersOutgoing, learners, learnersNext, autoLeave }: Config): string {
  const part = (name: string, ids: readonly MemberId[]): string => (ids.length === 0 ? '' : ` ${name} ${ids.join(',')}`)
  const parts = [part('from', votersOutgoing), part('learners', learners), part('soon learners', learnersNext)]
  return `(voters ${voters.join(',')}${parts.join('')}${autoLeave ? ', leaves by itself' : ''})`
}

function describe(message: RaftMessage): string {
  return `${message.from}>${message.to} ${message.type} t${message.term}${describeBody(message)}`
}

function describeBody(message: RaftMessage): string {
  switch (message.type) {
    case 'vote':
      return `${message.preVote ? ' pre' : ''}${message.transfer ? ' transfer' : ''} log ${message.lastIndex}/${message.lastTerm}`
    case 'voteReply':
      return `${message.preVote ? ' pre' : ''} ${message.granted ? 'granted' : 'refused'}`
    case 'append': {
      const entries = message.entries.map(describeEntry).join(', ')
      return ` after ${message.prevIndex}/${message.prevTerm} commit ${message.commit} [${entries}]`
    }
    case 'appendReply':
      return message.rejected
        ? ` refused after ${message.index}, try ${message.hintIndex}/${message.hintTerm}`
        : ` has ${message.index}`
    case 'heartbeat':
      return ` commit ${message.commit} round ${message.round}`
    case 'heartbeatReply':
      return ` round ${message.round}`
    case 'snapshot':
      return ` ${message.meta.index}/${message.meta.term}`
    case 'readIndex':
      return ''
    case 'readIndexReply':
      return message.refused ? ' refused' : ` at ${message.index}`
    case 'timeoutNow':
      return ''
    default:
      return message satisfies never
  }
}

function describeStatus(group: Group, name: number): string {
  const server = group.at(name)
  if (!server.up) return `  ${name} down`
  const { role, term, commit, persisted, lastIndex, progress, config } = server.raft.status()
  const peers = progress.map((peer) => ` ${peer.id}:${peer.state} match ${peer.match} next ${peer.next}`).join(',')
  const log = `log ${server.mirrorBase.index + 1}..${lastIndex} durable ${persisted} commit ${commit} applied ${server.state.index}`
  return `  ${name} ${role} term ${term} ${log} ${describeConfig(config)}${peers}`
}
