import { expect, test } from 'vitest';
import { createSlowness, rowsWithin } from './local-session.ts';

test('a few slow runs keep a model here, many send it to the workers for a while', () => {
  const slowness = createSlowness();
  for (let run = 0; run < 100; run++) slowness.observe(run % 4 === 0 ? 5_000 : 20, run);
  expect(slowness.isAway(100)).toBe(false);
  for (let run = 0; run < 20; run++) slowness.observe(5_000, 200);
  expect(slowness.isAway(200)).toBe(true);
  expect(slowness.isAway(10_199)).toBe(true);
  expect(slowness.isAway(10_300)).toBe(false);
});

test('the largest size whose fastest run is short is taken, whatever disturbs the others', async () => {
  let runs = 0;
  const costing = (usOf: (rows: number) => number) => async (rows: number) => {
    runs++;
    return { us: usOf(rows) * (runs % 3 === 0 ? 1 : 50) };
  };
  const sizes = [1, 2, 4, 8, 16];
  expect(
    await rowsWithin(
      costing((rows) => 10 + 5 * rows),
      sizes,
    ),
  ).toBe(8);
  expect(
    await rowsWithin(
      costing(() => 20),
      sizes,
    ),
  ).toBe(16);
  expect(
    await rowsWithin(
      costing(() => 70),
      sizes,
    ),
  ).toBe(0);
});
