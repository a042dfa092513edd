/**
 * host: one whole member, as it runs. The only room that joins server, port and the client APIs.
 *
 * Promises: (1) the same code in a process of its own, inside an application and in the simulator; (2) a failure to
 * start leaves nothing open; (3) `stop` may be called more than once.
 * Never: touches the world itself; ends its process.
 * Source: DESIGN, "The same code, real or simulated".
 */
export { startServer } from './host.ts'
export { VERSION } from './version.ts'
