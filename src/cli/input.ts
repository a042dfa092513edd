/** Standard input as a whole, bounded. */
import { concatBytes } from '../base/index.ts'
import { refuse } from './exit.ts'

/** More than any request may have. */
const MAX_INPUT_BYTES = 2 * 1024 * 1024

/** `what` is told to a person who sits at a terminal and would otherwise wonder why nothing happens. */
export async function readInput(what: string): Promise<Uint8Array> {
  const { stdin } = process
  if (stdin.isTTY) process.stderr.write(`${what}; end with Ctrl-D\n`)
  const chunks: Uint8Array[] = []
  let sizeBytes = 0
  for await (const chunk of stdin as AsyncIterable<Uint8Array>) {
    sizeBytes += chunk.length
    if (sizeBytes > MAX_INPUT_BYTES) {
      refuse('request-too-large', `standard input has more than ${MAX_INPUT_BYTES} bytes, and no request may`)
    }
    chunks.push(chunk)
  }
  return concatBytes(chunks)
}
