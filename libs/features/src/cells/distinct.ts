import type { Finish, Merge, Part } from './cell.ts';
import {
  alpha,
  estimateOf,
  exactMax,
  rankOf,
  registerOf,
  registers,
  rest,
  restBits,
  squarings,
} from './hyper-log-log.ts';
import { RunningDistinct } from './running-distinct.ts';

/**
 * The number of distinct values. Up to 1,024 of them: their hashes of 53 bits, ascending (two values meet in one hash less than once in
 * 10¹⁰ such sets). Beyond: HyperLogLog with 4,096 registers, standard error 1.04 / √4096 = 1.6 %. Which of the two holds depends on the
 * values alone, not on their order, and both merge without order.
 */
export const mergeDistinct: Merge = (to, at, from, fromAt, toParts, partAt, fromParts, fromPartAt) => {
  const n = from[fromAt] as number;
  if (n === 0 || !toParts) return;
  const m = to[at] as number;
  to[at] = m + n;
  const given = fromParts?.[fromPartAt] ?? null;
  const target = toParts[partAt] ?? null;
  if (target instanceof RunningDistinct) {
    if (Array.isArray(given) || given instanceof Uint8Array) target.addPart(given);
    else target.add(from[fromAt + 1] as number);
    return;
  }
  if (m === 0) {
    to[at + 1] = from[fromAt + 1] as number;
    toParts[partAt] = copy(given);
    return;
  }
  const added = given ?? [from[fromAt + 1] as number];
  toParts[partAt] = union((target as Part) ?? [to[at + 1] as number], added);
};

function copy(part: Part): Part {
  return part instanceof Uint8Array || Array.isArray(part) ? part.slice() : part;
}

function union(held: Part, added: Part): Part {
  if (held instanceof Uint8Array) {
    if (added instanceof Uint8Array) raise(held, added);
    else if (Array.isArray(added)) for (const hash of added) register(held, hash);
    return held;
  }
  if (!Array.isArray(held)) return held;
  if (added instanceof Uint8Array) return union(added.slice(), held);
  if (!Array.isArray(added)) return held;
  const merged =
    8 * added.length < held.length || added.length === 1 ? insertAll(held, added) : mergeSorted(held, added);
  return merged.length <= exactMax ? merged : union(new Uint8Array(registers), merged);
}

function insertAll(hashes: number[], added: readonly number[]): number[] {
  for (const hash of added) insert(hashes, hash);
  return hashes;
}

function insert(hashes: number[], hash: number): void {
  let low = 0;
  let high = hashes.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((hashes[middle] as number) < hash) low = middle + 1;
    else high = middle;
  }
  if (hashes[low] !== hash) hashes.splice(low, 0, hash);
}

function mergeSorted(x: readonly number[], y: readonly number[]): number[] {
  const merged = x.length >= y.length ? x.slice() : y.slice();
  let count = 0;
  let i = 0;
  let j = 0;
  while (i < x.length && j < y.length) {
    const a = x[i] as number;
    const b = y[j] as number;
    merged[count++] = a < b ? a : b;
    if (a <= b) i++;
    if (b <= a) j++;
  }
  for (; i < x.length; i++) merged[count++] = x[i] as number;
  for (; j < y.length; j++) merged[count++] = y[j] as number;
  merged.length = count;
  return merged;
}

function register(into: Uint8Array, hash: number): void {
  const index = registerOf(hash);
  const rank = rankOf(hash, index);
  if (rank > (into[index] as number)) into[index] = rank;
}

function raise(into: Uint8Array, from: Uint8Array): void {
  for (let i = 0; i < registers; i++) if ((from[i] as number) > (into[i] as number)) into[i] = from[i] as number;
}

export const finishDistinct: Finish = (slots, at, parts, partAt) => {
  const part = parts?.[partAt] ?? null;
  if (part === null) return slots[at] === 0 ? 0 : 1;
  if (part instanceof RunningDistinct) return part.value();
  if (part instanceof Uint8Array) return estimate(part);
  return Array.isArray(part) ? part.length : 0;
};

function estimate(ranks: Uint8Array): number {
  const ofRank = new Int32Array(64);
  for (const rank of ranks) ofRank[rank] = (ofRank[rank] as number) + 1;
  return estimateOf(ofRank);
}

/** The number of distinct hashes `hash` where `where` holds, as `finishDistinct` tells it. */
export function distinctSql(hash: string, where: string): string {
  const sigma = Array.from(
    { length: squarings - 1 },
    (_, k) => `pow((${registers} - length(r)) / ${registers}, ${2 ** (k + 1)}) * ${2 ** k}`,
  );
  const sum = `${registers} * ((${registers} - length(r)) / ${registers} + ${sigma.join(' + ')}) + arraySum(k -> 1 / bitShiftLeft(toUInt64(1), k), r)`;
  const estimated = `arrayMap(r -> toInt64(round(${alpha * registers * registers} / (${sum}))), [${registersSql(hash, where)}.2])[1]`;
  return `if(uniqExactIf(${hash}, ${where}) <= ${exactMax}, toInt64(uniqExactIf(${hash}, ${where})), ${estimated})`;
}

/** Hashes, or the indices and ranks of registers, as JSON. */
export function distinctPartSql(hash: string, where: string): string {
  const isExact = `uniqExactIf(${hash}, ${where}) <= ${exactMax}`;
  const hashes = `arraySort(groupUniqArrayIf(${exactMax + 1})(${hash}, ${where}))`;
  return `if(${isExact}, toJSONString(${hashes}), toJSONString(${registersSql(hash, where)}))`;
}

function registersSql(hash: string, where: string): string {
  const bits = `bitOr(bitAnd(${hash}, ${rest - 1}), ${rest / 2})`;
  const rank = `bitCount(bitXor(${bits}, ${bits} - 1))`;
  return `maxMapIf([toUInt16(bitShiftRight(${hash}, ${restBits}))], [toUInt8(${rank})], ${where})`;
}

/** The part that `distinctPartSql` gave. */
export function distinctPart(json: string): Part {
  const given: unknown = JSON.parse(json);
  if (!Array.isArray(given)) return null;
  if (!Array.isArray(given[0])) return given.map(Number);
  const [indices, ranks] = given as [unknown[], unknown[]];
  const part = new Uint8Array(registers);
  for (const [i, index] of indices.entries()) part[Number(index)] = Number(ranks[i]);
  return part;
}
