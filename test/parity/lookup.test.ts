import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type compute, inference, serving } from '@millrace/contracts';
import { randomOf } from '@millrace/features/testing';
import { eventTable, type History, maxSeq, openHistory } from '@millrace/history';
import { deployment, feature, featureService, lookup, model, string } from '@millrace/sdk';
import { eventually } from '@millrace/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type FullMesh, startFullMesh } from '../support/full-mesh.ts';
import { type Cell, cellsOf, plainValue, statusName, trainingSetOf } from '../support/training-answer.ts';
import {
  aircrafts,
  expectedOf,
  flights,
  lookupDefinitions,
  randomEvents,
  toWire,
  type WorldEvent,
  type WorldRow,
} from './lookup-world.ts';

const modelDir = join(import.meta.dirname, '..', 'fixtures', 'onnx');
const seed = Number(process.env.MILLRACE_FUZZ_SEED ?? 11);
const random = randomOf(seed);
let mesh: FullMesh;
let history: History;
let early: readonly WorldEvent[];
let late: readonly WorldEvent[];
/** After the early events were known, before the late ones were. */
let betweenUs: number;

beforeAll(async () => {
  mesh = await startFullMesh({ modelDir, env: { MILLRACE_SERVING_PARITY_ROWS_PER_S: '500' } });
  await mesh.apply(...lookupDefinitions);
  await mesh.viewsReady(4);
  const nowUs = Date.now() * 1000;
  early = randomEvents(seed, 300, nowUs);
  late = randomEvents(seed + 1, 100, nowUs);
  await publish(early, 'early');
  await new Promise((resolve) => setTimeout(resolve, 20));
  betweenUs = Date.now() * 1000;
  await new Promise((resolve) => setTimeout(resolve, 20));
  await publish(late, 'late');
  history = await openHistory({ url: mesh.stores.clickhouse.url });
}, 180_000);

afterAll(async () => {
  await history?.close();
  await mesh?.close();
});

async function publish(events: readonly WorldEvent[], prefix: string): Promise<void> {
  for (const [source, batch] of toWire(events, prefix)) {
    const { position } = await mesh.clients.ingestion.publish({ source, events: batch });
    await eventually(async () => (await mesh.clients.compute.getStatus({})).rowPosition >= position, {
      timeoutMs: 20_000,
    });
    const opened = await openHistory({ url: mesh.stores.clickhouse.url });
    await eventually(async () => BigInt(await maxSeq(opened, eventTable(source))) >= position, { timeoutMs: 20_000 });
    await opened.close();
  }
}

function randomRows(count: number, timeOf: () => number): WorldRow[] {
  return Array.from({ length: count }, (_, at) => ({
    flight: at % 7,
    asOfUs: timeOf(),
    other: random() < 0.3 ? null : `N${Math.floor(random() * 7)}`,
  }));
}

const requestOf = (rows: readonly WorldRow[], changes: Partial<serving.GetFeaturesRequest> = {}) => {
  const other = rows.map((row) => row.other);
  const text = {
    strings: other.map((value) => value ?? ''),
    nulls: Buffer.from(other.map((value) => Number(value === null))),
  };
  return serving.GetFeaturesRequest.fromPartial({
    featureService: 'trip',
    keys: [{ name: 'flight', int64s: rows.map(({ flight }) => BigInt(flight)) }],
    asOfUsByRow: rows.map(({ asOfUs }) => BigInt(asOfUs)),
    allowHistory: true,
    requestData: [{ name: 'other', ...text }],
    ...changes,
  });
};

async function served(rows: readonly WorldRow[], changes: Partial<serving.GetFeaturesRequest> = {}) {
  const response = await mesh.clients.features.getFeatures(requestOf(rows, changes));
  return { response, cells: cellsOf(response, rows.length) };
}

async function trained(rows: readonly WorldRow[], changes: Partial<compute.BuildTrainingSetRequest> = {}) {
  const labels = rows.map(
    ({ flight, asOfUs, other }, at) =>
      `SELECT ${at} AS id, ${flight} AS flight, fromUnixTimestamp64Micro(toInt64(${asOfUs}), 'UTC') AS label_time, ${other === null ? 'NULL' : `'${other}'`} AS other`,
  );
  const { bytes, record } = await trainingSetOf(mesh, {
    featureService: 'trip',
    labelQuery: labels.join(' UNION ALL '),
    ...changes,
  });
  const file = join(mesh.dir, 'lookup.parquet');
  writeFileSync(file, bytes);
  return {
    record,
    rows: await history.query<Record<string, unknown>>(`SELECT * FROM file('${file}', Parquet) ORDER BY id`),
  };
}

type Values = (row: number, name: string) => { readonly value: unknown; readonly status: string | undefined };

