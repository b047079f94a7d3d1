import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { definitions } from '@millrace/contracts';
import {
  Bool,
  Dictionary,
  Int32,
  Int64,
  makeVector,
  Table,
  TimestampMicrosecond,
  tableToIPC,
  Utf8,
  vectorFromArray,
} from 'apache-arrow';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openRows } from './open-rows.ts';
import { type InputRow, Instant } from './rows.ts';

let folder: string;
let files = 0;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'millrace-formats-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const plain = definitions.RowFormat.fromPartial({});

function write(name: string, content: string | Uint8Array): string {
  const path = join(folder, `${files++}-${name}`);
  writeFileSync(path, content);
  return path;
}

async function read(path: string, options: Partial<definitions.RowFormat> = {}): Promise<InputRow[]> {
  const rows: InputRow[] = [];
  for await (const chunk of (await openRows(path, { ...plain, ...options })).chunks()) rows.push(...chunk.rows);
  return rows;
}

const fieldsOf = (rows: readonly InputRow[]) => rows.map((row) => (row.t === 'row' ? row.fields : row.message));

test('what any CSV writer quotes comes back, in order and numbered from 1', async () => {
  const cell = fc.string({ unit: 'grapheme' }).filter((text) => !text.includes('\ufffd'));
  const table = fc.array(fc.tuple(cell, cell, cell), { minLength: 1, maxLength: 30 });
  const quoted = (text: string) => `"${text.replaceAll('"', '""')}"`;
  await fc.assert(
    fc.asyncProperty(
      table,
      fc.constantFrom(',', ';', '\t', '|'),
      fc.constantFrom('\n', '\r\n'),
      async (rows, delimiter, end) => {
        const lines = [['a', 'b', 'c'], ...rows].map((row) => row.map(quoted).join(delimiter));
        const read = await readBack(write('any.csv', lines.join(end)));
        expect(read).toEqual(rows);
      },
    ),
    { numRuns: 60 },
  );

  async function readBack(path: string) {
    const found = await read(path);
    expect(found.map(({ number }) => number)).toEqual(found.map((_, at) => at + 1));
    return found.map((row) => (row.t === 'row' ? [row.fields.a, row.fields.b, row.fields.c] : row));
  }
});

test('CSV rows that are broken are told by their line, and the others are read', async () => {
  const rows = await read(write('broken.csv', 'a,b\n1,2\n3\n4,5,6\n7,8"9\n10,11\n'));
  expect(rows.filter(({ t }) => t === 'row').map((row) => row.t === 'row' && row.fields)).toEqual([
    { a: '1', b: '2' },
    { a: '10', b: '11' },
  ]);
  const bad = rows.flatMap((row) => (row.t === 'bad' ? [row.message] : []));
  expect(bad).toHaveLength(3);
  expect(bad.join('\n')).toMatch(/line 3 has 1 columns and the header has 2/);
  expect(bad.join('\n')).toMatch(/line 5 is not CSV/);
});

test('a quote that is never closed is one broken row, not a file in memory', async () => {
  const rows = await read(write('open.csv', `a,b\n1,2\n"3,4\n${'5,6\n'.repeat(10)}`));
  expect(rows.map(({ t }) => t)).toEqual(['row', 'bad']);
});

test('a file that is no CSV at all ends with an error after 10,000 broken rows', async () => {
  const path = write('no.csv', `a,b\n${'1,"x"y\n'.repeat(30_000)}`);
  await expect(read(path)).rejects.toMatchObject({ reason: 'MALFORMED_PAYLOAD' });
});

test('Latin-1 is read when it is named, and told apart from UTF-8 when it is not', async () => {
  const path = write('latin.csv', Buffer.from('city\nMünchen\nOslo\n', 'latin1'));
  expect(fieldsOf(await read(path, { encoding: 'latin1' }))).toEqual([{ city: 'München' }, { city: 'Oslo' }]);
  expect(fieldsOf(await read(path))).toEqual([expect.stringContaining('name its encoding'), { city: 'Oslo' }]);
});

test('two columns of one name are refused', async () => {
  await expect(read(write('twice.csv', 'a,b,a\n1,2,3\n'))).rejects.toThrow('two columns "a"');
});

