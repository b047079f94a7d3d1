import { type DescField, ScalarType } from '@bufbuild/protobuf';
import type { Cursor } from '../cursor.ts';

/** Wire types of the encoding. */
export const wire = { varint: 0, bit64: 1, bytes: 2, startGroup: 3, endGroup: 4, bit32: 5 } as const;

export type Read = (cursor: Cursor) => unknown;

/** Passes over a field of a wire type, groups with all that is in them. */
export function skipField(cursor: Cursor, type: number, number: number): void {
  switch (type) {
    case wire.varint:
      cursor.varint();
      return;
    case wire.bit64:
      cursor.take(8);
      return;
    case wire.bytes:
      cursor.take(lengthOf(cursor));
      return;
    case wire.bit32:
      cursor.take(4);
      return;
    case wire.startGroup:
      cursor.down();
      for (;;) {
        const tag = tagOf(cursor);
        if (tag % 8 === wire.endGroup) {
          if (tag >>> 3 !== number) throw cursor.malformed('ends a group that did not begin');
          cursor.up();
          return;
        }
        skipField(cursor, tag % 8, tag >>> 3);
      }
    default:
      throw cursor.malformed(
        `has the wire type ${type}, which protobuf does not have; the bytes are no protobuf message`,
      );
  }
}

/** A field's number times eight, and its wire type. */
export function tagOf(cursor: Cursor): number {
  cursor.varint();
  if (cursor.hi !== 0 || cursor.lo < 8)
    throw cursor.malformed('has a field number that protobuf does not have; the bytes are no protobuf message');
  return cursor.lo;
}

export function lengthOf(cursor: Cursor): number {
  cursor.varint();
  return cursor.hi * 2 ** 32 + cursor.lo;
}

const { BOOL, BYTES, DOUBLE, FIXED32, FIXED64, FLOAT, INT32, INT64, SFIXED32, SFIXED64, SINT32, SINT64 } = ScalarType;
const { STRING, UINT32, UINT64 } = ScalarType;

/** How a scalar is written and read. 32-bit numbers keep their low bits, as every protobuf parser does. */
export function scalarReader(scalar: ScalarType): { readonly type: number; readonly read: Read } {
  switch (scalar) {
    case DOUBLE:
      return { type: wire.bit64, read: (cursor) => cursor.double() };
    case FLOAT:
      return { type: wire.bit32, read: (cursor) => cursor.float() };
    case INT64:
      return { type: wire.varint, read: (cursor) => cursor.int64() };
    case UINT64:
      return { type: wire.varint, read: (cursor) => cursor.uint64() };
    case INT32:
      return { type: wire.varint, read: (cursor) => low(cursor) | 0 };
    case UINT32:
      return { type: wire.varint, read: low };
    case SINT32:
      return {
        type: wire.varint,
        read: (cursor) => {
          const lo = low(cursor);
          return (lo >>> 1) ^ -(lo & 1);
        },
      };
    case SINT64:
      return { type: wire.varint, read: (cursor) => cursor.zigzag() };
    case FIXED64:
      return { type: wire.bit64, read: (cursor) => cursor.fixed64() };
    case SFIXED64:
      return { type: wire.bit64, read: (cursor) => cursor.sfixed64() };
    case FIXED32:
      return { type: wire.bit32, read: (cursor) => cursor.fixed32() };
    case SFIXED32:
      return { type: wire.bit32, read: (cursor) => cursor.sfixed32() };
    case BOOL:
      return {
        type: wire.varint,
        read: (cursor) => {
          cursor.varint();
          return (cursor.lo | cursor.hi) !== 0;
        },
      };
    case STRING:
    case BYTES:
      return { type: wire.bytes, read: (cursor) => cursor.text(lengthOf(cursor)) };
    default:
      return scalar satisfies never;
  }
}

function low(cursor: Cursor): number {
  cursor.varint();
  return cursor.lo;
}

/** Numbers of an enum become its names. */
export function enumReader(desc: Extract<DescField, { fieldKind: 'enum' }>, unknown: (number: number) => Error): Read {
  const names = new Map(desc.enum.values.map(({ number, name }) => [number, name]));
  return (cursor) => {
    const number = low(cursor) | 0;
    const name = names.get(number);
    if (name === undefined) throw unknown(number);
    return name;
  };
}
