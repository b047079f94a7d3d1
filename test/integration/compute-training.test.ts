import { randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { definitions } from '@millrace/contracts';
import type { ViewDefinition, WindowSpec } from '@millrace/features';
import { ensureEventTable, type History, insertBatches, openHistory } from '@millrace/history';
import { quietTelemetry } from '@millrace/runtime';
import { createTestMesh, type TestMesh } from '@millrace/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createBuildTrainingSet } from '../../services/feature-compute/src/app/training-set.ts';

const fields = [{ name: 'code', type: 'STRING', nullable: false }] as const;
const originUs = 1e15;
const view: ViewDefinition = {
  name: 'v',
  version: '1',
  entity: 'e',
  source: 'arrivals',
  fields,
  joinKeys: [{ name: 'code', type: 'STRING', field: 'code' }],
  features: [
    { name: 'n', function: 'count', field: '', window: { t: 'lifetime' }, filter: '', ddof: 1 },
    { name: 'codes', function: 'last_n', field: 'code', n: 2, window: { t: 'lifetime' }, filter: '', ddof: 1 },
  ],
};
let mesh: TestMesh;
let history: History;

beforeAll(async () => {
  mesh = await createTestMesh({ stores: ['clickhouse'] });
  history = await openHistory({ url: mesh.clickhouse.url });
  await ensureEventTable(history, { name: 'arrivals', fields });
  const batch = (atUs: number, knownTimeUs: number) => ({
    knownTimeUs,
    count: 1,
    ids: [randomUUID()],
    eventTimeUs: Float64Array.of(atUs),
    columns: new Map([['code', { type: 'str' as const, values: ["it's"], nulls: null }]]),
  });
  await insertBatches(history, { name: 'arrivals', fields }, [
    { seq: 1, batch: batch(originUs, originUs) },
    { seq: 2, batch: batch(originUs + 10, originUs + 50) },
  ]);
});

afterAll(async () => {
  await history?.close();
  await mesh?.close();
});

async function build(
  complete: boolean,
  { allowedDelayUs = 0, labelsAt = [20, 5, 60], window = { t: 'lifetime' } as WindowSpec } = {},
) {
  const trainingSet = createBuildTrainingSet({
    history,
    telemetry: quietTelemetry(),
    view: async () => ({ ...view, features: view.features.map((feature) => ({ ...feature, window })) }),
    service: async () => ({
      version: 's1',
      features: ['n', 'codes'].map((feature) => definitions.FeatureReference.fromPartial({ view: 'v', feature })),
    }),
  });
  const label = (offsetUs: number) =>
    `SELECT 'it\\'s' AS code, fromUnixTimestamp64Micro(toInt64(${originUs + offsetUs}), 'UTC') AS label_time, ${offsetUs} AS label`;
  const labelQuery = labelsAt.map(label).join(' UNION ALL ');
  const pieces: Buffer[] = [];
  let digest = '';
  const request = { featureService: 's', labelQuery, allowedDelayUs, complete };
  for await (const part of trainingSet(request, new AbortController().signal)) {
    if (part.t === 'parquet') pieces.push(part.bytes);
    if (part.t === 'record') digest = part.record.digest;
  }
  const file = join(mesh.dir, `${randomUUID()}.parquet`);
  writeFileSync(file, Buffer.concat(pieces));
  const rows = await history.query<Record<string, unknown>>(
    `SELECT label, v__n, v__codes FROM file('${file}', Parquet)`,
  );
  return {
    digest,
    rows: rows.map((row) => [Number(row.label), Number(row.v__n)]),
    lists: rows.map((row) => row.v__codes),
  };
}

test('labels come in time order with the events before them', async () => {
  const { rows, lists } = await build(true);
  expect(rows).toEqual([
    [5, 1],
    [20, 2],
    [60, 2],
  ]);
  expect(lists).toEqual([["it's"], ["it's", "it's"], ["it's", "it's"]]);
});

test('an event counts only if it was known by label time plus the allowed delay', async () => {
  expect((await build(false)).rows).toEqual([
    [5, 1],
    [20, 1],
    [60, 2],
  ]);
  expect((await build(false, { allowedDelayUs: 30 })).rows).toEqual([
    [5, 1],
    [20, 2],
    [60, 2],
  ]);
});

test('a window some time ago finds its events however far they lie before the labels', async () => {
  const [secondUs, hourUs] = [1e6, 3600e6];
  const window = { t: 'tumbling', sizeUs: secondUs, offsetUs: 60 * secondUs } as const;
  const labelsAt = [secondUs, 61 * secondUs, 62 * secondUs, hourUs];
  expect((await build(true, { labelsAt, window })).rows).toEqual([
    [secondUs, 0],
    [61 * secondUs, 2],
    [62 * secondUs, 0],
    [hourUs, 0],
  ]);
});

test('the digest is the same for the same rows, another for others, and no table is left behind', async () => {
  const [once, again, other] = [await build(true), await build(true), await build(false)];
  expect(again.digest).toBe(once.digest);
  expect(other.digest).not.toBe(once.digest);
  expect(await history.query('SHOW TABLES')).toEqual([{ name: 'events_arrivals' }]);
});
