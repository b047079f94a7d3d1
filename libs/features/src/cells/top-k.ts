import type { Entry, Merge } from './cell.ts';
import { exactMax } from './hyper-log-log.ts';
import { compareValues, entriesOf } from './list-values.ts';

/**
 * How often each value comes: entries (hash, count, 0) by hash. Up to 1,024 distinct values every one is there. Beyond, the 1,024 with the
 * smallest hashes are: of all of them together they are the smallest in each part too, so their counts stay exact and what is kept
 * does not depend on the order. The most frequent are then those of this sample.
 */
export const mergeValues: Merge = (to, at, from, fromAt, toParts, partAt, fromParts, fromPartAt) => {
  if (from[fromAt] === 0 || !toParts) return;
  const given = entriesOf(fromParts?.[fromPartAt]);
  const held = entriesOf(toParts[partAt]);
  to[at] = (to[at] as number) + (from[fromAt] as number);
  toParts[partAt] = { list: held.length === 0 ? given : together(held, given) };
};

function together(x: readonly Entry[], y: readonly Entry[]): Entry[] {
  const merged: Entry[] = [];
  let i = 0;
  let j = 0;
  while (merged.length < exactMax && (i < x.length || j < y.length)) {
    const [one, other] = [x[i], y[j]];
    if (other === undefined || (one !== undefined && one.x < other.x)) {
      merged.push(one as Entry);
      i++;
    } else if (one === undefined || one.x > other.x) {
      merged.push(other);
      j++;
    } else {
      merged.push({ ...one, y: one.y + other.y });
      i++;
      j++;
    }
  }
  return merged;
}

/** The k most frequent, those that come as often by value. */
export function mostFrequent(k: number): (entries: readonly Entry[]) => readonly Entry[] {
  return (entries) => entries.toSorted((one, other) => other.y - one.y || compareValues(one, other)).slice(0, k);
}

/** `[(hash, count, 0, value), …]` by hash, as many as are kept; `hashOf` gives the hash of a value. */
export function valueCountsSql(value: string, hashOf: (value: string) => string, where: string): string {
  const counted = `arraySort(arrayMap((v, c) -> tuple(${hashOf('v')}, c, 0, v), m.1, m.2))`;
  return `arrayMap(m -> arraySlice(${counted}, 1, ${exactMax}), [sumMapIf([${value}], [toUInt64(1)], ${where})])[1]`;
}

export function topKSql(k: number, counts: string): string {
  return `arrayMap(p -> p.4, arraySlice(arraySort(p -> tuple(-toInt64(p.2), p.4), ${counts}), 1, ${k}))`;
}
