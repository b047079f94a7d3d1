import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create, type DescMessage, fromJson, type JsonObject, toBinary } from '@bufbuild/protobuf';
import { BinaryWriter } from '@bufbuild/protobuf/wire';
import { definitions } from '@millrace/contracts';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { BadPayload } from '../bad-payload.ts';
import { compilePayload } from '../codec.ts';
import { derivedFields } from '../describe.ts';
import { parseMessage } from './message.ts';

const text = `syntax = "proto3";
package shop;
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
message Order {
  string order_id = 1;
  google.protobuf.Timestamp at = 2;
  optional double amount = 3;
  int64 count = 4;
  bool gift = 5;
  State state = 6;
  Buyer buyer = 7;
  google.protobuf.Int64Value points = 8;
  oneof way { string card = 9; int32 cash = 10; }
  sint64 signed = 11;
  uint64 big = 12;
  fixed32 f32 = 13;
  sfixed64 f64 = 14;
  float ratio = 15;
  sint32 small = 18;
  reserved 16;
}
message Buyer { string name = 1; int32 age = 2; repeated string tags = 3; }
message Tagged { string id = 1; repeated string tags = 2; bytes raw = 3; Tagged parent = 4; map<string, string> more = 5; }
enum State { STATE_UNSPECIFIED = 0; STATE_PAID = 1; }
`;

