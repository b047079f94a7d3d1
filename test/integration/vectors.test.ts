import { feastGrpc, feastServing } from '@millrace/contracts';
import { eventTable, type History, openHistory } from '@millrace/history';
import { connect } from '@millrace/rpc';
import { entity, featureView, lifetime, source, string, vector } from '@millrace/sdk';
import { eventually } from '@millrace/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type FullMesh, startFullMesh } from '../support/full-mesh.ts';
import {
  item,
  itemService,
  items,
  itemVectors,
  minuteUs,
  publishItems,
  readItems,
  trainingSet,
  vectorsOf,
} from './vectors-world.ts';

let mesh: FullMesh;
let history: History;
const nowUs = Math.floor(Date.now() / 1000) * 1_000_000;
const base64 = Buffer.from(Float32Array.from([0.1, -2, 3e-5]).buffer).toString('base64');
const rounded = [0.1, -2, 3e-5].map(Math.fround);

beforeAll(async () => {
  mesh = await startFullMesh();
  await mesh.apply(items, item, itemVectors, itemService);
  await mesh.viewsReady(1);
  history = await openHistory({ url: mesh.stores.clickhouse.url });
  const { rejections } = await publishItems(mesh, [
    { item: 'a', timeUs: nowUs - 90 * minuteUs, fields: { kind: 'shoe', price: 10, embedding: [1, 2, 3] } },
    { item: 'a', timeUs: nowUs - 10 * minuteUs, fields: { kind: 'shoe', price: 11, embedding: base64 } },
    { item: 'a', timeUs: nowUs - 5 * minuteUs, fields: { kind: 'shoe', price: 12, embedding: null } },
    { item: 'b', timeUs: nowUs - 80 * minuteUs, fields: { kind: 'hat', price: 5, embedding: [0, 0, 1] } },
    { item: 'c', timeUs: nowUs - 20 * minuteUs, fields: { kind: 'hat' } },
  ]);
  expect(rejections).toEqual([]);
}, 180_000);

afterAll(async () => {
  await history?.close();
  await mesh?.close();
});

const keys = ['a', 'b', 'c', 'nobody'];
/** For each feature the value of each key. */
const wanted = {
  embedding: [rounded, [0, 0, 1], null, null],
  earliest: [[1, 2, 3], [0, 0, 1], null, null],
  recent: [rounded, null, null, null],
};

test('vectors come as one column of floats, null where there is none or the window is over', async () => {
  const answer = await readItems(mesh, keys, nowUs);
  for (const [name, values] of Object.entries(wanted)) expect(vectorsOf(answer, name)).toEqual(values);
  const [first] = answer.features;
  expect(first).toMatchObject({ name: 'embedding', type: 'VECTOR(3)', block: 5, column: 0 });
  expect(answer.vectors[0]).toMatchObject({ dimension: 3 });
  const at = answer.features.findIndex(({ name }) => name === 'embeddings');
  expect(answer.features[at]?.block).toBe(2);
  expect(answer.int64s).toEqual([2n, 1n, 0n, 0n]);
  // as of before its second vector
  expect(vectorsOf(await readItems(mesh, ['b'], nowUs + 60 * minuteUs), 'recent')).toEqual([null]);
});

test('REST and both Feast surfaces give the same numbers as arrays', async () => {
  const url = `http://${mesh.service('online-serving').http}`;
  const post = async (path: string, body: unknown) =>
    (await fetch(url + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    }).then((answer) => answer.json())) as never;
  const rest: { rows: { features: Record<string, { value: unknown; status: string }> }[] } = await post(
    '/v1/feature-services/items/features',
    { entities: keys.map((key) => ({ item: key })) },
  );
  for (const [name, values] of Object.entries(wanted))
    expect(rest.rows.map(({ features }) => features[name]?.value)).toEqual(values);
  expect(rest.rows.map(({ features }) => features.embedding?.status)).toEqual([
    'PRESENT',
    'PRESENT',
    'NULL',
    'NOT_FOUND',
  ]);
  const feast: { metadata: { feature_names: string[] }; results: { values: unknown[] }[] } = await post(
    '/get-online-features',
    { feature_service: 'items', entities: { item: keys } },
  );
  for (const [name, values] of Object.entries(wanted))
    expect(feast.results[feast.metadata.feature_names.indexOf(name)]?.values).toEqual(values);
  const client = connect(feastGrpc.GrpcFeatureServerService, mesh.service('online-serving').grpc);
  const { metadata, results } = await client.getOnlineFeatures(
    feastServing.GetOnlineFeaturesRequest.fromPartial({
      kind: { $case: 'featureService', value: 'items' },
      entities: new Map([['item', { val: keys.map((value) => ({ val: { $case: 'stringVal', value } })) }]]) as never,
    }),
  );
  client.close();
  const column = results[metadata?.featureNames?.val.indexOf('embedding') ?? -1];
  expect(column?.values.map(({ val }) => (val?.$case === 'floatListVal' ? val.value.val : null))).toEqual(
    wanted.embedding,
  );
});

