/** `skein help [command]`. */
import type { Command } from './commands.ts'
import { COMMANDS } from './commands.ts'
import { EXIT } from './exit.ts'
import { commandName } from './name.ts'
import { COMMON_OPTIONS } from './options.ts'
import type { Output } from './output.ts'
import { paint } from './output.ts'

const GROUPS = [
  ['cluster', 'A cluster'],
  ['data', 'Its data, through any server'],
  ['other', 'Other'],
] as const

export function overview(output: Output): string[] {
  const skein = commandName()
  const lines = [
    `${paint(output, 'bold', 'skein')}: several computers that act as one`,
    '',
    `  ${skein} COMMAND [options]`,
  ]
  for (const [group, title] of GROUPS) {
    lines.push('', paint(output, 'bold', title))
    for (const command of COMMANDS) {
      if (command.group === group) lines.push(`  ${command.name.padEnd(9)}${command.summary}`)
    }
  }
  return [
    ...lines,
    '',
    `Start with: ${skein} up      More: ${skein} help COMMAND`,
    `Exit codes: ${EXIT.ok} done, ${EXIT.refused} refused, ${EXIT.notFound} no such key, ${EXIT.usage} not understood, ${EXIT.unreachable} no server or no leader,`,
    `            ${EXIT.unknown} outcome unknown, ${EXIT.internal} a bug`,
  ]
}

export function helpFor(command: Command, output: Output): string[] {
  const skein = commandName()
  const options = Object.entries({ ...command.options, ...COMMON_OPTIONS })
    .filter(([, spec]) => spec.hidden !== true)
    .map(([name, spec]) => [`--${name}${spec.value === '' ? '' : ` ${spec.value}`}`, spec.help] as const)
  const width = Math.min(28, Math.max(...options.map(([left]) => left.length)))
  return [
    `${paint(output, 'bold', `skein ${command.name}`)}: ${command.summary}`,
    '',
    `  ${skein} ${command.name}${command.usage === '' ? '' : ` ${command.usage}`}`,
    ...(command.details === undefined ? [] : ['', ...command.details]),
    '',
    paint(output, 'bold', 'Options'),
    ...options.flatMap(([left, help]) => optionLines(left, help, width)),
    '',
    paint(output, 'bold', 'For instance'),
    ...command.examples.map((example) => `  ${skein} ${example}`),
  ]
}

const WIDTH = 96

function optionLines(left: string, help: string, width: number): string[] {
  const indent = ' '.repeat(width + 4)
  const [first = '', ...rest] = wrap(help, WIDTH - indent.length)
  const head = left.length > width ? [`  ${left}`, indent + first] : [`  ${left.padEnd(width)}  ${first}`]
  return [...head, ...rest.map((line) => indent + line)]
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line)
      line = word
    } else line = line === '' ? word : `${line} ${word}`
  }
  return [...lines, line]
}
