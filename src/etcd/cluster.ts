/** etcdserverpb.Cluster: MemberList. Changing the membership comes with the next capability. */
import { memberId } from '../base/index.ts'
import type { UnaryHandler } from '../port/index.ts'
import type { Requests } from '../server/index.ts'
import { encodeMemberListResponse } from '../wire/index.ts'
import { answer } from './call.ts'

export function clusterHandlers(requests: Requests, scheme: 'http' | 'https'): ReadonlyMap<string, UnaryHandler> {
  const memberList: UnaryHandler = (_bytes, call) => {
    // etcd 3.4 has no `linearizable` in this request: its answer is the asked server's own view.
    requests.members(false, call.deadlineMs, (result) => {
      if (!result.ok) return answer(requests, call, result)
      const members = result.value.members.map((member) => ({
        id: memberId(member.id),
        name: member.name,
        peerUrls: [`${scheme}://${member.address}`],
        clientUrls: [`${scheme}://${member.address}`],
        isLearner: member.isLearner,
      }))
      // etcd's header has no revision here: the membership is not part of the store.
      answer(requests, call, { ok: true, value: { body: encodeMemberListResponse({ members }), revision: 0 } })
    })
  }
  return new Map([['/etcdserverpb.Cluster/MemberList', memberList]])
}
