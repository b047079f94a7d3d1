import { definitions } from '@millrace/contracts';
import { describe, expect, test } from 'vitest';
import { packRows } from './pack.ts';
import { eventBytesMax, type RawEvent } from './raw-event.ts';
import { compileSource, type RowBuilder } from './source-validator.ts';

const { BOOL, DOUBLE, INT64, STRING, TIMESTAMP } = definitions.FieldType;
const nowUs = Date.UTC(2026, 0, 1) * 1000;
const limits = { nowUs, frontierUs: nowUs };

const spec = definitions.Source.fromPartial({
  fields: [
    { name: 'at', type: TIMESTAMP },
    { name: 'origin', type: STRING, enumValues: ['SEA', 'SFO'] },
    { name: 'delay', type: DOUBLE, nullable: true, min: -100, max: 1000 },
    { name: 'distance', type: INT64 },
    { name: 'late', type: BOOL, nullable: true },
    { name: 'note', type: STRING, nullable: true },
  ],
  eventTimeField: 'at',
  maxLatenessUs: 86_400_000_000n,
});
const good = { at: '2025-12-31T23:00:00Z', origin: 'SEA', delay: 1.5, distance: 680, late: true, note: 'é' };
const source = (over: Partial<definitions.Source> = {}) =>
  compileSource({ name: 'flights', version: 'v1', spec: { ...spec, ...over } });

function event(fields: unknown, over: Partial<RawEvent> = {}): RawEvent {
  const text = typeof fields === 'string' ? fields : JSON.stringify(fields);
  return { id: 'a', eventTimeUs: 0, payload: Buffer.from(text), form: 'fields', ...over };
}

function readOne(raw: RawEvent, over: Partial<definitions.Source> = {}) {
  const rows = source(over).open(2);
  return { rows, wrong: rows.read(raw, limits) };
}

function hashOf(fields: unknown, over: Partial<RawEvent> = {}): string {
  const { rows, wrong } = readOne(event(fields, over));
  expect(wrong).toBeNull();
  return `${rows.hash.hi}/${rows.hash.lo}`;
}

const columnOf = (rows: RowBuilder, name: string) => rows.columns({ t: 'range', from: 0, to: rows.count }).get(name);

test('a good event becomes a typed row', () => {
  const { rows, wrong } = readOne(event(good));
  expect(wrong).toBeNull();
  rows.keep();
  expect(
    rows.read(
      event({ ...good, delay: null, late: null, note: null, distance: '-9223372036854775808' }, { id: 'b' }),
      limits,
    ),
  ).toBeNull();
  rows.keep();
  const atUs = Date.UTC(2025, 11, 31, 23) * 1000;
  expect(rows.eventTimeUs).toEqual(Float64Array.of(atUs, atUs));
  expect(columnOf(rows, 'at')).toEqual({
    type: 'i64',
    values: BigInt64Array.of(BigInt(atUs), BigInt(atUs)),
    nulls: null,
  });
  expect(columnOf(rows, 'distance')).toEqual({
    type: 'i64',
    values: BigInt64Array.of(680n, -(2n ** 63n)),
    nulls: null,
  });
  expect(columnOf(rows, 'delay')).toEqual({ type: 'f64', values: Float64Array.of(1.5, 0), nulls: Uint8Array.of(0, 1) });
  expect(columnOf(rows, 'late')).toEqual({ type: 'bool', values: Uint8Array.of(1, 0), nulls: Uint8Array.of(0, 1) });
  expect(columnOf(rows, 'origin')).toEqual({ type: 'str', values: ['SEA', 'SEA'], nulls: null });
  expect(columnOf(rows, 'note')).toEqual({ type: 'str', values: ['é', ''], nulls: Uint8Array.of(0, 1) });
});

