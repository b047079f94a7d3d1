import { expect, test } from 'vitest';
import { Frontiers } from './frontiers.ts';

test('a frontier never moves back and each source has its own', () => {
  const frontiers = new Frontiers({ a: 10 });
  frontiers.advance('a', 5);
  frontiers.advance('b', 7);
  expect(frontiers.toRecord()).toEqual({ a: 10, b: 7 });
});

test('a future event does not move what lateness is measured against past now', () => {
  const frontiers = new Frontiers();
  frontiers.advance('a', 1_000);
  expect(frontiers.effective('a', 400)).toBe(400);
  expect(frontiers.effective('a', 2_000)).toBe(1_000);
});
