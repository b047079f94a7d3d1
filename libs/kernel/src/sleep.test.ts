import { getEventListeners } from 'node:events';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { sleep } from './sleep.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test('a wait ends after its time, or at once when the signal aborts, and leaves neither timer nor listener', async () => {
  const stop = new AbortController();
  const ended: string[] = [];
  void sleep(100, stop.signal).then(() => ended.push('first'));
  void sleep(60_000, stop.signal).then(() => ended.push('second'));
  await vi.advanceTimersByTimeAsync(99);
  expect(ended).toEqual([]);
  await vi.advanceTimersByTimeAsync(1);
  expect(ended).toEqual(['first']);
  stop.abort();
  await vi.advanceTimersByTimeAsync(0);
  expect(ended).toEqual(['first', 'second']);
  await sleep(60_000, stop.signal);
  expect(vi.getTimerCount()).toBe(0);
  expect(getEventListeners(stop.signal, 'abort')).toEqual([]);
});
