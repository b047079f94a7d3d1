import type { FeatureDefinition } from '../types.ts';
import { rateSeconds } from '../windows.ts';
import type { Cell, Finish, Merge, Slots } from './cell.ts';
import { integer, two32 } from './pairs.ts';

export const mergeCount: Merge = (to, at, from, fromAt) => {
  to[at] = (to[at] as number) + (from[fromAt] as number);
};

export function sumMerger(cell: Cell): Merge {
  const add = cell.type === 'DOUBLE' ? addCompensated : addInteger;
  return (to, at, from, fromAt) => {
    to[at] = (to[at] as number) + (from[fromAt] as number);
    add(to, at + 1, from[fromAt + 1] as number, from[fromAt + 2] as number);
  };
}

/** Neumaier's compensated sum: the error of a million additions stays in the last bits. */
function addCompensated(to: Slots, at: number, value: number, compensation: number): void {
  const sum = to[at] as number;
  const total = sum + value;
  const lost = Math.abs(sum) >= Math.abs(value) ? sum - total + value : value - total + sum;
  to[at] = total;
  to[at + 1] = (to[at + 1] as number) + lost + compensation;
}

function addInteger(to: Slots, at: number, high: number, low: number): void {
  const sum = (to[at + 1] as number) + low;
  const carry = Math.floor(sum / two32);
  to[at + 1] = sum - carry * two32;
  to[at] = (to[at] as number) + high + carry;
}

/** Chan, Golub and LeVeque (1983): the moments of two samples together. */
export const mergeMoments: Merge = (to, at, from, fromAt) => {
  const n = from[fromAt] as number;
  if (n === 0) return;
  const m = to[at] as number;
  to[at] = m + n;
  if (m === 0) {
    to[at + 1] = from[fromAt + 1] as number;
    to[at + 2] = from[fromAt + 2] as number;
    return;
  }
  const mean = to[at + 1] as number;
  const delta = (from[fromAt + 1] as number) - mean;
  to[at + 1] = mean + (delta * n) / (m + n);
  to[at + 2] = (to[at + 2] as number) + (from[fromAt + 2] as number) + (delta * delta * m * n) / (m + n);
};

export const mergeLatest: Merge = (to, at, from, fromAt) => {
  to[at] = (to[at] as number) + (from[fromAt] as number);
  to[at + 1] = Math.max(to[at + 1] as number, from[fromAt + 1] as number);
};

/** The time of the newest event; the reader makes an age of it. */
export const finishLatest: Finish = (slots, at) => (slots[at] === 0 ? null : (slots[at + 1] as number));

export const finishCount: Finish = (slots, at) => slots[at] as number;

export function sumFinisher(cell: Cell): Finish {
  if (cell.type === 'DOUBLE')
    return (slots, at) => (slots[at] === 0 ? null : (slots[at + 1] as number) + (slots[at + 2] as number));
  return (slots, at) => (slots[at] === 0 ? null : integer(slots[at + 1] as number, slots[at + 2] as number));
}

export function meanFinisher(cell: Cell): Finish {
  if (cell.type === 'DOUBLE')
    return (slots, at) =>
      slots[at] === 0 ? null : ((slots[at + 1] as number) + (slots[at + 2] as number)) / (slots[at] as number);
  return (slots, at) => (slots[at] === 0 ? null : unwrapped(slots, at) / (slots[at] as number));
}

export function rateFinisher(feature: FeatureDefinition, cell: Cell): Finish {
  const seconds = rateSeconds(feature.window);
  if (cell.kind === 'count') return (slots, at) => (slots[at] as number) / seconds;
  if (cell.type === 'DOUBLE') return (slots, at) => ((slots[at + 1] as number) + (slots[at + 2] as number)) / seconds;
  return (slots, at) => unwrapped(slots, at) / seconds;
}

/** An integer sum before it wraps: what is made of it fits in a float64 where the sum does not fit in 64 bits. */
function unwrapped(slots: Slots, at: number): number {
  return (slots[at + 1] as number) * two32 + (slots[at + 2] as number);
}

export function varianceFinisher(ddof: number): Finish {
  return (slots, at) => {
    const n = slots[at] as number;
    return n <= ddof || n === 0 ? null : Math.max(0, slots[at + 2] as number) / (n - ddof);
  };
}
