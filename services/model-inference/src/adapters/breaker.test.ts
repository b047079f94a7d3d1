import { MeshError } from '@millrace/kernel';
import { ConsecutiveBreaker } from 'cockatiel';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { createBreaker } from './breaker.ts';

const dead = new Error('it is dead');
const fail = async () => {
  throw dead;
};
const answer = async () => 42;
const always = () => true;

let told: string[] = [];
const open = () =>
  createBreaker({
    name: 'model "m"',
    breaker: new ConsecutiveBreaker(3),
    openMs: 1_000,
    openMsMax: 3_000,
    onChange: (state) => told.push(state),
  });

beforeEach(() => {
  told = [];
  vi.useFakeTimers();
});
afterEach(() => vi.useRealTimers());

const outcomeOf = (run: Promise<unknown>) =>
  run.catch((error) => (error instanceof MeshError ? error.reason : error.message));

async function broken() {
  const breaker = open();
  for (let at = 0; at < 3; at++) expect(await outcomeOf(breaker.run(fail, always))).toBe('it is dead');
  return breaker;
}

test('after so many failures in a row calls are refused with the reason and the time, and are not made', async () => {
  const breaker = await broken();
  const call = vi.fn(answer);
  await expect(breaker.run(call, always)).rejects.toMatchObject({
    reason: 'MODEL_NOT_READY',
    retryAfterMs: 1_000,
    message: 'model "m" failed again and again, and is tried again in 1000 ms: it is dead',
  });
  expect(call).not.toHaveBeenCalled();
  expect(told).toEqual(['opened']);
});

test('when the time is over one call tries, others wait for it, and an answer closes it', async () => {
  const breaker = await broken();
  vi.advanceTimersByTime(1_000);
  expect(breaker.refusal()).toBeUndefined();
  const { promise, resolve } = Promise.withResolvers<number>();
  const trying = breaker.run(() => promise, always);
  const second = vi.fn(answer);
  const waiting = breaker.run(second, always);
  await vi.advanceTimersByTimeAsync(10);
  expect(breaker.isTrying()).toBe(true);
  expect(second).not.toHaveBeenCalled();
  resolve(1);
  expect(await Promise.all([trying, waiting])).toEqual([1, 42]);
  expect(told).toEqual(['opened', 'closed']);
});

test('a try that fails opens it for twice as long, up to the limit, and those who waited are refused', async () => {
  const breaker = await broken();
  for (const openMs of [2_000, 3_000, 3_000]) {
    vi.advanceTimersByTime(3_000);
    const [tried, waited] = [breaker.run(fail, always), breaker.run(answer, always)];
    expect(await outcomeOf(tried)).toBe('it is dead');
    expect(await outcomeOf(waited)).toBe('MODEL_NOT_READY');
    expect(breaker.refusal()?.retryAfterMs).toBe(openMs);
  }
  vi.advanceTimersByTime(3_000);
  expect(await breaker.run(answer, always)).toBe(42);
  for (let at = 0; at < 3; at++) await outcomeOf(breaker.run(fail, always));
  expect(breaker.refusal()?.retryAfterMs).toBe(1_000);
});

test('what is no failure is a sign of life', async () => {
  const breaker = open();
  for (let at = 0; at < 10; at++) expect(await outcomeOf(breaker.run(fail, () => at % 3 !== 0))).toBe('it is dead');
  expect(breaker.refusal()).toBeUndefined();
});
