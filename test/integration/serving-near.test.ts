import { allFeatures, double, entity, featureService, featureView, lifetime, source, string } from '@millrace/sdk';
import { eventually } from '@millrace/testkit';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { column, type FullMesh, readRequest, startFullMesh, stringKeys } from '../support/full-mesh.ts';

const ttlMs = 3_000;
const visits = source('visits', { key: 'page', fields: { page: string(), spent: double() } });
const page = entity('page', { joinKeys: { page: 'STRING' } });
const view = featureView('visits_by_page', {
  entity: page,
  source: visits,
  features: (of) => ({ visits: of.count({ window: lifetime() }) }),
});
let mesh: FullMesh;
let sequence = 0;

beforeAll(async () => {
  const env = { MILLRACE_SERVING_NEAR_TTL_MS: String(ttlMs), MILLRACE_COMPUTE_TELL_CHANGES: 'true' };
  mesh = await startFullMesh({ env });
  await mesh.apply(visits, page, view, featureService('pages', { features: [allFeatures(view)] }));
  await mesh.viewsReady(1);
}, 120_000);

afterAll(() => mesh?.close());

async function publish(...pages: readonly string[]): Promise<void> {
  await mesh.clients.ingestion.publish({
    source: 'visits',
    events: pages.map((name) => ({
      id: `v-${sequence++}`,
      eventTimeUs: BigInt(Date.now()) * 1000n,
      json: Buffer.from(JSON.stringify({ page: name, spent: 1 })),
    })),
  });
}

const visitsOf = async (name: string) => {
  const asOfUs = (Date.now() + 60_000) * 1000;
  const answer = await mesh.clients.features.getFeatures(readRequest('pages', [stringKeys('page', [name])], asOfUs));
  return column(answer, 'visits_by_page__visits')[0];
};
const hits = async () => {
  const text = await (await fetch(`http://${mesh.service('online-serving').http}/metrics`)).text();
  return Number(/^millrace_serving_entities_total\{outcome="hit"[^}]*\} (\d+)/m.exec(text)?.[1] ?? 0);
};

test('a kept row is forgotten as soon as feature-compute tells of a change', async () => {
  await publish('a', 'a', 'b');
  await eventually(async () => (await visitsOf('a')) === 2);
  const before = await hits();
  for (let i = 0; i < 20; i++) expect(await visitsOf('a')).toBe(2);
  expect(await hits()).toBeGreaterThanOrEqual(before + 18);
  for (let visit = 3; visit < 8; visit++) {
    await visitsOf('a');
    await publish('a');
    const changedMs = performance.now();
    await eventually(async () => (await visitsOf('a')) === visit);
    expect(performance.now() - changedMs).toBeLessThan(ttlMs * 0.8);
  }
});

test('with nobody to tell of changes a row is never older than the stated bound', async () => {
  await eventually(async () => (await visitsOf('b')) === 1);
  await mesh.stores.nats.kill9();
  const redis = new Redis(mesh.stores.redis.url);
  try {
    const [field] = await redis.hkeys('{page:a}');
    const row = await redis.hgetBuffer('{page:a}', field ?? '');
    await new Promise((resolve) => setTimeout(resolve, ttlMs));
    expect(await visitsOf('b')).toBe(1);
    await redis.hset('{page:b}', field ?? '', row ?? Buffer.alloc(0));
    const writtenMs = performance.now();
    expect(await visitsOf('b')).toBe(1);
    await eventually(async () => (await visitsOf('b')) === 7);
    expect(performance.now() - writtenMs).toBeLessThan(ttlMs + 300);
  } finally {
    redis.disconnect();
  }
});
