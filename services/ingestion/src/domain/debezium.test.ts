import { definitions } from '@millrace/contracts';
import { describe, expect, test } from 'vitest';
import { unwrapDebezium } from './debezium.ts';
import { compileSource } from './source-validator.ts';

const { DOUBLE, INT64, STRING, TIMESTAMP } = definitions.FieldType;
const spec = definitions.Source.fromPartial({
  fields: [
    { name: 'id', type: INT64 },
    { name: 'shop', type: STRING },
    { name: 'amount', type: DOUBLE, nullable: true },
    { name: 'placed', type: TIMESTAMP, nullable: true },
  ],
  changes: definitions.Changes.UPSERT,
  debezium: { idColumns: ['id'] },
});
const tsMs = Date.UTC(2024, 4, 1) / 1;
const source = {
  version: '2.7.0.Final',
  connector: 'postgresql',
  ts_ms: tsMs - 5,
  db: 'shop',
  table: 'orders',
  lsn: 33_227_720,
};
const row = { id: 7, shop: 'a', amount: 2.5, placed: tsMs };
/** As its JSON converter writes it with `schemas.enable`. */
const column = (field: string, type: string, name?: string) => ({
  type,
  optional: false,
  field,
  ...(name ? { name } : {}),
});
const rowFields = [
  column('id', 'int64'),
  column('shop', 'string'),
  column('amount', 'double'),
  column('placed', 'int64', 'io.debezium.time.Timestamp'),
];
const schema = {
  type: 'struct',
  fields: [
    { type: 'struct', fields: rowFields, optional: true, field: 'before' },
    { type: 'struct', fields: rowFields, optional: true, field: 'after' },
    column('op', 'string'),
  ],
};

const unwrap = (message: object, idColumns = ['id']) =>
  unwrapDebezium(message as never, { idColumns }, new Set(['placed']));

describe('what a message says', () => {
  test.each([
    ['c', { before: null, after: row, source, op: 'c', ts_ms: tsMs }],
    ['u', { before: { ...row, amount: 1 }, after: row, source, op: 'u', ts_ms: tsMs }],
    ['r, of a snapshot', { before: null, after: row, source: { ...source, snapshot: 'true' }, op: 'r', ts_ms: tsMs }],
  ])('%s puts the row', (_, message) => {
    expect(unwrap(message)).toEqual({
      id: '7',
      eventTimeUs: (tsMs - 5) * 1000,
      fields: row,
      isDelete: false,
    });
  });

  test('d deletes by the key in before', () => {
    expect(unwrap({ before: { id: 7 }, after: null, source, op: 'd', ts_ms: tsMs })).toMatchObject({
      id: '7',
      isDelete: true,
    });
  });

  test('with its schema, times in milliseconds become microseconds', () => {
    const payload = { before: null, after: row, op: 'c', ts_ms: tsMs, ts_us: tsMs * 1000 + 7 };
    expect(unwrap({ schema, payload })).toMatchObject({
      eventTimeUs: tsMs * 1000 + 7,
      fields: { ...row, placed: tsMs * 1000 },
    });
  });

  test('a key of several columns is the id that a batch input makes of them', () => {
    const message = { before: null, after: { ...row, shop: 'a:b' }, op: 'c', ts_ms: tsMs };
    expect(unwrap(message, ['shop', 'id'])).toMatchObject({ id: 'a%3Ab:7' });
  });

  test.each([
    ['a tombstone for Kafka', { schema: null, payload: null }, /tombstones\.on\.delete=false/],
    ['a flattened row', row, /ExtractNewRecordState/],
    ['a truncation', { op: 't', source, ts_ms: tsMs }, /"t" changes no single row/],
    ['a deletion without a key', { before: null, after: null, op: 'd' }, /nothing tells which/],
    ['a deletion without the key column', { before: { shop: 'a' }, after: null, op: 'd' }, /REPLICA IDENTITY/],
  ])('%s is rejected with what to do', (_, message, why) => {
    expect(unwrap(message)).toMatchObject({ message: expect.stringMatching(why) });
  });
});

test('the rows are held against the schema, deletions against nothing', () => {
  const rows = compileSource({ name: 's', version: 'v', spec }).open(4);
  const read = (message: object) =>
    rows.read(
      { id: 'of the message', eventTimeUs: 0, payload: Buffer.from(JSON.stringify(message)), form: 'open' },
      { nowUs: tsMs * 2000, frontierUs: 0 },
    );
  expect(read({ before: null, after: row, op: 'c', ts_ms: tsMs })).toBeNull();
  expect([rows.id, rows.isDelete]).toEqual(['7', false]);
  expect(read({ before: null, after: { ...row, amount: 'x' }, op: 'u', ts_ms: tsMs })).toMatchObject({
    reason: 'WRONG_TYPE',
  });
  expect(read({ before: row, after: null, op: 'd', ts_ms: tsMs })).toBeNull();
  expect([rows.id, rows.isDelete]).toEqual(['7', true]);
});
