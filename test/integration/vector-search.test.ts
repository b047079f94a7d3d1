import { search } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import { type Client, connect } from '@millrace/rpc';
import { eventually } from '@millrace/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { column, type FullMesh, startFullMesh } from '../support/full-mesh.ts';
import { item, itemService, items, itemVectors, minuteUs, publishItems } from './vectors-world.ts';

let mesh: FullMesh;
let client: Client<typeof search.SearchServiceService>;
const nowUs = Math.floor(Date.now() / 1000) * 1_000_000;

/** Points on a circle: item n at n degrees; every tenth is a hat. */
const at = (degrees: number) => [Math.cos((degrees * Math.PI) / 180), Math.sin((degrees * Math.PI) / 180), 0];

beforeAll(async () => {
  mesh = await startFullMesh();
  await mesh.apply(items, item, itemVectors, itemService);
  await mesh.viewsReady(1);
  client = connect(search.SearchServiceService, mesh.service('online-serving').grpc, { defaultTimeoutMs: 30_000 });
  const events = Array.from({ length: 180 }, (_, n) => ({
    item: `i${n}`,
    timeUs: nowUs - 90 * minuteUs,
    fields: { kind: n % 10 === 0 ? 'hat' : 'shoe', price: n, embedding: at(n) },
  }));
  await publishItems(mesh, [...events, { item: 'none', timeUs: nowUs, fields: { kind: 'hat' } }]);
  await eventually(async () => (await found({ vector: at(0), k: 1 }).catch(() => ['']))[0] === 'i0');
}, 180_000);

afterAll(async () => {
  client?.close();
  await mesh?.close();
});

function ask(request: Parameters<typeof search.SearchFeaturesRequest.fromPartial>[0]) {
  return client.searchFeatures(
    search.SearchFeaturesRequest.fromPartial({ featureService: 'items', feature: 'embedding', ...request }),
  );
}

async function found(request: Parameters<typeof search.SearchFeaturesRequest.fromPartial>[0]) {
  return (await ask(request)).keys[0]?.strings ?? [];
}

test.each([
  ['cosine', search.DistanceMetric.COSINE],
  ['l2', search.DistanceMetric.L2],
  ['dot', search.DistanceMetric.DOT],
] as const)(
  'the nearest by %s come first, with their features and the distances of what is served',
  async (name, metric) => {
    const answer = await ask({ vector: at(40.2), k: 3, metric });
    expect(answer.keys[0]?.strings).toEqual(['i40', 'i41', 'i39']);
    expect(answer.features && column(answer.features, 'kind')).toEqual(['hat', 'shoe', 'shoe']);
    expect(answer.features && column(answer.features, 'price')).toEqual([40, 41, 39]);
    const cosine = Math.cos((0.2 * Math.PI) / 180);
    const distance = name === 'cosine' ? 1 - cosine : name === 'l2' ? Math.sqrt(2 - 2 * cosine) : -cosine;
    expect(answer.distances[0]).toBeCloseTo(distance, 6);
  },
);

test('an entity can be the query, and is no hit itself', async () => {
  const entity = [{ name: 'item', strings: ['i100'] }];
  expect((await found({ entity, k: 2 })).toSorted()).toEqual(['i101', 'i99']);
});

test('a filter finds as many as there are, however far away', async () => {
  expect(await found({ vector: at(1), k: 3, filter: 'kind == "hat"' })).toEqual(['i0', 'i10', 'i20']);
  expect(await found({ vector: at(1), k: 5, filter: 'price >= 177.0 || item == "i60"' })).toEqual([
    'i60',
    'i177',
    'i178',
    'i179',
  ]);
  const none = await ask({ vector: at(1), filter: 'price > 1000.0' });
  expect([none.keys[0]?.strings ?? [], none.distances, none.features, none.limited]).toEqual([
    [],
    [],
    undefined,
    false,
  ]);
});

test('a corrected vector moves its entity: the older one is found no more', async () => {
  await publishItems(mesh, [{ item: 'i30', timeUs: nowUs - minuteUs, fields: { kind: 'shoe', embedding: at(300) } }]);
  await eventually(async () => (await found({ vector: at(300), k: 1 }))[0] === 'i30');
  expect(await found({ vector: at(30), k: 2 })).not.toContain('i30');
  // a late older vector changes nothing
  const late = { kind: 'shoe', embedding: at(200) };
  const { position } = await publishItems(mesh, [{ item: 'i30', timeUs: nowUs - 60 * minuteUs, fields: late }]);
  expect(position).toBeGreaterThan(0n);
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  expect((await found({ vector: at(300), k: 1 }))[0]).toBe('i30');
});

test('what left its window is no hit', async () => {
  const recent = await ask({ feature: 'recent', vector: at(45), k: 10 });
  expect(recent.keys[0]?.strings).toEqual(['i30']);
  expect(recent.limited).toBe(false);
});

test.each([
  ['too few numbers', { vector: [1, 2] }, 'WRONG_DIMENSION', 'has 2 numbers and feature "embedding" is VECTOR(3)'],
  [
    'a feature that is none',
    { vector: at(1), feature: 'vec' },
    'INVALID_ARGUMENT',
    'vector features: embedding, earliest, recent',
  ],
  ['no query', {}, 'INVALID_ARGUMENT', 'by a vector or by an entity'],
  ['a first', { vector: at(1), feature: 'earliest' }, 'INVALID_ARGUMENT', 'use a last'],
  ['zeros', { vector: [0, 0, 0] }, 'INVALID_ARGUMENT', 'all zeros'],
  ['a filter of names that are not there', { vector: at(1), filter: 'colour == "red"' }, 'INVALID_ARGUMENT', 'colour'],
  [
    'an entity without a vector',
    { entity: [{ name: 'item', strings: ['none'] }] },
    'INVALID_ARGUMENT',
    'has no "embedding"',
  ],
  ['too many hits', { vector: at(1), k: 1_001 }, 'INVALID_ARGUMENT', 'not 1 to 1000'],
  ['a service that is not there', { vector: at(1), featureService: 'nothing' }, 'UNKNOWN_FEATURE_SERVICE', 'nothing'],
])('%s is an error that says so', async (_, request, reason, message) => {
  const thrown = await ask(request).catch((error: unknown) => error);
  expect(thrown).toBeInstanceOf(MeshError);
  expect(thrown).toMatchObject({ reason });
  expect((thrown as MeshError).message).toContain(message);
});

test('REST finds the same', async () => {
  const answer = await fetch(`http://${mesh.service('online-serving').http}/v1/feature-services/items/search`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ feature: 'embedding', vector: at(50.1), k: 2, filter: 'kind == "shoe"', exact: true }),
  });
  expect(await answer.json()).toMatchObject({
    hits: [
      { entity: { item: 'i51' }, features: { kind: { value: 'shoe', status: 'PRESENT' } } },
      { entity: { item: 'i49' } },
    ],
    exact: true,
    limited: false,
  });
});
