import { cpSync, createWriteStream, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createTestMesh, eventually, type TestMesh } from '@millrace/testkit';
import avsc from 'avsc';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runMillrace } from './cli-world.ts';

const data = join(import.meta.dirname, '..', '..', 'node_modules', 'vega-datasets', 'data');
let mesh: TestMesh;
let dir: string;
const millrace = (...args: readonly string[]) => runMillrace(dir, args);

interface Load {
  readonly state: number;
  readonly location: string;
  readonly rows: number;
  readonly accepted: number;
  readonly duplicates: number;
  readonly rejected: number;
}

beforeAll(async () => {
  mesh = await createTestMesh({ stores: ['nats', 'redis', 'clickhouse'] });
  dir = join(mesh.dir, 'work');
  mkdirSync(join(dir, '.millrace'), { recursive: true });
  mkdirSync(join(dir, 'seen'));
  const [governance, ingestion] = await Promise.all([
    mesh.service('governance'),
    mesh.service('ingestion', {
      MILLRACE_INGESTION_HISTORY_FLUSH_INTERVAL_MS: '50',
      MILLRACE_INGESTION_LOAD_FOLDERS: join(dir, 'seen'),
    }),
  ]);
  const services = Object.fromEntries(
    Object.entries({ governance, ingestion }).map(([name, { grpc, http }]) => [name, { grpc, http }]),
  );
  const stores = { nats: mesh.nats.url, redis: mesh.redis.url, clickhouse: mesh.clickhouse.url };
  writeFileSync(join(dir, '.millrace', 'endpoints.json'), JSON.stringify({ services, stores }));
});
afterAll(() => mesh?.close());

/** What a new user does with a data set: infer, apply, dry run, load. */
async function takeIn(file: string, source: string, ...options: readonly string[]): Promise<Load> {
  const inferred = await millrace('infer', file, '--name', source);
  expect(inferred).toMatchObject({ code: 0, err: '' });
  writeFileSync(join(dir, `${source}.yaml`), inferred.out);
  expect(await millrace('apply', `${source}.yaml`)).toMatchObject({ code: 0 });
  return (await millrace('load', source, file, ...options, '--json')).json<Load>();
}

const inHistory = async (source: string): Promise<number> => {
  const response = await fetch(
    `${mesh.clickhouse.url}/?query=${encodeURIComponent(`SELECT count() FROM millrace.events_${source}`)}`,
  );
  return Number(await response.text());
};

describe('data sets as they come', () => {
  test.each([
    ['stocks.csv', 'stocks', ['--at', '2001-01-01'], 560, 0],
    ['movies.json', 'movies', [], 3_055, 146],
  ] as const)('%s', async (name, source, options, accepted, rejected) => {
    const done = await takeIn(join(data, name), source, ...options);
    expect(done).toMatchObject({ accepted, rejected, duplicates: 0 });
    await eventually(async () => expect(await inHistory(source)).toBe(accepted), { timeoutMs: 30_000 });
  });
});

test('a dry run shows columns and the first bad rows with their remedy, and publishes nothing', async () => {
  const text = 'date,symbol,price\n2001-01-01,A,1\n2001-01-02,B,\n2001-01-03,C,cheap\n2001-01-04,D\n';
  writeFileSync(join(dir, 'prices.csv'), text);
  const before = await millrace('loads', 'list', 'stocks', '--json');
  const { code, out } = await millrace('load', 'stocks', 'prices.csv', '--dry-run');
  expect(code).toBe(1);
  expect(out).toMatch(/4 rows looked at: 1 valid, 0 accepted before, 3 would go to quarantine; nothing was published/);
  expect(out).toMatch(/row 2: NULL_NOT_ALLOWED: .*make the field nullable/);
  expect(out).toMatch(/row 3: WRONG_TYPE: .*"cheap"/);
  expect(out).toMatch(/row 4: MALFORMED_PAYLOAD: line 5 has 2 columns/);
  expect((await millrace('loads', 'list', 'stocks', '--json')).out).toBe(before.out);
  const unknown = await millrace('load', 'nowhere', 'prices.csv', '--dry-run');
  expect(unknown.err).toContain('millrace infer <file> --name nowhere');
});

