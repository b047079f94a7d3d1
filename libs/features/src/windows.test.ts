import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { WindowSpec } from './types.ts';
import { resolveWindow, windowEnd, windowProblem, windowReachUs, windowStart } from './windows.ts';

const [s, min, h, day] = [1e6, 60e6, 3600e6, 24 * 3600e6];

const windows: fc.Arbitrary<WindowSpec> = fc
  .record({
    t: fc.constantFrom('sliding', 'tumbling'),
    hopUs: fc.constantFrom(7 * s, min, h, day),
    hops: fc.integer({ min: 1, max: 30 }),
    offsetHops: fc.integer({ min: 0, max: 30 }),
  })
  .map(({ t, hopUs, hops, offsetHops }) =>
    t === 'sliding'
      ? { t, sizeUs: hops * hopUs, hopUs, offsetUs: offsetHops * hopUs }
      : { t: 'tumbling', sizeUs: hopUs, offsetUs: offsetHops * hopUs },
  );

test('a window holds its size, ends by the read time less its offset, and starts within its reach', () => {
  fc.assert(
    fc.property(windows, fc.integer({ min: 0, max: 2 ** 50 }), (window, t) => {
      expect(windowProblem(window)).toBeUndefined();
      const resolved = resolveWindow(window);
      const start = windowStart(resolved, t);
      const end = Math.min(t, windowEnd(resolved, t));
      expect(start).toBeGreaterThanOrEqual(t - windowReachUs(window));
      expect(end).toBeLessThanOrEqual(t - resolved.offsetUs);
      expect(end).toBeGreaterThan(t - resolved.offsetUs - resolved.hopUs);
      if (resolved.offsetUs > 0) expect(end - start).toBe(resolved.sizeUs);
      else expect(end - start).toBeGreaterThanOrEqual(resolved.sizeUs);
    }),
  );
});

test('the default hop is a twelfth of the size or less, and larger where an offset would make too many buckets', () => {
  const hopOf = (sizeUs: number, offsetUs: number) => resolveWindow({ t: 'sliding', sizeUs, hopUs: 0, offsetUs }).hopUs;
  expect(hopOf(h, 0)).toBe(5 * min);
  expect(hopOf(h, h)).toBe(5 * min);
  expect(hopOf(h, day)).toBe(h);
  expect(hopOf(day, 7 * day)).toBe(6 * h);
});

test.each<[string, WindowSpec, RegExp]>([
  [
    'an offset between hops',
    { t: 'sliding', sizeUs: h, hopUs: 10 * min, offsetUs: 15 * min },
    /not a whole number of hops of 10m/,
  ],
  ['an offset between tumbles', { t: 'tumbling', sizeUs: h, offsetUs: 90 * min }, /not a whole number of hops of 1h/],
  ['a negative offset', { t: 'sliding', sizeUs: h, hopUs: 0, offsetUs: -h }, /offset of -3600000000/],
  [
    'too many buckets',
    { t: 'sliding', sizeUs: h, hopUs: min, offsetUs: h },
    /at an offset of 1h by 1m has 120 steps.*hop 5m would fit/,
  ],
  [
    'an hour of last month',
    { t: 'sliding', sizeUs: h, hopUs: 0, offsetUs: 30 * day },
    /a window of 1h cannot lie so far back.*its hop would be 1d; use a window of that size/,
  ],
])('%s is refused with the remedy', (_, window, message) => {
  expect(windowProblem(window)).toMatch(message);
});
