/** One Watch stream through grpc-js, on any server: what was said, in order, with what is a cluster's own taken out. */
import assert from 'node:assert/strict'
import type { ClientDuplexStream, ServiceError } from '@grpc/grpc-js'
import { Client, credentials, Metadata } from '@grpc/grpc-js'
import type { Plain } from './etcd-proto.ts'
import { etcdService } from './etcd-proto.ts'

export type WatchAnswer = {
  readonly header: Plain
  readonly watchId: string
  readonly created: boolean
  readonly canceled: boolean
  readonly compactRevision: string
  readonly cancelReason: string
  readonly fragment: boolean
  readonly events: readonly { readonly type: number; readonly kv: WatchedPair; readonly prevKv: WatchedPair | null }[]
}
export type WatchedPair = { readonly key: Buffer; readonly value: Buffer; readonly modRevision: string }

const PATIENCE_MS = 20_000

export class WatchClient {
  readonly answers: WatchAnswer[] = []
  readonly #client: Client
  readonly #stream: ClientDuplexStream<Plain | Buffer, WatchAnswer>
  #ended: { readonly code: number; readonly details: string } | undefined
  #wake: () => void = () => {}

  constructor(address: string, metadata: Readonly<Record<string, string>> = {}) {
    this.#client = new Client(address, credentials.createInsecure(), { 'grpc.max_receive_message_length': -1 })
    const { Watch } = etcdService('Watch')
    assert.ok(Watch)
    const sent = new Metadata()
    for (const [name, value] of Object.entries(metadata)) sent.set(name, value)
    this.#stream = this.#client.makeBidiStreamRequest(
      Watch.path,
      (request: Plain | Buffer) => (Buffer.isBuffer(request) ? request : Watch.requestSerialize(request)),
      (bytes: Buffer) => Watch.responseDeserialize(bytes) as unknown as WatchAnswer,
      sent,
    )
    this.#stream.on('data', (answer: WatchAnswer) => {
      this.answers.push(answer)
      this.#wake()
    })
    this.#stream.on('error', (error: ServiceError) => {
      this.#ended = { code: error.code, details: error.details }
      this.#wake()
    })
  }

  send(request: Plain): void {
    this.#stream.write(request)
  }

  /** A key, read over the same connection. */
  range(key: string): Promise<void> {
    const { Range } = etcdService('KV')
    assert.ok(Range)
    const { path, requestSerialize, responseDeserialize } = Range
    return new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(path, requestSerialize, responseDeserialize, { key: Buffer.from(key) }, (error) =>
        error === null ? resolve() : reject(error),
      )
    })
  }

  /** Bytes as they are. */
  sendRaw(bytes: Buffer): void {
    this.#stream.write(bytes)
  }

  pause(): void {
    this.#stream.pause()
  }

  resume(): void {
    this.#stream.resume()
  }

  /** Waits until `is` holds of all that was said so far. */
  async until(is: (answers: readonly WatchAnswer[]) => boolean): Promise<readonly WatchAnswer[]> {
    const end = Date.now() + PATIENCE_MS
    while (!is(this.answers)) {
      if (this.#ended !== undefined) throw new Error(`the stream ended: ${JSON.stringify(this.#ended)}`)
      const left = end - Date.now()
      if (left <= 0) throw new Error(`not said within ${PATIENCE_MS} ms; so far ${shown(this.answers)}`)
      await this.#change(left)
    }
    return this.answers
  }

  async ended(): Promise<{ readonly code: number; readonly details: string }> {
    const end = Date.now() + PATIENCE_MS
    while (this.#ended === undefined) {
      const left = end - Date.now()
      if (left <= 0) throw new Error(`the stream did not end within ${PATIENCE_MS} ms`)
      await this.#change(left)
    }
    return this.#ended
  }

  close(): void {
    this.#stream.cancel()
    this.#client.close()
  }

  #change(limitMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, limitMs)
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }
}

/** Ids and terms are the cluster's own; bytes as text. */
export function plainAnswers(answers: readonly WatchAnswer[]): unknown {
  return JSON.parse(shown(answers))
}

function shown(answers: readonly WatchAnswer[]): string {
  return JSON.stringify(answers, (name, value: unknown) => {
    if (['clusterId', 'memberId', 'raftTerm'].includes(name)) return typeof value
    if (typeof value === 'object' && value !== null && 'type' in value && value.type === 'Buffer') {
      const text = Buffer.from((value as unknown as { data: number[] }).data).toString('latin1')
      return text.length > 60 ? `${text.slice(0, 20)}… ${text.length}` : text
    }
    return value
  })
}
