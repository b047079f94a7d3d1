import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { definitions } from '@millrace/contracts';
import { ensureEventTable, insertBatches, openHistory } from '@millrace/history';
import { eventually } from '@millrace/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runMillrace } from './cli-world.ts';
import {
  airlineEntity,
  airlineView,
  type Flight,
  flightColumns,
  flightsSource,
  HOUR_US,
  NOON_US,
  openServingWorld,
  readAnswer,
  request,
  routeEntity,
  routeView,
  rowOf,
  type ServingWorld,
  service,
} from './serving-world.ts';

const { StaleAction } = definitions;
const SECOND_US = 1_000_000;

let world: ServingWorld;

const flight = (minutes: number, delay: number | null, tail = 'N1'): Flight => ({
  timeUs: NOON_US + minutes * 60 * SECOND_US,
  origin: 'ORD',
  destination: 'ATL',
  airlineId: 7,
  delay,
  distance: 606,
  tail,
});
const flights = [flight(-120, 10, 'N1'), flight(-60, 20, 'N2'), flight(-1, null, 'N3')];
const ordAtl = { origin: ['ORD'], destination: ['ATL'] };

const routeFeatures = ['flights_24h', 'delay_mean_24h', 'distance_max_24h', 'tail_last_24h'];
const delays = service(
  'delays',
  routeFeatures.map((feature) => ({ view: 'route_delays', feature })),
);

beforeAll(async () => {
  world = await openServingWorld({ env: { MILLRACE_SERVING_PARTIAL_RESERVE_MS: '400' } });
  await world.apply(routeEntity, airlineEntity, flightsSource, routeView, airlineView, delays);
  await world.write(world.definition('route_delays'), ['ORD', 'ATL'], rowOf(world.definition('route_delays'), flights));
}, 120_000);

afterAll(() => world?.close());

test('values, statuses, positions and times come back in the order of the request, and expire without an event', async () => {
  const answer = await world.client.getFeatures(
    request({
      service: 'delays',
      keys: { origin: ['XXX', 'ORD', 'ORD'], destination: ['YYY', 'ATL', 'ATL'] },
      more: { asOfUsByRow: [BigInt(NOON_US), BigInt(NOON_US), BigInt(NOON_US + 48 * HOUR_US)] },
    }),
  );
  const [missing, noon, later] = readAnswer(answer);
  expect(missing).toEqual({
    route_delays__flights_24h: [0, 'NOT_FOUND'],
    route_delays__delay_mean_24h: [Number.NaN, 'NOT_FOUND'],
    route_delays__distance_max_24h: [0, 'NOT_FOUND'],
    route_delays__tail_last_24h: ['', 'NOT_FOUND'],
  });
  expect(noon).toEqual({
    route_delays__flights_24h: [3, 'PRESENT'],
    route_delays__delay_mean_24h: [15, 'PRESENT'],
    route_delays__distance_max_24h: [606, 'PRESENT'],
    route_delays__tail_last_24h: ['N3', 'PRESENT'],
  });
  expect(later).toEqual({
    route_delays__flights_24h: [0, 'PRESENT'],
    route_delays__delay_mean_24h: [Number.NaN, 'NULL'],
    route_delays__distance_max_24h: [0, 'NULL'],
    route_delays__tail_last_24h: ['', 'NULL'],
  });
  expect(answer.features.map((feature) => feature.type)).toEqual(['INT64', 'DOUBLE', 'INT64', 'STRING']);
  expect(answer.views[0]?.eventTimesUs).toEqual([
    0n,
    BigInt(NOON_US - 60 * SECOND_US),
    BigInt(NOON_US - 60 * SECOND_US),
  ]);
  expect(answer.views[0]?.positions).toEqual([0n, 1n, 1n]);
});

