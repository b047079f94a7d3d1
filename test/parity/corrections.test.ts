import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { compute, ingestion, materialize, serving } from '@millrace/contracts';
import { connect } from '@millrace/rpc';
import {
  allFeatures,
  double,
  entity,
  featureService,
  featureView,
  int64,
  lifetime,
  session,
  sliding,
  source,
  string,
} from '@millrace/sdk';
import { eventually } from '@millrace/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type FullMesh, readRequest, startFullMesh, stringKeys } from '../support/full-mesh.ts';
import { mulberry, served } from '../support/served-samples.ts';
import { bruteForce, type Order, type Version } from './corrections-oracle.ts';

const minuteUs = 60_000_000;
const hourUs = 60 * minuteUs;
const startUs = Date.UTC(2024, 2, 1) * 1000;

const orders = source('orders', {
  key: 'shop',
  partitions: 3,
  changes: 'upsert',
  fields: { shop: string(), amount: double({ nullable: true }), items: int64(), channel: string() },
});
const shop = entity('shop', { joinKeys: { shop: 'STRING' } });
const windows = {
  s60: sliding('60m', { hop: '5m' }),
  s24: sliding('24h', { hop: '1h' }),
  all: lifetime(),
  visit: session('20m'),
} as const;
const view = featureView('orders_by_shop', {
  entity: shop,
  source: orders,
  features: (of) =>
    Object.fromEntries(
      Object.entries(windows).flatMap(([name, window]) => [
        [`count_${name}`, of.count({ window })],
        [`items_${name}`, of.sum('items', { window })],
        [`max_${name}`, of.max('amount', { window })],
        [`web_${name}`, of.count({ window, filter: 'channel == "web"' })],
        [`first_${name}`, of.first('items', { window })],
        [`last_${name}`, of.last('items', { window })],
        [`channels_${name}`, of.lastN('channel', { window, n: 3 })],
        [`mean_${name}`, of.mean('amount', { window })],
      ]),
    ),
});
const service = featureService('shops', { features: [allFeatures(view)] });
/** Made when everything has been corrected already. */
const late = featureView('late_by_shop', {
  entity: shop,
  source: orders,
  features: (of) => ({
    count_all: of.count({ window: windows.all }),
    last_visit: of.last('items', { window: windows.visit }),
    max_s24: of.max('amount', { window: windows.s24 }),
  }),
});
const shops = Array.from({ length: 8 }, (_, index) => `shop-${index}`);

let mesh: FullMesh;
let frontierUs = startUs;
let place = 0;
const random = mulberry(7);
const current = new Map<string, Version>();
const everSeen: string[] = [];
const sent: ingestion.Event[] = [];

beforeAll(async () => {
  mesh = await startFullMesh();
  await mesh.apply(orders, shop, view, service);
  await mesh.viewsReady(1);
}, 180_000);

afterAll(() => mesh?.close());

test('inserts, corrections, moves, deletions and redeliveries in any order: served = SQL as of the position = brute force, through crashes of compute', async () => {
  const samples: compute.Sample[] = [];
  let features: readonly string[] = [];
  for (let round = 0; round < 14; round++) {
    const position = await publish(Array.from({ length: 40 }, nextOperation).flat());
    if (round % 4 === 3) {
      // at a random time between the correction and the state that reflects it
      await new Promise((resolve) => setTimeout(resolve, random() * 900));
      const killed = mesh.service('feature-compute');
      await killed.kill9();
      await killed.restart();
    }
    await settled(position);
    const asOf = shops.map(() => frontierUs + 1 + Math.floor(random() ** 3 * 26 * 60) * minuteUs);
    const response = await read(asOf);
    features = response.features.map(({ name }) => name.slice('orders_by_shop__'.length));
    for (const [row, name] of shops.entries()) {
      const at = response.views[0]?.positions[row] ?? 0n;
      const expected = bruteForce(current, name, asOf[row] ?? 0, features);
      const hasEvents = [...current.values()].some((order) => order.shop === name);
      const statuses = features.map((_, index) => response.statuses[row * features.length + index]);
      if (!hasEvents) {
        expect(new Set(statuses), `${name} of round ${round}`).toEqual(new Set([serving.ValueStatus.NOT_FOUND]));
        continue;
      }
      const values = served(response, row);
      for (const [index, feature] of features.entries())
        expect(plain(values[index]), `${feature} of ${name} in round ${round}`).toEqual(
          typeof expected[index] === 'number' && feature.startsWith('mean_')
            ? expect.closeTo(Number(expected[index]), 6)
            : expected[index],
        );
      samples.push({ keys: new Map([['shop', name]]), asOfUs: BigInt(asOf[row] ?? 0), position: at, served: values });
    }
  }
  expect(samples.length).toBeGreaterThan(60);
  const outcome = await mesh.clients.compute.verifySamples(
    { view: 'orders_by_shop', version: '', features: [...features], samples },
    { timeoutMs: 120_000 },
  );
  expect(Number(outcome.compared)).toBe(samples.length * features.length);
  expect(outcome.mismatches.slice(0, 3)).toEqual([]);
}, 240_000);

