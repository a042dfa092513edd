/** `skein kill | pause | resume | restart`: what happens to one server of the cluster that `skein up` runs here. */
import { leaderAmong, askAll } from './agreement.ts'
import { withWorld } from './client-session.ts'
import type { ControlAnswer, ControlCommand } from './control.ts'
import { askControl } from './control.ts'
import { DATA_OPTION, dataDirectory } from './endpoints.ts'
import { EXIT, refuse, usage } from './exit.ts'
import { commandLine, commandName } from './name.ts'
import type { OptionSpecs, Parsed } from './options.ts'
import type { Output } from './output.ts'
import type { ServerView } from './supervisor.ts'

export const CONTROL_OPTIONS: OptionSpecs = DATA_OPTION

export async function controlServers(
  command: Exclude<ControlCommand, 'list'>,
  parsed: Parsed,
  output: Output,
): Promise<number> {
  const directory = dataDirectory(parsed)
  if (parsed.positionals.length === 0)
    usage(`usage: ${commandName()} ${command} SERVER…, for instance: ${commandName()} ${command} S3`)
  let answer: ControlAnswer = await askControl(directory, { command: 'list' })
  for (const word of parsed.positionals) {
    const name = word.toLowerCase() === 'leader' ? await nameOfLeader(answer.servers) : word
    answer = await askControl(directory, { command, server: name })
    const server = answer.servers.find((one) => one.name.toLowerCase() === name.toLowerCase())
    if (server === undefined) continue
    if (output.json) output.object({ event: command, ...server })
    else output.print(told(command, server, directory))
  }
  return EXIT.ok
}

async function nameOfLeader(servers: readonly ServerView[]): Promise<string> {
  const addresses = servers.map((server) => server.address)
  return withWorld(async (connect) => {
    const at = leaderAmong(await askAll(connect({ endpoints: addresses }), addresses))
    return at === undefined ? refuse('no-leader', 'no server leads at the moment') : (servers[at] as ServerView).name
  })
}

function told(command: Exclude<ControlCommand, 'list'>, server: ServerView, directory: string): string {
  const then = (next: string): string => commandLine(`${next} ${server.name}`, directory)
  switch (command) {
    case 'kill':
      return `${server.name} was killed. Bring it back with: ${then('restart')}`
    case 'pause':
      return `${server.name} is paused: it keeps its connections and answers nothing. Let it go on with: ${then('resume')}`
    case 'resume':
      return `${server.name} goes on.`
    case 'restart':
      return `${server.name} serves again at ${server.address} as process ${server.pid}.`
    default:
      return command satisfies never
  }
}
