import { type ingestion, serving } from '@millrace/contracts';
import { entityKey, openRedis, rowField } from '@millrace/hot';
import { connect } from '@millrace/rpc';
import { allFeatures, double, entity, featureService, featureView, sliding, source, string } from '@millrace/sdk';
import { eventually } from '@millrace/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { column, type FullMesh, readRequest, startFullMesh, stringKeys } from '../support/full-mesh.ts';

const visits = source('visits', { key: 'page', fields: { page: string(), spent: double() } });
const page = entity('page', { joinKeys: { page: 'STRING' } });
const viewOf = (filter: string) =>
  featureView('visits_by_page', {
    entity: page,
    source: visits,
    features: (of) => ({ n: of.count({ window: sliding('24h'), filter }) }),
  });
const serviceOf = (filter: string) => featureService('pages', { features: [allFeatures(viewOf(filter))] });
const pages = Array.from({ length: 2_000 }, (_, index) => `page-${index}`);
const nowUs = Date.now() * 1000;

let mesh: FullMesh;

beforeAll(async () => {
  mesh = await startFullMesh();
  await mesh.apply(visits, page, viewOf('spent >= 0.0'), serviceOf('spent >= 0.0'));
  await mesh.viewsReady(1);
}, 180_000);

afterAll(() => mesh?.close());

test('while a new version of a view is being filled the old one answers, then all features switch at once and the old rows go', async () => {
  let position = 0n;
  for (let round = 0; round < 10; round++) {
    const events: ingestion.Event[] = pages.map((name, index) => ({
      id: `${round}-${index}`,
      eventTimeUs: BigInt(nowUs - round * 60_000_000 - index),
      json: Buffer.from(JSON.stringify({ page: name, spent: round % 2 })),
    }));
    ({ position } = await mesh.clients.ingestion.publish({ source: 'visits', events }));
  }
  await eventually(async () => (await mesh.clients.compute.getStatus({})).rowPosition >= position);
  const request = readRequest('pages', [stringKeys('page', pages.slice(-20))], nowUs + 1);
  const before = await mesh.clients.features.getFeatures(request);
  expect(new Set(column(before, 'visits_by_page__n'))).toEqual(new Set([10]));
  const oldVersion = before.views[0]?.version ?? '';

  const stop = new AbortController();
  const seen = new Map<string, number>();
  const reading = (async () => {
    while (!stop.signal.aborted) {
      const answer = await mesh.clients.features.getFeatures(request);
      const values = new Set(column(answer, 'visits_by_page__n'));
      expect([...answer.statuses].every((status) => status === serving.ValueStatus.PRESENT)).toBe(true);
      const version = answer.views[0]?.version ?? '';
      // never a half-filled window, and never one version's number under the other's name
      expect(values).toEqual(new Set([version === oldVersion ? 10 : 5]));
      seen.set(version, (seen.get(version) ?? 0) + 1);
    }
  })();
  await mesh.apply(viewOf('spent > 0.0'), serviceOf('spent > 0.0'));
  const readsBefore = seen.get(oldVersion) ?? 0;
  await eventually(() => expect(seen.size).toBe(2), { timeoutMs: 60_000 });
  expect(seen.get(oldVersion)).toBeGreaterThan(readsBefore);
  stop.abort();
  await reading;

  const hot = await openRedis(mesh.stores.redis.url);
  try {
    const fields = () => hot.redis.hkeys(entityKey('page', ['page-7']));
    await eventually(async () => expect(await fields()).not.toContain(rowField('visits_by_page', oldVersion)), {
      timeoutMs: 30_000,
    });
    expect(await fields()).toHaveLength(1);
  } finally {
    await hot.close();
  }
}, 180_000);

test('a process that starts while a version warms up answers with the version before it, then switches', async () => {
  const request = readRequest('pages', [stringKeys('page', pages.slice(-20))], nowUs + 1);
  const compute = mesh.service('feature-compute');
  const online = mesh.service('online-serving');
  const held = (await mesh.clients.features.getFeatures(request)).views[0]?.version;
  process.kill(compute.pid, 'SIGSTOP');
  try {
    await mesh.apply(viewOf('spent >= 0.5'), serviceOf('spent >= 0.5'));
    await online.restart();
    const restarted = connect(serving.FeatureServiceService, online.grpc, { defaultTimeoutMs: 10_000 });
    try {
      const answer = await restarted.getFeatures(request);
      expect(answer.views[0]?.version).toBe(held);
      expect(new Set(column(answer, 'visits_by_page__n'))).toEqual(new Set([5]));
      process.kill(compute.pid, 'SIGCONT');
      await eventually(async () => expect((await restarted.getFeatures(request)).views[0]?.version).not.toBe(held), {
        timeoutMs: 60_000,
      });
      expect(new Set(column(await restarted.getFeatures(request), 'visits_by_page__n'))).toEqual(new Set([5]));
    } finally {
      restarted.close();
    }
  } finally {
    process.kill(compute.pid, 'SIGCONT');
  }
}, 180_000);
