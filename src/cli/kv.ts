/** `skein get | put | del | txn`: the key-value calls, through any server. */
import { EMPTY, fromHex, strictText, text, toHex, utf8 } from '../base/index.ts'
import type { Client } from '../client/index.ts'
import type { KeyValue, ResponseOp, TxnResponse } from '../wire/index.ts'
import { SORT_ORDER, SORT_TARGET } from '../wire/index.ts'
import { EXIT, usage } from './exit.ts'
import { readInput } from './input.ts'
import { commandName } from './name.ts'
import type { OptionSpecs, Parsed } from './options.ts'
import { flag, option } from './options.ts'
import type { Output } from './output.ts'
import { prefixEnd } from './prefix.ts'
import { parseTxn } from './txn-input.ts'

const HEX_OPTION: OptionSpecs = { hex: flag('KEY and END are hex digits: for keys that are not text') }
export const RANGE_OPTIONS: OptionSpecs = {
  prefix: flag('every key that begins with KEY'),
  'from-key': flag('every key from KEY on'),
  ...HEX_OPTION,
}
export const GET_OPTIONS: OptionSpecs = {
  ...RANGE_OPTIONS,
  limit: option('N', 'at most so many keys'),
  rev: option('R', 'as it was at revision R'),
  order: option('ORDER', 'ascend or descend'),
  'sort-by': option('TARGET', Object.keys(SORT_TARGET).join(', ')),
  'keys-only': flag('without values'),
  'value-only': flag(
    'without keys; of one key exactly its bytes where stdout is no terminal, else a newline behind each',
  ),
  'count-only': flag('only how many'),
  serializable: flag('what the asked server has, without asking a majority: always answers, may be old'),
}
export const PUT_OPTIONS: OptionSpecs = {
  prev: flag('also print the value before'),
  hex: flag('KEY is hex digits: for keys that are not text'),
}
export const DEL_OPTIONS: OptionSpecs = { ...RANGE_OPTIONS, prev: flag('also print what was deleted') }

export async function get(client: Client, parsed: Parsed, output: Output): Promise<number> {
  if (parsed.flag('keys-only') && parsed.flag('value-only')) usage('--keys-only and --value-only exclude each other')
  const range = rangeOf('get', parsed)
  const single = range.rangeEnd.length === 0
  const response = await client.range({
    ...range,
    limit: parsed.number('limit', 0, Number.MAX_SAFE_INTEGER) ?? 0,
    revision: parsed.number('rev', 0, Number.MAX_SAFE_INTEGER) ?? 0,
    sortOrder: choice(parsed, 'order', { ascend: SORT_ORDER.ascend, descend: SORT_ORDER.descend }) ?? SORT_ORDER.none,
    sortTarget: choice(parsed, 'sort-by', SORT_TARGET) ?? SORT_TARGET.key,
    keysOnly: parsed.flag('keys-only'),
    countOnly: parsed.flag('count-only'),
    serializable: parsed.flag('serializable'),
  })
  if (output.json) {
    output.object({
      revision: response.header?.revision,
      count: response.count,
      more: response.more,
      kvs: response.kvs.map(plain),
    })
  } else if (parsed.flag('count-only')) output.print(String(response.count))
  else if (parsed.flag('value-only') && !output.terminal) {
    for (const kv of response.kvs) {
      output.raw(kv.value)
      if (!single) output.print('')
    }
  } else {
    for (const kv of response.kvs) {
      if (!parsed.flag('value-only')) output.print(show(kv.key, output))
      if (!parsed.flag('keys-only')) output.print(show(kv.value, output))
    }
  }
  if (single && response.kvs.length === 0 && !parsed.flag('count-only')) {
    if (!output.json) output.progress(`skein: there is no key ${JSON.stringify(parsed.positionals[0])}`)
    return EXIT.notFound
  }
  return EXIT.ok
}

export async function put(client: Client, parsed: Parsed, output: Output): Promise<number> {
  const [key, given, ...rest] = parsed.positionals
  if (key === undefined || rest.length > 0)
    usage(`usage: ${commandName()} put KEY VALUE (or the value on standard input)`)
  if (key === '') usage('KEY must not be empty')
  const value = given === undefined ? await readInput(`the value of ${key}, from standard input`) : utf8(given)
  const response = await client.put(keyOf(key, parsed), value, { prevKv: parsed.flag('prev') })
  if (output.json) {
    output.object({ revision: response.header?.revision, ...(response.prevKv && { prev: plain(response.prevKv) }) })
  } else {
    output.print(`OK at revision ${response.header?.revision}`)
    if (response.prevKv !== undefined) output.print(show(response.prevKv.value, output))
  }
  return EXIT.ok
}

export async function del(client: Client, parsed: Parsed, output: Output): Promise<number> {
  const response = await client.deleteRange({ ...rangeOf('del', parsed), prevKv: parsed.flag('prev') })
  if (output.json) {
    output.object({ revision: response.header?.revision, deleted: response.deleted, prev: response.prevKvs.map(plain) })
  } else {
    output.print(String(response.deleted))
    for (const kv of response.prevKvs) output.print(`${show(kv.key, output)}\n${show(kv.value, output)}`)
  }
  return EXIT.ok
}

