import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { completionStream } from './completion-stream.ts';

async function* count(to: number, onRead: (n: number) => void = () => {}) {
  for (let n = 0; n < to; n++) {
    onRead(n);
    yield n;
  }
}

async function collect<T>(answers: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const answer of answers) all.push(answer);
  return all;
}

test('every request is answered once, those that finish first before those that came first', async () => {
  const work = async (n: number) => {
    await sleep(n === 0 ? 50 : (7 * n) % 5);
    return n;
  };
  const answers = await collect(completionStream(count(200), 8, work));
  expect(answers.indexOf(0)).toBeGreaterThan(5);
  expect(answers.sort((a, b) => a - b)).toEqual(Array.from({ length: 200 }, (_, n) => n));
});

test('what is at work or not yet taken never exceeds the limit', async () => {
  let read = 0;
  const stream = completionStream(
    count(1_000, () => read++),
    4,
    async (n) => n,
  )[Symbol.asyncIterator]();
  await stream.next();
  await sleep(20);
  expect(read).toBeLessThanOrEqual(4);
  for (let n = 1; n < 1_000; n++) {
    await stream.next();
    expect(read).toBeLessThanOrEqual(n + 4);
  }
  expect(await stream.next()).toMatchObject({ done: true });
});

test('a failure of the requests reaches the caller after the answers before it', async () => {
  async function* broken() {
    yield 1;
    throw new Error('reset');
  }
  const answers: number[] = [];
  const reading = (async () => {
    const slow = async (n: number) => {
      await sleep(20);
      return n;
    };
    for await (const answer of completionStream(broken(), 4, slow)) answers.push(answer);
  })();
  await expect(reading).rejects.toThrow('reset');
  expect(answers).toEqual([1]);
});

test('a caller that leaves stops the requests from being read', async () => {
  let read = 0;
  const requests = count(1_000, () => read++);
  for await (const _ of completionStream(requests, 4, async (n) => n)) break;
  await sleep(10);
  expect(read).toBeLessThanOrEqual(6);
});
