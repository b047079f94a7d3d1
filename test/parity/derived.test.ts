import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type compute, type ingestion, serving } from '@millrace/contracts';
import { randomOf } from '@millrace/features/testing';
import { eventTable, type History, maxSeq, openHistory } from '@millrace/history';
import {
  cel,
  deployment,
  double,
  entity,
  feature,
  featureService,
  featureView,
  int64,
  lifetime,
  model,
  sliding,
  source,
  string,
  timestamp,
} from '@millrace/sdk';
import { eventually } from '@millrace/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runMillrace } from '../integration/cli-world.ts';
import { type FullMesh, startFullMesh, stringKeys } from '../support/full-mesh.ts';
import { cellsOf, plainValue, statusName, trainingSetOf } from '../support/training-answer.ts';

const orders = source('orders', {
  fields: { shop: string(), carrier: string(), amount: double({ nullable: true }), items: int64() },
});
const shop = entity('shop', { joinKeys: { shop: 'STRING' } });
const carrier = entity('carrier', { joinKeys: { carrier: 'STRING' } });
const byShop = featureView('by_shop', {
  entity: shop,
  source: orders,
  features: (of) => ({
    n_24h: of.count({ window: sliding('24h') }),
    net_24h: of.sum(cel('coalesce(amount, 0.0) * 0.8'), { window: sliding('24h') }),
    items_all: of.sum('items', { window: lifetime() }),
    last_carrier: of.last('carrier', { window: lifetime() }),
  }),
  derived: {
    net_each: 'net_24h / n_24h',
    busy: 'n_24h > 3 && net_each < 40.0',
  },
});
const byCarrier = featureView('by_carrier', {
  entity: carrier,
  source: orders,
  features: (of) => ({ n_all: of.count({ window: lifetime() }), mean: of.mean('amount', { window: sliding('24h') }) }),
});
const service = featureService('checkout', {
  features: [
    feature(byShop, 'n_24h', { as: 'n' }),
    feature(byShop, 'net_each', { as: 'net_each' }),
    feature(byShop, 'busy', { as: 'busy' }),
    feature(byShop, 'last_carrier', { as: 'last_carrier' }),
    feature(byCarrier, 'mean', { as: 'carrier_mean', hidden: true }),
    feature(byCarrier, 'n_all', { as: 'carrier_n', hidden: true, default: 1 }),
    feature(byShop, 'items_all', { as: 'items', hidden: true }),
  ],
  derived: {
    above_carrier: 'basket / carrier_mean',
    share: 'double(n) / carrier_n',
    label: 'last_carrier.lowerAscii() + ":" + string(items * 3)',
    handled: 'note == null ? coalesce(above_carrier, -1.0) : double(note.size())',
    since_visit: '(as_of - visited) / duration("1h")',
    daily: 'sin(double(int(as_of) % 86400) * 7.27220521664304e-5)',
    hour: 'as_of.getHours()',
  },
  request: { basket: double(), note: string({ nullable: true }), visited: timestamp({ nullable: true }) },
});
const outputs = [
  'n',
  'net_each',
  'busy',
  'last_carrier',
  'above_carrier',
  'share',
  'label',
  'handled',
  'since_visit',
  'daily',
  'hour',
];

const shops = ['north', 'south', "it's", 'new'];
const carriers = ['DHL', 'UPS', 'None'];
const startUs = Date.UTC(2024, 2, 1) * 1000;
const minuteUs = 60_000_000;
const random = randomOf(7);
const rows = Array.from({ length: 60 }, (_, at) => ({
  // every shop, and one that never ordered; events lie every ten minutes, and reads between them
  shop: shops[at % shops.length] ?? '',
  carrier: carriers[Math.floor(random() * 3)] ?? '',
  asOfUs: startUs + (2_000 + at * 31) * minuteUs + 1,
  basket: Math.round(random() * 1e4) / 64,
  note: random() < 0.5 ? null : 'an é note',
  visitedUs: random() < 0.3 ? null : startUs + Math.floor(random() * 2_000) * minuteUs,
}));

