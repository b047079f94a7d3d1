import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { compute, serving } from '@millrace/contracts';
import { randomOf } from '@millrace/features/testing';
import { eventTable, type History, maxSeq, openHistory } from '@millrace/history';
import { eventually } from '@millrace/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type FullMesh, startFullMesh } from '../support/full-mesh.ts';
import { type Cell, cellsOf, plainValue, statusName, trainingSetOf } from '../support/training-answer.ts';
import { expectedOf, lookupDefinitions, randomEvents, toWire, type WorldEvent, type WorldRow } from './lookup-world.ts';

const seed = Number(process.env.MILLRACE_FUZZ_SEED ?? 11);
const random = randomOf(seed);
let mesh: FullMesh;
let history: History;
let early: readonly WorldEvent[];
let late: readonly WorldEvent[];
/** After the early events were known, before the late ones were. */
let betweenUs: number;

beforeAll(async () => {
  mesh = await startFullMesh();
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

async function served(rows: readonly WorldRow[], changes: Partial<serving.GetFeaturesRequest> = {}) {
  const flights = rows.map(({ flight }) => BigInt(flight));
  const other = rows.map((row) => row.other);
  const response = await mesh.clients.features.getFeatures({
    featureService: 'trip',
    version: '',
    keys: [{ name: 'flight', int64s: flights, strings: [], bools: [], nulls: Buffer.alloc(0) }],
    asOfUs: 0n,
    asOfUsByRow: rows.map(({ asOfUs }) => BigInt(asOfUs)),
    allowPartial: false,
    allowHistory: true,
    omitMetadata: false,
    requestData: [
      {
        ...{ name: 'other', doubles: [], int64s: [], bools: [] },
        strings: other.map((value) => value ?? ''),
        nulls: Buffer.from(other.map((value) => Number(value === null))),
      },
    ],
    ...changes,
  });
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
