/** Plain HTTP on the same port: /health, /version and /metrics, as etcd serves them. */
import { utf8 } from '../base/index.ts'
import type { HttpAnswer } from '../port/index.ts'
import type { Metric, Requests } from '../server/index.ts'
import { ETCD_VERSION } from './maintenance.ts'

export function httpAnswers(
  requests: Requests,
  version: string,
): (method: string, path: string) => HttpAnswer | undefined {
  return (method, path) => {
    if (method !== 'GET' && method !== 'HEAD')
      return json(405, { error: `${method} is not served here, only GET and HEAD` })
    switch (path) {
      case '/health': {
        const healthy = requests.healthy()
        return json(healthy ? 200 : 503, healthy ? { health: 'true' } : { health: 'false', reason: 'no leader' })
      }
      case '/version':
        return json(200, { etcdserver: ETCD_VERSION, etcdcluster: '3.4.0', skein: version })
      case '/metrics':
        return { status: 200, contentType: 'text/plain; version=0.0.4', body: utf8(exposition(requests.metrics())) }
      default:
        return undefined
    }
  }
}

function json(status: number, value: unknown): HttpAnswer {
  return { status, contentType: 'application/json', body: utf8(`${JSON.stringify(value)}\n`) }
}

/** Prometheus' text format 0.0.4. */
export function exposition(metrics: readonly Metric[]): string {
  const lines: string[] = []
  let last = ''
  for (const metric of metrics) {
    if (metric.name !== last) {
      lines.push(`# HELP ${metric.name} ${escaped(metric.help)}`, `# TYPE ${metric.name} ${metric.type}`)
      last = metric.name
    }
    const labels = Object.entries(metric.labels ?? {})
      .map(([name, value]) => `${name}="${escaped(value).replaceAll('"', '\\"')}"`)
      .join(',')
    lines.push(`${metric.name}${labels === '' ? '' : `{${labels}}`} ${numeral(metric.value)}`)
  }
  return `${lines.join('\n')}\n`
}

function escaped(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')
}

function numeral(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return '+Inf'
  return value === Number.NEGATIVE_INFINITY ? '-Inf' : String(value)
}
