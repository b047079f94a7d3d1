import { quietTelemetry } from '@millrace/runtime';
import { createTestMesh, eventually, type TestMesh } from '@millrace/testkit';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openRedisRows } from '../../services/online-serving/src/adapters/redis-rows.ts';

/** online-serving's own reader of Redis against a Redis that answers, is paused, hangs, dies and refuses. */
let mesh: TestMesh;
let rows: Awaited<ReturnType<typeof openRedisRows>>;

const entity = {
  name: 'a',
  keys: [],
  views: [0, 1],
  versions: [
    { view: 'v', version: '1' },
    { view: 'w', version: '1' },
  ],
};
const read = async (keys: readonly string[], timeoutMs = 500) => {
  const answers = await rows.read(
    keys.map((key) => ({ key, entity })),
    timeoutMs,
  );
  return answers.map((answer) => answer?.map((value) => (value ? value.toString() : value)));
};
const put = async (...command: [string, ...string[]]) => {
  const redis = new Redis(mesh.redis.url);
  await redis.call(...command);
  redis.disconnect();
};
const pause = (signal: 'SIGSTOP' | 'SIGCONT') => process.kill(mesh.redis.pid, signal);
const hello = [['hello', null]];

beforeAll(async () => {
  mesh = await createTestMesh({ stores: ['redis'] });
  const { log, metrics } = quietTelemetry();
  rows = await openRedisRows({ url: mesh.redis.url, log, metrics });
  await put('HSET', '{a:1}', 'v@1', 'hello');
});

afterAll(async () => {
  rows?.close();
  await mesh?.close();
});

test('answers come in the order of the keys, however many', async () => {
  expect(await read(['{a:2}', '{a:1}'])).toEqual([[null, null], ...hello]);
  const many = await read(Array.from({ length: 5_000 }, (_, i) => `{a:${i}}`));
  expect(many.map((answer, i) => (answer?.[0] === 'hello' ? i : -1)).filter((i) => i >= 0)).toEqual([1]);
});

test('a paused Redis costs the time allowed and no more, and late replies go to nobody', async () => {
  pause('SIGSTOP');
  const startedMs = performance.now();
  expect(await read(['{a:2}'], 100)).toEqual([undefined]);
  expect(performance.now() - startedMs).toBeLessThan(300);
  pause('SIGCONT');
  expect(await read(['{a:1}'])).toEqual(hello);
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
  await put('HSET', '{a:1}', 'v@1', 'hello');
  await eventually(async () => expect(await read(['{a:1}'])).toEqual(hello));
});

test('a refused command is no answer, and does not shift the others', async () => {
  await put('SET', '{a:3}', 'text');
  expect(await read(['{a:3}', '{a:1}'])).toEqual([undefined, ...hello]);
});
