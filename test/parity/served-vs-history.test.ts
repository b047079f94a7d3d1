import type { compute, ingestion } from '@millrace/contracts';
import {
  allFeatures,
  bool,
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
  tumbling,
} from '@millrace/sdk';
import { eventually } from '@millrace/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type FullMesh, readRequest, startFullMesh, stringKeys } from '../support/full-mesh.ts';
import { int, mulberry, served } from '../support/served-samples.ts';

const orders = source('orders', {
  key: 'shop',
  fields: {
    shop: string(),
    amount: double({ nullable: true }),
    items: int64({ nullable: true }),
    paid: bool({ nullable: true }),
    channel: string({ nullable: true }),
  },
});
const shop = entity('shop', { joinKeys: { shop: 'STRING' } });
const windows = {
  s30: sliding('30m'),
  s24: sliding('24h'),
  t1: tumbling('1h'),
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
        [`count_amount_${name}`, of.count({ window, field: 'amount' })],
        [`sum_amount_${name}`, of.sum('amount', { window })],
        [`sum_items_${name}`, of.sum('items', { window })],
        [`mean_amount_${name}`, of.mean('amount', { window })],
        [`share_paid_${name}`, of.mean('paid', { window })],
        [`min_items_${name}`, of.min('items', { window })],
        [`max_amount_${name}`, of.max('amount', { window })],
        [`variance_${name}`, of.variance('amount', { window })],
        [`stddev0_${name}`, of.stddev('amount', { window, ddof: 0 })],
        [`first_channel_${name}`, of.first('channel', { window })],
        [`last_channels_${name}`, of.lastN('channel', { window, n: 4 })],
        [`first_distinct_amounts_${name}`, of.firstDistinctN('amount', { window, n: 3 })],
        [`last_paid_${name}`, of.lastN('paid', { window, n: 2 })],
        [`top_items_${name}`, of.topK('items', { window, n: 3 })],
        [`amounts_${name}`, of.histogram('amount', { window, edges: [10, 50] })],
        [`age_paid_${name}`, of.age({ window, filter: 'paid' })],
        [`decayed_${name}`, of.decayedSum('amount', { window, halfLife: '2h' })],
        [`recent_mean_${name}`, of.decayedMean('items', { window, halfLife: '90s' })],
        [`last_items_${name}`, of.last('items', { window, filter: 'amount > 20.0 && channel != "web"' })],
      ]),
    ),
});
const service = featureService('shops', { features: [allFeatures(view)] });

const shops = Array.from({ length: 12 }, (_, index) => `shop-${index}`);
const startUs = Date.UTC(2024, 2, 1) * 1000;
const minuteUs = 60_000_000;

let mesh: FullMesh;
let frontierUs = startUs;
let sequence = 0;
const random = mulberry(42);

beforeAll(async () => {
  mesh = await startFullMesh();
  await mesh.apply(orders, shop, view, service);
  await mesh.viewsReady(1);
}, 180_000);

afterAll(() => mesh?.close());

test('what is served equals what SQL over history says, with late, duplicate, unordered and simultaneous events, at random times', async () => {
  const samples: compute.Sample[] = [];
  let features: readonly string[] = [];
  for (let round = 0; round < 40; round++) {
    const position = await publish(nextEvents(60));
    await eventually(async () => (await mesh.clients.compute.getStatus({})).rowPosition >= position, {
      timeoutMs: 20_000,
    });
    const asOf = shops.map(() =>
      BigInt(frontierUs + 1 + Math.floor(random() ** 3 * 26 * 60) * minuteUs + Math.floor(random() * 1e6)),
    );
    const response = await mesh.clients.features.getFeatures({
      ...readRequest('shops', [stringKeys('shop', shops)], 0),
      asOfUsByRow: asOf,
    });
    features = response.features.map(({ name }) => name.slice('orders_by_shop__'.length));
    for (const [row, name] of shops.entries()) {
      const at = response.views[0]?.positions[row] ?? 0n;
      if (at === 0n) continue;
      samples.push({
        keys: new Map([['shop', name]]),
        asOfUs: asOf[row] ?? 0n,
        position: at,
        served: served(response, row),
      });
    }
  }
  expect(samples.length).toBeGreaterThan(300);
  const outcome = await mesh.clients.compute.verifySamples(
    { view: 'orders_by_shop', version: '', features: [...features], samples },
    { timeoutMs: 120_000 },
  );
  expect(Number(outcome.compared)).toBe(samples.length * features.length);
  expect(
    outcome.mismatches.slice(0, 5).map((miss) => ({
      feature: miss.feature,
      served: miss.served?.kind?.value,
      expected: miss.expected?.kind?.value,
      sample: samples[miss.sample]?.asOfUs,
    })),
  ).toEqual([]);

  // the check itself can fail: one count that is off by one is found
  const wrong = samples.slice(0, 1).map((sample) => ({
    ...sample,
    served: sample.served.map((value, index) => (index === 0 ? int(1n + BigInt(value.kind?.value as bigint)) : value)),
  }));
  const caught = await mesh.clients.compute.verifySamples({
    view: 'orders_by_shop',
    version: '',
    features: [...features],
    samples: wrong,
  });
  expect(Number(caught.mismatched)).toBe(1);
}, 240_000);

function nextEvents(count: number): ingestion.Event[] {
  return Array.from({ length: count }, () => {
    sequence++;
    frontierUs += Math.floor(random() * 3) * minuteUs;
    const lateUs = random() < 0.15 ? Math.floor(random() * 300) * minuteUs : 0;
    const optional = <T>(value: T) => (random() < 0.1 ? null : value);
    const fields = {
      shop: shops[Math.floor(random() ** 2 * shops.length)],
      amount: optional(Math.round(random() * 1e4) / 100),
      items: optional(Math.floor(random() * 9)),
      paid: optional(random() < 0.7),
      channel: optional(['web', 'app', 'phone'][Math.floor(random() * 3)]),
    };
    return { id: `o-${sequence}`, eventTimeUs: BigInt(frontierUs - lateUs), json: Buffer.from(JSON.stringify(fields)) };
  });
}

/** Every tenth event is sent twice. */
async function publish(events: ingestion.Event[]): Promise<bigint> {
  const again = events.filter((_, index) => index % 10 === 0);
  const { accepted, rejections, position } = await mesh.clients.ingestion.publish({
    source: 'orders',
    events: [...events, ...again],
  });
  expect(rejections).toEqual([]);
  expect(accepted).toBe(events.length);
  return position;
}
