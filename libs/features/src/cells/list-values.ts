import { byBytes } from '../expression/comparison.ts';
import type { FeatureValue, FieldType, Scalar } from '../types.ts';
import type { Entry, Part, WindowPart } from './cell.ts';
import { integer, setPair } from './pairs.ts';

type Value = Exclude<Scalar, null>;

export const noEntries: readonly Entry[] = [];

/** The entries of a part; none of an empty one. */
export function entriesOf(part: WindowPart | undefined): readonly Entry[] {
  return part !== null && typeof part === 'object' && 'list' in part ? part.list : noEntries;
}

/** What an entry stands for. */
export function valueIn(type: FieldType, { a, b, text }: Entry): Value {
  if (type === 'STRING') return text;
  if (type === 'DOUBLE') return a;
  return type === 'BOOL' ? b === 1 : integer(a, b);
}

/** By value: numbers by size, texts by their bytes. */
export function compareValues(x: Entry, y: Entry): number {
  return x.a - y.a || x.b - y.b || (x.text === y.text ? 0 : byBytes(x.text, y.text));
}

/** Finishes a list without nulls; an empty one when nothing counts. */
export function listFinisher(type: FieldType, pick: (entries: readonly Entry[]) => readonly Entry[]) {
  return (_slots: number[], _at: number, parts: WindowPart[] | null, partAt: number): FeatureValue =>
    pick(entriesOf(parts?.[partAt])).map((entry) => valueIn(type, entry));
}

/** The entries of `[[x, y, z, value], …]`, values as SQL gives them. */
export function readEntries(type: FieldType, json: string): Part {
  const given = JSON.parse(json) as readonly (readonly unknown[])[];
  const pair = [0, 0];
  const entries = given.map(([x, y, z, value]): Entry => {
    if (type === 'STRING') return { x: Number(x), y: Number(y), z: Number(z), a: 0, b: 0, text: String(value) };
    setPair(type, value, pair, 0);
    return { x: Number(x), y: Number(y), z: Number(z), a: pair[0] as number, b: pair[1] as number, text: '' };
  });
  return { list: entries };
}
