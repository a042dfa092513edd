/**
 * Messages described by tables: a message is its name, its empty value, and one line per field. Decoding follows proto3:
 * unknown fields are skipped, the last of a scalar wins, a message that comes twice is merged, repeated scalars may be
 * packed or not; a known field with another wire type is refused. Encoding leaves out zero values, in field order.
 */
import type { Result } from '../base/index.ts'
import { err, ok } from '../base/index.ts'
import { ProtobufReader, WIRE_TYPE } from './protobuf-reader.ts'
import { ProtobufWriter } from './protobuf-writer.ts'

/** How one kind of value is read and written after its tag. */
export type ValueCodec<V> = {
  readonly wireType: number
  readonly read: (reader: ProtobufReader, where: string, before: V | undefined) => V
  readonly write: (writer: ProtobufWriter, value: V) => void
  readonly isZero: (value: V) => boolean
}

/** A field of a message: V is the type of the property that holds it. */
export type Field<V> = {
  readonly number: number
  readonly codec: ValueCodec<unknown>
  readonly shape: 'one' | 'many'
  readonly write: (writer: ProtobufWriter, value: V) => void
}

/** Where a field's value lives in the message: a property of its own, or a oneof that several fields share. */
export type MessageCodec<T> = ValueCodec<T> & {
  readonly name: string
  /** Bytes that are no such message are a failure `protocol-error`; numbers beyond ±2^53 `invalid-request`. */
  readonly decode: (bytes: Uint8Array) => Result<T>
  readonly encode: (message: T) => Uint8Array
}

type Fields<T> = { readonly [K in keyof T]-?: Field<NonNullable<T[K]>> }

const scalar =
  <V>(codec: ValueCodec<V>) =>
  (number: number): Field<V> => ({
    number,
    codec: codec as ValueCodec<unknown>,
    shape: 'one',
    write(writer, value) {
      if (codec.isZero(value)) return
      writer.tag(number, codec.wireType)
      codec.write(writer, value)
    },
  })

const zero = (value: number): boolean => value === 0
const bigZero = (value: bigint): boolean => value === 0n

export const BYTES: ValueCodec<Uint8Array> = {
  wireType: WIRE_TYPE.bytes,
  read: (reader, where) => reader.bytes(where),
  write: (writer, value) => writer.bytes(value),
  isZero: (value) => value.length === 0,
}
export const STRING: ValueCodec<string> = {
  wireType: WIRE_TYPE.bytes,
  read: (reader, where) => reader.string(where),
  write: (writer, value) => writer.string(value),
  isZero: (value) => value === '',
}
export const BOOL: ValueCodec<boolean> = {
  wireType: WIRE_TYPE.varint,
  read: (reader, where) => reader.bool(where),
  write: (writer, value) => writer.bool(value),
  isZero: (value) => !value,
}
export const ENUM: ValueCodec<number> = {
  wireType: WIRE_TYPE.varint,
  read: (reader, where) => reader.int32(where),
  write: (writer, value) => writer.int64(value),
  isZero: zero,
}
export const INT64: ValueCodec<number> = { ...ENUM, read: (reader, where) => reader.int64(where) }
export const UINT64: ValueCodec<number> = { ...ENUM, read: (reader, where) => reader.uint64(where) }
export const BIG_INT64: ValueCodec<bigint> = {
  wireType: WIRE_TYPE.varint,
  read: (reader, where) => reader.bigInt64(where),
  write: (writer, value) => writer.bigInt64(value),
  isZero: bigZero,
}
export const BIG_UINT64: ValueCodec<bigint> = { ...BIG_INT64, read: (reader, where) => reader.bigUint64(where) }

export const bytesField: (number: number) => Field<Uint8Array> = scalar(BYTES)
export const stringField: (number: number) => Field<string> = scalar(STRING)
export const boolField: (number: number) => Field<boolean> = scalar(BOOL)
export const enumField: (number: number) => Field<number> = scalar(ENUM)
/** int64 as a number. */
export const int64Field: (number: number) => Field<number> = scalar(INT64)
/** uint64 as a number. */
export const uint64Field: (number: number) => Field<number> = scalar(UINT64)
/** int64 as a bigint. */
export const bigInt64Field: (number: number) => Field<bigint> = scalar(BIG_INT64)
/** uint64 as a bigint. */
export const bigUint64Field: (number: number) => Field<bigint> = scalar(BIG_UINT64)