test('a file that ingestion sees is read there, another is sent; the same rows count once', async () => {
  const source = 'stocks';
  cpSync(join(data, 'stocks.csv'), join(dir, 'seen', 'stocks.csv'));
  const seen = (await millrace('load', source, 'seen/stocks.csv', '--json')).json<Load>();
  expect(seen).toMatchObject({ accepted: 0, duplicates: 560, location: join(dir, 'seen', 'stocks.csv') });
  cpSync(join(data, 'stocks.csv'), join(dir, 'mine.csv'));
  const sent = (await millrace('load', source, 'mine.csv', '--json')).json<Load>();
  expect(sent).toMatchObject({ accepted: 0, duplicates: 560, location: expect.stringContaining('upload://') });
  const ledger = await millrace('loads', 'inputs', source);
  expect(ledger.out).toContain('seen/stocks.csv');
  expect(ledger.out).toMatch(/upload:\/\/.*mine\.csv/);
});

test('a load that is not followed is found, watched and cannot be cancelled once it has ended', async () => {
  const { loadId } = (await millrace('load', 'stocks', 'mine.csv', '--no-follow', '--json')).json<{ loadId: string }>();
  const shown = await millrace('loads', 'show', loadId, '--follow');
  expect(shown.out).toMatch(
    new RegExp(`load ${loadId} succeeded .*: 560 rows: 0 accepted, 560 duplicates, 0 rejected`),
  );
  expect((await millrace('loads', 'list')).out).toContain(loadId);
  expect((await millrace('loads', 'cancel', loadId)).out).toContain('succeeded');
  expect(await millrace('loads', 'show', 'nothing')).toMatchObject({
    code: 1,
    err: expect.stringContaining('UNKNOWN_LOAD'),
  });
});

test('a batch input is read when it is asked for, and passed over when nothing is new', async () => {
  cpSync(join(data, 'stocks.csv'), join(dir, 'seen', 'quotes.csv'));
  const source = `kind: source
name: quotes
event_time: date
fields: { date: TIMESTAMP, symbol: STRING, price: DOUBLE }
batch: { all: { location: '${join(dir, 'seen')}/quotes*.csv' } }
`;
  writeFileSync(join(dir, 'quotes.yaml'), source);
  expect(await millrace('apply', 'quotes.yaml')).toMatchObject({ code: 0 });
  expect((await millrace('load', 'quotes', '--json')).json<Load>()).toMatchObject({ accepted: 560, rejected: 0 });
  expect((await millrace('load', 'quotes', '--input', 'all')).out).toMatch(/0 rows.*1 inputs were read before/);
});

const order = {
  type: 'record',
  name: 'Order',
  fields: [
    { name: 'orderId', type: 'string' },
    { name: 'at', type: { type: 'long', logicalType: 'timestamp-millis' } },
    { name: 'amount', type: ['null', 'double'], default: null },
    { name: 'buyer', type: { type: 'record', name: 'Buyer', fields: [{ name: 'firstName', type: 'string' }] } },
  ],
} as const;

/** A container file as another writer makes it. */
async function writeOrders(file: string, codec: string, rows: number): Promise<void> {
  const encoder = new avsc.streams.BlockEncoder(order as unknown as avsc.Schema, { codec, blockSize: 4_000 });
  const orders = Array.from({ length: rows }, (_, at) => {
    const amount = at % 4 === 0 ? null : at / 2;
    return { orderId: `o-${at}`, at: 1_700_000_000_000 + at, amount, buyer: { firstName: `Ada ${at % 7}` } };
  });
  await pipeline(Readable.from(orders), encoder, createWriteStream(file));
}

