import { expect, test } from 'vitest';
import type { Cell } from './cells.ts';
import { Unsaved } from './unsaved.ts';

const cells = 'view';
const cellOf = (key: string): Cell => ({ key, unsaved: false }) as Cell;

test('a cell waits once, from its first change, until it is taken; those that waited longest are taken first', () => {
  const unsaved = new Unsaved<string>();
  const [a, b] = [cellOf('a'), cellOf('b')];
  unsaved.mark(cells, a, 3);
  unsaved.mark(cells, b, 4);
  unsaved.mark(cells, a, 5);
  expect([unsaved.count, unsaved.oldestPosition()]).toEqual([2, 3]);
  expect(unsaved.take()?.cell).toBe(a);
  unsaved.mark(cells, a, 6);
  expect([unsaved.count, unsaved.oldestPosition(), unsaved.taken, unsaved.marks]).toEqual([2, 4, 1, 3]);
  expect([unsaved.take()?.cell, unsaved.take()?.cell, unsaved.take()]).toEqual([b, a, undefined]);
  expect([unsaved.count, unsaved.oldestPosition(), unsaved.taken, unsaved.marks]).toEqual([0, undefined, 3, 3]);
});

test('many come and go in their order', () => {
  const unsaved = new Unsaved<string>();
  const all = Array.from({ length: 5_000 }, (_, i) => cellOf(String(i)));
  const taken: string[] = [];
  for (const [i, cell] of all.entries()) {
    unsaved.mark(cells, cell, i);
    if (i % 3 > 0) taken.push(unsaved.take()?.cell.key ?? '');
  }
  expect(unsaved.oldestPosition()).toBe(taken.length);
  for (let next = unsaved.take(); next !== undefined; next = unsaved.take()) taken.push(next.cell.key);
  expect(taken).toEqual(all.map(({ key }) => key));
});
