import { fromRpcStatus } from '@millrace/rpc';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  flightsSource,
  NOON_US,
  openServingWorld,
  request,
  routeEntity,
  routeView,
  type ServingWorld,
  service,
} from './serving-world.ts';

let world: ServingWorld;

beforeAll(async () => {
  world = await openServingWorld({
    stores: ['redis', 'nats'],
    env: { MILLRACE_SERVING_CALLER_ROWS_PER_S_MAX: '500', MILLRACE_SERVING_CALLER_IN_FLIGHT_ROWS_MAX: '2000' },
  });
  const delays = service('delays', [{ view: 'route_delays', feature: 'flights_24h', alias: 'flights' }]);
  await world.apply(routeEntity, flightsSource, routeView, delays);
}, 120_000);

afterAll(() => world?.close());

const rows = (count: number) =>
  request({
    service: 'delays',
    keys: { origin: new Array<string>(count).fill('ORD'), destination: new Array<string>(count).fill('ATL') },
    asOfUs: NOON_US,
  });
const as = (caller: string) => ({ metadata: { 'x-millrace-caller': caller } });

test('a caller beyond its rate is refused with the limit and when to come again; others and REST are told the same', async () => {
  await world.client.getFeatures(rows(500), as('greedy'));
  const refused = world.client.getFeatures(rows(400), as('greedy'));
  await expect(refused).rejects.toMatchObject({
    reason: 'OVERLOADED',
    metadata: { caller: 'greedy', limit: '500', limitName: 'caller_rate' },
    message: expect.stringContaining('"greedy"'),
  });
  const { retryAfterMs = 0 } = (await refused.catch((error: unknown) => error)) as { retryAfterMs?: number };
  expect(retryAfterMs).toBeGreaterThan(100);
  expect(retryAfterMs).toBeLessThan(1_000);
  expect((await world.client.getFeatures(rows(400), as('modest'))).statuses.length).toBe(400);

  const post = () =>
    fetch(`http://${world.online.http}/v1/feature-services/delays/features`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-millrace-caller': 'people' },
      body: JSON.stringify({ entities: new Array(450).fill({ origin: 'ORD', destination: 'ATL' }) }),
    });
  expect((await post()).status).toBe(200);
  const second = await post();
  expect(second.status).toBe(429);
  expect(Number(second.headers.get('retry-after'))).toBe(1);
  expect(await second.json()).toMatchObject({ error: { reason: 'OVERLOADED', metadata: { caller: 'people' } } });

  await new Promise((resolve) => setTimeout(resolve, retryAfterMs));
  expect((await world.client.getFeatures(rows(400), as('greedy'))).statuses.length).toBe(400);
  const metrics = await (await fetch(`http://${world.online.http}/metrics`)).text();
  expect(metrics).toMatch(/millrace_serving_refused_total\{[^}]*limit="caller_rate"[^}]*\} \d/);
});

test('on a stream the refused read is answered with RetryInfo and the stream goes on', async () => {
  async function* reads() {
    for (const [id, count] of [500, 500, 0, 2_500].entries()) yield { id: BigInt(id), read: rows(count), timeoutMs: 0 };
  }
  const outcomes: unknown[] = [];
  for await (const { id, result } of world.client.streamFeatures(reads(), as('streaming'))) {
    const error = result?.$case === 'error' ? fromRpcStatus(result.value) : undefined;
    outcomes[Number(id)] = error ? [error.reason, error.metadata.limitName, (error.retryAfterMs ?? 0) > 0] : 'answered';
  }
  expect(outcomes).toEqual([
    'answered',
    ['OVERLOADED', 'caller_rate', true],
    ['INVALID_ARGUMENT', undefined, false],
    ['OVERLOADED', 'caller_rows', true],
  ]);
});