test('an Avro file is inferred, loaded and read back, into a source of its own and one of its payload; a cut one fails', async () => {
  await writeOrders(join(dir, 'orders.avro'), 'deflate', 2_500);
  const all = { rows: 2_500, accepted: 2_500, rejected: 0, duplicates: 0 };
  expect(await takeIn('orders.avro', 'plain_orders')).toMatchObject(all);
  expect((await millrace('load', 'plain_orders', 'orders.avro', '--json')).json<Load>()).toMatchObject({
    accepted: 0,
    duplicates: 2_500,
  });

  writeFileSync(join(dir, 'order.avsc'), JSON.stringify(order));
  const own = `kind: source\nname: avro_orders\nevent_time: at\nkey: buyer_first_name\npayload: { avro: order.avsc }
batch: { all: { location: '${join(dir, 'seen')}/orders*.avro', id: orderId } }\n`;
  writeFileSync(join(dir, 'avro.yaml'), own);
  expect(await millrace('apply', 'avro.yaml')).toMatchObject({ code: 0 });
  const dry = await millrace('load', 'avro_orders', 'orders.avro', '--dry-run');
  expect([dry.code, dry.out]).toEqual([0, expect.stringMatching(/2500 rows looked at: 2500 valid/)]);
  cpSync(join(dir, 'orders.avro'), join(dir, 'seen', 'orders.avro'));
  expect((await millrace('load', 'avro_orders', '--json')).json<Load>()).toMatchObject(all);

  for (const source of ['plain_orders', 'avro_orders']) {
    await eventually(async () => expect(await inHistory(source)).toBe(2_500), { timeoutMs: 30_000 });
    const sql = `SELECT count(amount), sum(amount), uniqExact(buyer_first_name), min(toUnixTimestamp64Milli(at)) FROM millrace.events_${source}`;
    const response = await fetch(`${mesh.clickhouse.url}/?query=${encodeURIComponent(sql)}`);
    expect((await response.text()).trim()).toBe('1875\t1171875\t7\t1700000000000');
  }
  writeFileSync(join(dir, 'cut.avro'), readFileSync(join(dir, 'orders.avro')).subarray(0, -9));
  const cut = await millrace('load', 'plain_orders', 'cut.avro');
  expect(cut.code).toBe(1);
  expect(cut.out + cut.err).toMatch(/block \d+ of .*, at byte \d+, is corrupt: .*the file is cut/);
});

test.each(['snappy', 'zstd'])('a file that ClickHouse writes with %s is read as it wrote it', async (codec) => {
  const sql = `SELECT toString(number) AS id, number * 7 AS bytes_read, concat('path ', toString(number % 10)) AS path, toDateTime64(1700000000 + number, 6, 'UTC') AS at
    FROM numbers(30000) FORMAT Avro SETTINGS output_format_avro_codec = '${codec}', output_format_avro_sync_interval = 40000`;
  const response = await fetch(mesh.clickhouse.url, { method: 'POST', body: sql });
  expect(response.status).toBe(200);
  writeFileSync(join(dir, `${codec}.avro`), Buffer.from(await response.arrayBuffer()));
  expect(await takeIn(`${codec}.avro`, `of_${codec}`)).toMatchObject({ rows: 30_000, accepted: 30_000, rejected: 0 });
  await eventually(async () => expect(await inHistory(`of_${codec}`)).toBe(30_000), { timeoutMs: 30_000 });
  const sums = `SELECT sum(bytes_read), uniqExact(path), toUnixTimestamp(max(at)) FROM millrace.events_of_${codec}`;
  const read = await fetch(`${mesh.clickhouse.url}/?query=${encodeURIComponent(sums)}`);
  expect((await read.text()).trim()).toBe('3149895000\t10\t1700029999');
});

test('what is misspelt is refused before anything is read', async () => {
  for (const [args, says] of [
    [['load', 'stocks', 'none.csv'], 'INPUT_NOT_FOUND'],
    [['load', 'stocks', 'mine.csv', '--map', 'price=cost'], 'not a field of source'],
    [['load', 'stocks', 'ftp://x/y.csv'], 'is not a location'],
  ] as const) {
    const { code, out, err } = await millrace(...args);
    expect([code, out + err]).toEqual([1, expect.stringContaining(says)]);
  }
});