function descriptors(): Buffer {
  const dir = mkdtempSync(join(tmpdir(), 'payloads-'));
  try {
    writeFileSync(join(dir, 'order.proto'), text);
    const buf = join(import.meta.dirname, '..', '..', '..', '..', 'node_modules', '.bin', 'buf');
    return execFileSync(buf, ['build', '--as-file-descriptor-set', '-o', '-#format=binpb'], { cwd: dir });
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

const descriptorSet = descriptors();
const schemaOf = (message: string) => ({ format: { $case: 'protobuf', value: { descriptorSet, message } } }) as const;
const { message: Order } = parseMessage({ descriptorSet, message: 'shop.Order' });

const buyerFields = ['buyer_name', 'buyer_age'];
function codecOf(extraFields: definitions.ExtraFields = 0) {
  const flat = Order.fields.filter(({ name }) => name !== 'buyer').map(({ name }) => ({ name }));
  const spec = definitions.Source.fromPartial({
    payload: schemaOf('shop.Order'),
    fields: [...flat, ...buyerFields.map((name) => ({ name }))],
    extraFields,
  });
  const codec = compilePayload({ version: 'v1', spec }, []);
  if (codec === undefined) throw new Error('no codec');
  return codec;
}
const codec = codecOf();
const bytesOf = (json: JsonObject, message: DescMessage = Order) =>
  Buffer.from(toBinary(message, fromJson(message, json)));

const none = {
  order_id: '',
  at: null,
  amount: null,
  count: 0,
  gift: false,
  state: 'STATE_UNSPECIFIED',
  points: null,
  card: null,
  cash: null,
  signed: 0,
  big: 0,
  f32: 0,
  f64: 0,
  ratio: 0,
  small: 0,
  buyer_name: null,
  buyer_age: null,
};

test('an empty message is its zeros, and null where absence can be told', () => {
  expect(codec.decode(Buffer.from(toBinary(Order, create(Order))), '')).toEqual(none);
  expect(codec.decode(bytesOf({ buyer: {}, points: 0, at: '1970-01-01T00:00:00Z' }), '')).toEqual({
    ...none,
    buyer_name: '',
    buyer_age: 0,
    points: 0,
    at: 0,
  });
});

const int32 = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
const text64 = (min: bigint, max: bigint) => fc.bigInt(min, max).map(String);
const safe = (given: string) => (Number.isSafeInteger(Number(given)) ? Number(given) : given);

test('what @bufbuild/protobuf writes is read back, over random messages', () => {
  const orders = fc.record({
    orderId: fc.string({ unit: 'binary' }).map((each) => each.toWellFormed()),
    atMs: fc.integer({ min: -1e12, max: 4e12 }),
    amount: fc.option(fc.double({ noNaN: true, noDefaultInfinity: true }), { nil: undefined }),
    count: text64(-(2n ** 63n), 2n ** 63n - 1n),
    signed: text64(-(2n ** 63n), 2n ** 63n - 1n),
    big: text64(0n, 2n ** 64n - 1n),
    f64: text64(-(2n ** 63n), 2n ** 63n - 1n),
    f32: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
    small: int32,
    ratio: fc.float({ noNaN: true, noDefaultInfinity: true }),
    state: fc.constantFrom('STATE_UNSPECIFIED', 'STATE_PAID'),
    way: fc.oneof(
      fc.record({ card: fc.string().map((each) => each.toWellFormed()) }),
      fc.record({ cash: int32 }),
      fc.constant({}),
    ),
    buyer: fc.option(
      fc.record({ name: fc.string().map((each) => each.toWellFormed()), age: int32, tags: fc.array(fc.constant('t')) }),
      { nil: undefined },
    ),
    points: fc.option(text64(-(2n ** 63n), 2n ** 63n - 1n), { nil: undefined }),
  });
  fc.assert(
    fc.property(orders, ({ atMs, way, buyer, ...order }) => {
      const json = JSON.parse(
        JSON.stringify({ ...order, at: new Date(atMs).toISOString(), ...way, buyer }),
      ) as JsonObject;
      const read = codec.decode(bytesOf(json), '');
      expect(read).toEqual({
        ...none,
        order_id: order.orderId,
        at: atMs * 1_000,
        // JSON has no negative zero
        amount: order.amount === undefined ? null : order.amount + 0,
        count: safe(order.count),
        signed: safe(order.signed),
        big: safe(order.big),
        f64: safe(order.f64),
        f32: order.f32,
        small: order.small,
        ratio: order.ratio + 0,
        state: order.state,
        ...way,
        points: order.points === undefined ? null : safe(order.points),
        buyer_name: buyer?.name ?? null,
        buyer_age: buyer?.age ?? null,
      });
    }),
    { numRuns: 2_000 },
  );
});

test('the last member of a oneof counts, and a message in two parts is merged', () => {
  const both = Buffer.concat([bytesOf({ card: 'visa' }), bytesOf({ cash: 5 })]);
  expect(codec.decode(both, '')).toMatchObject({ card: null, cash: 5 });
  const parts = Buffer.concat([bytesOf({ buyer: { name: 'Zoë' } }), bytesOf({ buyer: { age: 7 } })]);
  expect(codec.decode(parts, '')).toMatchObject({ buyer_name: 'Zoë', buyer_age: 7 });
});

test('a field number that is not known is refused or passed over as the source says; reserved ones are passed over', () => {
  const of = (number: number) => Buffer.from(new BinaryWriter().tag(number, 2).string('x').finish());
  expect(codec.decode(of(17), '')).toMatchObject({ reason: 'EXTRA_FIELD', field: '#17' });
  expect(codec.decode(of(16), '')).toEqual(none);
  expect(codecOf(definitions.ExtraFields.IGNORE).decode(of(17), '')).toEqual(none);
});

test('bytes that are wrong are told with the field', () => {
  const wrong = (writer: BinaryWriter) => codec.decode(Buffer.from(writer.finish()), '');
  expect(wrong(new BinaryWriter().tag(6, 0).int32(9))).toMatchObject({ reason: 'NOT_IN_ENUM', field: 'state' });
  expect(wrong(new BinaryWriter().tag(1, 2).uint32(2 ** 31))).toMatchObject({
    reason: 'MALFORMED_PAYLOAD',
    field: 'order_id',
    message: expect.stringContaining('2147483648'),
  });
  expect(wrong(new BinaryWriter().tag(1, 2).bytes(Uint8Array.of(0xff)))).toMatchObject({
    field: 'order_id',
    message: expect.stringContaining('UTF-8'),
  });
  expect(wrong(new BinaryWriter().tag(1, 0).int32(1))).toMatchObject({ message: expect.stringContaining('wire type') });
  expect(codec.decode(Buffer.from('not protobuf'), '')).toBeInstanceOf(BadPayload);
});

test('Confluent’s wire format is told by its zero byte, and must be of this message', () => {
  const framed = (...indices: number[]) =>
    Buffer.concat([Buffer.from([0, 0, 0, 0, 9, ...indices]), bytesOf({ count: 3 })]);
  expect(codec.decode(framed(0), '')).toMatchObject({ count: 3 });
  expect(codec.decode(framed(2, 0), '')).toMatchObject({ count: 3 });
  expect(codec.decode(framed(2, 2), '')).toMatchObject({ message: expect.stringContaining('message [1]') });
});

test('whatever the bytes are, the answer is fields or a reason', () => {
  const good = bytesOf({
    orderId: 'o1',
    at: '2001-02-03T04:05:06Z',
    amount: 2.5,
    buyer: { name: 'Zoë', tags: ['a'] },
    points: 9,
  });
  let [read, refused] = [0, 0];
  const look = (bytes: Uint8Array) => {
    if (codec.decode(bytes, '') instanceof BadPayload) refused++;
    else read++;
  };
  fc.assert(fc.property(fc.uint8Array({ maxLength: 64 }), look), { numRuns: 20_000 });
  fc.assert(
    fc.property(fc.nat(good.length - 1), fc.integer({ min: 0, max: 255 }), (at, byte) =>
      look(Buffer.from(good.with(at, byte))),
    ),
    { numRuns: 5_000 },
  );
  look(Buffer.alloc(200_000, 0x83));
  expect(Math.min(read, refused)).toBeGreaterThan(100);
});

test('fields that a source cannot have are refused with a remedy; a time that is the event time is not nullable', () => {
  expect(() => derivedFields(schemaOf('shop.Tagged'), '')).toThrow(
    /"tags" is repeated; .*"raw" is bytes; .*"parent" is message "shop.Tagged" inside itself.*"more" is a map/,
  );
  expect(() => derivedFields(schemaOf('shop.Gone'), '')).toThrow(/no message "shop.Gone"; messages: shop.Order/);
  expect(() => derivedFields(schemaOf('shop.Order'), 'at')).toThrow(/"buyer.tags" is repeated/);
});
