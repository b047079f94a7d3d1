import { expect, test } from 'vitest';
import { createShadowQueue } from './shadow-queue.ts';

const limits = { jobsMax: 3, bytesMax: 100, inFlightMax: 2, timeoutMs: 20 };
const turn = () => new Promise((done) => setImmediate(done));

test('jobs run in their order, some at once, none in the turn in which they come; what is too much is dropped', async () => {
  const queue = createShadowQueue(limits);
  const ran: number[] = [];
  const ends: (() => void)[] = [];
  const offer = (id: number, bytes = 1) =>
    queue.offer(() => {
      ran.push(id);
      return new Promise((done) => void ends.push(done));
    }, bytes);
  expect([1, 2, 3, 4].map((id) => offer(id))).toEqual([true, true, true, false]);
  expect(ran).toEqual([]);
  await turn();
  expect([ran, queue.waiting]).toEqual([[1, 2], 1]);
  expect(offer(5, 98)).toBe(false);
  expect(offer(6, 97)).toBe(true);
  ends[0]?.();
  await turn();
  expect(ran).toEqual([1, 2, 3]);
  ends[1]?.();
  ends[2]?.();
  await turn();
  expect([ran, queue.waiting]).toEqual([[1, 2, 3, 6], 0]);
});

test('a job is told when it takes too long, and the next one runs', async () => {
  const queue = createShadowQueue({ ...limits, inFlightMax: 1 });
  const hangs = (signal: AbortSignal) =>
    new Promise<void>((done) => signal.addEventListener('abort', () => done(), { once: true }));
  let isNext = false;
  queue.offer(hangs, 1);
  queue.offer(async () => {
    isNext = true;
  }, 1);
  // an abort timer alone keeps no process alive
  await new Promise((done) => setTimeout(done, 100));
  expect(isNext).toBe(true);
});
