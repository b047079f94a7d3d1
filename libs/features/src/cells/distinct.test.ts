import { expect, test } from 'vitest';
import type { Parts } from './cell.ts';
import { finishDistinct, mergeDistinct } from './distinct.ts';
import { hashOf } from './hash-of.ts';
import { exactMax } from './hyper-log-log.ts';

type Held = { readonly slots: number[]; readonly parts: Parts };

const empty = (): Held => ({ slots: [0, 0], parts: [null] });
const one = (value: number): Held => ({ slots: [1, hashOf('INT64', 0, value, '')], parts: [null] });
const add = (to: Held, from: Held): void => mergeDistinct(to.slots, 0, from.slots, 0, to.parts, 0, from.parts, 0);
const count = ({ slots, parts }: Held): number => Number(finishDistinct(slots, 0, parts, 0, 0));

function counted(values: Iterable<number>): Held {
  const held = empty();
  for (const value of values) add(held, one(value));
  return held;
}

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);

test('distinct values are counted one by one up to the threshold, however often they come', () => {
  const held = empty();
  for (let round = 0; round < 3; round++) for (const value of range(0, exactMax)) add(held, one(value));
  expect(count(held)).toBe(exactMax);
});

test('beyond it the estimate stays within four standard errors', () => {
  const held = empty();
  for (const value of range(0, 20_000)) {
    add(held, one(value));
    if (value % 1_000 === 999) expect(Math.abs(count(held) / (value + 1) - 1)).toBeLessThan(4 * 0.01625);
  }
});

test('an estimate that was asked for before says the same as one of the same values put together in another order', () => {
  const asked = empty();
  for (const value of range(0, 6_000)) {
    add(asked, one(value));
    if (value % 100 === 0) count(asked);
  }
  const parts = [range(3_000, 6_000), range(0, 2_500), range(2_000, 4_000)].map(counted);
  const merged = empty();
  for (const part of parts) {
    add(merged, part);
    count(merged);
  }
  expect(count(merged)).toBe(count(asked));
  expect(count(parts[1] as Held)).toBe(count(counted(range(0, 2_500))));
});
