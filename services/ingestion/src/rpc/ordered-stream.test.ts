import { expect, test } from 'vitest';
import { orderedStream } from './ordered-stream.ts';

async function* count(to: number, onRead: (n: number) => void = () => {}) {
  for (let n = 0; n < to; n++) {
    onRead(n);
    yield n;
  }
}

test('answers come in the order of the requests, whatever finishes first', async () => {
  const answers: number[] = [];
  const work = async (n: number) => {
    await new Promise((resolve) => setTimeout(resolve, (7 * n) % 5));
    return n;
  };
  for await (const answer of orderedStream(count(20), 4, work)) answers.push(answer);
  expect(answers).toEqual(Array.from({ length: 20 }, (_, n) => n));
});

test('a caller that sends without waiting is read no further than the limit', async () => {
  let read = 0;
  const never = new Promise<number>(() => {});
  const stream = orderedStream(
    count(1_000, () => read++),
    4,
    () => never,
  )[Symbol.asyncIterator]();
  void stream.next();
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(read).toBeLessThanOrEqual(4 + 2);
});

test('a failure of the requests reaches the caller after the answers before it', async () => {
  async function* broken() {
    yield 1;
    throw new Error('reset');
  }
  const answers: number[] = [];
  const reading = (async () => {
    for await (const answer of orderedStream(broken(), 4, async (n) => n)) answers.push(answer);
  })();
  await expect(reading).rejects.toThrow('reset');
  expect(answers).toEqual([1]);
});
