/**
 * A transaction as text, in etcdctl's grammar: compares, an empty line, operations if all hold, an empty line, operations if
 * not.
 *
 *   value("key") = "text"      mod("key") > "5"      create("key") = "0"      version("key") < "3"      lease("key") = "0"
 *   put key value      get key [end] [--prefix]      del key [end] [--prefix]
 */
import { EMPTY, utf8 } from '../base/index.ts'
import type { Compare, RequestOp, TxnRequest } from '../wire/index.ts'
import { COMPARE_RESULT, COMPARE_TARGET } from '../wire/index.ts'
import { usage } from './exit.ts'
import { prefixEnd } from './prefix.ts'

const RESULTS: Readonly<Record<string, number>> = {
  '=': COMPARE_RESULT.equal,
  '!=': COMPARE_RESULT.notEqual,
  '>': COMPARE_RESULT.greater,
  '<': COMPARE_RESULT.less,
}

export function parseTxn(input: string): TxnRequest {
  const sections: string[][] = [[], [], []]
  let section = 0
  for (const raw of input.split('\n')) {
    const line = raw.trim()
    if (line === '') section++
    else (sections[section] ?? usage(`a transaction has three parts, and there is more: ${line}`)).push(line)
  }
  const [compares = [], success = [], failure = []] = sections
  return { compare: compares.map(parseCompare), success: success.map(parseOp), failure: failure.map(parseOp) }
}

function parseCompare(line: string): Compare {
  const match = /^(\w+)\((.+?)\)\s*(=|!=|>|<)\s*(.+)$/.exec(line)
  if (match === null) usage(`${JSON.stringify(line)} is no compare; an example: value("key") = "text"`)
  const [, target = '', key = '', sign = '', operand = ''] = match
  const base = { key: utf8(unquote(key)), rangeEnd: EMPTY, result: RESULTS[sign] as number }
  const value = unquote(operand)
  const number = (): number =>
    /^\d{1,16}$/.test(value) ? Number(value) : usage(`${target} is compared with a number, not ${operand}`)
  switch (target) {
    case 'value':
    case 'val':
      return { ...base, target: COMPARE_TARGET.value, operand: { type: 'value', value: utf8(value) } }
    case 'version':
    case 'ver':
      return { ...base, target: COMPARE_TARGET.version, operand: { type: 'version', revision: number() } }
    case 'create':
    case 'c':
      return { ...base, target: COMPARE_TARGET.create, operand: { type: 'create', revision: number() } }
    case 'mod':
    case 'm':
      return { ...base, target: COMPARE_TARGET.mod, operand: { type: 'mod', revision: number() } }
    case 'lease':
      return { ...base, target: COMPARE_TARGET.lease, operand: { type: 'lease', lease: BigInt(number()) } }
    default:
      return usage(`${target} cannot be compared; value, version, create, mod and lease can`)
  }
}

function parseOp(line: string): RequestOp {
  const words = [...line.matchAll(/"(?:[^"\\]|\\.)*"|\S+/g)].map((match) => unquote(match[0]))
  const [verb, ...rest] = words
  const flags = rest.filter((word) => word.startsWith('--'))
  const [key, second, ...more] = rest.filter((word) => !word.startsWith('--'))
  const unknown = flags.find((flag) => flag !== '--prefix')
  if (key === undefined || more.length > 0 || unknown !== undefined)
    usage(`${JSON.stringify(line)} is no operation: put KEY VALUE, get KEY, del KEY`)
  const bytes = utf8(key)
  const rangeEnd = flags.length > 0 ? prefixEnd(bytes) : second === undefined ? EMPTY : utf8(second)
  switch (verb ?? '') {
    case 'put':
      if (second === undefined) usage(`${JSON.stringify(line)} has no value`)
      return {
        type: 'put',
        put: { key: bytes, value: utf8(second), lease: 0n, prevKv: false, ignoreValue: false, ignoreLease: false },
      }
    case 'get':
      return {
        type: 'range',
        range: {
          key: bytes,
          rangeEnd,
          limit: 0,
          revision: 0,
          sortOrder: 0,
          sortTarget: 0,
          serializable: false,
          keysOnly: false,
          countOnly: false,
          minModRevision: 0,
          maxModRevision: 0,
          minCreateRevision: 0,
          maxCreateRevision: 0,
        },
      }
    case 'del':
      return { type: 'deleteRange', deleteRange: { key: bytes, rangeEnd, prevKv: false } }
    default:
      return usage(`${JSON.stringify(line)} is no operation: put KEY VALUE, get KEY, del KEY`)
  }
}

function unquote(word: string): string {
  if (!/^".*"$/.test(word)) return word
  try {
    return String(JSON.parse(word))
  } catch {
    return usage(`${word} is not a quoted text`)
  }
}
