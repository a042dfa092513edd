/** Every command: how it is called, what it is for, and what runs it. */
import { CLIENT_OPTIONS, withClient, withSession } from './client-session.ts'
import { CONTROL_OPTIONS, controlServers } from './control-commands.ts'
import { demo } from './demo.ts'
import { EXIT } from './exit.ts'
import { explain } from './explain.ts'
import { keygen } from './keygen.ts'
import { del, DEL_OPTIONS, get, GET_OPTIONS, put, PUT_OPTIONS, txn } from './kv.ts'
import type { OptionSpecs, Parsed } from './options.ts'
import type { Output } from './output.ts'
import { runServer, SERVER_OPTIONS } from './server.ts'
import { showStatus } from './status.ts'
import { up, UP_OPTIONS } from './up.ts'
import { watch, WATCH_OPTIONS } from './watch.ts'

export type Command = {
  readonly name: string
  readonly group: 'cluster' | 'data' | 'other'
  readonly summary: string
  /** Behind `skein NAME`. */
  readonly usage: string
  readonly options: OptionSpecs
  readonly details?: readonly string[]
  readonly examples: readonly string[]
  run(parsed: Parsed, output: Output): Promise<number> | number
}

export const COMMANDS: readonly Command[] = [
  {
    name: 'up',
    group: 'cluster',
    summary: 'start a cluster on this machine and stay with it',
    usage: '[--servers N] [--port P] [--data DIR]',
    options: UP_OPTIONS,
    details: [
      'Starts servers S1, S2, … as processes of their own, prints a line that begins with',
      '“ready” when clients may come, and stays in the foreground. Ctrl-C, or TERM to any of',
      'the processes, ends all. A server that is killed stays down until skein restart.',
    ],
    examples: ['up', 'up --servers 3 --port 8801 --data ./three'],
    run: up,
  },
  {
    name: 'demo',
    group: 'cluster',
    summary: 'watch five servers lose three and forget nothing',
    usage: '',
    options: {},
    details: ['Runs on temporary data and cleans up. Exits with 0 if everything it claims was so.'],
    examples: ['demo'],
    run: demo,
  },
  {
    name: 'status',
    group: 'cluster',
    summary: 'who is there, who leads, how far each server is',
    usage: '[--endpoints HOST:PORT,…]',
    options: CLIENT_OPTIONS,
    details: [
      'Waits up to 1.5 s for an election that is under way. A server that answers and does not follow',
      'the leader is shown as cut off and not counted. Exits with 4 where nothing can be written.',
    ],
    examples: ['status', 'status --json'],
    run: (parsed, output) => withSession(parsed, (session) => showStatus(session, output)),
  },
  {
    name: 'kill',
    group: 'cluster',
    summary: 'end a server at once (SIGKILL), as a crash would',
    usage: 'SERVER… | leader',
    options: CONTROL_OPTIONS,
    examples: ['kill S3', 'kill leader'],
    run: (parsed, output) => controlServers('kill', parsed, output),
  },
  {
    name: 'pause',
    group: 'cluster',
    summary: 'freeze a server (SIGSTOP)',
    usage: 'SERVER… | leader',
    options: CONTROL_OPTIONS,
    examples: ['pause S2'],
    run: (parsed, output) => controlServers('pause', parsed, output),
  },
  {
    name: 'resume',
    group: 'cluster',
    summary: 'let a paused server go on',
    usage: 'SERVER…',
    options: CONTROL_OPTIONS,
    examples: ['resume S2'],
    run: (parsed, output) => controlServers('resume', parsed, output),
  },
  {
    name: 'restart',
    group: 'cluster',
    summary: 'start a server again, in order where it still runs',
    usage: 'SERVER… | leader',
    options: CONTROL_OPTIONS,
    examples: ['restart S3'],
    run: (parsed, output) => controlServers('restart', parsed, output),
  },
  {
    name: 'server',
    group: 'cluster',
    summary: 'run one server in the foreground, on a real machine',
    usage: '--name S1 --cluster S1=HOST:PORT,… --cluster-key-file FILE [--listen HOST:PORT]',
    options: SERVER_OPTIONS,
    examples: [
      'keygen cluster-key',
      'server --name S1 --cluster S1=10.0.0.1:7701,S2=10.0.0.2:7701,S3=10.0.0.3:7701 --cluster-key-file cluster-key --insecure',
    ],
    run: runServer,
  },
  {
    name: 'keygen',
    group: 'cluster',
    summary: 'make a cluster key for servers on several machines',
    usage: 'FILE',
    options: {},
    examples: ['keygen cluster-key'],
    run: keygen,
  },
  {
    name: 'get',
    group: 'data',
    summary: 'read a key, or a range of keys',
    usage: 'KEY [END]',
    options: { ...GET_OPTIONS, ...CLIENT_OPTIONS },
    details: [
      'Prints each key and its value on lines of their own. Exits with 2 where there is no such key.',
      'What is not UTF-8 is shown as 0x and hex digits; with --json as keyHex and valueHex, beside a',
      'key and value in which it is replaced. For a file: skein get KEY --value-only > FILE',
    ],
    examples: ['get User_Balance', 'get User_ --prefix --keys-only', 'get a f --limit 10'],
    run: (parsed, output) => withClient(parsed, (client) => get(client, parsed, output)),
  },
  {
    name: 'put',
    group: 'data',
    summary: 'save a value',
    usage: 'KEY [VALUE]',
    options: { ...PUT_OPTIONS, ...CLIENT_OPTIONS },
    details: ['Without VALUE its bytes are standard input. Exits with 5 where the outcome is unknown.'],
    examples: ['put User_Balance 100', 'put photo < photo.jpg', 'put -- --strange-key value'],
    run: (parsed, output) => withClient(parsed, (client) => put(client, parsed, output)),
  },
  {
    name: 'del',
    group: 'data',
    summary: 'delete a key, or a range of keys',
    usage: 'KEY [END]',
    options: { ...DEL_OPTIONS, ...CLIENT_OPTIONS },
    details: ['Prints how many were deleted.'],
    examples: ['del User_Balance', 'del User_ --prefix'],
    run: (parsed, output) => withClient(parsed, (client) => del(client, parsed, output)),
  },
  {
    name: 'txn',
    group: 'data',
    summary: 'do several things at once, if conditions hold',
    usage: '< FILE',
    options: CLIENT_OPTIONS,
    details: [
      'Reads from standard input, in etcdctl’s grammar: conditions, an empty line, what to do if',
      'all hold, an empty line, what to do otherwise:',
      '  value("User_Balance") = "100"      also mod, create, version, lease; also != < >',
      '',
      '  put User_Balance 80                also get KEY [END], del KEY [END], --prefix',
      '',
      '  get User_Balance',
    ],
    examples: ['txn < transfer.txt'],
    run: (parsed, output) => withClient(parsed, (client) => txn(client, parsed, output)),
  },
  {
    name: 'watch',
    group: 'data',
    summary: 'see what happens to a key, or a range of keys',
    usage: 'KEY [END]',
    options: { ...WATCH_OPTIONS, ...CLIENT_OPTIONS },
    details: [
      'Prints PUT or DELETE, the key and the value, each on a line of its own, until Ctrl-C. Goes on',
      'at another server where one is lost, without a gap and without telling anything twice.',
      'Exits with 1 where what it should tell is compacted away.',
    ],
    examples: ['watch User_Balance', 'watch User_ --prefix --prev', 'watch User_ --prefix --rev 2 --json'],
    run: (parsed, output) => withClient(parsed, (client) => watch(client, parsed, output)),
  },
  {
    name: 'explain',
    group: 'other',
    summary: 'what an error code means and what to do',
    usage: '[CODE]',
    options: {},
    examples: ['explain no-leader', 'explain'],
    run: explain,
  },
  {
    name: 'version',
    group: 'other',
    summary: 'versions of skein, of Node.js and of the etcd API',
    usage: '',
    options: {},
    examples: ['version'],
    async run(_parsed, output) {
      const { VERSION } = await import('../host/index.ts')
      if (output.json) output.object({ skein: VERSION, node: process.versions.node, etcdApi: '3.4' })
      else output.print(`skein ${VERSION} (Node.js ${process.versions.node}, etcd API 3.4)`)
      return EXIT.ok
    },
  },
]