test('safe integers of both signs keep every bit', () => {
  const rows = source().open(5);
  const values = [0, -1, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER, 4_294_967_296];
  for (const distance of values) {
    expect(rows.read(event({ ...good, distance }), limits)).toBeNull();
    rows.keep();
  }
  expect(columnOf(rows, 'distance')?.values).toEqual(BigInt64Array.from(values, BigInt));
});

test('a row that fails leaves nothing behind in the next', () => {
  const rows = source().open(2);
  expect(rows.read(event({ ...good, delay: null, distance: 'x' }), limits)).not.toBeNull();
  expect(rows.read(event(good), limits)).toBeNull();
  rows.keep();
  expect(columnOf(rows, 'delay')).toEqual({ type: 'f64', values: Float64Array.of(1.5), nulls: null });
});

const { origin: _origin, ...withoutOrigin } = good;
const { at: _at, ...withoutTime } = good;
const bad: readonly [name: string, raw: RawEvent, reason: string, field: string, says: string][] = [
  ['text that is not JSON', event('{"a":'), 'MALFORMED_PAYLOAD', '', 'is not JSON'],
  ['the token NaN', event('{"delay": NaN}'), 'MALFORMED_PAYLOAD', '', 'JSON has no NaN'],
  ['the token Infinity', event('{"delay":-Infinity}'), 'MALFORMED_PAYLOAD', '', 'JSON has no Infinity'],
  ['an array', event([good]), 'MALFORMED_PAYLOAD', '', 'one JSON object'],
  ['null', event('null'), 'MALFORMED_PAYLOAD', '', 'one JSON object'],
  [
    'bytes that are not UTF-8',
    event('', { payload: Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]) }),
    'MALFORMED_PAYLOAD',
    '',
    'UTF-8',
  ],
  ['an empty payload', event(''), 'MALFORMED_PAYLOAD', '', 'not JSON'],
  ['a missing field', event(withoutOrigin), 'MISSING_FIELD', 'origin', 'field "origin" is missing'],
  ['an extra field', event({ ...good, gate: 'B7' }), 'EXTRA_FIELD', 'gate', 'field "gate" is not in the schema'],
  [
    'an extra field called __proto__',
    event(JSON.stringify(good).replace('{', '{"__proto__":1,')),
    'EXTRA_FIELD',
    '__proto__',
    '__proto__',
  ],
  ['text for a number', event({ ...good, delay: '12' }), 'WRONG_TYPE', 'delay', '"12" is string, not DOUBLE'],
  ['a fraction for INT64', event({ ...good, distance: 1.5 }), 'WRONG_TYPE', 'distance', '1.5 is number, not INT64'],
  ['an integer past 2^53', event({ ...good, distance: 2 ** 60 }), 'WRONG_TYPE', 'distance', 'decimal text'],
  [
    'an integer past 2^63',
    event({ ...good, distance: '9223372036854775808' }),
    'OUT_OF_RANGE',
    'distance',
    'does not fit INT64',
  ],
  ['a number for BOOL', event({ ...good, late: 1 }), 'WRONG_TYPE', 'late', 'true or false'],
  ['a number for STRING', event({ ...good, note: 5 }), 'WRONG_TYPE', 'note', '5 is number, not STRING'],
  ['an object for STRING', event({ ...good, note: {} }), 'WRONG_TYPE', 'note', '{} is object'],
  ['no time for TIMESTAMP', event({ ...good, at: 'yesterday' }), 'WRONG_TYPE', 'at', 'RFC 3339'],
  ['the 30th of February', event({ ...good, at: '2025-02-30T00:00:00Z' }), 'WRONG_TYPE', 'at', 'RFC 3339'],
  [
    'null where forbidden',
    event({ ...good, distance: null }),
    'NULL_NOT_ALLOWED',
    'distance',
    'is null but not nullable',
  ],
  ['a null event time', event({ ...good, at: null }), 'NULL_NOT_ALLOWED', 'at', 'is null'],
  [
    'a number that overflows to infinity',
    event(JSON.stringify(good).replace('1.5', '1e999')),
    'NOT_FINITE',
    'delay',
    'Infinity is not finite',
  ],
  ['NaN as text', event({ ...good, delay: 'NaN' }), 'NOT_FINITE', 'delay', '"NaN" is not finite'],
  [
    'a value outside the enum',
    event({ ...good, origin: 'XXX' }),
    'NOT_IN_ENUM',
    'origin',
    '"XXX" is not one of "SEA", "SFO"',
  ],
  [
    'a value above the range',
    event({ ...good, delay: 1001 }),
    'OUT_OF_RANGE',
    'delay',
    '1001 is out of range; send -100 to 1000',
  ],
  ['no event time', event(withoutTime), 'MISSING_FIELD', 'at', 'event-time field "at" is missing'],
  [
    'an event time before 1970',
    event({ ...good, at: '1969-12-31T23:59:59Z' }),
    'EVENT_TIME_OUT_OF_RANGE',
    'at',
    '1969',
  ],
  ['an event time after 2200', event({ ...good, at: '2200-01-01T00:00:00Z' }), 'EVENT_TIME_OUT_OF_RANGE', 'at', '2200'],
  ['a time in nanoseconds', event({ ...good, at: '1700000000000000000' }), 'WRONG_TYPE', 'at', 'microseconds'],
  ['an event from the future', event({ ...good, at: nowUs + 300_000_001 }), 'FUTURE_EVENT', 'at', 'ahead of'],
  [
    'an event behind the lateness limit',
    event({ ...good, at: nowUs - 86_400_000_001 }),
    'TOO_LATE',
    'at',
    'behind the source',
  ],
  [
    'a payload over the limit',
    event({ ...good, note: 'x'.repeat(eventBytesMax) }),
    'EVENT_TOO_LARGE',
    '',
    `limit of ${eventBytesMax}`,
  ],
  ['no id', event(good, { id: '' }), 'MISSING_EVENT_ID', 'id', 'has no id'],
  ['an endless id', event(good, { id: 'x'.repeat(513) }), 'OUT_OF_RANGE', 'id', '513 characters'],
];

