/** What a probe hears that asks for a path that is not served. */
import { utf8 } from '../base/index.ts'

export const NOT_FOUND: Uint8Array = utf8(
  'not found: this port serves /health, /version and /metrics over HTTP, and etcd v3 over gRPC\n',
)
