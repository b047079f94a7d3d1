import { definitions } from '@millrace/contracts';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { inferSchema } from './infer.ts';
import { openRows } from './open-rows.ts';
import { chunkRowsMax, type InputRow, type RowReader } from './rows.ts';
import { sourceYaml } from './source-yaml.ts';

const { BOOL, INT64, DOUBLE, STRING, TIMESTAMP } = definitions.FieldType;

function readerOf(rows: readonly Record<string, unknown>[], columns?: string[]): RowReader {
  return {
    columns,
    async *chunks() {
      const all = rows.map((fields, at): InputRow => ({ t: 'row', number: at + 1, fields }));
      for (let from = 0; from < all.length; from += chunkRowsMax)
        yield { rows: all.slice(from, from + chunkRowsMax), bytesRead: 0 };
    },
  };
}

const typesOf = async (rows: readonly Record<string, unknown>[]) => {
  const schema = await inferSchema(readerOf(rows));
  return Object.fromEntries(schema.columns.map(({ column, type, nullable }) => [column, [type, nullable]]));
};

test('the narrowest type that holds every value', async () => {
  const rows = [
    { int: '1', double: '1', bool: 'true', text: 'x', zip: '01234', mixed: 1, day: '2001-01-01', gone: '' },
    {
      int: '-2',
      double: '2.5',
      bool: 'FALSE',
      text: '7',
      zip: '99999',
      mixed: 'one',
      day: '2001-01-02 03:04:05',
      gone: '',
    },
  ];
  expect(await typesOf(rows)).toEqual({
    int: [INT64, false],
    double: [DOUBLE, false],
    bool: [BOOL, false],
    text: [STRING, false],
    zip: [STRING, false],
    mixed: [STRING, false],
    day: [TIMESTAMP, false],
    gone: [STRING, true],
  });
});

test('a member that some rows leave out is nullable, wherever they are', async () => {
  expect(await typesOf([{ a: 1, b: 1 }, { a: 2 }, { a: 3, b: 2, c: 1 }])).toEqual({
    a: [INT64, false],
    b: [INT64, true],
    c: [INT64, true],
  });
});

test('texts that look like null are told, and the column is a number', async () => {
  const schema = await inferSchema(readerOf([{ n: '1' }, { n: 'NA' }, { n: '3' }]));
  expect(schema).toMatchObject({ nullValues: ['NA'], columns: [{ type: INT64, nullable: true, nulls: 1 }] });
});

test.each([
  [['12/31/1998', '1/2/1999'], definitions.TimeFormat.MONTH_FIRST],
  [['31/12/1998', '1/2/1999'], definitions.TimeFormat.DAY_FIRST],
])('the order of day and month is found in %j', async (days, timeFormat) => {
  const schema = await inferSchema(readerOf(days.map((day) => ({ day }))));
  expect(schema).toMatchObject({ timeFormat, columns: [{ type: TIMESTAMP }], eventTimes: ['day'] });
});

test('whole numbers in a column of time are one when their unit makes sense', async () => {
  const unitOf = async (value: number, name = 'created_at') =>
    (await inferSchema(readerOf([{ [name]: value }, { [name]: value + 1 }]))).columns[0]?.type;
  expect(await unitOf(1_600_000_000)).toBe(TIMESTAMP);
  expect(await unitOf(1_600_000_000_000)).toBe(TIMESTAMP);
  expect(await unitOf(12)).toBe(INT64);
  expect(await unitOf(1_600_000_000, 'cents')).toBe(INT64);
});

test('keys are what rows share, ids what they do not', async () => {
  const rows = Array.from({ length: 40 }, (_, at) => ({
    order: `o${at}`,
    user: `u${at % 7}`,
    kind: at % 2 === 0 ? 'a' : 'b',
  }));
  expect(await inferSchema(readerOf(rows))).toMatchObject({ keys: ['user', 'kind'], ids: ['order'] });
});

test('no more rows are read than are asked for', async () => {
  const rows = Array.from({ length: 5_000 }, (_, at) => ({ at }));
  expect(await inferSchema(readerOf(rows), 1_500)).toMatchObject({ rows: 1_500, complete: false });
});

const data = (name: string) => new URL(`../../../node_modules/vega-datasets/data/${name}`, import.meta.url).pathname;

test.each([
  ['seattle-weather.csv', 'date', 'weather'],
  ['movies.json', 'release_date', undefined],
  ['birdstrikes.csv', 'flight_date', 'airport_name'],
  ['flights-200k.arrow', undefined, 'distance'],
  ['flights-3m.parquet', 'date', 'origin'],
  ['stocks.csv', 'date', 'symbol'],
])('%s: a source definition that says when and by what', async (name, eventTime, key) => {
  const schema = await inferSchema(await openRows(data(name), definitions.RowFormat.fromPartial({})), 20_000);
  const source = parse(sourceYaml('x', schema, name)) as Record<string, unknown>;
  expect(source).toMatchObject({ kind: 'source', name: 'x' });
  expect([source.event_time, source.key]).toEqual([eventTime, key]);
  for (const field of Object.keys(source.fields as object)) expect(field).toMatch(/^[a-z][a-z0-9_]*$/);
});