test('a training set has lists of the served numbers, empty where nothing was served', async () => {
  const orEmpty = (values: readonly (readonly number[] | null)[]) => values.map((value) => value ?? []);
  await eventually(async () => {
    const [{ seen = 0 } = {}] = await history.query<{ seen: string }>(
      `SELECT count() AS seen FROM ${eventTable('items')}`,
    );
    return Number(seen) === 5;
  });
  const rows = await trainingSet(mesh, history, keys, nowUs);
  for (const [name, values] of Object.entries(wanted))
    expect(rows.map((row) => (row[name] as number[]).map(Math.fround))).toEqual(orEmpty(values));
  // a replayed read of long ago is answered from history, by the same SQL
  const before = await mesh.clients.features.getFeatures({
    ...{
      featureService: 'items',
      version: '',
      asOfUsByRow: [],
      allowPartial: false,
      omitMetadata: false,
      requestData: [],
    },
    keys: [{ name: 'item', strings: ['a', 'b'], int64s: [], bools: [], nulls: Buffer.alloc(0) }],
    asOfUs: BigInt(nowUs - 85 * minuteUs),
    allowHistory: true,
  });
  expect(vectorsOf(before, 'embedding')).toEqual([[1, 2, 3], null]);
});

test.each([
  ['too few numbers', [1, 2], 'WRONG_DIMENSION', 'has 2 numbers and is VECTOR(3)'],
  ['base64 of too many', Buffer.alloc(16).toString('base64'), 'WRONG_DIMENSION', 'has 4 numbers'],
  ['a number beyond float32', [1, 1e39, 0], 'NOT_FINITE', '1e+39 at 1'],
  ['null within', [1, null, 0], 'WRONG_TYPE', 'at 1'],
  ['text', 'no vector', 'WRONG_TYPE', 'an array of 3 numbers'],
])('%s is refused', async (_, embedding, reason, message) => {
  const { rejections } = await publishItems(mesh, [{ item: 'x', timeUs: nowUs, fields: { embedding } }]);
  expect(rejections).toMatchObject([{ reason, field: 'embedding' }]);
  expect(rejections[0]?.message).toContain(message);
});

test('what cannot be said of vectors is refused when it is applied', async () => {
  const wide = source('wide', { fields: { item: string(), v: vector(5_000) } });
  await expect(mesh.apply(wide)).rejects.toThrow('1 to 4096');
  const bad = featureView('bad', {
    entity: entity('item', { joinKeys: { item: 'STRING' } }),
    source: items,
    features: (of) => ({ most: of.max('embedding' as 'price', { window: lifetime() }) }),
  });
  await expect(mesh.apply(bad)).rejects.toThrow('"max" says nothing; use last, first, count, age');
  const filtered = featureView('filtered', {
    entity: item,
    source: items,
    features: (of) => ({ n: of.count({ window: lifetime(), filter: 'embedding == null' }) }),
  });
  await expect(mesh.apply(filtered)).rejects.toThrow('"embedding" is VECTOR(3), and expressions take single values');
});

test('another dimension is a breaking change of the source', async () => {
  const changed = source('items', { ...items, key: 'item', fields: { ...items.fields, embedding: vector(4) } });
  await expect(mesh.apply(changed)).rejects.toThrow('VECTOR(3) -> VECTOR(4)');
});
