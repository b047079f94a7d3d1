import { expect, test } from 'vitest';
import { createSlowness } from './local-session.ts';

test('a few slow runs keep a model here, many send it to the workers for a while', () => {
  const slowness = createSlowness();
  for (let run = 0; run < 100; run++) slowness.observe(run % 4 === 0 ? 5_000 : 20, run);
  expect(slowness.isAway(100)).toBe(false);
  for (let run = 0; run < 20; run++) slowness.observe(5_000, 200);
  expect(slowness.isAway(200)).toBe(true);
  expect(slowness.isAway(10_199)).toBe(true);
  expect(slowness.isAway(10_300)).toBe(false);
});
