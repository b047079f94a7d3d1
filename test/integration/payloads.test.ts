import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BinaryWriter } from '@bufbuild/protobuf/wire';
import { openNats } from '@millrace/events';
import { loadDefinitions, parseYamlDefinitions } from '@millrace/sdk';
import { eventually } from '@millrace/testkit';
import { headers as natsHeaders } from '@nats-io/transport-node';
import avro from 'avsc';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { column, type FullMesh, readRequest, startFullMesh, stringKeys } from '../support/full-mesh.ts';

let mesh: FullMesh;
let nats: Awaited<ReturnType<typeof openNats>>;
const dir = mkdtempSync(join(tmpdir(), 'payloads-'));

beforeAll(async () => {
  mesh = await startFullMesh();
  nats = await openNats(mesh.stores.nats.url, { name: 'test' });
});
afterAll(async () => {
  await nats?.close();
  await mesh?.close();
  rmSync(dir, { recursive: true, force: true });
});

const field = (name: string, type: unknown, more: object = {}) => ({ name, type, ...more });
const record = (...fields: object[]) => ({ type: 'record', name: 'Order', fields });
const first = record(
  field('userId', 'string'),
  field('amount', 'int'),
  field('at', { type: 'long', logicalType: 'timestamp-millis' }),
  field('note', ['null', 'string'], { default: null }),
);
const second = record(
  field('userId', 'string'),
  field('at', { type: 'long', logicalType: 'timestamp-millis' }),
  field('total', 'long', { aliases: ['amount'] }),
  field('fee', 'double', { default: 0.5 }),
);
const proto = `syntax = "proto3";
import "google/protobuf/timestamp.proto";
message Order { string user_id = 1; int64 amount = 2; google.protobuf.Timestamp at = 3; optional string note = 4; }
`;

mkdirSync(join(dir, 'schemas'));
writeFileSync(join(dir, 'schemas/order.avsc'), JSON.stringify(first));
writeFileSync(join(dir, 'schemas/order.proto'), proto);

const sourceYaml = (name: string, payload: string, more = '') =>
  `kind: source\nname: ${name}\nkey: user_id\nevent_time: at\n${payload === '' ? '' : `payload: ${payload}\n`}${more}`;
const viewYaml = (name: string, total = 'amount') =>
  `---\nkind: feature_view\nname: of_${name}\nentity: user\nsource: ${name}\nfeatures:\n  total: { function: sum, field: ${total}, window: lifetime }\n  events: { function: count, window: lifetime }\n---\nkind: feature_service\nname: on_${name}\nfeatures: ['of_${name}:total', 'of_${name}:events']\n`;
const entity = '---\nkind: entity\nname: user\njoin_keys: { user_id: STRING }\n';
const jsonFields =
  'fields: { user_id: STRING, amount: INT64, at: TIMESTAMP, note: { type: STRING, nullable: true } }\n';

async function apply(yaml: string) {
  const file = join(dir, 'definitions.yaml');
  writeFileSync(file, yaml);
  return mesh.clients.registry.apply({
    definitions: await loadDefinitions([file]),
    removals: [],
    allowBreaking: false,
  });
}

async function read(source: string) {
  const response = await mesh.clients.features.getFeatures(
    readRequest(`on_${source}`, [stringKeys('user_id', ['u'])], 0),
  );
  return Object.fromEntries(response.features.map(({ name }) => [name.split('__')[1], column(response, name)[0]]));
}

const nowMs = Date.now() - 60_000;
const orders = [3, 5, 9].map((amount, at) => ({ userId: 'u', amount, at: nowMs + at, note: at === 1 ? 'gift' : null }));
type Order = (typeof orders)[number];
const asAvro = (order: Order) => avro.Type.forSchema(first as avro.Schema).toBuffer(order);
const asProtobuf = ({ userId, amount, at, note }: Order) => {
  const writer = new BinaryWriter().tag(1, 2).string(userId).tag(2, 0).int64(amount).tag(3, 2).fork();
  writer
    .tag(1, 0)
    .int64(Math.floor(at / 1_000))
    .tag(2, 0)
    .int32((at % 1_000) * 1e6)
    .join();
  if (note !== null) writer.tag(4, 2).string(note);
  return Buffer.from(writer.finish());
};
const asJson = ({ userId, amount, at, note }: Order) =>
  Buffer.from(JSON.stringify({ user_id: userId, amount, at: at * 1_000, note }));