const modelDir = join(import.meta.dirname, '..', 'fixtures', 'onnx');
let mesh: FullMesh;
let history: History;

beforeAll(async () => {
  mesh = await startFullMesh({ modelDir });
  await mesh.apply(orders, shop, carrier, byShop, byCarrier, service);
  await mesh.viewsReady(2);
  const events = Array.from({ length: 200 }, (_, at): ingestion.Event => {
    const fields = {
      shop: shops[Math.floor(random() * 3)],
      carrier: carriers[Math.floor(random() * 2)],
      amount: random() < 0.1 ? null : Math.round(random() * 1e4) / 64,
      items: Math.floor(random() * 9),
    };
    return {
      id: `o-${at}`,
      eventTimeUs: BigInt(startUs + at * 10 * minuteUs),
      json: Buffer.from(JSON.stringify(fields)),
    };
  });
  const { position } = await mesh.clients.ingestion.publish({ source: 'orders', events });
  await eventually(async () => (await mesh.clients.compute.getStatus({})).rowPosition >= position, {
    timeoutMs: 20_000,
  });
  history = await openHistory({ url: mesh.stores.clickhouse.url });
  await eventually(async () => BigInt(await maxSeq(history, eventTable('orders'))) >= position, { timeoutMs: 20_000 });
}, 180_000);

afterAll(async () => {
  await history?.close();
  await mesh?.close();
});

function request(): serving.GetFeaturesRequest {
  const column = { doubles: [], int64s: [], strings: [], bools: [], nulls: Buffer.alloc(0) };
  const nullsOf = (values: readonly unknown[]) => Buffer.from(values.map((value) => Number(value === null)));
  return {
    featureService: 'checkout',
    version: '',
    keys: [
      stringKeys(
        'shop',
        rows.map((row) => row.shop),
      ),
      stringKeys(
        'carrier',
        rows.map((row) => row.carrier),
      ),
    ],
    asOfUs: 0n,
    asOfUsByRow: rows.map((row) => BigInt(row.asOfUs)),
    allowPartial: false,
    allowHistory: true,
    omitMetadata: false,
    requestData: [
      { ...column, name: 'basket', doubles: rows.map((row) => row.basket) },
      {
        ...column,
        name: 'note',
        strings: rows.map((row) => row.note ?? ''),
        nulls: nullsOf(rows.map((row) => row.note)),
      },
      {
        ...column,
        name: 'visited',
        int64s: rows.map((row) => BigInt(row.visitedUs ?? 0)),
        nulls: nullsOf(rows.map((row) => row.visitedUs)),
      },
    ],
  };
}

const trainingSet = (changes: Partial<compute.BuildTrainingSetRequest>) =>
  trainingSetOf(mesh, { featureService: 'checkout', ...changes });
const cells = (response: serving.GetFeaturesResponse) => cellsOf(response, rows.length);

