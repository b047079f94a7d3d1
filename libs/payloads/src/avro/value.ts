import type { Cursor } from '../cursor.ts';
import { timeUnitsUs } from './fields.ts';
import type { AvroType } from './schema.ts';
import { branchOf, eachElement, emptyElementsMax, lengthOf } from './skip.ts';

export type AvroRead = (cursor: Cursor) => unknown;
type ToTime = (us: number) => unknown;

/** Reads any value of a type: arrays as lists, maps and records as objects, bytes as such, decimals as text. */
export function avroValueReader(type: AvroType, toTime: ToTime, known: Map<AvroType, AvroRead> = new Map()): AvroRead {
  switch (type.t) {
    case 'null':
      return () => null;
    case 'boolean':
      return (cursor) => cursor.byte() !== 0;
    case 'int':
    case 'long':
      return wholeReader(type.logical, toTime);
    case 'float':
      return (cursor) => cursor.float();
    case 'double':
      return (cursor) => cursor.double();
    case 'string':
      return (cursor) => cursor.text(lengthOf(cursor));
    case 'bytes':
      return bytesReader(type.logical === 'decimal' ? (type.scale ?? 0) : undefined, lengthOf);
    case 'fixed':
      return bytesReader(type.logical === 'decimal' ? type.scale : undefined, () => type.size);
    case 'enum':
      return enumReader(type.symbols);
    case 'array': {
      const read = avroValueReader(type.items, toTime, known);
      return nested((cursor) => {
        const list: unknown[] = [];
        eachElement(cursor, () => list.push(readElement(cursor, read)));
        return list;
      });
    }
    case 'map': {
      const read = avroValueReader(type.values, toTime, known);
      return nested((cursor) => {
        const entries: [string, unknown][] = [];
        eachElement(cursor, () => entries.push([cursor.text(lengthOf(cursor)), read(cursor)]));
        return Object.fromEntries(entries);
      });
    }
    case 'union': {
      const branches = type.branches.map((branch) => avroValueReader(branch, toTime, known));
      return (cursor) => (branches[branchOf(cursor, branches.length)] as AvroRead)(cursor);
    }
    case 'record': {
      const earlier = known.get(type);
      if (earlier !== undefined) return earlier;
      const members: [string, AvroRead][] = [];
      const read = nested((cursor) => Object.fromEntries(members.map(([name, member]) => [name, member(cursor)])));
      known.set(type, read);
      for (const field of type.fields) members.push([field.name, avroValueReader(field.type, toTime, known)]);
      return read;
    }
    default:
      return type satisfies never;
  }
}

/** Lists of lists of nulls would grow from a few bytes beyond any memory. */
function readElement(cursor: Cursor, read: AvroRead): unknown {
  const from = cursor.pos;
  const value = read(cursor);
  if (cursor.pos === from && ++cursor.emptyElements > emptyElementsMax)
    throw cursor.malformed(`has more than ${emptyElementsMax} elements of no bytes`);
  return value;
}

function nested(read: AvroRead): AvroRead {
  return (cursor) => {
    cursor.down();
    const value = read(cursor);
    cursor.up();
    return value;
  };
}

function wholeReader(logical: string, toTime: ToTime): AvroRead {
  const unitUs = timeUnitsUs[logical];
  if (unitUs === undefined) return (cursor) => cursor.zigzag();
  return (cursor) => toTime(Math.floor(Number(cursor.zigzag()) * unitUs));
}

function bytesReader(scale: number | undefined, lengthAt: (cursor: Cursor) => number): AvroRead {
  return (cursor) => {
    const from = cursor.take(lengthAt(cursor));
    const bytes = cursor.bytes.subarray(from, cursor.pos);
    // a copy: the block's memory is not held by a value of it
    return scale === undefined ? new Uint8Array(bytes) : decimalText(bytes, scale);
  };
}

/** Two's complement, the most significant byte first, of a number without its point. */
function decimalText(bytes: Buffer, scale: number): string {
  const unsigned = bytes.length === 0 ? 0n : BigInt(`0x${bytes.toString('hex')}`);
  const unscaled = BigInt.asIntN(bytes.length * 8, unsigned);
  const digits = (unscaled < 0n ? -unscaled : unscaled).toString().padStart(scale + 1, '0');
  const at = digits.length - scale;
  return `${unscaled < 0n ? '-' : ''}${digits.slice(0, at)}${scale === 0 ? '' : `.${digits.slice(at)}`}`;
}

function enumReader(symbols: readonly string[]): AvroRead {
  return (cursor) => {
    const at = Number(cursor.zigzag());
    const symbol = symbols[at];
    if (symbol === undefined) throw cursor.malformed(`is symbol ${at} of an enum of ${symbols.length}`);
    return symbol;
  };
}