function compare(rows: readonly WorldRow[], events: readonly WorldEvent[], what: string, valuesOf: Values): number {
  let present = 0;
  for (const [at, row] of rows.entries()) {
    for (const [name, [value, status]] of Object.entries(expectedOf(events, row))) {
      const given = valuesOf(at, name);
      const where = `${name} of ${what} row ${at} ${JSON.stringify(row)} with seed ${seed}`;
      expect([given.status, typeof value === 'number' ? undefined : given.value], where).toEqual([
        status,
        typeof value === 'number' ? undefined : value,
      ]);
      if (typeof value === 'number') expect(given.value, where).toBeCloseTo(value, 9);
      if (value !== null) present++;
    }
  }
  return present;
}

const ofCells =
  (cells: readonly ReadonlyMap<string, Cell>[]): Values =>
  (row, name) => {
    const cell = cells[row]?.get(name);
    return { value: cell?.value, status: statusName(cell?.status) };
  };
const ofSet =
  (rows: readonly Record<string, unknown>[]): Values =>
  (row, name) => ({ value: plainValue(rows[row]?.[name]), status: String(rows[row]?.[`${name}__status`]) });

test('lookups up to three deep are served as of any time, by late events, unknown keys and no keys, as a brute force says', async () => {
  const now = randomRows(40, () => Date.now() * 1000);
  const all = [...early, ...late];
  const present = compare(now, all, 'served', ofCells((await served(now)).cells));
  expect(present).toBeGreaterThan(200);
  const spanUs = 2.2 * 3_600_000_000;
  const past = randomRows(120, () => betweenUs - Math.floor(random() * spanUs));
  const { cells } = await served(past);
  const set = await trained(past);
  expect(compare(past, all, 'served in the past', ofCells(cells))).toBeGreaterThan(300);
  expect(compare(past, all, 'trained', ofSet(set.rows))).toBeGreaterThan(300);
  const again = await trained(past, { likeId: set.record?.id ?? '' });
  expect(again.record?.digest).toBe(set.record?.digest);
}, 120_000);

test('a training set looks up what was known at the label, in every step of a chain', async () => {
  const rows = randomRows(40, () => betweenUs);
  const set = await trained(rows, { complete: false });
  expect(compare(rows, early, 'bitemporal', ofSet(set.rows))).toBeGreaterThan(200);
  const bare = await trained(rows, { complete: false, withStatuses: false });
  for (const [at, row] of rows.entries())
    for (const [name, [value]] of Object.entries(expectedOf(early, row)))
      if (typeof value === 'number') expect(plainValue(bare.rows[at]?.[name]), name).toBeCloseTo(value, 9);
      else expect(bare.rows[at]?.[name] ?? null, `${name} of row ${at}`).toEqual(value);
}, 120_000);

test('a read that may not ask history says OUT_OF_ROW along the whole chain', async () => {
  const rows = randomRows(30, () => betweenUs - 2 * 3_600_000_000);
  const { cells } = await served(rows, { allowHistory: false });
  const { OUT_OF_ROW } = serving.ValueStatus;
  const outside = cells.filter((row) => row.get('tail')?.status === OUT_OF_ROW);
  expect(outside.length).toBeGreaterThan(0);
  for (const row of outside)
    for (const name of ['seats', 'moves', 'size', 'by__fee', 'gates', 'next__n'])
      expect([name, row.get(name)?.status]).toEqual([name, OUT_OF_ROW]);
});

