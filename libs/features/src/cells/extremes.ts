import { byBytes } from '../expression/comparison.ts';
import { vectorOf } from '../vectors.ts';
import type { Cell, Finish, Merge, Slots } from './cell.ts';
import { integer } from './pairs.ts';

const noBytes = new Uint8Array();

/** Of min, max, first and last. */
export function extremeMerger(cell: Cell): Merge {
  const { width } = cell;
  const hasPart = cell.part !== 'none';
  const byText = cell.part === 'text' && (cell.kind === 'min' || cell.kind === 'max');
  const sign = cell.kind === 'min' || cell.kind === 'first' ? 1 : -1;
  return (to, at, from, fromAt, toParts, partAt, fromParts, fromPartAt) => {
    const n = from[fromAt] as number;
    if (n === 0) return;
    const m = to[at] as number;
    to[at] = m + n;
    if (m > 0) {
      const order = byText
        ? byBytes((fromParts?.[fromPartAt] ?? '') as string, (toParts?.[partAt] ?? '') as string)
        : compareSlots(from, fromAt + 1, to, at + 1, width - 1);
      if (order * sign >= 0) return;
    }
    for (let i = 1; i < width; i++) to[at + i] = from[fromAt + i] as number;
    if (hasPart && toParts && fromParts) toParts[partAt] = fromParts[fromPartAt] ?? null;
  };
}

/** Lexicographic: for values (a, b), for first and last (time, seq, index, …). */
function compareSlots(x: Slots, xAt: number, y: Slots, yAt: number, count: number): number {
  for (let i = 0; i < count; i++) {
    const difference = (x[xAt + i] as number) - (y[yAt + i] as number);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** The value that stands in two slots, `offset` from the cell's first, or is a text or a vector. */
export function valueFinisher(cell: Cell, offset: number): Finish {
  if (cell.part === 'text')
    return (slots, at, parts, partAt) => (slots[at] === 0 ? null : ((parts?.[partAt] ?? '') as string));
  if (cell.part === 'vector')
    return (slots, at, parts, partAt) =>
      slots[at] === 0 ? null : vectorOf((parts?.[partAt] ?? noBytes) as Uint8Array);
  if (cell.type === 'DOUBLE') return (slots, at) => (slots[at] === 0 ? null : (slots[at + offset] as number));
  if (cell.type === 'BOOL') return (slots, at) => (slots[at] === 0 ? null : slots[at + offset + 1] === 1);
  return (slots, at) =>
    slots[at] === 0 ? null : integer(slots[at + offset] as number, slots[at + offset + 1] as number);
}