test('a view that is made afterwards, and history before a row begins, have the events as they are', async () => {
  await mesh.apply(late, featureService('late', { features: [allFeatures(late)] }));
  await mesh.viewsReady(2);
  for (const [name, hours] of [
    ['late', -1],
    ['shops', 6],
  ] as const) {
    const asOf = shops.map(() => frontierUs - hours * hourUs);
    const response = await read(asOf, { name, allowHistory: true });
    const features = response.features.map(({ name: full }) => full.slice(full.indexOf('__') + 2));
    let compared = 0;
    for (const [row, code] of shops.entries()) {
      const expected = bruteForce(current, code, asOf[row] ?? 0, features);
      if (expected[features.indexOf('count_all')] === 0) continue;
      const values = served(response, row);
      for (const [index, feature] of features.entries())
        expect(plain(values[index]), `${feature} of ${code} of ${name}`).toEqual(
          feature.startsWith('mean_') && expected[index] !== null
            ? expect.closeTo(Number(expected[index]), 6)
            : expected[index],
        );
      compared++;
    }
    expect(compared).toBeGreaterThan(3);
  }
  await materialized(frontierUs + hourUs);
}, 60_000);

/** The view's values of all shops as of a time, by `Materialize`, are those of the orders as they are. */
async function materialized(asOfUs: number): Promise<void> {
  const { grpc } = mesh.service('feature-compute');
  const client = connect(materialize.MaterializeServiceService, grpc, { defaultTimeoutMs: 20_000 });
  const range = { fromUs: BigInt(asOfUs), toUs: BigInt(asOfUs + 1), everyUs: BigInt(hourUs) };
  const { materialization: job } = await client.materialize({
    view: 'late_by_shop',
    version: '',
    allowFailedExpectations: false,
    ...range,
  });
  await eventually(async () => {
    const [now] = (await client.listMaterializations({ id: job?.id ?? '' })).materializations;
    return now?.state === materialize.MaterializationState.DONE;
  });
  client.close();
  const query =
    'SELECT shop, count_all, last_visit, max_s24 FROM millrace.features_late_by_shop FINAL ORDER BY shop FORMAT JSONCompactEachRow SETTINGS output_format_json_quote_64bit_integers = 0';
  const response = await fetch(`${mesh.stores.clickhouse.url}/?query=${encodeURIComponent(query)}`);
  const rows = (await response.text())
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as unknown[]);
  const expected = shops.flatMap((name) => {
    const values = bruteForce(current, name, asOfUs, ['count_all', 'last_visit', 'max_s24']);
    return values[0] === 0 ? [] : [[name, ...values]];
  });
  expect(rows).toEqual(expected);
}

const payments = source('payments', { changes: 'upsert', fields: { shop: string(), amount: double() } });
const paid = featureView('payments_by_shop', {
  entity: shop,
  source: payments,
  features: (of) => ({
    total: of.sum('amount', { window: lifetime() }),
    payments: of.count({ window: sliding('24h') }),
    largest: of.max('amount', { window: sliding('24h') }),
  }),
});

test('a training set has the version of an event that was known at the time of the label, and with complete the last one', async () => {
  await mesh.apply(payments, paid, featureService('paid', { features: [allFeatures(paid)] }));
  await mesh.viewsReady(3);
  const longAgoUs = Date.now() * 1000 - hourUs;
  const send = async (events: readonly Pick<ingestion.Event, 'id' | 'json' | 'operation'>[]) => {
    const { position, rejections } = await mesh.clients.ingestion.publish({
      source: 'payments',
      events: events.map((event) => ({ eventTimeUs: BigInt(longAgoUs), ...event })),
    });
    expect(rejections).toEqual([]);
    await settled(position);
    await new Promise((resolve) => setTimeout(resolve, 20));
    const labelUs = Date.now() * 1000;
    await new Promise((resolve) => setTimeout(resolve, 20));
    return labelUs;
  };
  const payment = (id: string, name: string, amount: number) => ({
    id,
    json: Buffer.from(JSON.stringify({ shop: name, amount })),
  });
  const labelsUs = [
    await send([payment('1', 'a', 5), payment('2', 'a', 7)]),
    await send([payment('1', 'a', 50)]),
    await send([payment('2', 'b', 7)]),
    await send([{ id: '1', json: Buffer.alloc(0), operation: ingestion.Operation.DELETE }]),
    await send([payment('1', 'a', 1)]),
  ];
  const rows = labelsUs.flatMap((us) =>
    ["'a'", "'b'"].map((name) => `(${name}, fromUnixTimestamp64Micro(toInt64(${us})))`),
  );
  const labels = `SELECT c1 AS shop, c2 AS label_time FROM values('c1 String, c2 DateTime64(6)', ${rows.join(', ')})`;
  expect(await trainingSet(labels, false)).toEqual([
    'a 12 2 7',
    'b null null null',
    'a 57 2 50',
    'b null null null',
    'a 50 1 50',
    'b 7 1 7',
    'a null null null',
    'b 7 1 7',
    'a 1 1 1',
    'b 7 1 7',
  ]);
  expect(await trainingSet(labels, true)).toEqual(labelsUs.flatMap(() => ['a 1 1 1', 'b 7 1 7']));
}, 120_000);

