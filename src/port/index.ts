/**
 * port: listeners for clients. Recognises the protocol of a connection from its first bytes and drives its state
 * machine.
 *
 * Promises: (1) one socket write per connection per turn; (2) every queue towards a client is bounded, and a client that
 * does not read is first not read from, then dropped; (3) a member's connection is recognised here and handed over
 * untouched; (4) draining answers what is open and tells clients to go elsewhere; (5) connections of clients are bounded, and those
 * that say nothing, drip, or are half open end by themselves; (6) a call whose deadline passes is answered.
 * Never: knows what a request means.
 * Source: DESIGN, "Listeners"; RFC 9113 section 3.4 for the preface.
 */
export { openPort } from './port.ts'
export type {
  Call,
  HttpAnswer,
  Port,
  PortOptions,
  PortStats,
  Services,
  StreamCall,
  StreamHandler,
  StreamHandlers,
  UnaryHandler,
} from './types.ts'
