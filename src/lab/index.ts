/**
 * lab: the simulated world. It supplies another World, nothing else: the same server and client code runs in it, with
 * networks, disks, clocks and processes that fail on purpose, in virtual time and one thread.
 *
 * Promises: (1) one seed and one scenario give one trace, event for event; its hash is the proof; (2) the event queue,
 * ordered by time and then by order of scheduling, is the only source of order; (3) draws are keyed by what they are
 * about, so that removing one fault changes only its consequences; (4) a crash takes nothing that the world's contracts
 * promise to keep, and anything else may be gone; (5) simulated time never passes between a step of a scenario and its
 * continuations.
 * Never: real time, real randomness, I/O, or a test for being simulated.
 * Source: FoundationDB's simulation (Zhou et al., SIGMOD 2021, section 4); TigerBeetle's VOPR.
 */
export { drawsOf, type Draws, type Seed } from './draws.ts'
export type { SimClockState } from './sim-clock.ts'
export { type DiskOperation, type DiskProfile, NVME, type SimDisk } from './sim-disk.ts'
export { LAN, type LinkProfile, type SimLink } from './sim-link.ts'
export {
  type CrashOptions,
  createSimulation,
  type Finding,
  type PartitionOptions,
  type ProcessOptions,
  type RunEnd,
  type RunLimits,
  type SimProcess,
  type Simulation,
  type SimulationOptions,
} from './simulation.ts'
export type { TraceEvent, TraceKind } from './trace.ts'
export { type Answer, type Call, createHistory, type HistoryRecorder, type Operation } from './history.ts'
export { type CheckOptions, checkLinearizable, type Verdict } from './linearizability.ts'
export { checkRevisions } from './revisions.ts'
export { createSimCluster, type SimCluster, type SimServer } from './sim-cluster.ts'
export { drawFaults, type Fault, inflict, mendAll, type Scheduled } from './sim-faults.ts'
export { type KvRun, type KvRunOptions, runKv } from './kv-run.ts'
export { runWatch, type WatchRun, type WatchRunOptions } from './watch-run.ts'
