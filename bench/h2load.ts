/** One load through Debian's h2load, and what it measured; percentiles come from its log of every request. */
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export type Load = {
  readonly endpoint: string
  /** `/package.Service/Method`. */
  readonly path: string
  /** The protobuf message, without gRPC's prefix. */
  readonly message: Uint8Array
  readonly connections: number
  readonly perConnection: number
  readonly requests: number
}

export type Measured = {
  readonly perSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
  readonly succeeded: number
}

/** Runs one load to its end. Rejects where h2load fails or any request was not answered with HTTP 200. */
export async function h2load(load: Load): Promise<Measured> {
  const directory = mkdtempSync(join(tmpdir(), 'h2load-'))
  try {
    const body = join(directory, 'body')
    const log = join(directory, 'log')
    const prefix = Buffer.alloc(5)
    prefix.writeUInt32BE(load.message.length, 1)
    writeFileSync(body, Buffer.concat([prefix, load.message]))
    const output = await run('h2load', [
      ...['-n', String(load.requests), '-c', String(load.connections), '-m', String(load.perConnection), '-t', '1'],
      ...['-H', 'content-type: application/grpc', '-H', 'te: trailers', '-d', body, `--log-file=${log}`],
      `http://${load.endpoint}${load.path}`,
    ])
    const perSecond = Number(/finished in [^,]+, ([\d.]+) req\/s/.exec(output)?.[1])
    const succeeded = Number(/(\d+) succeeded/.exec(output)?.[1])
    const good = Number(/status codes: (\d+) 2xx/.exec(output)?.[1])
    if (succeeded !== load.requests || good !== load.requests) {
      throw new Error(`h2load: ${succeeded} of ${load.requests} succeeded, ${good} with status 2xx\n${output}`)
    }
    // Each line: start time, status, duration in microseconds.
    const durations = Float64Array.from(
      readFileSync(log, 'utf8')
        .trimEnd()
        .split('\n')
        .map((line) => Number(line.split('\t')[2]) / 1000),
    ).sort()
    const at = (part: number): number =>
      durations[Math.min(durations.length - 1, Math.floor(durations.length * part))] ?? Number.NaN
    return { perSecond, p50Ms: at(0.5), p99Ms: at(0.99), maxMs: at(1), succeeded }
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

export async function run(command: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    child.stdout.on('data', (data: Buffer) => (output += data.toString()))
    child.stderr.on('data', (data: Buffer) => (output += data.toString()))
    child.on('error', reject)
    child.on('close', (status) =>
      status === 0 ? resolve(output) : reject(new Error(`${command} ended with ${status}\n${output}`)),
    )
  })
}
