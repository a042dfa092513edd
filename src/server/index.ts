/**
 * server: one member. Hosts replicas, keeps its identity, its disk and its links, and routes a request to the replica
 * that can answer.
 *
 * Promises: (1) nothing is answered before the server's identity, log and engine are recovered and agree; (2) a peer's
 * instance id is durable here before its first message counts; (3) every limit is in limits.ts; (4) a graceful stop
 * hands leadership over and leaves everything durable.
 * Never: knows a client protocol; listens (the port does); ends its process.
 * Source: DESIGN, "Members" and "A write, walked through".
 */
export { LIMITS } from './limits.ts'
export { isLoopback } from './options.ts'
export type { Answer, ClientSession, MemberInfo, Metric, Read, Requests, Write, WriteKind } from './requests.ts'
export type { Server } from './server.ts'
export { openServer } from './server.ts'
export type { BootstrapMember, RunningServer, ServerEvent, ServerOptions, ServerStatus } from './types.ts'
