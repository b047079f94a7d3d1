import { definitions } from '@millrace/contracts';
import avro from 'avsc';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { BadPayload } from '../bad-payload.ts';
import { compilePayload, type SourceVersion } from '../codec.ts';
import { derivedFields } from '../describe.ts';
import { canonicalForm, fingerprintHex } from './fingerprint.ts';
import { parseAvro } from './schema.ts';

type Json = Readonly<Record<string, unknown>>;

const order = {
  type: 'record',
  name: 'Order',
  namespace: 'shop',
  fields: [
    { name: 'orderId', type: 'string' },
    { name: 'at', type: { type: 'long', logicalType: 'timestamp-millis' } },
    { name: 'amount', type: ['null', 'double'], default: null },
    { name: 'count', type: 'long' },
    { name: 'gift', type: 'boolean' },
    { name: 'state', type: { type: 'enum', name: 'State', symbols: ['OPEN', 'PAID'] } },
    {
      name: 'buyer',
      type: [
        'null',
        {
          type: 'record',
          name: 'Buyer',
          fields: [
            { name: 'name', type: 'string' },
            { name: 'age', type: 'int' },
          ],
        },
      ],
      default: null,
    },
  ],
} as const;

function versionOf(
  version: string,
  schema: Json,
  more: { fields?: readonly string[]; confluentId?: number } = {},
): SourceVersion {
  const payload: definitions.PayloadSchema = {
    format: { $case: 'avro', value: { schemaJson: JSON.stringify(schema), confluentId: more.confluentId ?? 0 } },
  };
  const fields = more.fields?.map((name) => ({ name })) ?? derivedFields(payload, 'at');
  return { version, spec: definitions.Source.fromPartial({ payload, fields }) };
}

function codecOf(current: SourceVersion, ...earlier: SourceVersion[]) {
  const codec = compilePayload(current, earlier);
  if (codec === undefined) throw new Error('no codec');
  return codec;
}

const typeOf = (schema: Json) => avro.Type.forSchema(schema as unknown as avro.Schema, { wrapUnions: false });
const write = (schema: Json, value: Json) => typeOf(schema).toBuffer(value);
const value = {
  orderId: 'o1',
  at: 1_000,
  amount: 2.5,
  count: 3,
  gift: true,
  state: 'PAID',
  buyer: { name: 'Zoë', age: 7 },
};
const fields = {
  order_id: 'o1',
  at: 1_000_000,
  amount: 2.5,
  count: 3,
  gift: true,
  state: 'PAID',
  buyer_name: 'Zoë',
  buyer_age: 7,
};

test('a record becomes flat fields, as JSON would have them; null in an optional record is null in each of its fields', () => {
  const codec = codecOf(versionOf('v1', order));
  expect(codec.decode(write(order, value), '')).toEqual(fields);
  expect(codec.decode(write(order, { ...value, amount: null, buyer: null }), '')).toEqual({
    ...fields,
    amount: null,
    buyer_name: null,
    buyer_age: null,
  });
});

test('longs are exact over their whole range', () => {
  const codec = codecOf(versionOf('v1', { type: 'record', name: 'R', fields: [{ name: 'n', type: 'long' }] }));
  fc.assert(
    fc.property(fc.oneof(fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n), fc.bigInt(-300n, 300n)), (n) => {
      const bytes: number[] = [];
      for (let rest = n >= 0n ? n * 2n : n * -2n - 1n; ; rest >>= 7n) {
        bytes.push(Number(rest & 0x7fn) | (rest > 0x7fn ? 0x80 : 0));
        if (rest <= 0x7fn) break;
      }
      const { n: read } = codec.decode(Uint8Array.from(bytes), '') as { n: number | string };
      expect(BigInt(read)).toBe(n);
      expect(typeof read).toBe(Number.isSafeInteger(Number(n)) ? 'number' : 'string');
    }),
    { numRuns: 2_000 },
  );
});

const later = {
  ...order,
  fields: [
    { name: 'channel', type: 'string', default: 'web' },
    { name: 'total', type: ['null', 'double'], default: null, aliases: ['amount'] },
    { name: 'count', type: 'double' },
    { name: 'at', type: { type: 'long', logicalType: 'timestamp-micros' } },
    { name: 'state', type: { type: 'enum', name: 'State', symbols: ['PAID', 'OTHER'], default: 'OTHER' } },
    { name: 'order_id', aliases: ['orderId'], type: 'string' },
    { name: 'tag', type: ['null', 'string'], default: null },
  ],
};

