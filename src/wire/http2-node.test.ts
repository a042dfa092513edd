/**
 * node:http2 is the oracle: random requests and answers must look the same whoever of the two is client and server.
 * SKEIN_FUZZ_RUNS sets how many rounds of requests there are (default 25).
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Header } from './hpack.ts'
import { askNode, askOurs, resetBy, serveNode, serveOurs } from './http2-node.testkit.ts'
import type { Script, Seen, Settings } from './http2-node.testkit.ts'

const RUNS = Number(process.env['SKEIN_FUZZ_RUNS'] ?? 25)

const name = fc.constantFrom('a', 'b-c', 'accept', 'user-agent', 'x-long-name-of-a-header', 'content-language')
const value = fc.oneof(
  fc.constantFrom('', 'gzip, deflate', '*/*', 'same'),
  fc.stringMatching(/^[!-~](?:[ -~]{0,200}[!-~])?$/),
)
/** No name twice: node:http2 joins them by rules of its own. */
const fields: fc.Arbitrary<Header[]> = fc.uniqueArray(fc.tuple(name, value), { maxLength: 4, selector: ([key]) => key })
const size = fc.oneof(fc.constantFrom(1, 16_383, 16_384, 16_385, 65_535), fc.integer({ min: 1, max: 3000 }))
const body = fc.array(size, { maxLength: 4 })
const reset = fc.record({
  when: fc.constantFrom('at once' as const, 'after the body' as const),
  code: fc.constantFrom(2, 7, 8, 11),
})

const script: fc.Arbitrary<Omit<Script, 'path'>> = fc.record({
  method: fc.constantFrom('POST', 'PUT', 'PATCH'),
  fields,
  body,
  trailers: fields,
  answer: fc.record({
    status: fc.constantFrom(200, 201, 400, 404, 500, 503),
    fields,
    body,
    trailers: fields,
    reset: fc.option(reset, { nil: undefined, freq: 6 }),
  }),
})
const settings: fc.Arbitrary<Settings> = fc.record({
  initialWindowSize: fc.constantFrom(65_535, 2000, 10_000, 1 << 20),
  maxFrameSize: fc.constantFrom(16_384, 100_000),
  headerTableSize: fc.constantFrom(4096, 0, 100),
})

test('whoever is client and whoever is server, the same is seen', async () => {
  const rounds = fc.array(script, { minLength: 1, maxLength: 12 })
  await fc.assert(
    fc.asyncProperty(rounds, settings, settings, async (bare, serverSettings, clientSettings) => {
      const scripts = bare.map((one, i): Script => Object.assign({ path: `/${i}?x=y` }, one))
      const [node, ours] = [await serveNode(scripts, serverSettings), await serveOurs(scripts)]
      try {
        const [nodeToNode, nodeToOurs, oursToNode, oursToOurs] = await Promise.all([
          askNode(node.port, scripts, clientSettings),
          askNode(ours.port, scripts, clientSettings),
          askOurs(node.port, scripts),
          askOurs(ours.port, scripts),
        ])
        // node:http2 ends a stream before it resets it, so what its client hears is chance: the code alone is asked for.
        const judged = (seen: readonly Seen[]): Seen[] =>
          seen.map((one, i) => {
            const { reset } = (scripts[i] as Script).answer
            return reset?.when === 'after the body' ? resetBy(reset.code) : one
          })
        const expected = judged(nodeToNode)
        assert.deepEqual(nodeToOurs, expected, 'our server, asked by node:http2')
        assert.deepEqual(judged(oursToNode), expected, 'our client, answered by node:http2')
        assert.deepEqual(oursToOurs, expected, 'our client and our server')
      } finally {
        node.close()
        ours.close()
      }
    }),
    { numRuns: RUNS, includeErrorInReport: true },
  )
})