/** The transaction comes on standard input, in etcdctl's grammar. */
export async function txn(client: Client, parsed: Parsed, output: Output): Promise<number> {
  if (parsed.positionals.length > 0) usage('skein txn reads the transaction from standard input: see skein help txn')
  const input = text(await readInput('a transaction from standard input: see skein help txn'))
  if (input.trim() === '') usage('standard input is empty, and skein txn reads the transaction from it')
  const request = parseTxn(input)
  const response = await client.txn(request)
  if (output.json) output.object({ revision: response.header?.revision, ...plainTxn(response) })
  else {
    output.print(response.succeeded ? 'SUCCESS' : 'FAILURE')
    for (const op of response.responses) for (const line of showOp(op, output)) output.print(line)
  }
  return EXIT.ok
}

export function rangeOf(command: string, parsed: Parsed): { key: Uint8Array; rangeEnd: Uint8Array } {
  const [key, end, ...rest] = parsed.positionals
  if (key === undefined || rest.length > 0) usage(`usage: ${commandName()} ${command} KEY [END]`)
  const prefix = parsed.flag('prefix')
  const fromKey = parsed.flag('from-key')
  if ([prefix, fromKey, end !== undefined].filter(Boolean).length > 1) {
    usage('--prefix, --from-key and an end of the range exclude each other')
  }
  if (key === '' && !prefix && !fromKey) usage('KEY must not be empty; all keys are: "" --prefix')
  const bytes = keyOf(key, parsed)
  if (prefix) return { key: bytes.length === 0 ? ZERO : bytes, rangeEnd: prefixEnd(bytes) }
  if (fromKey) return { key: bytes.length === 0 ? ZERO : bytes, rangeEnd: ZERO }
  return { key: bytes, rangeEnd: end === undefined ? EMPTY : keyOf(end, parsed) }
}

function keyOf(word: string, parsed: Parsed): Uint8Array {
  if (!parsed.flag('hex')) return utf8(word)
  return fromHex(word) ?? usage(`--hex wants an even number of hex digits, not ${JSON.stringify(word)}`)
}

const ZERO = new Uint8Array(1)

function choice(parsed: Parsed, name: string, choices: Readonly<Record<string, number>>): number | undefined {
  const value = parsed.text(name)
  if (value === undefined) return undefined
  const chosen = choices[value.toLowerCase()]
  return chosen ?? usage(`--${name} must be one of ${Object.keys(choices).join(', ')}, not ${JSON.stringify(value)}`)
}

/** As it is for programs; at a terminal what would steer it is shown instead of done. */
export function show(bytes: Uint8Array, output: Output): string {
  const readable = strictText(bytes) ?? `0x${toHex(bytes)}`
  if (!output.terminal) return readable
  // oxlint-disable-next-line no-control-regex -- control characters are what this is about
  return readable.replaceAll(/[\u0000-\u0008\u000B-\u001F\u007F-\u009F]/g, (character) =>
    JSON.stringify(character).slice(1, -1),
  )
}

export function plain(kv: KeyValue): Record<string, unknown> {
  return {
    key: text(kv.key),
    value: text(kv.value),
    createRevision: kv.createRevision,
    modRevision: kv.modRevision,
    version: kv.version,
    ...(kv.lease !== 0n && { lease: kv.lease }),
    // Text above is lossy where the bytes are not UTF-8.
    ...(strictText(kv.value) === undefined && { valueHex: toHex(kv.value) }),
    ...(strictText(kv.key) === undefined && { keyHex: toHex(kv.key) }),
  }
}

function plainTxn(response: TxnResponse): Record<string, unknown> {
  return { succeeded: response.succeeded, responses: response.responses.map(plainOp) }
}

function plainOp(op: ResponseOp): Record<string, unknown> {
  switch (op.type) {
    case 'range':
      return { type: 'range', count: op.range.count, kvs: op.range.kvs.map(plain) }
    case 'put':
      return { type: 'put' }
    case 'deleteRange':
      return { type: 'deleteRange', deleted: op.deleteRange.deleted }
    case 'txn':
      return { type: 'txn', ...plainTxn(op.txn) }
    default:
      return op satisfies never
  }
}

function showOp(op: ResponseOp, output: Output): string[] {
  switch (op.type) {
    case 'range':
      return ['', ...op.range.kvs.flatMap((kv) => [show(kv.key, output), show(kv.value, output)])]
    case 'put':
      return ['', 'OK']
    case 'deleteRange':
      return ['', String(op.deleteRange.deleted)]
    case 'txn':
      return [
        '',
        op.txn.succeeded ? 'SUCCESS' : 'FAILURE',
        ...op.txn.responses.flatMap((inner) => showOp(inner, output)),
      ]
    default:
      return op satisfies never
  }
}
