/**
 * raft: consensus of one group. A synchronous state machine: inputs are stepped in with the time, duties come out as
 * Readies whose type says what must be durable before what may be sent.
 *
 * Promises: (1) election safety, log matching, leader completeness and state-machine safety of the Raft paper (figure
 * 3), whatever is lost, duplicated or reordered, and however late persistence completes; (2) nothing is promised to a
 * peer, and nothing counted for this server, before it is durable here; (3) every queue is bounded by RaftOptions.
 * Never: does I/O, reads a clock, draws chance other than through `RaftOptions.random`.
 * Source: Ongaro and Ousterhout 2014 (extended version); Ongaro's dissertation; etcd-io/raft for Ready and progress.
 */
export { decodeConfig, encodeConfig } from './config-codec.ts'
export type { PeerProgress, Proposed, Raft, RaftStatus } from './raft.ts'
export { createRaft } from './raft.ts'
export type {
  Config,
  ConfigChange,
  Entry,
  HardState,
  RaftInput,
  RaftMessage,
  RaftOptions,
  RaftStart,
  Ready,
  Role,
  SnapshotMeta,
} from './types.ts'
