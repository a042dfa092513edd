/**
 * Where a replica starts from: the engine's durable state and what the log recovered, made to agree.
 *
 * The engine may be behind the log (its checkpoints are rarer): the entries between are applied again. The engine may
 * be ahead of the log only where a received snapshot was swapped in and the crash came before the log was reset to it:
 * then the log is reset now. An engine behind the log's beginning has lost data and is refused.
 */
import type { LogIndex, Result, Term } from '../base/index.ts'
import { err, failure, logIndex, ok, term as makeTerm } from '../base/index.ts'
import type { LogWrite, RecoveredGroup } from '../log/index.ts'
import type { RaftStart } from '../raft/index.ts'
import { decodeConfig, encodeConfig } from '../raft/index.ts'
import { readPosition } from './records.ts'
import type { ReplicaEnvironment, ReplicaOptions } from './types.ts'

export function recover(
  options: ReplicaOptions,
  environment: ReplicaEnvironment,
  done: (result: Result<RaftStart>) => void,
): void {
  const { log, engine, recovered } = environment
  const applied = engine.appliedIndex(options.group)
  if (recovered === undefined) {
    if (applied > 0) {
      done(
        err(
          failure(
            'log-damaged',
            `the engine has applied up to index ${applied}, but the log knows nothing of group ${options.group}: the log's files are missing`,
          ),
        ),
      )
      return
    }
    begin(options, log.append.bind(log), done)
    return
  }
  if (applied < recovered.base.index) {
    done(
      err(
        failure(
          'engine-damaged',
          `the engine has applied up to index ${applied}, but the log of group ${options.group} begins after ${recovered.base.index}: the engine has lost data`,
        ),
      ),
    )
    return
  }
  const base = decodeConfig(recovered.base.config)
  if (!base.ok) {
    done(err(base.error))
    return
  }
  const position = readPosition(engine, options.space)
  if (position !== undefined && termAt(recovered, applied) !== position.term) {
    if (!position.restored) {
      done(
        err(
          failure(
            'log-damaged',
            `the engine has applied index ${applied} of term ${position.term}, which the log of group ${options.group} (up to ${recovered.lastIndex}) does not hold: the log has lost what it acknowledged`,
          ),
        ),
      )
      return
    }
    resetTo(options, recovered, applied, position.term, encodeConfig(position.config), log.append.bind(log), () =>
      done(
        ok({
          hardState: raised(recovered, applied, position.term),
          snapshot: { index: applied, term: position.term, config: position.config },
          configEntries: [],
          termRuns: [],
          lastIndex: applied,
          applied,
        }),
      ),
    )
    return
  }
  done(
    ok({
      hardState: raised(recovered, applied, makeTerm(0)),
      snapshot: { index: recovered.base.index, term: recovered.base.term, config: base.value },
      configEntries: recovered.configEntries,
      termRuns: recovered.termRuns,
      lastIndex: recovered.lastIndex,
      applied,
    }),
  )
}

type Append = (writes: readonly LogWrite[], done: () => void) => void

/** A new group: its beginning is durable before it takes part in anything. */
function begin(options: ReplicaOptions, append: Append, done: (result: Result<RaftStart>) => void): void {
  const zero = logIndex(0)
  const hardState = { term: makeTerm(0), vote: undefined, commit: zero }
  const base = { index: zero, term: makeTerm(0), config: encodeConfig(options.bootstrap) }
  append([{ group: options.group, base, hardState }], () =>
    done(
      ok({
        hardState,
        snapshot: { index: zero, term: makeTerm(0), config: options.bootstrap },
        configEntries: [],
        termRuns: [],
        lastIndex: zero,
        applied: zero,
      }),
    ),
  )
}

function resetTo(
  options: ReplicaOptions,
  recovered: RecoveredGroup,
  index: LogIndex,
  term: Term,
  config: Uint8Array,
  append: Append,
  done: () => void,
): void {
  append([{ group: options.group, base: { index, term, config }, hardState: raised(recovered, index, term) }], done)
}

/** What is applied is committed, and its term has been. A vote belongs to the term it was given in. */
function raised(recovered: RecoveredGroup, applied: LogIndex, atLeast: Term): RaftStart['hardState'] {
  const { term, vote, commit } = recovered.hardState
  return {
    term: term >= atLeast ? term : atLeast,
    vote: term >= atLeast ? vote : undefined,
    commit: commit >= applied ? commit : applied,
  }
}

/** The term of the entry at `index` in the recovered log; undefined where the log does not reach it. */
function termAt(recovered: RecoveredGroup, index: LogIndex): Term | undefined {
  if (index === recovered.base.index) return recovered.base.term
  if (index < recovered.base.index || index > recovered.lastIndex) return undefined
  let found: Term | undefined
  for (const run of recovered.termRuns) if (run.firstIndex <= index) found = run.term
  return found
}
