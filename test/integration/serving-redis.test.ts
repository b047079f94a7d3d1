import { rowField } from '@millrace/hot';
import { quietTelemetry } from '@millrace/runtime';
import { createTestMesh, eventually, type TestMesh } from '@millrace/testkit';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openRedisRows } from '../../services/online-serving/src/adapters/redis-rows.ts';

/** online-serving's own reader of Redis against a Redis that answers, is paused, hangs, dies and refuses. */
let mesh: TestMesh;
let rows: Awaited<ReturnType<typeof openRedisRows>>;
let writer: Redis;

const entity = {
  name: 'a',
  keys: [],
  views: [0, 1],
  versions: [
    { view: 'v', version: '1' },
    { view: 'w', version: '1' },
  ],
};
const [v, w] = [rowField('v', '1'), rowField('w', '1')];
const read = async (keys: readonly string[], timeoutMs = 5_000) => {
  const answers = new Array<(string | null)[] | undefined>(keys.length).fill(undefined);
  const reads = keys.map((key) => ({ key, entity }));
  const unanswered = await rows.read(reads, timeoutMs, (index, values) => {
    answers[index] = values.map((value) =>
      value ? Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString() : null,
    );
  });
  expect(unanswered).toEqual(answers.flatMap((answer, index) => (answer === undefined ? [index] : [])));
  return answers;
};
const put = async (...command: [string, ...string[]]) => {
  const redis = new Redis(mesh.redis.url);
  await redis.call(...command);
  redis.disconnect();
};
const hset = (key: string, ...pairs: string[]) => writer.hset(key, ...pairs);
const pause = (signal: 'SIGSTOP' | 'SIGCONT') => process.kill(mesh.redis.pid, signal);
const hello = [['hello', null]];

beforeAll(async () => {
  mesh = await createTestMesh({ stores: ['redis'] });
  writer = new Redis(mesh.redis.url, { lazyConnect: true });
  const { log, metrics } = quietTelemetry();
  rows = await openRedisRows({ url: mesh.redis.url, log, metrics });
  await put('HSET', '{a:1}', v, 'hello');
});

afterAll(async () => {
  writer?.disconnect();
  rows?.close();
  await mesh?.close();
});

test('answers come in the order of the keys, however many', async () => {
  expect(await read(['{a:2}', '{a:1}'])).toEqual([[null, null], ...hello]);
  const many = await read(Array.from({ length: 5_000 }, (_, i) => `{a:${i}}`));
  expect(many.map((answer, i) => (answer?.[0] === 'hello' ? i : -1)).filter((i) => i >= 0)).toEqual([1]);
});

test('values that are cut between reads of the socket, whose buffer is used again, stay whole', async () => {
  const size = (i: number) => 1 + ((i * 7_919) % 9_000);
  for (let i = 0; i < 400; i++) await hset(`{a:big${i}}`, v, `${i % 10}`.repeat(size(i)), w, `w${i}`);
  const answers = await read(Array.from({ length: 400 }, (_, i) => `{a:big${i}}`));
  expect(answers).toEqual(Array.from({ length: 400 }, (_, i) => [`${i % 10}`.repeat(size(i)), `w${i}`]));
});

test('an error in what takes the rows is the answer, and the next read is not disturbed', async () => {
  const taking = rows.read([{ key: '{a:1}', entity }], 500, () => {
    throw new Error('too old');
  });
  await expect(taking).rejects.toThrow('too old');
  expect(await read(['{a:1}'])).toEqual(hello);
});

test('a paused Redis costs the time allowed and no more, and late replies go to nobody', async () => {
  pause('SIGSTOP');
  const startedMs = performance.now();
  expect(await read(['{a:2}'], 100)).toEqual([undefined]);
  expect(performance.now() - startedMs).toBeLessThan(1_000);
  pause('SIGCONT');
  expect(await read(['{a:1}'])).toEqual(hello);
});

test('more reads than a paused Redis is sent give up in time, and it is never asked for what they were not sent', async () => {
  const asked = async () => Number(/cmdstat_hmget:calls=(\d+)/.exec(await writer.info('commandstats'))?.[1]);
  const before = await asked();
  pause('SIGSTOP');
  const startedMs = performance.now();
  const keys = Array.from({ length: 700 }, (_, i) => `{a:${i}}`);
  const given = await Promise.all(Array.from({ length: 10 }, () => read(keys, 150)));
  expect(given.flat().every((answer) => answer === undefined)).toBe(true);
  expect(performance.now() - startedMs).toBeLessThan(1_000);
  pause('SIGCONT');
  expect(await read(['{a:2}', '{a:1}'])).toEqual([[null, null], ...hello]);
  expect((await asked()) - before).toBe(1_000 + 2);
});

test('a hung connection is given up and opened again', async () => {
  pause('SIGSTOP');
  await read(['{a:1}'], 100);
  await new Promise((resolve) => setTimeout(resolve, 5_200));
  await read(['{a:1}'], 100);
  expect(await read(['{a:1}'], 100)).toEqual([undefined]);
  pause('SIGCONT');
  await eventually(async () => expect(await read(['{a:1}'])).toEqual(hello));
});

test('a killed Redis answers nothing at once, and is found again', async () => {
  await mesh.redis.kill9();
  await eventually(async () => {
    const startedMs = performance.now();
    expect(await read(['{a:1}'])).toEqual([undefined]);
    expect(performance.now() - startedMs).toBeLessThan(50);
  });
  await mesh.redis.restart();
  await put('HSET', '{a:1}', v, 'hello');
  await eventually(async () => expect(await read(['{a:1}'])).toEqual(hello));
});

test('a refused command is no answer, and does not shift the others', async () => {
  await put('SET', '{a:3}', 'text');
  expect(await read(['{a:3}', '{a:1}'])).toEqual([undefined, ...hello]);
});