/** The rows in the order of the label times, as text. */
async function trainingSet(labelQuery: string, complete: boolean): Promise<readonly string[]> {
  const request = compute.BuildTrainingSetRequest.fromPartial({
    featureService: 'paid',
    labelQuery,
    complete,
    allowLeakage: true,
    leakageReason: 'a test',
  });
  const pieces: Buffer[] = [];
  for await (const { part } of mesh.clients.compute.buildTrainingSet(request, { timeoutMs: 60_000 }))
    if (part?.$case === 'parquet') pieces.push(part.value);
  const file = join(mesh.dir, `training-${complete}.parquet`);
  writeFileSync(file, Buffer.concat(pieces));
  const columns = ['shop', 'total', 'payments', 'largest']
    .map((name) => `ifNull(toString(${name === 'shop' ? name : `payments_by_shop__${name}`}), 'null')`)
    .join(", ' ', ");
  const query = `SELECT concat(${columns}) FROM file('${file}', Parquet) ORDER BY label_time, shop FORMAT TSV`;
  const response = await fetch(`${mesh.stores.clickhouse.url}/?query=${encodeURIComponent(query)}`);
  return (await response.text()).trim().split('\n');
}

async function settled(position: bigint): Promise<void> {
  await eventually(
    async () => {
      const status = await mesh.clients.compute.getStatus({}).catch(() => undefined);
      return status !== undefined && status.rowPosition >= position;
    },
    { timeoutMs: 30_000 },
  );
}

function read(asOf: readonly number[], { name = 'shops', allowHistory = false } = {}) {
  const request = readRequest(name, [stringKeys('shop', shops)], 0);
  return mesh.clients.features.getFeatures({ ...request, asOfUsByRow: asOf.map(BigInt), allowHistory });
}

function plain(value: compute.SampleValue | undefined): unknown {
  const kind = value?.kind;
  if (kind === undefined) return null;
  if (kind.$case === 'listValue') return kind.value.values.map((each) => each.kind?.value);
  return typeof kind.value === 'bigint' ? Number(kind.value) : kind.value;
}

/** One operation; sometimes one that was sent before, again. */
function nextOperation(): ingestion.Event[] {
  place++;
  const dice = random();
  const known = everSeen[Math.floor(random() * everSeen.length)];
  if (known === undefined || dice < 0.55) return [put(`o-${place}`, nextOrder(), nextTimeUs())];
  const before = current.get(known);
  if (dice < 0.7 && before) return [put(known, { ...before, amount: Math.round(random() * 1e4) / 100 }, before.atUs)];
  if (dice < 0.8 && before) return [put(known, { ...nextOrder() }, before.atUs)];
  if (dice < 0.85) return [put(known, nextOrder(), nextTimeUs())];
  if (dice < 0.97) return [remove(random() < 0.1 ? `never-${place}` : known)];
  const last = sent.at(-1);
  return last === undefined ? [] : [last];
}

function put(id: string, { shop: name, amount, items, channel }: Order, atUs: number): ingestion.Event {
  const fields = { shop: name, amount, items, channel };
  const event = { id, eventTimeUs: BigInt(atUs), json: Buffer.from(JSON.stringify(fields)) };
  // what says nothing new is a redelivery: its place stays
  const before = current.get(id);
  const isSame = before && before.atUs === atUs && JSON.stringify(fieldsOf(before)) === JSON.stringify(fields);
  if (!isSame) current.set(id, { ...fields, atUs, place });
  everSeen.push(id);
  sent.push(event);
  return event;
}

function fieldsOf({ shop: name, amount, items, channel }: Order): Order {
  return { shop: name, amount, items, channel };
}

function remove(id: string): ingestion.Event {
  current.delete(id);
  const event = { id, eventTimeUs: 0n, json: Buffer.alloc(0), operation: ingestion.Operation.DELETE };
  sent.push(event);
  return event;
}

function nextOrder(): Order {
  return {
    shop: shops[Math.floor(random() ** 2 * shops.length)] ?? '',
    amount: random() < 0.1 ? null : Math.round(random() * 1e4) / 100,
    items: Math.floor(random() * 9),
    channel: ['web', 'app', 'phone'][Math.floor(random() * 3)] ?? '',
  };
}

function nextTimeUs(): number {
  frontierUs += Math.floor(random() * 3) * minuteUs;
  return frontierUs - (random() < 0.2 ? Math.floor(random() * 300) * minuteUs : 0);
}

async function publish(events: ingestion.Event[]): Promise<bigint> {
  const { rejections, position } = await mesh.clients.ingestion.publish({ source: 'orders', events });
  expect(rejections).toEqual([]);
  return position;
}
