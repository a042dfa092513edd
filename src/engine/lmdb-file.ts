/**
 * LMDB's file, before the library opens it: made whole and durable or not at all, and looked at first, because the
 * library ends the process (a segmentation fault) where it cannot open one.
 *
 * What is looked at: two meta pages of 24 bytes of header (flags u16 at 18) and then magic u32, version u32, address
 * u64, map size u64, the records of the free list (page size u32 first, root page u64 at 40) and of the tree (root at 40),
 * each of 48 bytes, last page u64, transaction u64. Little-endian.
 * Source: LMDB `mdb.c`, MDB_meta, MDB_db, MDB_page_header, mdb_env_read_header.
 */
import type { Result } from '../base/index.ts'
import { err, failure, ok } from '../base/index.ts'
import type { World } from '../world/index.ts'

export const PAGE_BYTES = 4096
export const FILE = 'data.mdb'
export const LOCK_FILE = 'data.mdb-lock'
/** A new file in the making. */
export const NEW_FILE = 'new.mdb'

const META_FLAG = 8
const MAGIC = 0xbeefc0de
const VERSION = 2
/** Offsets in a meta page. */
const FLAGS_AT = 18
const MAGIC_AT = 24
const VERSION_AT = 28
const PAGE_SIZE_AT = 48
const ROOTS_AT = [88, 136] as const
const TRANSACTION_AT = 152
const NO_PAGE = 0xffff_ffff_ffff_ffffn

/** Whether the library can open a file of this size that begins with `bytes` (two pages). */
export function checkMetaPages(bytes: Uint8Array, sizeBytes: number, path: string): Result<void> {
  const damaged = (why: string): Result<void> => err(failure('engine-damaged', `${path}: ${why}`, { file: path }))
  if (bytes.length < 2 * PAGE_BYTES) return damaged(`the file has only ${bytes.length} bytes`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let newest = 0
  for (const page of [0, PAGE_BYTES]) {
    if (
      view.getUint16(page + FLAGS_AT, true) !== META_FLAG ||
      view.getUint32(page + MAGIC_AT, true) !== MAGIC ||
      view.getUint32(page + PAGE_SIZE_AT, true) !== PAGE_BYTES
    )
      return damaged(`page ${page / PAGE_BYTES} is no meta page of LMDB`)
    const version = view.getUint32(page + VERSION_AT, true)
    if (version > VERSION) {
      const known = `this version knows up to ${VERSION}`
      return err(failure('data-newer', `${path} has LMDB's format ${version}; ${known}`, { file: path }))
    }
    if (version !== VERSION) return damaged(`page ${page / PAGE_BYTES} has LMDB's old format ${version}`)
    if (transactionOf(view, page) > transactionOf(view, newest)) newest = page
  }
  for (const at of ROOTS_AT) {
    const root = view.getBigUint64(newest + at, true)
    if (root !== NO_PAGE && (root + 1n) * BigInt(PAGE_BYTES) > BigInt(sizeBytes))
      return damaged(`it is cut off: ${sizeBytes} bytes end before page ${root}`)
  }
  return ok()
}

function transactionOf(view: DataView, page: number): bigint {
  return view.getBigUint64(page + TRANSACTION_AT, true)
}

/** Whether the library can open the file in `directory`. Failures: engine-damaged, data-newer, and the disk's. */
export function checkFile(world: World, directory: string, done: (result: Result<void>) => void): void {
  const path = `${directory}/${FILE}`
  readHead(world, path, (head) => {
    if (!head.ok) return done(head)
    const checked = checkMetaPages(head.value.bytes, head.value.sizeBytes, path)
    if (!checked.ok) return done(checked)
    // It must also be able to open this one, which it makes where there is none.
    world.disk.open(`${directory}/${LOCK_FILE}`, { create: true }, (lock) => {
      if (!lock.ok) return done(lock)
      lock.value.close(done)
    })
  })
}

function readHead(
  world: World,
  path: string,
  done: (result: Result<{ readonly bytes: Uint8Array; readonly sizeBytes: number }>) => void,
): void {
  world.disk.open(path, { create: false }, (opened) => {
    if (!opened.ok) return done(opened)
    const file = opened.value
    file.size((size) => {
      file.read(0, 2 * PAGE_BYTES, (read) => {
        file.close(() => {
          if (!size.ok) return done(size)
          if (!read.ok) return done(read)
          done(ok({ bytes: read.value, sizeBytes: size.value }))
        })
      })
    })
  })
}
