/** From the words of a command line to a command, and from its end to an exit code. */
import type { Command } from './commands.ts'
import { COMMANDS } from './commands.ts'
import { describe, describeForPrograms, EXIT, exitCodeOf, usage } from './exit.ts'
import { helpFor, overview } from './help.ts'
import { nearest, parseOptions } from './options.ts'
import type { Output } from './output.ts'
import { createOutput, toJson } from './output.ts'

/** Runs the command line `args` (without node and the script) and resolves with the exit code; never rejects. */
export async function runCommandLine(
  args: readonly string[],
  outputFor: (json: boolean) => Output = createOutput,
): Promise<number> {
  // Before it is known whether the rest is understood, for the error that says it is not.
  const end = args.indexOf('--')
  const output = outputFor((end === -1 ? args : args.slice(0, end)).includes('--json'))
  try {
    return await run(args, output)
  } catch (error) {
    const [name] = args
    const command = COMMANDS.find((one) => one.name === name)
    output.progress(output.json ? toJson(describeForPrograms(error)) : describe(error, command?.name))
    return exitCodeOf(error)
  }
}

async function run(args: readonly string[], output: Output): Promise<number> {
  const [name = 'help', ...rest] = args
  if (name === '--version' || name === '-v' || name === '-V') return run(['version', ...rest], output)
  // Node.js puts it where an argument is not UTF-8: what was meant is lost by now.
  if (args.some((word) => word.includes('\uFFFD')))
    usage('an argument is not valid UTF-8: give a key as hex digits with --hex, and a value on standard input')
  if (name === 'help' || name === '--help' || name === '-h') {
    const asked = rest.find((word) => !word.startsWith('-'))
    print(output, asked === undefined || asked === 'help' ? overview(output) : helpFor(find(asked), output))
    return args.length === 0 ? EXIT.usage : EXIT.ok
  }
  const command = find(name)
  const parsed = parseOptions(command.name, rest, command.options)
  if (parsed.flag('help')) {
    print(output, helpFor(command, output))
    return EXIT.ok
  }
  return command.run(parsed, output)
}

function find(name: string): Command {
  const found = COMMANDS.find((command) => command.name === name)
  if (found !== undefined) return found
  if (name.startsWith('-')) usage(`the command comes first: skein COMMAND ${name}`)
  const near = nearest(
    name,
    COMMANDS.map((command) => command.name),
  )
  return usage(`there is no command ${JSON.stringify(name)}${near === undefined ? '' : `; did you mean ${near}?`}`)
}

function print(output: Output, lines: readonly string[]): void {
  for (const line of lines) output.print(line)
}
