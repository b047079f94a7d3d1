import {
  type EventSource,
  ensureEventTable,
  eventTable,
  type History,
  insertBatches,
  maxSeq,
  openHistory,
  type PositionedBatch,
} from '@millrace/history';
import { createTestMesh, eventually, type TestMesh } from '@millrace/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';

let mesh: TestMesh;
let history: History;
let sources = 0;

beforeAll(async () => {
  mesh = await createTestMesh({ stores: ['clickhouse'] });
  history = await openHistory({ url: mesh.clickhouse.url });
});

afterAll(async () => {
  await history?.close();
  await mesh?.close();
});

async function newSource(fields: EventSource['fields'] = []): Promise<EventSource> {
  const source = { name: `s${sources++}`, fields };
  await ensureEventTable(history, source);
  return source;
}

function numbered(seq: number, count: number): PositionedBatch {
  return {
    seq,
    batch: {
      knownTimeUs: 1_700_000_000_000_001 + seq,
      count,
      ids: Array.from({ length: count }, (_, i) => `${seq}-${i}`),
      eventTimeUs: Float64Array.from({ length: count }, (_, i) => 1_600_000_000_000_000 + i),
      columns: new Map([['x', { type: 'f64', values: new Float64Array(count).fill(seq), nulls: null }]]),
    },
  };
}

const doubles: EventSource['fields'] = [{ name: 'x', type: 'DOUBLE', nullable: false }];

test('every type comes back to the last bit, nulls and times before 1970 included', async () => {
  const source = await newSource([
    { name: 'flag', type: 'BOOL', nullable: false },
    { name: 'big', type: 'INT64', nullable: true },
    { name: 'x', type: 'DOUBLE', nullable: true },
    { name: 'text', type: 'STRING', nullable: true },
    { name: 'at', type: 'TIMESTAMP', nullable: false },
  ]);
  const nulls = Uint8Array.of(0, 1);
  const rows = await insertBatches(history, source, [
    {
      seq: 7,
      batch: {
        knownTimeUs: 1_700_000_000_123_456,
        count: 2,
        ids: ['a', 'é\n\0'],
        eventTimeUs: Float64Array.of(1_600_000_000_000_001, -1),
        columns: new Map([
          ['flag', { type: 'bool', values: Uint8Array.of(1, 0), nulls: null }],
          ['big', { type: 'i64', values: BigInt64Array.of(-(2n ** 63n), 5n), nulls }],
          ['x', { type: 'f64', values: Float64Array.of(0.1, 9), nulls }],
          ['text', { type: 'str', values: ['“”\0', ''], nulls }],
          ['at', { type: 'i64', values: BigInt64Array.of(-1n, 253_402_300_799_999_999n / 100n), nulls: null }],
        ]),
      },
    },
  ]);
  expect(rows).toBe(2);
  const found = await history.query(
    `SELECT _event_id, toUnixTimestamp64Micro(_event_time) AS t, toUnixTimestamp64Micro(_known_time) AS k, _seq, _index, flag,
       toString(big) AS big, x, text, toUnixTimestamp64Micro(at) AS at FROM ${eventTable(source.name)} ORDER BY _index`,
  );
  const envelope = { k: '1700000000123456', _seq: '7' };
  expect(found).toEqual([
    {
      ...envelope,
      _event_id: 'a',
      t: '1600000000000001',
      _index: 0,
      flag: true,
      big: '-9223372036854775808',
      x: 0.1,
      text: '“”\0',
      at: '-1',
    },
    {
      ...envelope,
      _event_id: 'é\n\0',
      t: '-1',
      _index: 1,
      flag: false,
      big: null,
      x: null,
      text: null,
      at: '2534023007999999',
    },
  ]);
});

test('a table that is fitted to a newer schema keeps what was there: defaults, nulls, wider types, and types that changed aside', async () => {
  const source = await newSource([
    ...doubles,
    { name: 'wide', type: 'INT64', nullable: false },
    { name: 'other', type: 'BOOL', nullable: false },
  ]);
  await insertBatches(history, source, [numbered(1, 2)]);
  const newer: EventSource = {
    name: source.name,
    fields: [
      { name: 'x', type: 'DOUBLE', nullable: true },
      { name: 'wide', type: 'DOUBLE', nullable: false },
      { name: 'other', type: 'STRING', nullable: false },
      { name: 'note', type: 'STRING', nullable: true },
      { name: 'n', type: 'INT64', nullable: false },
      { name: 'big', type: 'INT64', nullable: false, default: '9223372036854775807' },
      { name: 'quote', type: 'STRING', nullable: false, default: "it's \\" },
    ],
  };
  const fields = await ensureEventTable(history, newer);
  expect(fields.filter(({ nullable }) => nullable).map(({ name }) => name)).toEqual(['x', 'other', 'note', 'n']);
  const older = numbered(2, 1);
  const columns = new Map([
    ...older.batch.columns,
    ['wide', { type: 'i64' as const, values: BigInt64Array.of(7n), nulls: null }],
  ]);
  await insertBatches(history, { ...newer, fields }, [{ ...older, batch: { ...older.batch, columns } }]);
  const found = await history.query(
    `SELECT x, wide, other, other__Bool, note, n, big, quote FROM ${eventTable(source.name)} ORDER BY _seq`,
  );
  const filled = { other: null, other__Bool: false, note: null, n: null, big: '9223372036854775807', quote: "it's \\" };
  expect(found).toEqual([
    { x: 1, wide: 0, ...filled },
    { x: 1, wide: 0, ...filled },
    { x: 2, wide: 7, ...filled },
  ]);
  expect(await ensureEventTable(history, newer)).toEqual(fields);
  expect(await maxSeq(history, eventTable(source.name))).toBe(2);
});

