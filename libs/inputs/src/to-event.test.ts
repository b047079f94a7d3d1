import { definitions } from '@millrace/contracts';
import { fieldNames } from '@millrace/kernel';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Instant } from './rows.ts';
import { toTimeUs } from './times.ts';
import { compileMapping } from './to-event.ts';

const { BOOL, INT64, DOUBLE, STRING, TIMESTAMP } = definitions.FieldType;
const { UNSPECIFIED, SECONDS, MILLISECONDS, MONTH_FIRST, DAY_FIRST } = definitions.TimeFormat;

const spec = definitions.Source.fromPartial({
  fields: [
    { name: 'at', type: TIMESTAMP },
    { name: 'user_id', type: STRING },
    { name: 'cents', type: INT64, nullable: true },
    { name: 'amount', type: DOUBLE, nullable: true },
    { name: 'paid', type: BOOL, nullable: true },
    { name: 'note', type: STRING, nullable: true },
  ],
  eventTimeField: 'at',
});
const format = (over: Partial<definitions.RowFormat> = {}) => ({ ...definitions.RowFormat.fromPartial({}), ...over });

function eventOf(fields: Record<string, unknown>, over: Partial<definitions.RowFormat> = {}, source = spec) {
  const { id, eventTimeUs, json } = compileMapping('s', source, format(over), undefined).toEvent(
    { t: 'row', number: 7, fields },
    'base',
  );
  return { id, eventTimeUs, fields: JSON.parse(Buffer.from(json).toString()) as Record<string, unknown> };
}

test('a column called __proto__ that fits no field is seen by the validator', () => {
  const { fields } = eventOf(JSON.parse('{"at":"2012-01-02","__proto__":"x"}') as Record<string, unknown>);
  expect(Object.entries(fields)).toContainEqual(['__proto__', 'x']);
});

test('text becomes what the field is; columns find their fields whatever their case and punctuation', () => {
  const event = eventOf({
    At: '2012-01-02',
    'User ID': '007',
    Cents: '12.0',
    amount: ' 1e3',
    'paid?': 'Yes',
    note: '',
  });
  expect(event).toEqual({
    id: 'base-7',
    eventTimeUs: 0,
    fields: { at: Date.UTC(2012, 0, 2) * 1000, user_id: '007', cents: 12, amount: 1000, paid: true, note: null },
  });
});

test('what cannot be converted stays as it is, for the validator to name', () => {
  const { fields } = eventOf({ at: 'soon', user_id: 'u', cents: '1.5', amount: '1,5', paid: 'maybe', extra: 1 });
  expect(fields).toEqual({ at: 'soon', user_id: 'u', cents: '1.5', amount: '1,5', paid: 'maybe', extra: 1 });
});

test('whole numbers keep all their digits', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), fc.boolean(), (value, asText) => {
      const { cents } = eventOf({ at: 0, user_id: 'u', cents: asText ? value.toString() : value }).fields;
      expect(BigInt(cents as string | number)).toBe(value);
    }),
  );
});

test('what lies inside a value is JSON too: whole numbers beyond 2^53, moments, bytes', () => {
  const nested = { big: 2n ** 60n, when: new Instant(5), bytes: new TextEncoder().encode('ü'), list: [1n, null] };
  const text = '{"big":"1152921504606846976","when":5,"bytes":"ü","list":[1,null]}';
  expect(eventOf({ at: 1, user_id: 'u', note: nested }).fields.note).toBe(text);
  expect(eventOf({ at: 1, user_id: 'u', other: nested }).fields.other).toEqual(JSON.parse(text));
});

test('declared texts stand for null', () => {
  expect(eventOf({ at: 1, user_id: 'NA', cents: 'NA', note: 'NA' }, { nullValues: ['NA'] }).fields).toEqual({
    at: 1,
    user_id: null,
    cents: null,
    note: null,
  });
});

test('ids come from columns, and composed ones cannot be mistaken for each other', () => {
  expect(eventOf({ at: 1, order: 5n }, { idColumns: ['order'] }).id).toBe('5');
  fc.assert(
    fc.property(fc.tuple(fc.string(), fc.string()), fc.tuple(fc.string(), fc.string()), (left, right) => {
      const id = ([a, b]: [string, string]) => eventOf({ a, b }, { idColumns: ['a', 'b'] }).id;
      fc.pre(!left.includes('') && !right.includes(''));
      expect(id(left) === id(right)).toBe(left[0] === right[0] && left[1] === right[1]);
    }),
  );
  expect(eventOf({ at: 1, order: null }, { idColumns: ['order'] }).id).toBe('');
});