const empty = { json: Buffer.alloc(0), eventTimeUs: 0n };
const publish = (source: string, ...events: object[]) =>
  mesh.clients.ingestion.publish({ source, events: events.map((event, at) => ({ id: `g${at}`, ...empty, ...event })) });
const toNats = (source: string, id: string, bytes: Buffer, more: Readonly<Record<string, string>> = {}) => {
  const headers = natsHeaders();
  for (const [name, value] of Object.entries({ 'Nats-Msg-Id': id, ...more })) headers.set(name, value);
  return nats.js.publish(`millrace.ingest.${source}`, bytes, { headers });
};

test('the same events as JSON, Avro and protobuf, over gRPC and NATS, make the same features and are duplicates of each other', async () => {
  await apply(
    [
      sourceYaml('json_orders', '', jsonFields),
      entity,
      `---\n${sourceYaml('avro_orders', '{ avro: schemas/order.avsc }')}`,
      `---\n${sourceYaml('proto_orders', '{ protobuf: schemas/order.proto, message: Order }')}`,
      ...['json_orders', 'avro_orders', 'proto_orders'].map((name) => viewYaml(name)),
    ].join(''),
  );
  const [one, two, three] = orders as [Order, Order, Order];
  expect(await publish('json_orders', ...orders.map((order) => ({ json: asJson(order) })))).toMatchObject({
    accepted: 3,
  });
  expect(await publish('avro_orders', { avro: asAvro(one) }, { avro: asAvro(two) })).toMatchObject({
    accepted: 2,
    rejections: [],
  });
  expect(await publish('proto_orders', { protobuf: asProtobuf(one) }, { protobuf: asProtobuf(two) })).toMatchObject({
    accepted: 2,
    rejections: [],
  });
  await toNats('avro_orders', 'g2', asAvro(three));
  await toNats('proto_orders', 'p2', asProtobuf(three), { 'Content-Type': 'application/x-protobuf' });
  for (const source of ['json_orders', 'avro_orders', 'proto_orders'])
    await eventually(async () => expect(await read(source)).toEqual({ total: 17, events: 3 }), { timeoutMs: 30_000 });
  // what was said in one encoding is known in another
  for (const source of ['avro_orders', 'proto_orders'])
    expect(await publish(source, { json: asJson(one) }, { json: asJson(two) })).toMatchObject({
      accepted: 0,
      duplicates: 2,
      rejections: [],
    });
  expect((await publish('json_orders', { avro: asAvro(one) })).rejections).toMatchObject([
    { message: expect.stringContaining('JSON alone') },
  ]);
  await expect(publish('avro_orders', { avro: asAvro(one), json: asJson(one) })).rejects.toMatchObject({
    reason: 'INVALID_ARGUMENT',
  });
});

test('bad bytes go to quarantine as they came, and are fixed with JSON or replayed when the schema has caught up', async () => {
  const [one] = orders as [Order];
  const cut = asAvro(one).subarray(0, 2);
  const { rejections } = await publish('avro_orders', { id: 'bad', avro: cut });
  expect(rejections).toMatchObject([{ reason: 'MALFORMED_PAYLOAD', field: 'amount' }]);
  const [rejection] = rejections;
  const quarantineId = rejection?.quarantineId ?? '';
  const listed = await mesh.clients.ingestion.listQuarantine({
    source: 'avro_orders',
    reason: '',
    afterPosition: 0n,
    limit: 0,
    expectation: '',
    field: 'amount',
  });
  expect(listed.events.map(({ payload }) => payload.toString('hex'))).toEqual([cut.toString('hex')]);
  const replay = (patch: object | undefined, source = 'avro_orders', ids = [quarantineId]) =>
    mesh.clients.ingestion.replayQuarantine({
      source,
      reason: '',
      quarantineIds: ids,
      expectation: '',
      field: '',
      mergePatchJson: patch === undefined ? Buffer.alloc(0) : Buffer.from(JSON.stringify(patch)),
      dryRun: false,
      newEventId: '',
    });
  expect(await replay(undefined)).toMatchObject({ accepted: 0, rejected: 1 });
  expect(await replay({ user_id: 'u', amount: 100, at: nowMs * 1_000 })).toMatchObject({ accepted: 1, rejected: 0 });
  await eventually(async () => expect(await read('avro_orders')).toEqual({ total: 117, events: 4 }), {
    timeoutMs: 30_000,
  });
  // a protobuf event that can be read and is too far ahead: its time alone is corrected
  const ahead = asProtobuf({ ...one, at: Date.now() + 3_600_000 });
  const [late] = (await publish('proto_orders', { id: 'ahead', protobuf: ahead })).rejections;
  expect(late).toMatchObject({ reason: 'FUTURE_EVENT', field: 'at' });
  const explained = await mesh.clients.ingestion.explainQuarantine({
    source: 'proto_orders',
    quarantineId: late?.quarantineId ?? '',
  });
  expect(Number(explained.valueJson)).toBeGreaterThan(nowMs * 1_000);
  expect(await replay({ at: nowMs * 1_000 }, 'proto_orders', [late?.quarantineId ?? ''])).toMatchObject({
    accepted: 1,
  });
  await eventually(async () => expect(await read('proto_orders')).toEqual({ total: 20, events: 4 }), {
    timeoutMs: 30_000,
  });
});

