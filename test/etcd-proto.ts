/** etcd's own .proto files, read by protobufjs: the oracle for wire's codec and the client of real etcd in tests. */
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import type { ServiceClientConstructor } from '@grpc/grpc-js'
import { loadPackageDefinition } from '@grpc/grpc-js'
import type { MethodDefinition, ServiceDefinition } from '@grpc/proto-loader'
import { loadSync } from '@grpc/proto-loader'
import type { Compare, RequestOp, ResponseOp, WatchRequest } from '../src/wire/index.ts'

export type Plain = { readonly [field: string]: unknown }
export type Method = MethodDefinition<Plain, Plain>

function load(): ReturnType<typeof loadSync> {
  const directory = join(dirname(createRequire(import.meta.url).resolve('etcd3/package.json')), 'proto')
  return loadSync('rpc.proto', {
    includeDirs: [directory],
    longs: String,
    enums: Number,
    defaults: true,
    arrays: true,
    oneofs: true,
  })
}

/** A service of etcdserverpb by name, with the (de)serializers of its methods. */
export function etcdService(name: 'KV' | 'Watch' | 'Cluster' | 'Maintenance'): Readonly<Record<string, Method>> {
  return load()[`etcdserverpb.${name}`] as ServiceDefinition as Readonly<Record<string, Method>>
}

/** grpc-js's client for etcdserverpb.KV. */
export function kvClientConstructor(): ServiceClientConstructor {
  return clientConstructor('KV')
}

/** grpc-js's client for etcdserverpb.Lease. */
export function leaseClientConstructor(): ServiceClientConstructor {
  return clientConstructor('Lease')
}

function clientConstructor(name: string): ServiceClientConstructor {
  const root = loadPackageDefinition(load()) as unknown as {
    readonly etcdserverpb: Readonly<Record<string, ServiceClientConstructor>>
  }
  return root.etcdserverpb[name] as ServiceClientConstructor
}

const RENAMED: Readonly<Record<string, string>> = {
  id: 'ID',
  peerUrls: 'peerURLs',
  clientUrls: 'clientURLs',
  targetId: 'targetID',
}

/** One of wire's messages as protobufjs wants it; zero values are left out, except in a oneof. */
export function toPlain(message: object): Plain {
  if ('type' in message && typeof message.type === 'string') {
    if (message.type === 'create' || message.type === 'cancel' || message.type === 'progress')
      return watchToPlain(message as WatchRequest)
    return opToPlain(message as RequestOp | ResponseOp)
  }
  const plain: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(message)) {
    if (key === 'operand') Object.assign(plain, operandToPlain(value as Compare['operand']))
    else if (!isZero(value)) plain[RENAMED[key] ?? key] = valueToPlain(value)
  }
  return plain
}

function watchToPlain(request: WatchRequest): Plain {
  const body = (request as unknown as Record<string, object | undefined>)[request.type] ?? {}
  return { [`${request.type}Request`]: toPlain(body) }
}

function opToPlain(op: RequestOp | ResponseOp): Plain {
  if (op.type === 'none') return {}
  const body = (op as unknown as Record<string, object>)[op.type] as object
  const isResponse =
    'kvs' in body || 'responses' in body || 'deleted' in body || (op.type === 'put' && !('key' in body))
  const name = op.type.charAt(0).toUpperCase() + op.type.slice(1)
  return { [`${isResponse ? 'response' : 'request'}${name}`]: toPlain(body) }
}

function operandToPlain(operand: Compare['operand']): Plain {
  switch (operand?.type) {
    case undefined:
      return {}
    case 'version':
      return { version: operand.revision }
    case 'create':
      return { createRevision: operand.revision }
    case 'mod':
      return { modRevision: operand.revision }
    case 'value':
      return { value: Buffer.from(operand.value) }
    case 'lease':
      return { lease: operand.lease.toString() }
    default:
      return operand satisfies never
  }
}

function valueToPlain(value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString()
  if (value instanceof Uint8Array) return Buffer.from(value)
  if (Array.isArray(value)) return value.map(valueToPlain)
  return typeof value === 'object' && value !== null ? toPlain(value) : value
}

function isZero(value: unknown): boolean {
  if (value instanceof Uint8Array || Array.isArray(value)) return value.length === 0
  return value === undefined || value === 0 || value === 0n || value === false || value === ''
}