test('a time column fills the envelope, and a time for all fills what is left', () => {
  const noTime = { ...spec, eventTimeField: '', fields: spec.fields.slice(1) };
  const rowTimeUs = 5n;
  expect(eventOf({ when: 3, user_id: 'u' }, { timeColumn: 'when' }, noTime)).toMatchObject({
    eventTimeUs: 3,
    fields: { user_id: 'u' },
  });
  expect(eventOf({ when: '', user_id: 'u' }, { timeColumn: 'when', rowTimeUs }, noTime).eventTimeUs).toBe(5);
  expect(eventOf({ when: 'soon', user_id: 'u' }, { timeColumn: 'when' }, noTime)).toMatchObject({
    eventTimeUs: 0,
    fields: { when: 'soon' },
  });
  expect(() => compileMapping('s', noTime, format(), undefined)).toThrow('--time <column>');
});

describe('with known columns', () => {
  const compile =
    (columns: string[], over: Partial<definitions.RowFormat> = {}, source = spec) =>
    () =>
      compileMapping('s', source, format(over), columns);
  test.each([
    [['at', 'user_id', 'gate'], {}, 'column "gate" fits no field'],
    [['at', 'cents'], {}, 'no column fills field "user_id"'],
    [['at', 'user_id', 'User Id'], {}, 'both fill field "user_id"'],
    [['at', 'user_id'], { idColumns: ['order'] }, 'there is no column "order"'],
    [['at', 'user_id'], { columns: new Map([['at', 'when']]) }, 'not a field of source'],
  ] as const)('%j %j is refused before a row is read', (columns, over, says) => {
    expect(compile([...columns], over as Partial<definitions.RowFormat>)).toThrow(says);
  });
  test('a column is dropped when it is mapped to nothing or the source ignores extra fields', () => {
    const columns = ['at', 'user_id', 'gate'];
    expect(compile(columns, { columns: new Map([['gate', '']]) })).not.toThrow();
    expect(compile(columns, {}, { ...spec, extraFields: definitions.ExtraFields.IGNORE })).not.toThrow();
  });
});

test.each([
  ['2001-02-03', UNSPECIFIED, '2001-02-03T00:00:00.000Z'],
  ['2001-02-03 04:05', UNSPECIFIED, '2001-02-03T04:05:00.000Z'],
  ['2001-02-03T04:05:06.789+02:00', UNSPECIFIED, '2001-02-03T02:05:06.789Z'],
  ['20010203', UNSPECIFIED, '2001-02-03T00:00:00.000Z'],
  ['Jun 12 1998', UNSPECIFIED, '1998-06-12T00:00:00.000Z'],
  ['12 June 1998', UNSPECIFIED, '1998-06-12T00:00:00.000Z'],
  ['1000000000', SECONDS, '2001-09-09T01:46:40.000Z'],
  [1e12, MILLISECONDS, '2001-09-09T01:46:40.000Z'],
  ['02/03/2001', MONTH_FIRST, '2001-02-03T00:00:00.000Z'],
  ['3.2.2001 4:05', DAY_FIRST, '2001-02-03T04:05:00.000Z'],
  [new Instant(981173106000000), SECONDS, '2001-02-03T04:05:06.000Z'],
] as const)('%s is a time (%i)', (value, timeFormat, wanted) => {
  expect(new Date((toTimeUs(value, timeFormat) ?? Number.NaN) / 1000).toISOString()).toBe(wanted);
});

test.each(['2001-02-30', '2001-13-01', '2001-02-03 25:00', '02/03/2001', 'soon', 'May', '', 'Foo 12 1998'])(
  '%j is none',
  (text) => {
    expect(toTimeUs(text, UNSPECIFIED)).toBeUndefined();
  },
);

test('a time zone of the machine changes nothing', () => {
  const before = process.env.TZ;
  process.env.TZ = 'Pacific/Auckland';
  try {
    expect(toTimeUs('Jun 12 1998', UNSPECIFIED)).toBe(Date.UTC(1998, 5, 12) * 1000);
    expect(toTimeUs('1998-06-12 01:00', UNSPECIFIED)).toBe(Date.UTC(1998, 5, 12, 1) * 1000);
  } finally {
    if (before === undefined) delete process.env.TZ;
    else process.env.TZ = before;
  }
});

test('names of fields are valid and differ', () => {
  expect(fieldNames(['Airport Name', 'Cost Total $', 'userId', '2nd', '', 'größe', 'airport-name'])).toEqual([
    'airport_name',
    'cost_total',
    'user_id',
    'f_2nd',
    'field',
    'gro_e',
    'airport_name_2',
  ]);
  fc.assert(
    fc.property(fc.array(fc.string({ unit: 'grapheme' })), (columns) => {
      const names = fieldNames(columns);
      expect(new Set(names).size).toBe(columns.length);
      for (const name of names) expect(name).toMatch(/^[a-z][a-z0-9_]{0,99}$/);
    }),
  );
});
