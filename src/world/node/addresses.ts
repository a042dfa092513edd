/** `host:port` texts, with brackets around an IPv6 host, to and from what node:net wants. */
import type { Address } from '../index.ts'

export type HostPort = { readonly host: string; readonly port: number }

/** Undefined unless `address` is a host, a colon and a port from 0 to 65535. */
export function parseAddress(address: Address): HostPort | undefined {
  const match = /^(?:\[([0-9a-fA-F:.%\w]+)\]|([^\s:[\]/]+)):(\d{1,5})$/.exec(address)
  if (match === null) return undefined
  const port = Number(match[3])
  if (port > 65535) return undefined
  return { host: match[1] ?? match[2] ?? '', port }
}

export function formatAddress(host: string | undefined, port: number | undefined): Address {
  if (host === undefined || port === undefined) return '?:0'
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}
