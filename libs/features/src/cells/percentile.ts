import type { Finish, Merge, Part } from './cell.ts';
import { keyInSorted, RunningCounts } from './running-counts.ts';
import { addCount, addCounts, type SortedCounts } from './sorted-counts.ts';

const words = new Int32Array(2);
const double = new Float64Array(words.buffer);
/** What is left of a double's 64 bits: its exponent and the first six of its fraction. */
const droppedBits = 46;

/**
 * A DDSketch (Masson, Rim and Lee, 2019) whose buckets are the doubles with the same exponent and the same first six bits of fraction, 64 to an
 * octave, in place of powers of γ: the same to the bit wherever it is computed, which a logarithm is not. A quantile is off by at most
 * 1/129 < 0.8 % of itself. Buckets of negative numbers are negative; 0 holds zero.
 */
export function bucketOfDouble(value: number): number {
  double[0] = Math.abs(value);
  const bucket = (words[1] as number) >>> (droppedBits - 32);
  return value < 0 ? -bucket + 0 : bucket;
}

/** The number that is relatively as far from the bucket's lowest as from the next bucket's. */
function middleOf(bucket: number): number {
  const size = Math.abs(bucket);
  const low = lowest(size);
  const high = lowest(size + 1);
  const middle = high === Number.POSITIVE_INFINITY ? low : low / (0.5 + 0.5 * (low / high));
  return bucket < 0 ? -middle : middle;
}

function lowest(bucket: number): number {
  words[0] = 0;
  words[1] = bucket << (droppedBits - 32);
  return double[0] as number;
}

export const mergeBuckets: Merge = (to, at, from, fromAt, toParts, partAt, fromParts, fromPartAt) => {
  const n = from[fromAt] as number;
  if (n === 0 || !toParts) return;
  const m = to[at] as number;
  to[at] = m + n;
  const given = fromParts?.[fromPartAt] as SortedCounts | null;
  const target = toParts[partAt];
  if (target instanceof RunningCounts) {
    if (given) target.addAll(given);
    else target.add(from[fromAt + 1] as number, 1);
    return;
  }
  if (m === 0) {
    to[at + 1] = from[fromAt + 1] as number;
    toParts[partAt] = given?.slice() ?? null;
    return;
  }
  const held = (target as SortedCounts | null) ?? [to[at + 1] as number, 1];
  if (given) toParts[partAt] = addCounts(held, given);
  else {
    addCount(held, from[fromAt + 1] as number, 1);
    toParts[partAt] = held;
  }
};

/** The value of rank ⌊q (n − 1)⌋, within the relative error. */
export function percentileFinisher(quantile: number): Finish {
  return (slots, at, parts, partAt) => {
    const n = slots[at] as number;
    if (n === 0) return null;
    const rank = Math.floor(quantile * (n - 1));
    const part = parts?.[partAt];
    if (part instanceof RunningCounts) return middleOf(part.keyAt(rank));
    return middleOf(part ? keyInSorted(part as SortedCounts, rank) : (slots[at + 1] as number));
  };
}

export function percentileSql(quantile: number, value: string, where: string, n: string): string {
  const rank = `floor(${quantile} * (${n} - 1))`;
  const bucket = `m.1[arrayFirstIndex(c -> c > ${rank}, arrayCumSum(m.2))]`;
  const lowOf = (size: string) => `reinterpretAsFloat64(bitShiftLeft(toUInt64(${size}), ${droppedBits}))`;
  const [low, high] = [lowOf('abs(b)'), lowOf('abs(b) + 1')];
  const middle = `if(isInfinite(${high}), ${low}, ${low} / (0.5 + 0.5 * (${low} / ${high})))`;
  const signed = `arrayMap(b -> if(b < 0, -1, 1) * ${middle}, [${bucket}])[1]`;
  return `arrayMap(m -> ${signed}, [${countsSql(value, where)}])[1]`;
}

/** Buckets and counts, as JSON. */
export function bucketsPartSql(value: string, where: string): string {
  return `toJSONString(${countsSql(value, where)})`;
}

function countsSql(value: string, where: string): string {
  const double = `toFloat64(${value})`;
  const size = `toInt32(bitShiftRight(reinterpretAsUInt64(abs(${double})), ${droppedBits}))`;
  return `sumMapIf([if(${double} < 0, -${size}, ${size})], [toUInt64(1)], ${where})`;
}

/** The part that `[[key, …], [count, …]]` stands for. */
export function countsPart(json: string): Part {
  const [keys, counts] = JSON.parse(json) as [unknown[], unknown[]];
  return keys.flatMap((key, i) => [Number(key), Number(counts[i])]);
}
