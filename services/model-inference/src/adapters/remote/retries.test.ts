import { expect, test } from 'vitest';
import { createRetryBudget, retryWaitMs } from './retries.ts';

test('ten retries at once, and then a tenth of the calls', () => {
  const budget = createRetryBudget();
  const spent = (calls: number) => {
    let retries = 0;
    for (let call = 0; call < calls; call++) {
      budget.called();
      if (budget.spend()) retries++;
    }
    return retries;
  };
  expect(spent(10)).toBe(10);
  const more = spent(1_000);
  expect(more).toBeGreaterThanOrEqual(99);
  expect(more).toBeLessThanOrEqual(101);
});

test('the wait grows from 20 ms to half a second, and is drawn from all of it', () => {
  expect([0, 1, 2, 9].map((retry) => retryWaitMs(retry, () => 1))).toEqual([20, 40, 80, 500]);
  expect(retryWaitMs(3, () => 0)).toBe(0);
});
