import type { serving } from '@millrace/contracts';
import { BoundedQueue } from '@millrace/kernel';
import { fromRpcStatus } from '@millrace/rpc';
import { eventually } from '@millrace/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  type Flight,
  flightsSource,
  NOON_US,
  openServingWorld,
  request,
  routeEntity,
  routeView,
  rowOf,
  type ServingWorld,
  service,
} from './serving-world.ts';

const inFlightMax = 32;
let world: ServingWorld;

const flight = (minutes: number): Flight => ({
  timeUs: NOON_US + minutes * 60_000_000,
  origin: 'ORD',
  destination: 'ATL',
  airlineId: 7,
  delay: minutes,
  distance: 606,
  tail: 'N1',
});
const ordAtl = { origin: ['ORD'], destination: ['ATL'] };
const delays = service(
  'delays',
  routeView.spec?.$case === 'featureView'
    ? routeView.spec.value.features.map(({ name }) => ({ view: 'route_delays', feature: name }))
    : [],
);

beforeAll(async () => {
  world = await openServingWorld({
    stores: ['redis', 'nats'],
    env: {
      MILLRACE_SERVING_STREAM_IN_FLIGHT_MAX: String(inFlightMax),
      MILLRACE_SERVING_PARTIAL_RESERVE_MS: '100',
    },
  });
  await world.apply(routeEntity, flightsSource, routeView, delays);
  const view = world.definition('route_delays');
  await world.write(view, ['ORD', 'ATL'], rowOf(view, [flight(-60), flight(-5)]));
}, 120_000);

afterAll(() => world?.close());

type Sent = { readonly id: bigint; readonly read: serving.GetFeaturesRequest; readonly timeoutMs?: number };

/** Sends all, and returns what came back for each id. */
async function readAll(sent: readonly Sent[]): Promise<ReadonlyMap<bigint, Answer>> {
  async function* requests() {
    for (const { id, read, timeoutMs = 0 } of sent) yield { id, read, timeoutMs };
  }
  const answers = new Map<bigint, Answer>();
  for await (const { id, result } of world.client.streamFeatures(requests())) {
    expect(answers.has(id)).toBe(false);
    answers.set(id, result);
  }
  return answers;
}
type Answer = serving.StreamFeaturesResponse['result'];

const failureOf = (answer: Answer) => (answer?.$case === 'error' ? fromRpcStatus(answer.value) : undefined);
const statusesOf = (answer: Answer) => (answer?.$case === 'features' ? [...answer.value.statuses] : undefined);
const readAt = (asOfUs: number, more: Partial<serving.GetFeaturesRequest> = {}) =>
  request({ service: 'delays', keys: ordAtl, asOfUs, more });
const openStreams = async () => {
  const text = await (await fetch(`http://${world.online.http}/metrics`)).text();
  return Number(/^millrace_serving_streams\S* (\d+)$/m.exec(text)?.[1]);
};

test('a thousand reads on one stream answer what GetFeatures answers, each with its own id', async () => {
  const ids = Array.from({ length: 1_000 }, (_, i) => 2n ** 63n + BigInt(i * 7));
  const answers = await readAll(ids.map((id, i) => ({ id, read: readAt(NOON_US + i * 1_000_000) })));
  expect(answers.size).toBe(1_000);
  for (const i of [0, 1, 500, 999]) {
    const alone = await world.client.getFeatures(readAt(NOON_US + i * 1_000_000));
    expect(answers.get(ids[i] ?? 0n)).toEqual({ $case: 'features', value: alone });
  }
});

test('reads that are refused are answered with their reason, and the others on the stream are not hurt', async () => {
  const answers = await readAll([
    { id: 1n, read: readAt(NOON_US) },
    { id: 2n, read: request({ service: 'nope', keys: ordAtl }) },
    { id: 3n, read: request({ service: 'delays', keys: { origin: ['ORD'] } }) },
    { id: 4n, read: request({ service: 'delays', keys: { origin: [], destination: [] } }) },
    { id: 5n, read: readAt(NOON_US, { version: 'abc' }) },
    { id: 6n, read: readAt(NOON_US) },
  ]);
  const reasons = [2n, 3n, 4n, 5n].map((id) => failureOf(answers.get(id))?.reason);
  expect(reasons).toEqual([
    'UNKNOWN_FEATURE_SERVICE',
    'MISSING_JOIN_KEY',
    'INVALID_ARGUMENT',
    'UNKNOWN_FEATURE_SERVICE',
  ]);
  expect(failureOf(answers.get(3n))).toMatchObject({ metadata: { joinKey: 'destination' }, code: 3 });
  for (const id of [1n, 6n]) expect(statusesOf(answers.get(id))).toEqual([1, 1, 1, 1]);
});

test('each read has its own deadline: partial where that is allowed, refused where it is not', async () => {
  process.kill(world.mesh.redis.pid, 'SIGSTOP');
  try {
    const startedMs = performance.now();
    const answers = await readAll([
      { id: 1n, read: readAt(NOON_US, { allowPartial: true }), timeoutMs: 400 },
      { id: 2n, read: readAt(NOON_US), timeoutMs: 200 },
      { id: 3n, read: readAt(NOON_US) },
    ]);
    expect([...answers.keys()]).toEqual([2n, 1n, 3n]);
    expect(performance.now() - startedMs).toBeLessThan(3_000);
    expect(statusesOf(answers.get(1n))).toEqual([6, 6, 6, 6]);
    expect(failureOf(answers.get(2n))?.reason).toBe('DEADLINE_EXCEEDED');
    expect(failureOf(answers.get(3n))?.reason).toBe('STORE_UNAVAILABLE');
  } finally {
    process.kill(world.mesh.redis.pid, 'SIGCONT');
  }
  await eventually(async () => statusesOf((await readAll([{ id: 1n, read: readAt(NOON_US) }])).get(1n))?.[0] === 1);
});

test('a caller that sends and does not read is held back; when it goes, nothing of it is left', async () => {
  const stop = new AbortController();
  let sent = 0n;
  const body = readAt(NOON_US, { version: 'x'.repeat(2_000) });
  async function* flood() {
    while (!stop.signal.aborted && sent < 1_000_000n) yield { id: sent++, read: body, timeoutMs: 0 };
  }
  const reading = world.client.streamFeatures(flood(), { signal: stop.signal })[Symbol.asyncIterator]();
  await reading.next();
  await eventually(async () => (await openStreams()) === 1);
  let before = -1n;
  await eventually(
    async () => {
      const now = sent;
      const still = now === before;
      before = now;
      return still;
    },
    { everyMs: 300 },
  );
  expect(sent).toBeLessThan(20_000n);
  stop.abort();
  await reading.next().catch(() => {});
  await eventually(async () => (await openStreams()) === 0);
  expect(statusesOf((await readAll([{ id: 1n, read: readAt(NOON_US) }])).get(1n))).toEqual([1, 1, 1, 1]);
});

test('answers go out while the caller goes on sending', async () => {
  const questions = new BoundedQueue<{ id: bigint; read: serving.GetFeaturesRequest; timeoutMs: number }>({
    name: 'questions',
    capacity: 1,
    onFull: 'wait',
  });
  const answers = world.client.streamFeatures(questions)[Symbol.asyncIterator]();
  for (let id = 1n; id <= 5n; id++) {
    await questions.push({ id, read: readAt(NOON_US), timeoutMs: 0 });
    expect(((await answers.next()).value as serving.StreamFeaturesResponse).id).toBe(id);
  }
  questions.close();
  expect(await answers.next()).toMatchObject({ done: true });
});
