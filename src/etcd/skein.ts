/** skein.v1.Server: Describe, by which Skein's client tells Skein from etcd, and begins its sessions. */
import type { UnaryHandler } from '../port/index.ts'
import type { Requests } from '../server/index.ts'
import { DESCRIBE_PATH, encodeDescribeResponse } from '../wire/index.ts'

export function skeinHandlers(requests: Requests): ReadonlyMap<string, UnaryHandler> {
  const describe: UnaryHandler = (_bytes, call) => {
    const { clusterId, memberId } = requests
    call.respond([encodeDescribeResponse({ clusterId, memberId, appliedIndex: requests.status().appliedIndex })])
  }
  return new Map([[DESCRIBE_PATH, describe]])
}
