import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { FailureCode } from '../base/index.ts'
import { FAILURES, text } from '../base/index.ts'
import { COMMANDS } from './commands.ts'
import { runCommandLine } from './dispatch.ts'
import { EXIT } from './exit.ts'

type Ran = { code: number; stdout: string; stderr: string }

async function run(...args: string[]): Promise<Ran> {
  const ran = { code: -1, stdout: '', stderr: '' }
  ran.code = await runCommandLine(args, (json) => ({
    json,
    colour: false,
    terminal: false,
    columns: undefined,
    raw: (bytes) => void (ran.stdout += text(bytes)),
    print: (line) => void (ran.stdout += `${line}\n`),
    object: (value) => void (ran.stdout += `${JSON.stringify(value)}\n`),
    progress: (line) => void (ran.stderr += `${line}\n`),
  }))
  return ran
}

test('help lists every command, and each has help of its own', async () => {
  const all = await run('help')
  assert.equal(all.code, EXIT.ok)
  for (const command of COMMANDS) {
    assert.match(all.stdout, new RegExp(`^  ${command.name} .*${command.summary.slice(0, 10)}`, 'm'))
    const help = await run('help', command.name)
    assert.equal(help.code, EXIT.ok)
    assert.match(help.stdout, new RegExp(`^skein ${command.name}: `))
    for (const [name, spec] of Object.entries(command.options)) {
      assert.equal(help.stdout.includes(`  --${name}`), spec.hidden !== true, `${command.name} --${name}`)
    }
    assert.deepEqual(await run(command.name, '--help'), help)
  }
  assert.equal((await run('--help')).stdout, all.stdout)
  assert.equal((await run('help', 'help')).stdout, all.stdout)
})

test('help fits a terminal of 100 columns where a line can be broken', async () => {
  for (const name of ['', ...COMMANDS.map((command) => command.name)]) {
    const { stdout } = await run('help', ...(name === '' ? [] : [name]))
    const prose = stdout.split('\n').filter((line) => !/^ {2}skein /.test(line))
    for (const line of prose) assert.ok(line.length <= 100, `${name}: ${line}`)
  }
})

test('a command that does not exist, with and without one that was meant', async () => {
  const near = await run('staus')
  assert.equal(near.code, EXIT.usage)
  assert.equal(near.stderr, 'skein: there is no command "staus"; did you mean status?\n  See: skein help\n')
  assert.match((await run('frobnicate')).stderr, /there is no command "frobnicate"\n/)
  assert.match((await run('--endpoints', 'x')).stderr, /the command comes first/)
  assert.equal((await run()).code, EXIT.usage)
  assert.match((await run('get', 'a', '--prefx')).stderr, /did you mean --prefix\?\n {2}See: skein help get/)
})

test('errors are an object for programs', async () => {
  const { code, stdout, stderr } = await run('get', '--json')
  assert.equal(code, EXIT.usage)
  assert.equal(stdout, '')
  const { error } = JSON.parse(stderr) as { error: Record<string, unknown> }
  assert.deepEqual([error['code'], error['exitCode'], error['retryable']], ['usage', EXIT.usage, false])
})

test('explain knows every code, and helps with those it does not know', async () => {
  for (const code of Object.keys(FAILURES) as FailureCode[]) {
    const { stdout } = await run('explain', code)
    assert.ok(stdout.includes(FAILURES[code].meaning) && stdout.includes(FAILURES[code].hint), code)
  }
  assert.match(
    (await run('explain', 'no-leader')).stdout,
    /The same request may succeed later[\s\S]*Exit code of skein: 4/,
  )
  assert.match((await run('explain', 'no-lader')).stderr, /there is no error "no-lader"; did you mean no-leader\?/)
  assert.match((await run('explain', 'nolead')).stderr, /did you mean no-leader\?/)
  assert.match((await run('explain', 'bad')).stderr, /there is no error "bad"; skein explain lists all/)
  assert.equal((await run('explain')).stdout.trimEnd().split('\n').length, Object.keys(FAILURES).length)
})

test('exit codes are as documented, forever', () => {
  assert.deepEqual(EXIT, { ok: 0, refused: 1, notFound: 2, usage: 3, unreachable: 4, unknown: 5, internal: 70 })
})

test('what a command does not understand is told before anything happens', async () => {
  const cases: [args: string[], message: RegExp][] = [
    [['put'], /^usage: \S*skein put KEY VALUE/],
    [['put', 'a', 'b', 'c'], /skein put KEY VALUE/],
    [['get'], /^usage: \S*skein get KEY \[END\]/],
    [['get', ''], /KEY must not be empty/],
    [['put', '', 'v'], /KEY must not be empty/],
    [['get', 'a', '--keys-only', '--value-only'], /exclude each other/],
    [['get', 'abc', '--hex'], /--hex wants an even number of hex digits, not "abc"/],
    [['put', 'a\uFFFD', 'v'], /not valid UTF-8: give a key as hex digits with --hex, and a value on standard input/],
    [['get', 'a', 'b', '--prefix'], /exclude each other/],
    [['get', 'a', '--order', 'up'], /--order must be one of ascend, descend, not "up"/],
    [['get', 'a', '--endpoints', 'x'], /"x" is no endpoint; one is HOST:PORT/],
    [['get', 'a', '--endpoints', 'h:70000'], /"h:70000" is no endpoint/],
    [['get', 'a', '--endpoints', ','], /--endpoints names no server/],
    [['get', 'a', '--endpoints', 'https://h:1'], /write h:1 instead of https:\/\/h:1, and give --tls-ca/],
    [['get', 'a', '--data', 'does/not/exist'], /does\/not\/exist holds no cluster/],
    [['get', 'a', '--endpoints', 'h:1', '--tls-cert', 'x'], /cannot be read|no such file/],
    [['txn', 'x'], /reads the transaction from standard input/],
    [['up', 'now'], /skein up takes options only, not "now"/],
    [['up', '--servers', '0'], /--servers must be a whole number from 1 to 15/],
    [['up', '--servers', '5', '--port', '65533'], /--port 65533 is too high: 5 servers/],
    [['up', '--port', '65534'], /--port 65534 is too high: 5 servers need ports up to 65538/],
    [['up', '--data', ''], /--data must name a directory/],
    [['status', '--data='], /--data must name a directory/],
    [['up', '--log-level', 'loud'], /--log-level must be one of debug, info, warn, error/],
    [['kill'], /for instance: skein kill S3/],
    [['demo', 'x'], /skein demo takes no arguments/],
    [['keygen'], /skein keygen FILE/],
  ]
  for (const [args, message] of cases) {
    const { code, stderr } = await run(...args)
    assert.match(stderr, message, args.join(' '))
    assert.ok(code === EXIT.usage || code === EXIT.refused, args.join(' '))
  }
})
