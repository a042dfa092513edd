/**
 * HPACK's Huffman code, four bits a step: a table says for every state and every four bits where they lead and which
 * symbol, if any, they complete. Source: RFC 7541 section 5.2 and appendix B.
 */
import { HUFFMAN_LENGTHS } from './hpack-tables.ts'

const EOS = 256
const STATES = 256
/** A step is: the next state, `EMITS | symbol << 8`, or `FAILS`. The shortest code has 5 bits: one symbol a step. */
const EMITS = 1 << 16
const FAILS = 1 << 17

type Machine = { readonly steps: Int32Array; readonly mayEnd: Uint8Array }

/** The code is canonical: codes of one length ascend with the symbol. Values: a node, or -1 - symbol. */
function buildTree(): Int32Array {
  const symbols = HUFFMAN_LENGTHS.map((length, symbol) => ({ length, symbol })).sort(
    (a, b) => a.length - b.length || a.symbol - b.symbol,
  )
  const next = new Int32Array(2 * STATES)
  let nodes = 1
  let code = 0
  let previous = 0
  for (const { length, symbol } of symbols) {
    code *= 2 ** (length - previous)
    previous = length
    let node = 0
    for (let bit = length - 1; bit >= 0; bit--) {
      const at = node * 2 + (Math.floor(code / 2 ** bit) % 2)
      if (bit === 0) next[at] = -1 - symbol
      else {
        if (next[at] === 0) next[at] = nodes++
        node = next[at] as number
      }
    }
    code++
  }
  return next
}

function step(tree: Int32Array, from: number, nibble: number): number {
  let node = from
  let emitted = 0
  for (let shift = 3; shift >= 0; shift--) {
    const to = tree[node * 2 + ((nibble >> shift) & 1)] as number
    if (to >= 0) {
      node = to
      continue
    }
    if (-1 - to === EOS) return FAILS
    emitted = EMITS | ((-1 - to) << 8)
    node = 0
  }
  return emitted | node
}

function buildMachine(): Machine {
  const tree = buildTree()
  const steps = new Int32Array(STATES * 16)
  for (let state = 0; state < STATES; state++) {
    for (let nibble = 0; nibble < 16; nibble++) steps[state * 16 + nibble] = step(tree, state, nibble)
  }
  // Padding is up to seven bits of EOS, which is all ones.
  const mayEnd = new Uint8Array(STATES)
  let node = 0
  for (let ones = 0; ones <= 7; ones++) {
    mayEnd[node] = 1
    node = tree[node * 2 + 1] as number
  }
  return { steps, mayEnd }
}

const MACHINE: Machine = buildMachine()

/** The text (a character per byte), or undefined where the code contains EOS or ends in wrong padding. */
export function decodeHuffman(bytes: Uint8Array, start: number, end: number): string | undefined {
  const { steps, mayEnd } = MACHINE
  let text = ''
  let state = 0
  for (let i = start; i < end; i++) {
    const byte = bytes[i] as number
    const high = steps[state * 16 + (byte >> 4)] as number
    if (high >= FAILS) return undefined
    if (high >= EMITS) text += String.fromCharCode((high >> 8) & 0xff)
    const low = steps[(high & 0xff) * 16 + (byte & 15)] as number
    if (low >= FAILS) return undefined
    if (low >= EMITS) text += String.fromCharCode((low >> 8) & 0xff)
    state = low & 0xff
  }
  return mayEnd[state] === 1 ? text : undefined
}
