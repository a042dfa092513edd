/**
 * client: what an application speaks with. Speaks etcd v3, so it works unmodified against Skein and against etcd.
 *
 * Promises: (1) an error is a SkeinError with a stable code, and says whether to ask again; (2) a call is repeated
 * elsewhere only where that cannot take effect twice; (3) what is not known is reported as unknown; (4) everything
 * outside goes through a World, so that it runs in the simulator.
 * Never: retries a write that may have taken effect.
 * Source: etcd 3.4 `clientv3` (retry interceptor, balancer).
 */
export { connectClient } from './client.ts'
export type { CallOptions, Client, ClientOptions } from './types.ts'