test.each(bad)('%s is rejected with its reason, field and remedy', (_name, raw, reason, field, says) => {
  const { wrong } = readOne(raw);
  expect(wrong).toMatchObject({ reason, field });
  expect(wrong?.message).toContain(says);
});

test('at the edge of the skew and of the lateness an event is accepted', () => {
  expect(readOne(event({ ...good, at: nowUs + 300_000_000 })).wrong).toBeNull();
  expect(readOne(event({ ...good, at: nowUs - 86_400_000_000 })).wrong).toBeNull();
});

test('extra fields are dropped when the source says so', () => {
  const { wrong } = readOne(event({ ...good, gate: 'B7' }), { extraFields: definitions.ExtraFields.IGNORE });
  expect(wrong).toBeNull();
});

test('a field named constructor is missing when the event does not bring it', () => {
  const fields = [...spec.fields, definitions.SourceField.fromPartial({ name: 'constructor', type: STRING })];
  expect(readOne(event(good), { fields }).wrong).toMatchObject({ reason: 'MISSING_FIELD', field: 'constructor' });
  expect(readOne(event({ ...good, constructor: 'Boeing' }), { fields }).wrong).toBeNull();
});

test('the envelope gives the event time where the field is absent', () => {
  const { rows, wrong } = readOne(event(withoutTime, { eventTimeUs: nowUs - 5 }));
  expect(wrong).toBeNull();
  rows.keep();
  expect(rows.eventTimeUs[0]).toBe(nowUs - 5);
  expect(columnOf(rows, 'at')?.values[0]).toBe(BigInt(nowUs - 5));
});