test('derived features are online what they are in a training set over the same rows and times', async () => {
  const response = await mesh.clients.features.getFeatures(request());
  expect(response.features.map(({ name }) => name)).toEqual(outputs);
  const online = cells(response);
  const literal = (text: string | null) => (text === null ? 'NULL' : `'${text.replaceAll("'", "\\'")}'`);
  const labels = rows.map(
    (row, at) => `SELECT ${at} AS id, ${literal(row.shop)} AS shop, ${literal(row.carrier)} AS carrier,
      fromUnixTimestamp64Micro(toInt64(${row.asOfUs}), 'UTC') AS label_time, toFloat64(${row.basket}) AS basket, ${literal(row.note)} AS note,
      ${row.visitedUs === null ? 'NULL' : `fromUnixTimestamp64Micro(toInt64(${row.visitedUs}), 'UTC')`} AS visited`,
  );
  const { bytes, record } = await trainingSet({ labelQuery: labels.join(' UNION ALL ') });
  const file = join(mesh.dir, 'derived.parquet');
  writeFileSync(file, bytes);
  const trained = await history.query<Record<string, unknown>>(`SELECT * FROM file('${file}', Parquet) ORDER BY id`);
  expect(trained.length).toBe(rows.length);
  let compared = 0;
  for (const [row, values] of online.entries()) {
    for (const name of outputs) {
      const cell = values.get(name);
      const inTraining = plainValue(trained[row]?.[name]);
      compared++;
      expect(trained[row]?.[`${name}__status`], `status of ${name} of row ${row}`).toBe(statusName(cell?.status));
      const where = `${name} of row ${row}: online ${String(cell?.value)}, trained ${String(inTraining)}`;
      if (typeof cell?.value === 'number' && typeof inTraining === 'number')
        expect(Math.abs(cell.value - inTraining) <= 1e-9 * Math.max(1, Math.abs(cell.value)), where).toBe(true);
      else expect(inTraining, where).toEqual(cell?.value ?? null);
    }
  }
  expect(compared).toBeGreaterThan(250);
  expect(record?.derived.map(({ name }) => name)).toContain('above_carrier');
  const again = await trainingSet({ likeId: record?.id ?? '' });
  expect(again.record?.digest).toBe(record?.digest);
  const values = online.flatMap((row) => [...row.values()]).filter(({ value }) => value !== null);
  expect(values.length).toBeGreaterThan(350);
}, 120_000);

test('what is missing says so, in derived features too', async () => {
  const [, , , missing] = cells(await mesh.clients.features.getFeatures(request()));
  const { NOT_FOUND, PRESENT } = serving.ValueStatus;
  expect(rows[3]?.shop).toBe('new');
  expect(missing?.get('net_each')).toEqual({ value: null, status: NOT_FOUND });
  expect(missing?.get('label')).toEqual({ value: null, status: NOT_FOUND });
  expect(missing?.get('hour')?.status).toBe(PRESENT);
});

test('EvaluateAsOf knows the derived features of a view', async () => {
  const row = rows.find(({ shop: name }) => name === 'north');
  if (!row) throw new Error('some row is of the north');
  const { features, results } = await mesh.clients.compute.evaluateAsOf({
    view: 'by_shop',
    version: '',
    features: ['busy', 'net_each', 'n_24h'],
    samples: [{ keys: new Map([['shop', 'north']]), asOfUs: BigInt(row.asOfUs), position: 0n, served: [] }],
  });
  const online = cells(await mesh.clients.features.getFeatures(request()))[rows.indexOf(row)];
  expect(features).toEqual(['busy', 'net_each', 'n_24h']);
  const [busy, netEach, n] = (results[0]?.values ?? []).map(({ kind }) => kind?.value);
  expect(busy).toBe(online?.get('busy')?.value);
  expect(Number(netEach)).toBeCloseTo(Number(online?.get('net_each')?.value), 9);
  expect(Number(n)).toBe(online?.get('n')?.value);
});