test('gzip and zstd are unpacked, and what is cut off fails', async () => {
  const text = 'a\n'.concat(Array.from({ length: 5_000 }, (_, at) => `${at}\n`).join(''));
  for (const [name, pack] of [
    ['x.csv.gz', gzipSync],
    ['x.csv.zst', zstdCompressSync],
  ] as const) {
    const packed = pack(Buffer.from(text));
    expect(await read(write(name, packed))).toHaveLength(5_000);
    await expect(read(write(name, packed.subarray(0, packed.length - 20)))).rejects.toThrow();
  }
});

test('NDJSON keeps whole numbers that a double would change, and passes over blank lines', async () => {
  const rows = await read(write('x.ndjson', '{"n":9007199254740993}\n\n{"n":1.5}\n[1]\n{"n":\n'));
  expect(fieldsOf(rows)).toEqual([
    { n: 9007199254740993n },
    { n: 1.5 },
    expect.stringContaining('not a JSON object'),
    expect.stringContaining('not JSON'),
  ]);
});

test('a JSON array is read row by row, also where its bytes are cut anywhere', async () => {
  const rows = Array.from({ length: 3_000 }, (_, at) => ({
    at,
    text: 'ü"[{'.repeat(at % 7),
    nested: { list: [at, null] },
  }));
  expect(fieldsOf(await read(write('x.json', JSON.stringify(rows, null, 2))))).toEqual(rows);
  await expect(read(write('cut.json', JSON.stringify(rows).slice(0, -10)))).rejects.toThrow(
    'it ends before its array does',
  );
  await expect(read(write('text.json', '"hello"'))).rejects.toThrow('JSON array of objects');
});

test('Arrow types come as numbers, text, truth, whole numbers and moments', async () => {
  const table = new Table({
    n: vectorFromArray([1n, 2n ** 60n, null], new Int64()),
    at: makeVector({ type: new TimestampMicrosecond(), data: BigInt64Array.from([1n, 978307200000123n, 3n]) }),
    yes: vectorFromArray([true, false, null], new Bool()),
    word: vectorFromArray(['a', 'b', 'a'], new Dictionary(new Utf8(), new Int32())),
  });
  const rows = await read(write('x.arrow', tableToIPC(table, 'file')));
  expect(fieldsOf(rows)).toEqual([
    { n: 1n, at: new Instant(1), yes: true, word: 'a' },
    { n: 2n ** 60n, at: new Instant(978307200000123), yes: false, word: 'b' },
    { n: null, at: new Instant(3), yes: null, word: 'a' },
  ]);
});

test('Parquet is read a row group at a time, with exact times and numbers', async () => {
  const path = new URL('../../../node_modules/vega-datasets/data/flights-3m.parquet', import.meta.url).pathname;
  const reader = await openRows(path, plain);
  expect(reader.columns).toEqual(['date', 'delay', 'distance', 'origin', 'destination']);
  let rows = 0;
  for await (const chunk of reader.chunks()) {
    expect(chunk.rows[0]?.number).toBe(rows + 1);
    rows += chunk.rows.length;
    if (rows >= 300_000) break;
  }
  const [first] = await firstRows(path);
  expect(first).toMatchObject({
    t: 'row',
    number: 1,
    fields: { date: expect.any(Instant), delay: expect.any(BigInt) },
  });
  await expect(read(write('x.parquet', 'not parquet at all'))).rejects.toMatchObject({ reason: 'MALFORMED_PAYLOAD' });
});

async function firstRows(path: string): Promise<readonly InputRow[]> {
  for await (const chunk of (await openRows(path, plain)).chunks()) return chunk.rows;
  return [];
}

test('a name without a known ending asks for the format', async () => {
  await expect(read(write('rows', 'a\n1\n'))).rejects.toThrow('name one of csv, ndjson');
  expect(await read(write('rows', 'a\n1\n'), { format: 'csv' })).toHaveLength(1);
});

test('a column called __proto__ is one as any other', async () => {
  const csv = await read(write('proto.csv', '__proto__,a\nx,1'));
  const ndjson = await read(write('proto.ndjson', '{"__proto__":"x","a":"1"}'));
  const table = new Table({ __protX__: vectorFromArray(['x'], new Utf8()), a: vectorFromArray(['1'], new Utf8()) });
  const renamed = Buffer.from(tableToIPC(table, 'file')).toString('latin1').replaceAll('__protX__', '__proto__');
  const arrow = await read(write('proto.arrow', Buffer.from(renamed, 'latin1')));
  const row = [
    ['__proto__', 'x'],
    ['a', '1'],
  ];
  expect(fieldsOf([...csv, ...ndjson, ...arrow]).map((fields) => Object.entries(fields))).toEqual([row, row, row]);
});
