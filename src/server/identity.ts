/**
 * Who a server is, across restarts: one small file, replaced atomically. Drawn at first start: the instance id, which
 * tells a server from one that took its name with an empty disk. Grown at every start: the incarnation. Once the log
 * holds the beginning of the group, that is noted as well: a log without it has then lost what it acknowledged.
 */
import type { ClusterId, MemberId, Result } from '../base/index.ts'
import { clusterId, err, failure, fromHex, memberId, ok, text, toHex, utf8 } from '../base/index.ts'
import type { World } from '../world/index.ts'
import { sha256 } from '@noble/hashes/sha2.js'
import type { BootstrapMember } from './types.ts'

export type Identity = {
  readonly cluster: ClusterId
  readonly member: MemberId
  readonly name: string
  /** 16 bytes. */
  readonly instance: Uint8Array
  readonly incarnation: bigint
  /** The log has held its groups' beginnings. */
  readonly founded: boolean
  /** Instance ids of peers, as persisted before their first message was answered. */
  readonly peers: ReadonlyMap<MemberId, Uint8Array>
}

const FILE = 'identity.json'
const FORMAT = 1
const MAX_FILE_BYTES = 1024 * 1024

/** The first 8 bytes of a SHA-256 over the parts, as an id that is never 0. */
function idOf(parts: readonly string[]): bigint {
  const digest = sha256(utf8(parts.map((part) => `${part.length}:${part}`).join('')))
  const id = new DataView(digest.buffer, digest.byteOffset).getBigUint64(0)
  return id === 0n ? 1n : id
}

/** The same on every server that was given the same names and token, whatever their addresses. */
export function clusterIdOf(token: string, members: readonly BootstrapMember[]): ClusterId {
  return clusterId(idOf(['skein cluster', token, ...members.map((member) => member.name).sort()]))
}

export function memberIdOf(cluster: ClusterId, name: string): MemberId {
  return memberId(idOf(['skein member', cluster.toString(16), name]))
}

/** Reads the identity or makes it, raises the incarnation, and has it durable before `done`. */
export function openIdentity(
  world: World,
  directory: string,
  expected: { readonly cluster: ClusterId; readonly member: MemberId; readonly name: string },
  done: (result: Result<Identity>) => void,
): void {
  world.disk.readWhole(`${directory}/${FILE}`, MAX_FILE_BYTES, (read) => {
    if (!read.ok && read.error.code !== 'not-found') return done(read)
    let identity: Identity
    if (read.ok) {
      const parsed = parse(world, read.value, `${directory}/${FILE}`)
      if (!parsed.ok) return done(parsed)
      const found = parsed.value
      if (found.cluster !== expected.cluster || found.member !== expected.member) {
        return done(
          err(
            failure(
              'data-mismatch',
              `${directory} holds server ${found.name} of cluster ${found.cluster.toString(16)}, but this is to be ${expected.name} of cluster ${expected.cluster.toString(16)}`,
            ),
          ),
        )
      }
      identity = { ...found, incarnation: found.incarnation + 1n }
    } else {
      identity = { ...expected, instance: world.random.bytes(16), incarnation: 1n, founded: false, peers: new Map() }
    }
    saveIdentity(world, directory, identity, (saved) => done(saved.ok ? ok(identity) : saved))
  })
}

export function saveIdentity(
  world: World,
  directory: string,
  identity: Identity,
  done: (result: Result<void>) => void,
): void {
  const fields = {
    format: FORMAT,
    cluster: identity.cluster.toString(16),
    member: identity.member.toString(16),
    name: identity.name,
    instance: toHex(identity.instance),
    incarnation: identity.incarnation.toString(),
    founded: identity.founded,
    peers: Object.fromEntries([...identity.peers].map(([id, instance]) => [id.toString(16), toHex(instance)])),
  }
  const json = JSON.stringify({ ...fields, checksum: checksumOf(world, fields) }, undefined, 2)
  world.disk.replace(`${directory}/${FILE}`, [utf8(`${json}\n`)], done)
}

/** Of the fields without white space, in the order in which they are written: whatever is changed by hand is noticed. */
function checksumOf(world: World, fields: object): number {
  return world.checksum(utf8(JSON.stringify(fields)))
}

function parse(world: World, bytes: Uint8Array, path: string): Result<Identity> {
  let json: unknown
  try {
    json = JSON.parse(text(bytes))
  } catch {
    return err(damaged(path, 'it is not JSON'))
  }
  if (typeof json !== 'object' || json === null) return err(damaged(path, 'it is not an object'))
  const fields = new Map<string, unknown>(Object.entries(json))
  const format = fields.get('format')
  if (format !== FORMAT && typeof format !== 'number') return err(damaged(path, 'it has no format'))
  if (format > FORMAT) {
    return err(failure('data-newer', `${path} has format ${format}; this version knows up to ${FORMAT}`))
  }
  const { checksum, ...rest } = Object.fromEntries(fields)
  if (checksum !== checksumOf(world, rest)) return err(damaged(path, 'its checksum is wrong'))
  const cluster = parseId(fields.get('cluster'))
  const member = parseId(fields.get('member'))
  const name = fields.get('name')
  const instance = parseInstance(fields.get('instance'))
  const incarnation = fields.get('incarnation')
  const founded = fields.get('founded')
  const peers = fields.get('peers')
  if (cluster === undefined || member === undefined) return err(damaged(path, 'cluster or member is no 64-bit hex id'))
  if (typeof name !== 'string' || instance === undefined) return err(damaged(path, 'name or instance is missing'))
  if (typeof incarnation !== 'string' || !/^\d{1,19}$/.test(incarnation))
    return err(damaged(path, 'incarnation is no number'))
  if (typeof founded !== 'boolean') return err(damaged(path, 'founded is neither true nor false'))
  if (typeof peers !== 'object' || peers === null) return err(damaged(path, 'peers is no object'))
  const known = new Map<MemberId, Uint8Array>()
  for (const [key, value] of Object.entries(peers)) {
    const id = parseId(key)
    const peerInstance = parseInstance(value)
    if (id === undefined || peerInstance === undefined) return err(damaged(path, `peer ${key} is malformed`))
    known.set(memberId(id), peerInstance)
  }
  return ok({
    cluster: clusterId(cluster),
    member: memberId(member),
    name,
    instance,
    incarnation: BigInt(incarnation),
    founded,
    peers: known,
  })
}

function parseId(value: unknown): bigint | undefined {
  if (typeof value !== 'string' || !/^[0-9a-f]{1,16}$/.test(value)) return undefined
  const id = BigInt(`0x${value}`)
  return id === 0n ? undefined : id
}

function parseInstance(value: unknown): Uint8Array | undefined {
  const bytes = typeof value === 'string' ? fromHex(value) : undefined
  return bytes?.length === 16 ? bytes : undefined
}

function damaged(path: string, why: string): ReturnType<typeof failure> {
  return failure('identity-damaged', `${path} cannot be relied on: ${why}`)
}