test('REST takes request data for each row or for all, and describes it', async () => {
  const url = `http://${mesh.service('online-serving').http}/v1/feature-services/checkout`;
  const described = (await (await fetch(url)).json()) as { request_fields: unknown };
  expect(described.request_fields).toEqual([
    { name: 'basket', type: 'DOUBLE', nullable: false },
    { name: 'note', type: 'STRING', nullable: true },
    { name: 'visited', type: 'TIMESTAMP', nullable: true },
  ]);
  const read = async (body: object) => {
    const answer = await fetch(`${url}/features`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    return (await answer.json()) as {
      rows?: { features: Record<string, { value: unknown; status: string }> }[];
      error?: { reason: string; message: string };
    };
  };
  const entities = [{ shop: 'north', carrier: 'UPS' }];
  const { rows: found } = await read({
    entities,
    as_of: '2024-03-02T10:00:00Z',
    request_data: { basket: 10, note: 'four', visited: '2024-03-02T07:00:00Z' },
  });
  expect(found?.[0]?.features.handled).toMatchObject({ value: 4, status: 'PRESENT' });
  expect(found?.[0]?.features.since_visit).toMatchObject({ value: 3, status: 'PRESENT' });
  expect(found?.[0]?.features.hour).toMatchObject({ value: 10, status: 'PRESENT' });
  expect((await read({ entities })).error).toMatchObject({ reason: 'MISSING_REQUEST_DATA' });
});

test('a model takes derived features, and the request data that they need goes on to them', async () => {
  const columns = [{ request: 'basket' }, { feature: 'half' }, { feature: 'hour' }];
  const uri = 'linear.onnx';
  const sha256 = createHash('sha256')
    .update(readFileSync(join(modelDir, uri)))
    .digest('hex');
  const scoring = featureService('scoring', {
    features: [feature(byShop, 'n_24h', { as: 'n' })],
    derived: { half: 'basket / 2.0', hour: 'as_of.getHours()' },
    request: { basket: double() },
  });
  const scorer = model('scorer', {
    uri,
    sha256,
    featureService: scoring,
    input: { name: 'X', columns },
    output: { name: 'Y', column: 0 },
  });
  await mesh.apply(scoring, scorer, deployment('scorer', { targets: [{ model: scorer }] }));
  const predict = () =>
    mesh.clients.predictions.predict({
      deployment: 'scorer',
      keys: [stringKeys('shop', ['north'])],
      requestData: [{ name: 'basket', doubles: [12] }],
      asOfUs: BigInt(Date.UTC(2024, 2, 2, 15) * 1000),
      asOfUsByRow: [],
      predictionKeys: [],
      allowHistory: true,
      omitExplanation: false,
    });
  const answer = await eventually(predict, { timeoutMs: 30_000 });
  expect(answer.vectors).toEqual([12, 6, 15]);
  expect(answer.predictions[0]?.score).toBeCloseTo(0.5 * 12 - 2 * 6 + 3.25 * 15 + 0.75, 4);
});

test('the command applies derived features in YAML and reads them with request data', async () => {
  const endpoints = join(mesh.dir, 'endpoints.json');
  const named = ['governance', 'online-serving', 'feature-compute'] as const;
  const services = Object.fromEntries(
    named.map((name) => [name, { grpc: mesh.service(name).grpc, http: mesh.service(name).http }]),
  );
  writeFileSync(endpoints, JSON.stringify({ services, stores: {} }));
  const yaml = join(mesh.dir, 'tips.yaml');
  writeFileSync(
    yaml,
    `kind: feature_service
name: tips
features: [{ view: by_shop, feature: net_each, as: each, hidden: true }]
request: { basket: DOUBLE, note: { type: STRING, nullable: true } }
derived:
  above: basket - each
  noted: { expression: note != null, description: they wrote something }
`,
  );
  const run = (...args: readonly string[]) => runMillrace(mesh.dir, [...args, '--endpoints', endpoints]);
  const applied = await run('apply', yaml);
  expect(applied, applied.err).toMatchObject({ code: 0 });
  const asOf = '2024-03-02T10:00:00Z';
  const read = await run(
    'get',
    'tips',
    'shop=north,south',
    '--data',
    'basket=100,200',
    'note=x',
    '--as-of',
    asOf,
    '--json',
  );
  expect(read, read.err).toMatchObject({ code: 0 });
  const { rows: found } = read.json<{ rows: Record<string, { value: unknown; status: string }>[] }>();
  expect(found.map((row) => Object.keys(row))).toEqual([
    ['above', 'noted'],
    ['above', 'noted'],
  ]);
  expect(found.map(({ noted }) => noted?.value)).toEqual([true, true]);
  for (const { above } of found) expect(above).toMatchObject({ value: expect.any(Number), status: 'PRESENT' });
  const wrong = await run('get', 'tips', 'shop=north', '--data', 'basket=much');
  expect(wrong).toMatchObject({ code: 1, err: expect.stringMatching(/"basket" is DOUBLE and "much" is not/) });
});