test('a schema evolves by its format’s own rules; writers of the version before are still read', async () => {
  const at = nowMs + 500;
  const evolved = (schema: object) =>
    `${sourceYaml('avro_orders', `{ avro: '${JSON.stringify(schema)}' }`)}${viewYaml('avro_orders', 'total')}`;
  await expect(apply(evolved(record(...second.fields, field('tip', 'int'))))).rejects.toMatchObject({
    reason: 'INCOMPATIBLE_SCHEMA',
    message: expect.stringMatching(/"tip": .*not in the writer and has no default.*not backward compatible/),
  });
  const { changes } = await apply(evolved(second));
  const before = changes.find(({ name }) => name === 'avro_orders')?.oldVersion ?? '';
  const v2 = avro.Type.forSchema(second as avro.Schema).toBuffer({ userId: 'u', at, total: 1_000, fee: 2 });
  const v1 = asAvro({ userId: 'u', amount: 10_000, at: at + 1, note: null });
  await eventually(async () =>
    expect(await publish('avro_orders', { id: 'v2', avro: v2 })).toMatchObject({ rejections: [] }),
  );
  expect(await publish('avro_orders', { id: 'v1', avro: v1, writerVersion: before })).toMatchObject({
    accepted: 1,
    rejections: [],
  });
  await toNats('avro_orders', 'v1-nats', v1, { 'Content-Type': 'avro/binary', 'Millrace-Schema-Version': before });
  // the new name reads what comes from now on: the one that it had before is another column of history
  await eventually(async () => expect(await read('avro_orders')).toMatchObject({ total: 21_000 }), {
    timeoutMs: 60_000,
  });

  const retyped = sourceYaml('proto_orders', '{ protobuf: schemas/order.proto, message: Order }');
  writeFileSync(join(dir, 'schemas/order.proto'), proto.replace('int64 amount = 2;', 'int64 amount = 5;'));
  await expect(apply(retyped)).rejects.toMatchObject({
    reason: 'INCOMPATIBLE_SCHEMA',
    message: expect.stringMatching(/removed, its number not reserved.*FIELD_NO_DELETE_UNLESS_NUMBER_RESERVED/),
  });
});

test('fields that a payload does not have, and schemas that are none, are refused with the remedy', async () => {
  const bad = (payload: string, fields = 'fields: { user_id: STRING, colour: STRING, at: TIMESTAMP }\n') =>
    apply(sourceYaml('refused', payload, fields));
  await expect(bad('{ avro: schemas/order.avsc }')).rejects.toMatchObject({
    message: expect.stringMatching(/colour: is not in the schema of the payload, which has user_id, amount, at, note/),
  });
  await expect(bad('{ avro: schemas/none.avsc }')).rejects.toMatchObject({
    message: expect.stringMatching(/no file ".*none.avsc"/),
  });
  writeFileSync(join(dir, 'schemas/broken.proto'), 'syntax = "proto3"; message Broken { string = 1; }');
  await expect(bad('{ protobuf: schemas/broken.proto, message: Broken }')).rejects.toMatchObject({
    message: expect.stringMatching(/does not compile: .*missing name/),
  });
  expect(() => parseYamlDefinitions('kind: source\nname: bare\n', 'x.yaml')).toThrow(
    /"bare" has no fields; name them, or give it a payload/,
  );
});
