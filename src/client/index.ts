/**
 * client: what an application speaks with. Speaks etcd v3, so it works unmodified against Skein and against etcd.
 *
 * Promises: (1) an error is a SkeinError with a stable code, and says whether to ask again; (2) a call is repeated
 * only where that cannot take effect twice: a write that may have taken effect goes again only to a server that is known
 * to be Skein, of the cluster that had it first, under the same session and number; (3) what is not known is reported as
 * unknown; (4) a server that is down, deaf or silent is passed over within the call's deadline; (5) everything outside
 * goes through a World, so that it runs in the simulator.
 * Never: sends a write of unknown outcome to etcd again; keeps a call past its deadline.
 * Source: etcd 3.4 `clientv3` (retry interceptor, balancer); Raft dissertation, section 6.3. asking.ts has the table of
 * what is asked again where, sessions.ts and `wire/skein-session.ts` how a repeated write is recognised.
 */
export type { Bytes } from './bytes.ts'
export { connectClient } from './client.ts'
export type { CallOptions, Client, ClientOptions, Watch, WatchBatch, WatchEvent, WatchOptions } from './types.ts'
