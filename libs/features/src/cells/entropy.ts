import type { Finish, Merge, Part } from './cell.ts';
import { exactMax } from './hyper-log-log.ts';
import { addCount, addCounts, type SortedCounts } from './sorted-counts.ts';

/** Values are counted in so many slices of the hash once they are too many to be counted one by one. */
const slices = 4096;
const sliceBits = 41;

/**
 * Shannon's entropy of a field's values. Up to 1,024 distinct values each has its count, by its hash of 53 bits. Beyond, values are counted
 * by the upper 12 bits of their hashes, 4,096 slices, and the entropy of the slices is a lower bound: values that share one count as one.
 */
export const mergeFrequencies: Merge = (to, at, from, fromAt, toParts, partAt, fromParts, fromPartAt) => {
  const n = from[fromAt] as number;
  if (n === 0 || !toParts) return;
  const m = to[at] as number;
  to[at] = m + n;
  const given = fromParts?.[fromPartAt] as number[] | null;
  if (m === 0) {
    to[at + 1] = from[fromAt + 1] as number;
    toParts[partAt] = given?.slice() ?? null;
    return;
  }
  const held = (toParts[partAt] as number[] | null) ?? [to[at + 1] as number, 1];
  toParts[partAt] = together(held, given ?? [from[fromAt + 1] as number, 1]);
};

function together(held: number[], given: number[]): number[] {
  if (isSliced(held)) {
    if (isSliced(given)) for (let i = 0; i < slices; i++) held[i] = (held[i] as number) + (given[i] as number);
    else intoSlices(held, given);
    return held;
  }
  if (isSliced(given)) return together(given.slice(), held);
  let sum = held;
  if (given.length === 2) addCount(sum, given[0] as number, given[1] as number);
  else sum = addCounts(sum, given);
  return sum.length <= 2 * exactMax ? sum : intoSlices(new Array<number>(slices).fill(0), sum);
}

/** Counts by value are at most 2 × 1,024 numbers long. */
function isSliced(part: readonly number[]): boolean {
  return part.length === slices;
}

function intoSlices(part: number[], counts: SortedCounts): number[] {
  for (let i = 0; i < counts.length; i += 2) {
    const slice = Math.floor((counts[i] as number) / 2 ** sliceBits);
    part[slice] = (part[slice] as number) + (counts[i + 1] as number);
  }
  return part;
}

/** In bits. */
export const finishEntropy: Finish = (slots, at, parts, partAt) => {
  const n = slots[at] as number;
  if (n === 0) return null;
  const part = (parts?.[partAt] as number[] | null) ?? null;
  if (part === null) return 0;
  let sum = 0;
  const [first, step] = isSliced(part) ? [0, 1] : [1, 2];
  for (let i = first; i < part.length; i += step) {
    const share = (part[i] as number) / n;
    if (share > 0) sum += share * Math.log2(share);
  }
  return Math.abs(sum);
};

export function entropySql(hash: string, where: string, n: string): string {
  const shares = `arraySum(c -> c / ${n} * log2(c / ${n}), ${countsSql(hash, where)}.2)`;
  return `abs(${shares})`;
}

/** Hashes or slices and their counts, as JSON. */
export function frequenciesPartSql(hash: string, where: string): string {
  return `toJSONString(tuple(uniqExactIf(${hash}, ${where}) <= ${exactMax}, ${countsSql(hash, where)}))`;
}

function countsSql(hash: string, where: string): string {
  const key = `if((uniqExactIf(${hash}, ${where}) <= ${exactMax}), `;
  const by = (what: string) => `sumMapIf([${what}], [toUInt64(1)], ${where})`;
  return `${key}${by(hash)}, ${by(`bitShiftRight(${hash}, ${sliceBits})`)})`;
}

/** The part that `frequenciesPartSql` gave. */
export function frequenciesPart(json: string): Part {
  const [isExact, [keys, counts]] = JSON.parse(json) as [unknown, [unknown[], unknown[]]];
  if (isExact === true || isExact === 1) return keys.flatMap((key, i) => [Number(key), Number(counts[i])]);
  const part = new Array<number>(slices).fill(0);
  for (const [i, slice] of keys.entries()) part[Number(slice)] = Number(counts[i]);
  return part;
}
