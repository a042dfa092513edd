/** Which servers a command asks: --endpoints, else SKEIN_ENDPOINTS, else the cluster of --data, else the default ports. */
import { join } from 'node:path'
import { addressesOf, DEFAULT_PORT, DEFAULT_SERVERS, readClusterFile } from './cluster-directory.ts'
import { usage } from './exit.ts'
import { DEFAULT_DATA } from './name.ts'
import type { OptionSpecs, Parsed } from './options.ts'
import { option } from './options.ts'

/** The directory that --data names, else the default. An empty name is a variable that was not set. */
export function dataDirectory(parsed: Parsed, otherwise: string = DEFAULT_DATA): string {
  const given = parsed.text('data')
  return given === '' ? usage('--data must name a directory, and it is empty') : (given ?? otherwise)
}

export const DATA_OPTION: OptionSpecs = {
  data: option('DIR', `the directory of a local cluster (default ${DEFAULT_DATA})`),
}

export type Endpoints = {
  readonly addresses: readonly string[]
  readonly from: 'option' | 'environment' | 'data' | 'default'
  /** The directory whose supervisor may know more about these servers. */
  readonly directory: string | undefined
}

export function findEndpoints(parsed: Parsed): Endpoints {
  const given = parsed.text('endpoints')
  if (given !== undefined) return { addresses: parseEndpoints(given), from: 'option', directory: undefined }
  const directory = dataDirectory(parsed)
  const environment = process.env['SKEIN_ENDPOINTS']
  if (environment !== undefined && environment !== '' && parsed.text('data') === undefined) {
    return { addresses: parseEndpoints(environment), from: 'environment', directory: undefined }
  }
  const cluster = readClusterFile(directory)
  if (cluster !== undefined) return { addresses: addressesOf(cluster), from: 'data', directory }
  if (parsed.text('data') !== undefined) {
    usage(`${directory} holds no cluster: there is no ${join(directory, 'cluster.json')}`)
  }
  return {
    addresses: addressesOf({ port: DEFAULT_PORT, servers: DEFAULT_SERVERS }),
    from: 'default',
    directory: undefined,
  }
}

export function parseEndpoints(text: string): string[] {
  const addresses = text
    .split(',')
    .map((part) => part.trim().replace(/^http:\/\//, ''))
    .filter((part) => part !== '')
  for (const address of addresses) {
    if (address.startsWith('https://'))
      usage(`write ${address.slice('https://'.length)} instead of ${address}, and give --tls-ca`)
    const port = Number(/^(?:\[[0-9a-fA-F:.]+\]|[^:[\]/]+):(\d{1,5})$/.exec(address)?.[1])
    if (!(port >= 1 && port <= 65_535))
      usage(`${JSON.stringify(address)} is no endpoint; one is HOST:PORT, for instance 127.0.0.1:7701`)
  }
  if (addresses.length === 0) usage('--endpoints names no server')
  return addresses
}

/** `127.0.0.1:7701 … 7705` where that says it all. */
export function brief(addresses: readonly string[]): string {
  const first = addresses[0] as string
  const last = addresses.at(-1) as string
  if (addresses.length < 3) return addresses.join(', ')
  const split = (address: string): [string, number] => {
    const at = address.lastIndexOf(':')
    return [address.slice(0, at), Number(address.slice(at + 1))]
  }
  const [host, port] = split(first)
  const isRow = addresses.every((address, i) => address === `${host}:${port + i}`)
  return isRow ? `${first} to ${split(last)[1]}` : addresses.join(', ')
}