test('an older writer is read with the current schema: aliases, defaults, promotions, enums, and times in the writer’s unit', () => {
  const v1 = versionOf('v1', order);
  const codec = codecOf(versionOf('v2', later), v1);
  const wanted = { channel: 'web', total: 2.5, count: 3, at: 1_000_000, state: 'PAID', order_id: 'o1', tag: null };
  expect(codec.decode(write(order, value), 'v1')).toEqual(wanted);
  const marked = Buffer.concat([
    Buffer.from(`c301${fingerprintHex(parseAvro(JSON.stringify(order)))}`, 'hex'),
    write(order, { ...value, state: 'OPEN' }),
  ]);
  expect(codec.decode(marked, '')).toEqual({ ...wanted, state: 'OTHER' });
  expect(codec.decode(write(order, value), 'v0')).toMatchObject({ message: expect.stringContaining('known: v1, v2') });
});

test('what is read equals avsc with its resolver, over random values of either version', () => {
  const codec = codecOf(versionOf('v2', later), versionOf('v1', order));
  const [writer, reader] = [typeOf(order), typeOf(later)];
  const resolver = reader.createResolver(writer);
  const values = fc.record({
    orderId: fc.string({ unit: 'binary' }),
    at: fc.integer({ min: 0, max: 2 ** 40 }),
    amount: fc.option(fc.double()),
    count: fc.integer(),
    gift: fc.boolean(),
    state: fc.constantFrom('OPEN', 'PAID'),
    buyer: fc.option(fc.record({ name: fc.string(), age: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }) })),
  });
  fc.assert(
    fc.property(values, (given) => {
      const bytes = writer.toBuffer(given);
      const oracle = reader.fromBuffer(bytes, resolver) as Json;
      // avsc knows no units of times by itself
      const expected = { ...oracle, at: Number(oracle.at) * 1_000 };
      expect(codec.decode(bytes, 'v1')).toEqual(expected);
    }),
    { numRuns: 2_000 },
  );
});

test('Confluent’s wire format is read where the schema has an id, by the id of any version', () => {
  const codec = codecOf(versionOf('v2', later, { confluentId: 8 }), versionOf('v1', order, { confluentId: 7 }));
  const framed = (schemaId: number, bytes: Buffer) => Buffer.concat([Buffer.from([0, 0, 0, 0, schemaId]), bytes]);
  expect(codec.decode(framed(7, write(order, value)), '')).toMatchObject({ order_id: 'o1', channel: 'web' });
  expect(codec.decode(framed(9, write(order, value)), '')).toMatchObject({
    message: expect.stringContaining('schema id 9'),
  });
  expect(codec.decode(write(order, value), '')).toMatchObject({ message: expect.stringContaining('zero byte') });
});

test('bytes that are wrong are told with the field, and nothing is allocated for a length that is not there', () => {
  const codec = codecOf(versionOf('v1', order));
  const good = write(order, value);
  const wrong = (bytes: Uint8Array) => codec.decode(bytes, '');
  expect(wrong(good.subarray(0, 10))).toMatchObject({ reason: 'MALFORMED_PAYLOAD', field: 'amount' });
  expect(wrong(Buffer.concat([good, Buffer.from([0])]))).toMatchObject({
    message: expect.stringContaining('1 bytes after'),
  });
  const huge = Buffer.from([0xfe, 0xff, 0xff, 0xff, 0x0f, 1]);
  expect(wrong(huge)).toMatchObject({ field: 'order_id', message: expect.stringContaining('2147483647') });
  expect(wrong(Buffer.from([1]))).toMatchObject({ field: 'order_id', message: expect.stringContaining('length -1') });
  expect(wrong(Buffer.from([4, 0xff, 0xfe]))).toMatchObject({
    field: 'order_id',
    message: expect.stringContaining('UTF-8'),
  });
  const branch = Buffer.concat([write(order, value).subarray(0, 3), Buffer.from([2, 6])]);
  expect(wrong(branch)).toMatchObject({ field: 'amount', message: expect.stringMatching(/branch 3 of a union of 2/) });
  expect(wrong(Buffer.from(`c301${'00'.repeat(8)}01`, 'hex'))).toMatchObject({
    message: expect.stringContaining('fingerprint 0000'),
  });
  expect(wrong(Buffer.from(Array(11).fill(0xff)))).toMatchObject({ field: 'order_id' });
});

