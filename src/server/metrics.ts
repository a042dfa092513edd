/** A server's numbers for /metrics: etcd's names where the meaning is the same, Skein's own beside them. */
import type { MemberId } from '../base/index.ts'
import type { Engine } from '../engine/index.ts'
import type { Links } from '../links/index.ts'
import type { WriteAheadLog } from '../log/index.ts'
import type { ReplicaStatus, WatchStats } from '../replica/index.ts'
import type { Metric } from './requests.ts'
import type { ServerStatus } from './types.ts'

export function serverMetrics(
  status: ServerStatus,
  replica: ReplicaStatus,
  leaderChanges: number,
  log: ReturnType<WriteAheadLog['stats']>,
  engine: ReturnType<Engine['stats']>,
  links: ReturnType<Links['stats']>,
  names: ReadonlyMap<MemberId, string>,
  watches: WatchStats,
): Metric[] {
  const gauge = (name: string, help: string, value: number, labels?: Metric['labels']): Metric =>
    labels === undefined ? { name, help, type: 'gauge', value } : { name, help, type: 'gauge', value, labels }
  const counter = (name: string, help: string, value: number, labels?: Metric['labels']): Metric => ({
    ...gauge(name, help, value, labels),
    type: 'counter',
  })
  const perLink = (name: string, help: string, value: (link: (typeof links)[number]) => number): Metric[] =>
    links.map((link) =>
      counter(name, help, value(link), { peer: names.get(link.peer) ?? String(link.peer), lane: link.lane }),
    )
  return [
    gauge('etcd_server_has_leader', 'Whether this server knows a leader.', status.leader === undefined ? 0 : 1),
    gauge('etcd_server_is_leader', 'Whether this server leads.', status.role === 'leader' ? 1 : 0),
    counter('etcd_server_leader_changes_seen_total', 'Changes of role, leader or term seen.', leaderChanges),
    gauge('etcd_server_proposals_committed_total', 'Highest committed index.', status.commitIndex),
    gauge('etcd_server_proposals_applied_total', 'Highest applied index.', status.appliedIndex),
    gauge(
      'etcd_server_proposals_pending',
      'Proposals of this server that wait for agreement.',
      replica.pendingProposals,
    ),
    gauge('etcd_debugging_mvcc_current_revision', 'Revision of the store.', status.revision),
    gauge('etcd_mvcc_db_total_size_in_bytes', 'Bytes of the storage engine on disk.', engine.diskBytes),
    gauge('etcd_debugging_mvcc_watcher_total', 'Watches that are open here.', watches.watchers),
    gauge('etcd_debugging_mvcc_slow_watcher_total', 'Watches that are being told what was.', watches.behind),
    gauge('etcd_debugging_mvcc_watch_stream_total', 'Streams with watches.', watches.streams),
    gauge('skein_raft_term', 'Term.', status.term),
    gauge('skein_log_durable_index', 'How far the log is durable here.', status.durableIndex),
    gauge('skein_log_size_bytes', 'Bytes of the write-ahead log on disk.', log.sizeBytes),
    gauge('skein_log_full', 'Whether writes wait for space on the disk.', log.full ? 1 : 0),
    counter('skein_log_batches_total', 'Batches appended to the log.', log.batches),
    counter('skein_log_syncs_total', 'fdatasync calls of the log.', log.syncs),
    counter('skein_log_entries_total', 'Entries appended to the log.', log.entries),
    gauge('skein_engine_overlay_bytes', 'Applied and not yet checkpointed.', engine.overlayBytes),
    counter('skein_engine_checkpoints_total', 'Checkpoints of the storage engine.', engine.checkpoints),
    gauge('skein_reads_pending', 'Linearizable reads that wait for their index.', replica.pendingReads),
    ...perLink('skein_link_sent_bytes_total', 'Bytes sent to a peer.', (link) => link.sentBytes),
    ...perLink('skein_link_received_bytes_total', 'Bytes received from a peer.', (link) => link.receivedBytes),
    ...perLink('skein_link_dials_total', 'Connections dialled to a peer.', (link) => link.dials),
  ]
}
