import type { Column, FieldType } from '../types.ts';
import type { Slots } from './cell.ts';

export const two32 = 4294967296;

/** Puts an event's value of two slots at `at`; false when it is null. */
export type ReadPair = (row: number, slots: Slots, at: number) => boolean;

export function pairReader(column: Column | undefined): ReadPair {
  if (!column) return () => false;
  const { nulls } = column;
  const read = presentPairReader(column);
  if (!nulls) return read;
  return (row, slots, at) => nulls[row] !== 1 && read(row, slots, at);
}

function presentPairReader(column: Column): ReadPair {
  switch (column.type) {
    case 'f64': {
      const { values } = column;
      return (row, slots, at) => {
        slots[at] = values[row] as number;
        slots[at + 1] = 0;
        return true;
      };
    }
    case 'i64': {
      // little-endian halves: no bigint is made
      const low = new Uint32Array(column.values.buffer, column.values.byteOffset, column.values.length * 2);
      const high = new Int32Array(column.values.buffer, column.values.byteOffset, column.values.length * 2);
      return (row, slots, at) => {
        slots[at] = high[2 * row + 1] as number;
        slots[at + 1] = low[2 * row] as number;
        return true;
      };
    }
    case 'bool': {
      const { values } = column;
      return (row, slots, at) => {
        slots[at] = 0;
        slots[at + 1] = values[row] as number;
        return true;
      };
    }
    case 'str':
    case 'vec':
      return (_row, slots, at) => {
        slots[at] = 0;
        slots[at + 1] = 0;
        return true;
      };
    default:
      return column satisfies never;
  }
}

/** A pair as a double: of an integer the nearest one. */
export function pairAsDouble(type: FieldType, a: number, b: number): number {
  return type === 'DOUBLE' ? a : a * two32 + b;
}

/** A number while safe, else a bigint that wraps at 64 bits as ClickHouse's Int64 does. */
export function integer(high: number, low: number): number | bigint {
  const value = high * two32 + low;
  if (Number.isSafeInteger(value)) return value;
  const wrapped = BigInt.asIntN(64, BigInt(high) * 4294967296n + BigInt(low));
  return Number.isSafeInteger(Number(wrapped)) ? Number(wrapped) : wrapped;
}

/** The two slots of a value that SQL gave. */
export function setPair(type: FieldType, value: unknown, slots: Slots, at: number): void {
  if (type === 'DOUBLE') {
    slots[at] = Number(value);
    slots[at + 1] = 0;
    return;
  }
  const whole = typeof value === 'boolean' ? BigInt(value) : BigInt(String(value));
  const high = whole >> 32n;
  slots[at] = Number(high);
  slots[at + 1] = Number(whole - (high << 32n));
}