/** A message field: absent where it is undefined, written where it is there, even when empty. */
export function messageField<T>(number: number, codec: MessageCodec<T>): Field<T> {
  return {
    number,
    codec: codec as unknown as ValueCodec<unknown>,
    shape: 'one',
    write(writer, value) {
      writer.tag(number, WIRE_TYPE.bytes)
      codec.write(writer, value)
    },
  }
}

/** A repeated field; numbers are written packed, and read either way. */
export function repeatedField<T>(number: number, codec: ValueCodec<T>): Field<readonly T[]> {
  const packed = codec.wireType !== WIRE_TYPE.bytes
  return {
    number,
    codec: codec as ValueCodec<unknown>,
    shape: 'many',
    write(writer, values) {
      if (values.length === 0) return
      if (packed) {
        writer.tag(number, WIRE_TYPE.bytes)
        const opened = writer.open()
        for (const value of values) codec.write(writer, value)
        writer.close(opened)
        return
      }
      for (const value of values) {
        writer.tag(number, WIRE_TYPE.bytes)
        codec.write(writer, value)
      }
    },
  }
}

/** A message type. `empty` makes a new message without fields set; its arrays are filled in place. */
export function message<T extends object>(name: string, empty: () => T, fields: Fields<T>): MessageCodec<T> {
  const rows = Object.entries(fields as Record<string, Field<never>>)
    .map(([key, field]) => ({ key, field: field as Field<unknown>, where: `${name}.${key}` }))
    .sort((a, b) => a.field.number - b.field.number)
  const byNumber: ((typeof rows)[number] | undefined)[] = []
  for (const row of rows) byNumber[row.field.number] = row

  const readFields = (reader: ProtobufReader, target: Record<string, unknown>): void => {
    while (reader.more()) {
      if (!reader.tag(name)) return
      const row = byNumber[reader.fieldNumber]
      if (row === undefined) reader.skip(name)
      else if (row.field.shape === 'one') {
        const { codec } = row.field
        if (reader.wireType === codec.wireType) target[row.key] = codec.read(reader, row.where, target[row.key])
        else wrongType(reader, row.where, codec.wireType)
      } else readRepeated(reader, row.field.codec, row.where, target[row.key] as unknown[])
    }
  }

  return framed(name, {
    make: empty,
    readFields: readFields as (reader: ProtobufReader, target: T) => T | void,
    writeFields(writer, value) {
      for (const row of rows) {
        const part = (value as Record<string, unknown>)[row.key]
        if (part !== undefined) row.field.write(writer, part)
      }
    },
  })
}

/** Refuses a known field that comes with another wire type. */
export function wrongType(reader: ProtobufReader, where: string, expected: number): void {
  reader.refuse('protocol-error', where, `wire type ${reader.wireType} instead of ${expected}`)
}

function readRepeated(reader: ProtobufReader, codec: ValueCodec<unknown>, where: string, into: unknown[]): void {
  if (reader.wireType === codec.wireType) {
    into.push(codec.read(reader, where, undefined))
  } else if (reader.wireType === WIRE_TYPE.bytes) {
    const outer = reader.enter(where)
    if (outer < 0) return
    while (reader.more()) into.push(codec.read(reader, where, undefined))
    reader.leave(outer)
  } else {
    wrongType(reader, where, codec.wireType)
  }
}

export type MessageBody<T> = {
  readonly make: () => T
  /** Reads fields until the message ends; returns another value where it replaces the target. */
  readonly readFields: (reader: ProtobufReader, target: T) => T | void
  readonly writeFields: (writer: ProtobufWriter, value: T) => void
}

/** A message type from functions for its fields: for those whose TypeScript type is not one property per field. */
export function framed<T>(name: string, body: MessageBody<T>): MessageCodec<T> {
  return {
    name,
    wireType: WIRE_TYPE.bytes,
    isZero: () => false,
    read(reader, where, before) {
      const outer = reader.enter(where)
      let target = before ?? body.make()
      if (outer < 0) return target
      target = body.readFields(reader, target) ?? target
      reader.leave(outer)
      return target
    },
    write(writer, value) {
      const opened = writer.open()
      body.writeFields(writer, value)
      writer.close(opened)
    },
    decode(bytes) {
      const reader = new ProtobufReader(bytes)
      const target = body.make()
      const value = body.readFields(reader, target) ?? target
      return reader.problem === undefined ? ok(value) : err(reader.problem)
    },
    encode(value) {
      const writer = new ProtobufWriter()
      body.writeFields(writer, value)
      return writer.finish()
    },
  }
}
