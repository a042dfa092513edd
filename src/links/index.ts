/**
 * links: connections between members, two per pair: control and bulk. Dials, accepts, authenticates, and hands over whole
 * frames.
 *
 * Promises: (1) a frame comes from a holder of the cluster key that proved, with fresh nonces both ways, to be that
 * member, and comes once, whole, in order and unchanged within a connection; (2) nothing of a peer is handed over before
 * its instance id is persisted, nor anything of another instance, cluster, protocol or key, and both sides are told why;
 * (3) both sides agree on one connection per lane, however dials cross, and one that is dead is found out within
 * SILENCE_MS + 2 TICK_MS (session.ts) and dialled anew; (4) the frames of a turn leave in one write; (5) what waits, what
 * a stranger can make it hold, and how often it dials are bounded; (6) `onUp` and `onDown` alternate, and frames come
 * only between them; a pause ends with its connection.
 * Never: knows what a frame means; sends a lost frame again; encrypts (that is TLS's).
 * Sources: RFC 8446 (transcript-bound proofs, record layer), RFC 2104 (HMAC), RFC 4271, section 6.8 (crossing dials).
 */
export { createLinks } from './links.ts'
export { recognisePeer } from './recognise.ts'
export type { Lane, Links, LinksHandlers, LinksOptions, Peer } from './types.ts'
