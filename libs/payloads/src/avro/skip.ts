import type { Cursor } from '../cursor.ts';
import type { AvroType } from './schema.ts';

export type Skip = (cursor: Cursor) => void;

/** Passes over a value of a type; records that contain themselves are told by `known`. */
export function skipOf(type: AvroType, known: Map<AvroType, Skip> = new Map()): Skip {
  switch (type.t) {
    case 'null':
      return () => {};
    case 'boolean':
      return (cursor) => void cursor.take(1);
    case 'int':
    case 'long':
    case 'enum':
      return (cursor) => void cursor.varint();
    case 'float':
      return (cursor) => void cursor.take(4);
    case 'double':
      return (cursor) => void cursor.take(8);
    case 'bytes':
    case 'string':
      return (cursor) => void cursor.take(lengthOf(cursor));
    case 'fixed':
      return (cursor) => void cursor.take(type.size);
    case 'array':
      return skipBlocks(skipOf(type.items, known));
    case 'map': {
      const skipValue = skipOf(type.values, known);
      return skipBlocks((cursor) => {
        cursor.take(lengthOf(cursor));
        skipValue(cursor);
      });
    }
    case 'union': {
      const branches = type.branches.map((branch) => skipOf(branch, known));
      return (cursor) => (branches[branchOf(cursor, branches.length)] as Skip)(cursor);
    }
    case 'record': {
      const earlier = known.get(type);
      if (earlier !== undefined) return earlier;
      const steps: Skip[] = [];
      const skip: Skip = (cursor) => {
        cursor.down();
        for (const step of steps) step(cursor);
        cursor.up();
      };
      known.set(type, skip);
      steps.push(...type.fields.map((field) => skipOf(field.type, known)));
      return skip;
    }
    default:
      return type satisfies never;
  }
}

/** Elements of no bytes, as nulls are, would be counted for ever: as many as there could be bytes are believed. */
export const emptyElementsMax = 1_000_000;

/** Blocks of elements until one of none; a negative count is followed by the block's bytes. */
export function eachElement(cursor: Cursor, visit: () => void): void {
  for (let total = 0; ; ) {
    let count = Number(cursor.zigzag());
    if (count === 0) return;
    if (count < 0) {
      count = -count;
      cursor.zigzag();
    }
    total += count;
    if (total > emptyElementsMax)
      throw cursor.malformed(`has ${total} elements, more than the limit of ${emptyElementsMax}`);
    for (let at = 0; at < count; at++) visit();
  }
}

function skipBlocks(skipElement: Skip): Skip {
  return (cursor) => {
    cursor.down();
    eachElement(cursor, () => skipElement(cursor));
    cursor.up();
  };
}

/** The length of text and bytes. */
export function lengthOf(cursor: Cursor): number {
  const length = Number(cursor.zigzag());
  if (length < 0) throw cursor.malformed(`has the length ${length}; the payload is of another schema`);
  return length;
}

export function branchOf(cursor: Cursor, branches: number): number {
  const branch = Number(cursor.zigzag());
  if (branch >= 0 && branch < branches) return branch;
  throw cursor.malformed(`is of branch ${branch} of a union of ${branches}; the payload is of another schema`);
}
