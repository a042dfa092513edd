/** Every bound of a server in one place, with what happens at it (DESIGN law 7). Sizes are powers of two, in bytes. */

export const LIMITS = {
  /** Overlay of the engine at which a checkpoint starts by itself, and how long the first batch waits for one. */
  checkpointBytes: 16_777_216,
  checkpointDelayMs: 2_000,
  /** Overlay at which applying waits for the disk. */
  maxOverlayBytes: 134_217_728,
  segmentBytes: 67_108_864,
  markerDelayMs: 50,
  fullRetryMs: 500,
  links: {
    lowestProtocol: 1,
    highestProtocol: 1,
    /** The largest request, twice over, and its envelope. */
    maxFrameBytes: 16_777_216,
    /** Towards one peer and lane; control frames beyond it are dropped (Raft sends again), bulk ones wait. */
    maxQueuedBytes: 33_554_432,
    redialMinMs: 20,
    redialMaxMs: 1_000,
    handshakeTimeoutMs: 3_000,
  },
  raft: {
    preVote: true,
    checkQuorum: true,
    lease: undefined,
    maxAppendBytes: 1_048_576,
    maxInflightMessages: 256,
    maxInflightBytes: 16_777_216,
    maxUncommittedBytes: 67_108_864,
    maxTailBytes: 33_554_432,
  },
  replica: {
    keepEntries: 10_000,
    maxHeldLogBytes: 1_073_741_824,
    maxPendingProposals: 16_384,
    maxPendingBytes: 67_108_864,
    maxPendingReads: 65_536,
    snapshotTimeoutMs: 30_000,
  },
  grpc: {
    /** etcd: 1.5 MiB of request and 512 KiB of overhead. */
    maxMessageBytes: 2_097_152,
    maxConcurrentCalls: 4_096,
    maxHeaderListBytes: 65_536,
    callWindowBytes: 1_048_576,
    connectionWindowBytes: 4_194_304,
    maxOutputBytes: 67_108_864,
  },
  /** Client connections at once; more are reset on arrival. */
  maxConnections: 16_384,
  recogniseTimeoutMs: 10_000,
  /** How long a stopping server waits for open calls. */
  drainMs: 300,
} as const
