/** What a leader is asked to add to the log: data, within bounds, and configurations, one change at a time. */
import type { Failure, LogIndex, Result, Term } from '../base/index.ts'
import { err, failure, ok } from '../base/index.ts'
import { appendConfig, appendData } from './commit.ts'
import { enter, isJoint, leave } from './config.ts'
import type { Core } from './core.ts'
import { ENTRY_OVERHEAD_BYTES } from './log-view.ts'
import type { Config, ConfigChange } from './types.ts'

export type Proposed = { readonly firstIndex: LogIndex; readonly term: Term }

export function notLeader({ leader }: Core): Failure {
  return leader === undefined
    ? failure('not-leader', 'this server does not lead, and knows no leader')
    : failure('not-leader', `member ${leader.toString(16)} leads`, { leader })
}

function refusal(core: Core): Failure | undefined {
  if (core.role !== 'leader') return notLeader(core)
  if (core.transfer === undefined) return undefined
  return failure('transfer-in-progress', `leadership is being handed to ${core.transfer.to.toString(16)}`)
}

export function propose(core: Core, data: readonly Uint8Array[]): Result<Proposed> {
  const refused = refusal(core)
  if (refused !== undefined) return err(refused)
  let sizeBytes = 0
  for (const part of data) sizeBytes += part.length + ENTRY_OVERHEAD_BYTES
  const { uncommittedBytes, options, term } = core
  if (uncommittedBytes > 0 && uncommittedBytes + sizeBytes > options.maxUncommittedBytes) {
    return err(
      failure(
        'too-many-requests',
        `${uncommittedBytes} bytes wait for agreement, the limit is ${options.maxUncommittedBytes}`,
      ),
    )
  }
  const firstIndex = appendData(core, data)
  core.uncommitted.push({ last: core.log.lastIndex, sizeBytes })
  core.uncommittedBytes += sizeBytes
  return ok({ firstIndex, term })
}

export function changeConfig(core: Core, change: ConfigChange): Result<Proposed> {
  return proposeConfig(core, (config) => enter(config, change))
}

export function leaveJoint(core: Core): Result<Proposed> {
  return proposeConfig(core, (config) =>
    isJoint(config) ? ok(leave(config)) : err(failure('config-change-refused', 'the configuration is not joint')),
  )
}

function proposeConfig(core: Core, make: (config: Config) => Result<Config>): Result<Proposed> {
  const refused = refusal(core)
  if (refused !== undefined) return err(refused)
  const { log, term } = core
  if (log.configIndex > core.commit) {
    return err(failure('config-change-refused', 'the last membership change is not committed yet'))
  }
  // Else two leaders' single-server changes could have disjoint majorities (the erratum of 2015 to dissertation 4.1).
  if (log.termAt(core.commit) !== term) {
    return err(failure('config-change-refused', 'this leader has not committed anything in its term yet'))
  }
  const config = make(log.config)
  if (!config.ok) return config
  return ok({ firstIndex: appendConfig(core, config.value), term })
}
