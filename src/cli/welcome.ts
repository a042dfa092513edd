/** What `npm start` shows: one value saved through one server and read through another, and what to type next. */
import { text, utf8 } from '../base/index.ts'
import type { Client, ClientOptions } from '../client/index.ts'
import { countAgreed, majorityOf } from './agreement.ts'
import { refuse } from './exit.ts'
import { commandLine } from './name.ts'
import type { Output } from './output.ts'
import { paint } from './output.ts'
import type { ServerView } from './supervisor.ts'

const KEY = 'User_Balance'
const VALUE = '100'
const AGREE_MS = 1_000
const WARM_UP_READS = 20

export type Proof = {
  readonly key: string
  readonly value: string
  /** False where it was there from an earlier start. */
  readonly saved: boolean
  readonly through: string
  readonly readThrough: string
  readonly agreedBy: number
  readonly servers: number
  readonly quorum: number
  /** Of the write; of the read where nothing was written. */
  readonly tookMs: number
}

type Server = Pick<ServerView, 'name' | 'address'>

/** Saves the value where it is not there yet, reads it through another server, and asks each server whether it has it. */
export async function prove(
  connect: (options: ClientOptions) => Client,
  servers: readonly Server[],
  leader: number,
  /** Of the cluster, with those that did not start. */
  all: number,
): Promise<Proof> {
  const at = (offset: number): Server => servers[(leader + offset) % servers.length] as Server
  const [writer, reader] = [at(1), at(2)]
  const through = connect({ endpoints: [writer.address] })
  const other = connect({ endpoints: [reader.address] })
  // Connects, and has both ends compiled, so that what is measured is the write.
  await other.status(reader.address)
  for (let i = 0; i < WARM_UP_READS; i++) await through.get(utf8(KEY))

  let began = performance.now()
  let value = await through.get(utf8(KEY))
  const saved = value === undefined
  if (saved) {
    began = performance.now()
    await through.put(utf8(KEY), utf8(VALUE))
  }
  const tookMs = performance.now() - began
  value = await other.get(utf8(KEY))
  if (value === undefined)
    return refuse('internal', `${KEY} was saved through ${writer.name}, and ${reader.name} does not have it`)
  const agreedBy = await countAgreed(
    other,
    servers.map((server) => server.address),
    AGREE_MS,
  )
  return {
    key: KEY,
    value: text(value.value),
    saved,
    through: writer.name,
    readThrough: reader.name,
    agreedBy,
    servers: all,
    quorum: majorityOf(all),
    tookMs: Number(tookMs.toFixed(1)),
  }
}

/** The rest of what a newcomer sees, under the line that says `ready`. */
export function welcome(
  output: Output,
  servers: readonly Server[],
  leader: number,
  proof: Proof,
  directory: string,
): string[] {
  const bold = (line: string): string => paint(output, 'bold', line)
  const names = servers.map((server, i) => `${server.name} ${server.address}${i === leader ? ' (leads)' : ''}`)
  const command = (words: string): string => commandLine(words, directory)
  const outcome = proof.saved
    ? `saved ${proof.key}=${proof.value} through ${proof.through}, read it back through ${proof.readThrough}`
    : `found ${proof.key}=${proof.value} again through ${proof.through} and ${proof.readThrough}`
  const agreed = `agreed by ${proof.agreedBy} of ${proof.servers}, quorum ${proof.quorum}, ${proof.tookMs.toFixed(1)} ms`
  const victim = (servers[leader] as Server).name
  const half = Math.ceil(names.length / 2)
  return [
    ...[names.slice(0, half), names.slice(half)].filter((row) => row.length > 0).map((row) => `  ${row.join('   ')}`),
    `  ${outcome}:`,
    `  ${paint(output, 'green', agreed)}`,
    `  data in ${directory}`,
    'Next, in another terminal:',
    `  ${bold(command(`get ${proof.key}`))}`,
    `  ${bold(command(`put ${proof.key} 130`))}`,
    `  ${bold(command(`kill ${victim}`))} ; ${bold(command('status'))} ; ${bold(command(`restart ${victim}`))}`,
    `  ${bold(`ETCDCTL_API=3 etcdctl --endpoints=${servers.map((server) => server.address).join(',')} get ${proof.key}`)}`,
    'Stop with Ctrl-C.',
  ]
}