test('metadata can be left out, and the read time is the clock when none is sent', async () => {
  const answer = await world.client.getFeatures(
    request({ service: 'delays', keys: ordAtl, more: { omitMetadata: true } }),
  );
  expect(answer.features).toEqual([]);
  expect(answer.views).toEqual([]);
  expect(Math.abs(Number(answer.asOfUs) / 1000 - Date.now())).toBeLessThan(5_000);
  expect(answer.statuses.length).toBe(4);
});

test('max_age policies serve, null, default and fail', async () => {
  const age = (alias: string, staleAction: definitions.StaleAction) => ({
    view: 'route_delays',
    feature: 'delay_mean_24h',
    alias,
    maxAgeUs: HOUR_US,
    staleAction,
    ...(staleAction === StaleAction.DEFAULT ? { defaultValue: { $case: 'doubleValue' as const, value: -1 } } : {}),
  });
  await world.apply(
    service('aged', [
      age('served', StaleAction.SERVE),
      age('nulled', StaleAction.NULL),
      age('defaulted', StaleAction.DEFAULT),
    ]),
    service('strict', [age('failed', StaleAction.FAIL)]),
  );
  const at = async (asOfUs: number) =>
    readAnswer(await world.client.getFeatures(request({ service: 'aged', keys: ordAtl, asOfUs })))[0];
  expect(await at(NOON_US)).toEqual({ served: [15, 'PRESENT'], nulled: [15, 'PRESENT'], defaulted: [15, 'PRESENT'] });
  expect(await at(NOON_US + 2 * HOUR_US)).toEqual({
    served: [15, 'STALE'],
    nulled: [Number.NaN, 'STALE'],
    defaulted: [-1, 'DEFAULTED'],
  });
  await expect(
    world.client.getFeatures(request({ service: 'strict', keys: ordAtl, asOfUs: NOON_US + 2 * HOUR_US })),
  ).rejects.toMatchObject({ reason: 'FEATURE_STALE', metadata: { feature: 'failed', row: '0' } });
});

test('a default stands in for null and for an unknown entity', async () => {
  const withDefault = { view: 'route_delays', feature: 'distance_max_24h', alias: 'distance' };
  await world.apply(service('with_default', [{ ...withDefault, defaultValue: { $case: 'int64Value', value: -5n } }]));
  const read = async (keys: Record<string, string[]>, asOfUs: number) =>
    readAnswer(await world.client.getFeatures(request({ service: 'with_default', keys, asOfUs })))[0];
  expect(await read({ origin: ['Q'], destination: ['Q'] }, NOON_US)).toEqual({ distance: [-5, 'DEFAULTED'] });
  expect(await read(ordAtl, NOON_US + 48 * HOUR_US)).toEqual({ distance: [-5, 'DEFAULTED'] });
});

test('a registry change is followed without a restart, and the older version is still served', async () => {
  const mean = { view: 'route_delays', feature: 'delay_mean_24h', alias: 'a' };
  await world.apply(service('moving', [mean]));
  const first = await world.client.getFeatures(request({ service: 'moving', keys: ordAtl, asOfUs: NOON_US }));
  await world.apply(service('moving', [mean, { view: 'route_delays', feature: 'flights_24h', alias: 'b' }]));
  const second = await world.client.getFeatures(request({ service: 'moving', keys: ordAtl, asOfUs: NOON_US }));
  expect(second.version).not.toBe(first.version);
  expect(readAnswer(second)).toEqual([{ a: [15, 'PRESENT'], b: [3, 'PRESENT'] }]);
  const old = await world.client.getFeatures(
    request({ service: 'moving', keys: ordAtl, asOfUs: NOON_US, more: { version: first.version } }),
  );
  expect(old.version).toBe(first.version);
  expect(readAnswer(old)).toEqual([{ a: [15, 'PRESENT'] }]);
});

