/** The refusal of a damaged log, with file and offset. */
import type { Failure } from '../base/index.ts'
import { failure } from '../base/index.ts'

export function damaged(file: string, offset: number, why: string): Failure {
  return failure(
    'log-damaged',
    `${file} at offset ${offset}: ${why}; what this server acknowledged may be lost, so it stays out`,
    { file, offset },
  )
}