test('REST, streams and Feast over HTTP answer the same, and usage knows what was looked up', async () => {
  const row = randomRows(7, () => Date.now() * 1000).find(
    (each) => expectedOf([...early, ...late], each).by__fee?.[1] === 'PRESENT',
  );
  if (!row) throw new Error(`some flight has a carrier with seed ${seed}`);
  const expected = expectedOf([...early, ...late], row);
  const http = `http://${mesh.service('online-serving').http}`;
  const post = async (path: string, body: object) => {
    const headers = { 'content-type': 'application/json' };
    return (await (
      await fetch(`${http}${path}`, { method: 'POST', headers, body: JSON.stringify(body) })
    ).json()) as Record<string, unknown>;
  };
  const rest = await post('/v1/feature-services/trip/features', {
    entities: [{ flight: row.flight }],
    request_data: { other: row.other },
  });
  const [answer] = rest.rows as {
    features: Record<string, { value: unknown; status: string; age_ms: number | null }>;
  }[];
  for (const [name, [value, status]] of Object.entries(expected)) {
    expect(answer?.features[name]?.status, name).toBe(status);
    if (typeof value === 'number') expect(answer?.features[name]?.value, name).toBeCloseTo(value, 9);
    else expect(answer?.features[name]?.value, name).toEqual(value);
  }
  const described = (await (await fetch(`${http}/v1/feature-services/trip`)).json()) as { join_keys: unknown };
  expect(described.join_keys).toEqual([{ name: 'flight', type: 'INT64' }]);

  const questions = async function* () {
    yield { id: 1n, read: requestOf([row]), timeoutMs: 0 };
  };
  for await (const { result } of mesh.clients.features.streamFeatures(questions()))
    expect(result?.$case === 'features' && cellsOf(result.value, 1)[0]?.get('by__fee')?.value).toBeCloseTo(
      Number(expected.by__fee?.[0]),
      9,
    );

  const feast = await post('/get-online-features', {
    feature_service: 'trip',
    entities: { flight: [row.flight], other: [row.other] },
  });
  const names = (feast.metadata as { feature_names: string[] }).feature_names;
  const results = feast.results as { values: unknown[]; statuses: string[] }[];
  for (const name of ['by__fee', 'size', 'partner__fee'])
    expect([name, results[names.indexOf(name)]?.statuses[0]]).toEqual([name, 'PRESENT']);
  expect(results[names.indexOf('by__fee')]?.values[0]).toBeCloseTo(Number(expected.by__fee?.[0]), 9);

  const { used } = (await (await fetch(`${http}/v1/usage?days=1`)).json()) as {
    used: { view: string; feature: string }[];
  };
  expect(used.map(({ view, feature: name }) => `${view}.${name}`)).toEqual(
    expect.arrayContaining(['carriers.fee', 'carriers.hub', 'hubs.gates']),
  );
});

test('a model takes what was looked up', async () => {
  const sha256 = createHash('sha256')
    .update(readFileSync(join(modelDir, 'linear.onnx')))
    .digest('hex');
  const scoring = featureService('scoring', {
    features: [
      lookup({
        through: { tail_number: feature(flights, 'last_tail') },
        as: 'of',
        features: [feature(aircrafts, 'seats', { default: 0 })],
      }),
    ],
    derived: { half: 'double(of__seats) / 2.0', hour: 'as_of.getHours()' },
  });
  const scorer = model('scorer', {
    ...{ uri: 'linear.onnx', sha256, featureService: scoring },
    input: { name: 'X', columns: [{ feature: 'of__seats' }, { feature: 'half' }, { feature: 'hour' }] },
    output: { name: 'Y', column: 0 },
  });
  await mesh.apply(scoring, scorer, deployment('scorer', { targets: [{ model: scorer }] }));
  const all = [...early, ...late];
  const asOfUs = Date.now() * 1000;
  const keys = [{ name: 'flight', int64s: [0n, 1n, 2n], strings: [], bools: [], nulls: Buffer.alloc(0) }];
  const predict = () =>
    mesh.clients.predictions.predict(
      inference.PredictRequest.fromPartial({ deployment: 'scorer', keys, asOfUs: BigInt(asOfUs) }),
    );
  const { vectors } = await eventually(predict, { timeoutMs: 30_000 });
  const hour = new Date(asOfUs / 1000).getUTCHours();
  const wanted = [0, 1, 2].flatMap((flight) => {
    const seats = Number(expectedOf(all, { flight, asOfUs, other: null }).seats?.[0] ?? 0);
    return [seats, seats / 2, hour];
  });
  expect(vectors).toEqual(wanted);
}, 60_000);

test('request data alone may give the key', async () => {
  const planes = featureService('planes', {
    features: [lookup({ through: { tail_number: 'plane' }, as: 'of', features: [feature(aircrafts, 'seats')] })],
    request: { plane: string() },
  });
  await mesh.apply(planes);
  const requestData = [{ name: 'plane', strings: ['N1', 'N77', 'N1'] }];
  const request = serving.GetFeaturesRequest.fromPartial({ featureService: 'planes', requestData });
  const response = await eventually(() => mesh.clients.features.getFeatures(request), { timeoutMs: 20_000 });
  const seats = expectedOf([...early, ...late], { flight: 0, asOfUs: Date.now() * 1000, other: 'N1' }).other__seats;
  expect(cellsOf(response, 3).map((row) => row.get('of__seats')?.value)).toEqual([seats?.[0], null, seats?.[0]]);
});

test('the verifier proves what was looked up under the keys that found it', async () => {
  const before = (await mesh.clients.compute.getStatus({})).verifier?.compared ?? 0n;
  await eventually(
    async () => {
      await served(randomRows(40, () => Date.now() * 1000));
      return ((await mesh.clients.compute.getStatus({})).verifier?.compared ?? 0n) > before + 500n;
    },
    { timeoutMs: 40_000, everyMs: 100 },
  );
  expect((await mesh.clients.compute.listMismatches({ view: '', feature: '', limit: 0 })).mismatches).toEqual([]);
}, 60_000);