test('bad requests name the value and the remedy, and the service goes on', async () => {
  const cases: [string, Parameters<typeof request>[0], string, string][] = [
    ['unknown service', { service: 'nope', keys: ordAtl }, 'UNKNOWN_FEATURE_SERVICE', '"nope"'],
    [
      'unknown version',
      { service: 'delays', keys: ordAtl, more: { version: 'abc' } },
      'UNKNOWN_FEATURE_SERVICE',
      '"abc"',
    ],
    ['missing join key', { service: 'delays', keys: { origin: ['ORD'] } }, 'MISSING_JOIN_KEY', '"destination"'],
    ['unknown join key', { service: 'delays', keys: { ...ordAtl, tail: ['x'] } }, 'UNKNOWN_JOIN_KEY', '"tail"'],
    ['wrong type', { service: 'delays', keys: { origin: [1n], destination: ['ATL'] } }, 'WRONG_TYPE', '"origin"'],
    ['zero rows', { service: 'delays', keys: { origin: [], destination: [] } }, 'INVALID_ARGUMENT', '0 rows'],
    [
      'uneven',
      { service: 'delays', keys: { origin: ['a', 'b'], destination: ['c'] } },
      'INVALID_ARGUMENT',
      'destination',
    ],
    [
      'uneven as_of',
      { service: 'delays', keys: ordAtl, more: { asOfUsByRow: [1n, 2n] } },
      'INVALID_ARGUMENT',
      'as_of_us_by_row',
    ],
  ];
  for (const [label, input, reason, named] of cases) {
    await expect(world.client.getFeatures(request(input)), label).rejects.toMatchObject({
      reason,
      message: expect.stringContaining(named),
    });
  }
  const nullKey = request({ service: 'delays', keys: { origin: ['ORD', ''], destination: ['ATL', 'ATL'] } });
  const origin = nullKey.keys[0];
  if (origin) origin.nulls = Buffer.from([0, 1]);
  await expect(world.client.getFeatures(nullKey)).rejects.toMatchObject({
    reason: 'NULL_JOIN_KEY',
    metadata: { joinKey: 'origin', row: '1' },
  });
  const alive = await world.client.getFeatures(request({ service: 'delays', keys: ordAtl, asOfUs: NOON_US }));
  expect(readAnswer(alive)[0]?.route_delays__flights_24h).toEqual([3, 'PRESENT']);
});

test('10,000 rows are read and 10,001 are refused with the limit and the value', async () => {
  const rows = (count: number) => ({
    service: 'delays',
    keys: { origin: new Array<string>(count).fill('ORD'), destination: new Array<string>(count).fill('ATL') },
    asOfUs: NOON_US,
  });
  const answer = await world.client.getFeatures(request(rows(10_000)));
  expect(answer.statuses.length).toBe(40_000);
  await expect(world.client.getFeatures(request(rows(10_001)))).rejects.toMatchObject({
    reason: 'TOO_MANY_ROWS',
    metadata: { limit: '10000', rows: '10001' },
  });
});

test('a read before the first step is OUT_OF_ROW, and history answers it when that is allowed', async () => {
  const fields = [
    { name: 'origin', type: 'STRING', nullable: false },
    { name: 'destination', type: 'STRING', nullable: false },
    { name: 'airline_id', type: 'INT64', nullable: false },
    { name: 'delay', type: 'DOUBLE', nullable: true },
    { name: 'distance', type: 'INT64', nullable: false },
    { name: 'tail', type: 'STRING', nullable: false },
  ] as const;
  const history = await openHistory({ url: world.mesh.clickhouse.url, telemetry: world.telemetry });
  await ensureEventTable(history, { name: 'flights', fields });
  const batch = {
    source: 'flights',
    sourceVersion: '',
    knownTimeUs: NOON_US,
    ids: flights.map((_, i) => `flight-${i}`),
    payloadHashes: new BigUint64Array(flights.length),
    ...flightColumns(flights),
  };
  // two of the three flights are too old for the row's head: it starts after the second, an hour before noon
  const asOfUs = NOON_US - 90 * 60 * SECOND_US;
  const read = async (allowHistory: boolean, timeoutMs: number) =>
    readAnswer(
      await world.client.getFeatures(request({ service: 'delays', keys: ordAtl, asOfUs, more: { allowHistory } }), {
        timeoutMs,
      }),
    )[0];
  const outOfRow = Array(4).fill('OUT_OF_ROW');
  const statuses = (row: Awaited<ReturnType<typeof read>>) => Object.values(row ?? {}).map(([, status]) => status);
  expect(statuses(await read(false, 5_000))).toEqual(outOfRow);
  // history has not come to the row's events yet: what it says would be wrong
  expect(statuses(await read(true, 1_000))).toEqual(outOfRow);
  const waiting = read(true, 20_000);
  await insertBatches(history, { name: 'flights', fields }, [{ seq: 1, batch }]);
  await history.close();
  expect(await waiting).toEqual({
    route_delays__flights_24h: [1, 'PRESENT'],
    route_delays__delay_mean_24h: [10, 'PRESENT'],
    route_delays__distance_max_24h: [606, 'PRESENT'],
    route_delays__tail_last_24h: ['N1', 'PRESENT'],
  });
});

