import { appendFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { definitions, loads } from '@millrace/contracts';
import { eventually } from '@millrace/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { baseUs, source } from './ingestion-harness.ts';
import { type LoadWorld, openLoadWorld } from './load-world.ts';

const { SUCCEEDED, FAILED } = loads.LoadState;
let world: LoadWorld;
let unique = 0;

beforeAll(async () => {
  world = await openLoadWorld();
});
afterAll(() => world?.close());

const iso = (at: number) => new Date((baseUs + at * 1e6) / 1000).toISOString();
const line = (at: number) => `${iso(at)},SEA,1.5,${at}`;
const csv = (rows: number) =>
  `at,origin,delay,distance\n${Array.from({ length: rows }, () => line(unique++)).join('\n')}\n`;
const file = (name: string, content: string) => writeFileSync(join(world.folder, name), content);

type Input = Parameters<typeof definitions.BatchInput.fromPartial>[0];

/** Until ingestion has the definition, it answers that there is no such input. */
async function defineBatch(...inputs: readonly Input[]): Promise<void> {
  await world.define({ batchInputs: inputs.map((input) => definitions.BatchInput.fromPartial(input)) });
}

async function run(batchInput: string): Promise<loads.Load> {
  const started = await eventually(async () => world.start('', { batchInput }));
  return world.settled(started.loadId);
}

const sql = async (statement: string) => {
  const response = await fetch(world.mesh.clickhouse.url, { method: 'POST', body: statement });
  if (!response.ok) throw new Error(await response.text());
};

test('a folder: new files are found, late ones too, and nothing is read twice', async () => {
  file('day-2.csv', csv(100));
  await defineBatch({ name: 'files', location: join(world.folder, 'day-*.csv') });
  expect(await run('files')).toMatchObject({ state: SUCCEEDED, inputs: 1n, accepted: 100n });
  expect(await run('files')).toMatchObject({ state: SUCCEEDED, inputs: 1n, inputsSkipped: 1n, rows: 0n });
  file('day-3.csv', csv(50));
  file('day-1.csv', csv(30));
  expect(await run('files')).toMatchObject({ inputs: 3n, inputsSkipped: 1n, accepted: 80n, duplicates: 0n });
  const touched = new Date(Date.now() + 36_000);
  utimesSync(join(world.folder, 'day-1.csv'), touched, touched);
  expect(await run('files')).toMatchObject({ inputsSkipped: 3n, rows: 0n });
  appendFileSync(join(world.folder, 'day-1.csv'), `${line(unique++)}\n`);
  expect(await run('files')).toMatchObject({ inputsSkipped: 2n, accepted: 1n, duplicates: 30n });
  const { inputs, total } = await world.loads.listInputs({ source, limit: 0 });
  expect(Number(total)).toBe(3);
  expect(inputs.find(({ uri }) => uri.endsWith('day-1.csv'))).toMatchObject({ done: true, changes: 1 });
  rmSync(join(world.folder, 'day-1.csv'));
  expect(await run('files')).toMatchObject({ inputs: 2n, inputsSkipped: 2n });
});

test('a changed file is passed over where that is wanted', async () => {
  file('kept.csv', csv(5));
  await defineBatch({
    name: 'kept',
    location: join(world.folder, 'kept.csv'),
    whenChanged: definitions.WhenChanged.IGNORE,
  });
  expect(await run('kept')).toMatchObject({ accepted: 5n });
  file('kept.csv', csv(7));
  expect(await run('kept')).toMatchObject({ inputsSkipped: 1n, rows: 0n });
});

test('a schedule fires by itself, follows its definition, and finds what came meanwhile', async () => {
  file('tick-1.csv', csv(10));
  const location = join(world.folder, 'tick-*.csv');
  await defineBatch({ name: 'ticking', location, schedule: '* * * * * *' });
  const started = async () =>
    (await world.loads.listLoads({ source, limit: 1_000 })).loads.filter(({ batchInput }) => batchInput === 'ticking');
  await eventually(async () => expect((await started()).at(-1)).toMatchObject({ state: SUCCEEDED, accepted: 10n }));
  file('tick-2.csv', csv(4));
  await eventually(async () => expect((await started()).some(({ accepted }) => accepted === 4n)).toBe(true));
  await defineBatch({ name: 'ticking', location });
  await eventually(async () => {
    const before = (await started()).length;
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    expect((await started()).length).toBe(before);
  });
  const accepted = (await started()).reduce((sum, load) => sum + load.accepted, 0n);
  expect(accepted).toBe(14n);
});

test('a table of ClickHouse: what is new beyond the watermark, late rows within the overlap, nothing twice', async () => {
  await sql('CREATE DATABASE IF NOT EXISTS shop');
  await sql(
    "CREATE TABLE shop.flights (id Int64, at DateTime64(6, 'UTC'), origin String, delay Nullable(Float64), distance Int64, seen DateTime64(6, 'UTC')) ENGINE = MergeTree ORDER BY id",
  );
  const insert = (ids: readonly number[], seenAt: (id: number) => number) =>
    sql(
      `INSERT INTO shop.flights VALUES ${ids.map((id) => `(${id}, '${iso(5_000_000 + id).slice(0, 23)}', '${id % 10 === 7 ? 'XXX' : 'SFO'}', ${id % 3 === 0 ? 'NULL' : '2.5'}, ${id}, '${iso(seenAt(id)).slice(0, 23)}')`).join(',')}`,
    );
  const range = (from: number, to: number) => Array.from({ length: to - from }, (_, at) => from + at);
  await insert(range(0, 3_000), (id) => id);
  const overlapUs = 100_000_000n;
  await defineBatch({
    name: 'flights',
    query: 'SELECT id, at, origin, delay, distance, seen FROM shop.flights',
    format: {
      idColumns: ['id'],
      columns: new Map([
        ['seen', ''],
        ['id', ''],
      ]),
    },
    watermarkColumn: 'seen',
    overlapUs,
  });
  expect(await run('flights')).toMatchObject({ state: SUCCEEDED, rows: 3_000n, accepted: 2_700n, rejected: 300n });
  expect(await run('flights')).toMatchObject({ state: SUCCEEDED, rows: 0n });
  await insert(range(3_000, 3_100), (id) => id);
  // late: committed after the reading, with a time before its end
  await insert(range(3_100, 3_110), () => 2_950);
  expect(await run('flights')).toMatchObject({ rows: 110n, accepted: 99n, duplicates: 0n, rejected: 11n });
  expect(await run('flights')).toMatchObject({ rows: 0n });
  const { events } = await world.client.listQuarantine({
    source,
    reason: 'NOT_IN_ENUM',
    expectation: '',
    field: '',
    afterPosition: 0n,
    limit: 1_000,
  });
  expect(events.filter(({ eventId }) => /^\d+$/.test(eventId))).toHaveLength(311);
});

test('a killed process goes on with a table where its ledger says, and reads nothing twice', async () => {
  await sql(
    "CREATE TABLE shop.many (id Int64, at DateTime64(6, 'UTC')) ENGINE = MergeTree ORDER BY id AS SELECT number AS id, toDateTime64('2001-06-01 00:00:00', 6, 'UTC') + intDiv(number, 7) AS at FROM numbers(36000)",
  );
  await defineBatch({
    name: 'many',
    query: "SELECT at, 'JFK' AS origin, 1 AS delay, id AS distance, concat('m', toString(id)) AS key FROM shop.many",
    format: { idColumns: ['key'], columns: new Map([['key', '']]) },
    watermarkColumn: 'at',
    overlapUs: 1_000_000n,
  });
  const before = Number((await world.progress()).accepted);
  const { loadId } = await eventually(async () => world.start('', { batchInput: 'many' }));
  await eventually(async () => expect(Number((await world.get(loadId)).rows)).toBeGreaterThan(8_000), {
    timeoutMs: 30_000,
  });
  await world.service.kill9();
  await world.service.restart();
  const done = await world.settled(loadId);
  expect(done).toMatchObject({ state: SUCCEEDED, rejected: 0n, rows: 36_000n });
  expect(Number((await world.progress()).accepted) - before).toBe(36_000);
  expect(await run('many')).toMatchObject({ rows: 0n });
  await eventually(
    async () => {
      const { rows, ids } = await world.inHistory();
      expect([rows, ids]).toEqual([before + 36_000, before + 36_000]);
    },
    { timeoutMs: 30_000 },
  );
});

test('what is wrong with a query or a name is said by the load', async () => {
  const base = { format: { idColumns: ['id'] }, watermarkColumn: 'seen' };
  await defineBatch(
    { ...base, name: 'gone', query: 'SELECT * FROM shop.gone' },
    { ...base, name: 'bare', query: 'SELECT id FROM shop.flights' },
    { ...base, name: 'writes', query: 'SELECT id, seen FROM shop.flights', watermarkColumn: 'id', overlapUs: 5n },
  );
  expect(await run('gone')).toMatchObject({ state: FAILED, message: expect.stringContaining('gone') });
  expect(await run('bare')).toMatchObject({
    reason: 'INVALID_ARGUMENT',
    message: expect.stringContaining('no column "seen"'),
  });
  expect(await run('writes')).toMatchObject({ message: expect.stringContaining('leave overlap out') });
  await expect(world.start('', { batchInput: 'other' })).rejects.toThrow(
    'there is no batch input "other"; it has gone, bare, writes',
  );
  await expect(world.start('')).rejects.toThrow('name a location, or one of its batch inputs');
  await expect(defineBatch({ name: 'x', location: 'x.csv', schedule: 'hourly' })).rejects.toThrow('is not cron');
});