describe('payload hashes', () => {
  test('do not depend on key order, spacing, or the form of a number or time', () => {
    const reversed = Object.fromEntries(Object.entries(good).reverse());
    const same = hashOf(good);
    expect(hashOf(JSON.stringify(reversed, null, 2))).toBe(same);
    expect(hashOf({ ...good, distance: '680', at: Date.UTC(2025, 11, 31, 23) * 1000 })).toBe(same);
  });

  test('differ when a value, a time or a field differs', () => {
    const hashes = [
      good,
      { ...good, delay: 1.25 },
      { ...good, origin: 'SFO' },
      { ...good, late: null },
      { ...good, at: nowUs },
    ].map((one) => hashOf(one));
    expect(new Set(hashes).size).toBe(hashes.length);
  });

  test('are the same for null and absent, so that a nullable field may be added later', () => {
    const { note: _note, ...withoutNote } = good;
    expect(hashOf(withoutNote)).toBe(hashOf({ ...good, note: null }));
  });
});

describe('CloudEvents', () => {
  const cloud = {
    specversion: '1.0',
    id: '7',
    source: '/gate',
    type: 'flight',
    time: '2025-12-31T22:00:00Z',
    data: good,
  };

  test('bring their id and fields in structured mode', () => {
    const { rows, wrong } = readOne(event(cloud, { form: 'open', id: 'header' }));
    expect(wrong).toBeNull();
    expect(rows.id).toBe('/gate#7');
  });

  test('may carry their data in base64', () => {
    const { data, ...envelope } = cloud;
    const encoded = { ...envelope, data_base64: Buffer.from(JSON.stringify(data)).toString('base64') };
    expect(readOne(event(encoded, { form: 'open' })).wrong).toBeNull();
  });

  test('are refused with the attribute at fault', () => {
    const over = (change: object) => readOne(event({ ...cloud, ...change }, { form: 'open' })).wrong;
    expect(over({ id: '' })).toMatchObject({ reason: 'MISSING_EVENT_ID' });
    expect(over({ time: 'noon' })).toMatchObject({ reason: 'WRONG_TYPE', field: 'time' });
    expect(over({ data: 'text' })).toMatchObject({ reason: 'MALFORMED_PAYLOAD', field: 'data' });
    expect(over({ specversion: '0.3' })).toMatchObject({ reason: 'MALFORMED_PAYLOAD', field: 'specversion' });
  });
});

describe('packing', () => {
  function rowsOf(validator: ReturnType<typeof source>, count: number, note = 'x') {
    const rows = validator.open(count);
    for (let at = 0; at < count; at++) {
      expect(rows.read(event({ ...good, note, distance: at }, { id: `e${at}` }), limits)).toBeNull();
      rows.keep();
    }
    return rows;
  }

  test('cuts messages at 1,000 events', () => {
    const validator = source();
    const [messages = []] = packRows(validator, rowsOf(validator, 2_500), 9);
    expect(messages.map(({ batch }) => batch.count)).toEqual([1000, 1000, 500]);
    expect(messages[2]?.batch.ids[0]).toBe('e2000');
    expect(messages[2]?.batch.columns.get('distance')?.values[0]).toBe(2000n);
  });

  test('cuts messages by size, so that none is near 1 MiB', () => {
    const validator = source();
    const [messages = []] = packRows(validator, rowsOf(validator, 20, 'y'.repeat(100_000)), 9);
    expect(messages.map(({ batch }) => batch.count)).toEqual(Array.from({ length: 10 }, () => 2));
  });

  test('keeps events of one key in one partition and in order', () => {
    const validator = source({ partitions: 4, keyField: 'distance' });
    const [messages = []] = packRows(validator, rowsOf(validator, 100), 9);
    expect(messages.reduce((sum, { batch }) => sum + batch.count, 0)).toBe(100);
    expect(messages.length).toBeGreaterThan(1);
    for (const { batch } of messages) {
      const order = batch.ids.map((id) => Number(id.slice(1)));
      expect(order).toEqual([...order].sort((a, b) => a - b));
      expect([...(batch.columns.get('distance')?.values ?? [])]).toEqual(order.map(BigInt));
    }
  });
});
