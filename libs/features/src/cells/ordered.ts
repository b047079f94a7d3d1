import type { Cell, Entry, Merge } from './cell.ts';
import { entriesOf } from './list-values.ts';

/**
 * The n last or first values, or distinct values, each by its last or first event: entries by (event time, position, index), the ones that
 * count most first. A value among the n of all is among the n of the part that holds its event, so to keep n of each part loses nothing.
 */
export function orderedMerger(cell: Cell): Merge {
  const { n, kind } = cell;
  const sign = kind === 'last_n' || kind === 'last_distinct_n' ? -1 : 1;
  const isDistinct = kind === 'last_distinct_n' || kind === 'first_distinct_n';
  return (to, at, from, fromAt, toParts, partAt, fromParts, fromPartAt) => {
    if (from[fromAt] === 0 || !toParts) return;
    const given = entriesOf(fromParts?.[fromPartAt]);
    const held = entriesOf(toParts[partAt]);
    to[at] = (to[at] as number) + (from[fromAt] as number);
    const entries = held.length === 0 ? given : together(held, given, sign, n, isDistinct);
    toParts[partAt] = { list: entries };
  };
}

function together(x: readonly Entry[], y: readonly Entry[], sign: number, n: number, isDistinct: boolean): Entry[] {
  const merged: Entry[] = [];
  const seen = isDistinct ? new Set<string>() : undefined;
  let i = 0;
  let j = 0;
  while (merged.length < n && (i < x.length || j < y.length)) {
    const [one, other] = [x[i], y[j]];
    const isFirst = other === undefined || (one !== undefined && sign * comparePlaces(one, other) <= 0);
    const next = (isFirst ? one : other) as Entry;
    if (isFirst) i++;
    else j++;
    if (seen) {
      const key = `${next.a} ${next.b} ${next.text}`;
      if (seen.has(key)) continue;
      seen.add(key);
    }
    merged.push(next);
  }
  return merged;
}

function comparePlaces(one: Entry, other: Entry): number {
  return one.x - other.x || one.y - other.y || one.z - other.z;
}

/** `[(time, seq, index, value), …]` of the events that count; `value` is one that keeps its type in a map's key. */
export function orderedSql(cell: Cell, eventUs: string, value: string, where: string): string {
  const { kind, n } = cell;
  const isLast = kind === 'last_n' || kind === 'last_distinct_n';
  if (kind === 'last_n' || kind === 'first_n') {
    const signed = (what: string) => (isLast ? `-toInt64(${what})` : `toInt64(${what})`);
    const places = [eventUs, 'e._seq', 'e._index'].map(signed);
    const sorted = `groupArraySortedIf(${n})(tuple(${places.join(', ')}, ${value}), ${where})`;
    return `arrayMap(p -> tuple(abs(p.1), abs(p.2), abs(p.3), p.4), ${sorted})`;
  }
  const place = `tuple(${eventUs}, e._seq, e._index)`;
  const map = `${isLast ? 'max' : 'min'}MapIf([${value}], [${place}], ${where})`;
  const sorted = `${isLast ? 'arrayReverseSort' : 'arraySort'}(p -> p.2, arrayZip(m.1, m.2))`;
  return `arrayMap(m -> arrayMap(p -> tuple(p.2.1, p.2.2, p.2.3, p.1), arraySlice(${sorted}, 1, ${n})), [${map}])[1]`;
}