test('an insert of many batches is one part', async () => {
  const source = await newSource(doubles);
  await history.command(`SYSTEM STOP MERGES ${eventTable(source.name)}`);
  const batches = Array.from({ length: 300 }, (_, seq) => numbered(seq + 1, 1_000));
  expect(await insertBatches(history, source, batches)).toBe(300_000);
  const parts = await history.query(
    `SELECT rows FROM system.parts WHERE active AND database = 'millrace' AND table = 'events_${source.name}'`,
  );
  expect(parts).toEqual([{ rows: '300000' }]);
});

test('after kill -9 at any instant of an insert, all of it is there or nothing', async () => {
  const source = await newSource(doubles);
  const batches = Array.from({ length: 400 }, (_, seq) => numbered(seq + 1, 1_000));
  const seen = new Set<number>();
  for (const afterMs of [150, 300, 500, 800]) {
    const before = await maxSeq(history, eventTable(source.name));
    const insert = insertBatches(
      history,
      source,
      batches.map(({ seq, batch }) => ({ seq: before + seq, batch })),
    ).catch((error: unknown) => error);
    await new Promise((resolve) => setTimeout(resolve, afterMs));
    await mesh.clickhouse.kill9();
    const outcome = await insert;
    if (typeof outcome !== 'number') expect(outcome).toMatchObject({ reason: 'STORE_UNAVAILABLE' });
    await mesh.clickhouse.restart();
    await eventually(() => history.ping(), { timeoutMs: 30_000 });
    const [{ rows = '', position = '' } = {}] = await history.query<{ rows: string; position: string }>(
      `SELECT count() AS rows, max(_seq) AS position FROM ${eventTable(source.name)}`,
    );
    expect([before, before + 400]).toContain(Number(position));
    expect(Number(rows)).toBe(Number(position) * 1_000);
    seen.add(Number(position) - before);
  }
  process.stdout.write(`blocks after a kill: ${[...seen].join(', ')} batches\n`);
});

test('a refusal keeps the words of ClickHouse; a store that is away is STORE_UNAVAILABLE and names the address', async () => {
  await expect(history.query('SELECT * FROM nowhere')).rejects.toMatchObject({
    reason: 'INTERNAL',
    metadata: { type: 'UNKNOWN_TABLE', code: '60' },
  });
  const source = await newSource(doubles);
  await mesh.clickhouse.kill9();
  const url = mesh.clickhouse.url;
  await expect(insertBatches(history, source, [numbered(1, 1)])).rejects.toMatchObject({
    reason: 'STORE_UNAVAILABLE',
    metadata: { url },
  });
  await expect(history.query('SELECT 1')).rejects.toMatchObject({ reason: 'STORE_UNAVAILABLE' });
  await expect(openHistory({ url, patienceMs: 300 })).rejects.toMatchObject({ reason: 'STORE_UNAVAILABLE' });
  await mesh.clickhouse.restart();
  await eventually(async () => expect(await history.query('SELECT 1 AS one')).toEqual([{ one: 1 }]), {
    timeoutMs: 30_000,
  });
});

test('an insert whose writer is gone has ended before the table is opened again', async () => {
  const source = await newSource(doubles);
  const gone = await openHistory({ url: mesh.clickhouse.url });
  const lost = insertBatches(
    gone,
    source,
    Array.from({ length: 900 }, (_, seq) => numbered(seq + 1, 1_000)),
  ).catch((error: unknown) => error);
  let running = 0;
  await eventually(
    async () => {
      const [row] = await history.query<{ n: string }>(
        `SELECT count() AS n FROM system.processes WHERE query_kind = 'Insert'`,
      );
      running = Number(row?.n);
      expect(running).toBeGreaterThan(0);
    },
    { timeoutMs: 10_000 },
  );
  await gone.close();
  await ensureEventTable(history, source);
  const opened = await maxSeq(history, eventTable(source.name));
  await lost;
  await new Promise((resolve) => setTimeout(resolve, 500));
  expect(opened).toBe(900);
  expect(await maxSeq(history, eventTable(source.name))).toBe(900);
});