test('REST answers people in JSON', async () => {
  const url = `http://${world.online.http}/v1/feature-services/delays/features`;
  const post = async (body: unknown) => {
    const answer = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    });
    return { code: answer.status, json: (await answer.json()) as never };
  };
  const read = await post({ entities: [{ origin: 'ORD', destination: 'ATL' }], as_of: '2001-03-01T12:00:00Z' });
  expect(read).toMatchObject({
    code: 200,
    json: {
      feature_service: 'delays',
      rows: [
        {
          as_of: '2001-03-01T12:00:00.000000Z',
          features: {
            route_delays__flights_24h: { value: 3, status: 'PRESENT', age_ms: 60_000 },
            route_delays__delay_mean_24h: { value: 15, status: 'PRESENT' },
            route_delays__tail_last_24h: { value: 'N3', status: 'PRESENT' },
          },
        },
      ],
    },
  });
  const entity = { origin: 'ORD', destination: 'ATL' };
  const bad: [unknown, number, string][] = [
    ['{"entities":[', 400, 'MALFORMED_PAYLOAD'],
    [{ entities: [] }, 400, 'INVALID_ARGUMENT'],
    [{ entities: [{ origin: 'ORD' }] }, 400, 'MISSING_JOIN_KEY'],
    [{ entities: [{ origin: null, destination: 'ATL' }] }, 400, 'NULL_JOIN_KEY'],
    [{ entities: [{ ...entity, x: 1 }] }, 400, 'UNKNOWN_JOIN_KEY'],
    [{ entities: [{ origin: 5, destination: 'ATL' }] }, 400, 'WRONG_TYPE'],
    [{ entities: [entity], as_of: 'noon' }, 400, 'INVALID_ARGUMENT'],
    [{ entities: new Array(10_001).fill(entity) }, 400, 'TOO_MANY_ROWS'],
  ];
  for (const [body, code, reason] of bad) expect(await post(body)).toMatchObject({ code, json: { error: { reason } } });
  const unknown = await fetch(`http://${world.online.http}/v1/feature-services/nope/features`, { method: 'POST' });
  expect(unknown.status).toBeGreaterThanOrEqual(400);
  const metrics = await (await fetch(`http://${world.online.http}/metrics`)).text();
  expect(metrics).toContain('millrace_serving_read_seconds_bucket');
  expect(metrics).toMatch(/millrace_serving_values_total\{[^}]*status="PRESENT"/);
});