test('whatever the bytes are, the answer is fields or a reason', () => {
  const schema = {
    ...order,
    fields: [
      ...order.fields,
      { name: 'nulls', type: { type: 'array', items: 'null' } },
      {
        name: 'tree',
        type: { type: 'record', name: 'Tree', fields: [{ name: 'kids', type: { type: 'array', items: 'Tree' } }] },
      },
      { name: 'map', type: { type: 'map', values: ['null', 'bytes'] } },
    ],
  };
  const codec = codecOf(versionOf('v1', schema, { fields: ['order_id', 'count'] }));
  const good = write(schema, { ...value, nulls: [null], tree: { kids: [{ kids: [] }] }, map: { a: null } });
  expect(codec.decode(good, '')).toEqual({ order_id: 'o1', count: 3 });
  let [read, refused] = [0, 0];
  const look = (bytes: Uint8Array) => {
    if (codec.decode(bytes, '') instanceof BadPayload) refused++;
    else read++;
  };
  fc.assert(fc.property(fc.uint8Array({ maxLength: 64 }), look), { numRuns: 20_000 });
  fc.assert(
    fc.property(fc.nat(good.length - 1), fc.integer({ min: 0, max: 255 }), (at, byte) => {
      const changed = Buffer.from(good);
      changed[at] = byte;
      look(changed);
    }),
    { numRuns: 5_000 },
  );
  expect(Math.min(read, refused)).toBeGreaterThan(100);
  // nulls without end, and a tree that is deeper than the stack
  const head = good.subarray(0, good.length - 13);
  expect(head.length).toBeGreaterThan(0);
  const before = write(order, value);
  const endless = Buffer.concat([before, Buffer.from('feffffffffffffffff01', 'hex')]);
  expect(codec.decode(endless, '')).toMatchObject({ message: expect.stringContaining('elements') });
  const deep = Buffer.concat([before, Buffer.from([0]), Buffer.alloc(200_000, 2)]);
  expect(codec.decode(deep, '')).toMatchObject({ message: expect.stringContaining('nested deeper than') });
});

test('fingerprints are CRC-64-AVRO of the parsing canonical form', () => {
  // the specification's own examples
  const schema = (type: string) =>
    fingerprintHex(
      parseAvro(`{"type":"record","name":"R","fields":[{"name":"f","type":${type}}]}`).fields[0]?.type ?? parseAvro(''),
    );
  expect(schema('"null"')).toBe(Buffer.from('63dd24e7cc258f8a', 'hex').reverse().toString('hex'));
  expect(schema('"boolean"')).toBe(Buffer.from('9f42fc78a4d4f764', 'hex').reverse().toString('hex'));
  for (const each of [order, later]) {
    const type = parseAvro(JSON.stringify(each));
    expect(canonicalForm(type)).toBe(JSON.stringify(avro.Type.forSchema(each as unknown as avro.Schema).schema()));
  }
});

test('fields that a source cannot have are refused with their path and a remedy, and passed over when they are not asked for', () => {
  const schema = {
    type: 'record',
    name: 'R',
    fields: [
      { name: 'ok', type: 'int' },
      { name: 'tags', type: { type: 'array', items: 'string' } },
      { name: 'price', type: { type: 'bytes', logicalType: 'decimal', precision: 9, scale: 2 } },
    ],
  };
  expect(() => versionOf('v1', schema)).toThrow(/"tags" is an array; send an event for each.*"price" is a decimal/);
  const bytes = avro.Type.forSchema(schema as avro.Schema).toBuffer({
    ok: 1,
    tags: ['a', 'b'],
    price: Buffer.from([1]),
  });
  expect(codecOf(versionOf('v1', schema, { fields: ['ok'] })).decode(bytes, '')).toEqual({ ok: 1 });
});
