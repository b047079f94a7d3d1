import { expect, test } from 'vitest';
import { createSavePace } from './save-pace.ts';

test('what is behind is saved evenly over the interval', () => {
  const pace = createSavePace(5_000);
  const counts = Array.from({ length: 250 }, (_, tick) => pace(20 * (tick + 1), 10_000));
  expect(counts[0]).toBe(0);
  expect(Math.max(...counts)).toBe(40);
  expect(counts.slice(0, 126).reduce((sum, count) => sum + count, 0)).toBe(5_000);
});

test('what falls behind meanwhile waits for the next round, which begins when all of the last is saved', () => {
  const pace = createSavePace(1_000);
  let behind = 2_000;
  for (let ms = 20; ms <= 1_020; ms += 20) behind -= pace(ms, behind + 500);
  // as much as was there at the beginning
  expect(behind).toBe(-500);
  expect(pace(1_040, 500)).toBe(0);
  expect(pace(1_060, 500)).toBe(10);
});

test('few are saved soon, and no oftener than ten times an interval', () => {
  const pace = createSavePace(1_000);
  pace(20, 8);
  expect(pace(40, 8)).toBe(8);
  for (let ms = 60; ms < 120; ms += 20) expect(pace(ms, 8)).toBe(0);
  pace(120, 8);
  expect(pace(140, 8)).toBe(8);
});
