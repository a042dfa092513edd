/**
 * How Skein and its client agree that a write may be sent again. The client asks a server it has connected to for
 * `DESCRIBE_PATH`; etcd answers `unimplemented`, Skein with its cluster and how far it has applied the log. A session is
 * opened by using it: its id says after which position of the log that was, so that a cluster that has forgotten
 * sessions since can tell a session that it forgot from one that is new.
 */
import type { MessageCodec } from './protobuf-message.ts'
import { bigUint64Field, message, uint64Field } from './protobuf-message.ts'

export const DESCRIBE_PATH = '/skein.v1.Server/Describe'

/** Results that a cluster remembers of each session: a client has no two requests open that are further apart. */
export const RESULTS_PER_SESSION = 16

export type DescribeResponse = {
  readonly clusterId: bigint
  readonly memberId: bigint
  /** Whatever is written from now on has a higher position in the log. */
  readonly appliedIndex: number
}

const DESCRIBE_RESPONSE: MessageCodec<DescribeResponse> = message<DescribeResponse>(
  'DescribeResponse',
  () => ({ clusterId: 0n, memberId: 0n, appliedIndex: 0 }),
  { clusterId: bigUint64Field(1), memberId: bigUint64Field(2), appliedIndex: uint64Field(3) },
)

export const decodeDescribeResponse: MessageCodec<DescribeResponse>['decode'] = DESCRIBE_RESPONSE.decode
export const encodeDescribeResponse: MessageCodec<DescribeResponse>['encode'] = DESCRIBE_RESPONSE.encode

/** `after-<position>-<random>`: what travels in the metadata `skein-session`. */
export function sessionIdAfter(position: number, random: Uint8Array): string {
  return `after-${position}-${Array.from(random, (byte) => byte.toString(16).padStart(2, '0')).join('')}`
}

/** The position in a session's id, or undefined where its client chose an id of another form. */
export function positionInSessionId(id: Uint8Array): number | undefined {
  let text = ''
  for (const byte of id.subarray(0, 32)) text += String.fromCharCode(byte)
  const found = /^after-(\d{1,15})-/.exec(text)
  return found === null ? undefined : Number(found[1])
}
