/** etcdserverpb.Maintenance: Status and MoveLeader. */
import { failure, memberId } from '../base/index.ts'
import type { UnaryHandler } from '../port/index.ts'
import type { Requests } from '../server/index.ts'
import { decodeMoveLeaderRequest, encodeMoveLeaderResponse, encodeStatusResponse } from '../wire/index.ts'
import { answer, refuse } from './call.ts'

/** What `etcdctl endpoint status` shows as the version: the API that is spoken, then Skein's own. */
export const ETCD_VERSION = '3.4.0'

export function maintenanceHandlers(requests: Requests): ReadonlyMap<string, UnaryHandler> {
  const status: UnaryHandler = (_bytes, call) => {
    const now = requests.status()
    const storage = requests.storage()
    const body = encodeStatusResponse({
      version: ETCD_VERSION,
      dbSize: storage.sizeBytes,
      leader: now.leader ?? 0n,
      // Skein reports how far this server's own log is durable: etcd reports its committed index here.
      raftIndex: now.durableIndex,
      raftTerm: now.term,
      raftAppliedIndex: now.appliedIndex,
      errors: now.leader === undefined ? ['etcdserver: no leader'] : [],
      dbSizeInUse: storage.inUseBytes,
      isLearner: false,
    })
    answer(requests, call, { ok: true, value: { body, revision: now.revision } })
  }

  const moveLeader: UnaryHandler = (bytes, call) => {
    const request = decodeMoveLeaderRequest(bytes)
    if (!request.ok) return refuse(call, request.error)
    if (request.value.targetId <= 0n) {
      return refuse(call, failure('invalid-request', 'targetID is 0', { etcd: 'ErrBadLeaderTransferee' }))
    }
    requests.moveLeader(memberId(request.value.targetId), call.deadlineMs, (result) => {
      if (!result.ok) return refuse(call, result.error)
      answer(requests, call, {
        ok: true,
        value: { body: encodeMoveLeaderResponse({}), revision: requests.status().revision },
      })
    })
  }

  return new Map([
    ['/etcdserverpb.Maintenance/Status', status],
    ['/etcdserverpb.Maintenance/MoveLeader', moveLeader],
  ])
}