test('usage names who read what and when last, and what nobody reads', async () => {
  await world.apply(service('counted', [{ view: 'route_delays', feature: 'tail_last_24h', alias: 'tail' }]));
  const read = request({ service: 'counted', keys: { origin: ['ORD', 'X'], destination: ['ATL', 'Y'] } });
  for (const caller of ['ranking', 'ranking', 'fraud'])
    await world.client.getFeatures(read, { metadata: { 'x-millrace-caller': caller } });
  const usage = async (query: string) => (await fetch(`http://${world.online.http}/v1/usage${query}`)).json();
  const { used, unused } = (await usage('?days=2')) as {
    used: { feature_service: string; last_read: string }[];
    unused: unknown[];
  };
  const counted = used.filter(({ feature_service }) => feature_service === 'counted');
  expect(counted).toMatchObject([
    { view: 'route_delays', feature: 'tail_last_24h', consumer: 'ranking', requests: 2, rows: 4 },
    { view: 'route_delays', feature: 'tail_last_24h', consumer: 'fraud', requests: 1, rows: 2 },
  ]);
  expect(Math.abs(Date.parse(counted[0]?.last_read ?? '') - Date.now())).toBeLessThan(60_000);
  expect(unused).toEqual([{ view: 'airline_delays', feature: 'flights_1h' }]);
  expect(await usage('?days=0')).toMatchObject({ error: { reason: 'INVALID_ARGUMENT' } });

  const endpoints = join(world.mesh.dir, 'endpoints.json');
  writeFileSync(endpoints, JSON.stringify({ services: { 'online-serving': world.online }, stores: {} }));
  const command = await runMillrace(world.mesh.dir, ['usage', '--days', '2', '--endpoints', endpoints]);
  expect(command).toMatchObject({ code: 0, err: '' });
  expect(command.out).toMatch(/route_delays +│ tail_last_24h +│ counted +│ ranking +│ 2 +│ 4 +│ 20/);
  expect(command.out).toContain('1 features\n  airline_delays:flights_1h\n');
});

test('a paused Redis: partial answers are UNAVAILABLE before the deadline, others fail, and it recovers', async () => {
  process.kill(world.mesh.redis.pid, 'SIGSTOP');
  try {
    const startedMs = performance.now();
    const answer = await world.client.getFeatures(
      request({ service: 'delays', keys: ordAtl, asOfUs: NOON_US, more: { allowPartial: true } }),
      { timeoutMs: 800 },
    );
    expect(performance.now() - startedMs).toBeLessThan(800);
    expect([...answer.statuses]).toEqual([6, 6, 6, 6]);
    await expect(
      world.client.getFeatures(request({ service: 'delays', keys: ordAtl, asOfUs: NOON_US }), { timeoutMs: 300 }),
    ).rejects.toMatchObject({ reason: 'DEADLINE_EXCEEDED' });
    await expect(
      world.client.getFeatures(request({ service: 'delays', keys: ordAtl, asOfUs: NOON_US }), { timeoutMs: 5_000 }),
    ).rejects.toMatchObject({ reason: 'STORE_UNAVAILABLE' });
  } finally {
    process.kill(world.mesh.redis.pid, 'SIGCONT');
  }
  await eventually(async () => {
    const answer = await world.client.getFeatures(request({ service: 'delays', keys: ordAtl, asOfUs: NOON_US }));
    return answer.statuses[0] === 1;
  });
});

test('Redis is killed and comes back: errors meanwhile, answers again after', async () => {
  await world.mesh.redis.kill9();
  await expect(
    world.client.getFeatures(request({ service: 'delays', keys: ordAtl, asOfUs: NOON_US })),
  ).rejects.toMatchObject({ reason: 'STORE_UNAVAILABLE' });
  await world.mesh.redis.restart();
  await eventually(
    () =>
      world.write(world.definition('route_delays'), ['ORD', 'ATL'], rowOf(world.definition('route_delays'), flights)),
    { timeoutMs: 20_000 },
  );
  await eventually(
    async () => {
      const answer = await world.client.getFeatures(request({ service: 'delays', keys: ordAtl, asOfUs: NOON_US }));
      expect([...answer.statuses]).toEqual([1, 1, 1, 1]);
    },
    { timeoutMs: 20_000 },
  );
});
