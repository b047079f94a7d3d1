import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openNats } from '@millrace/events';
import { eventually } from '@millrace/testkit';
import { headers as natsHeaders } from '@nats-io/transport-node';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runMillrace } from './cli-world.ts';
import { openExpectationsWorld, startUs } from './expectations-world.ts';

let world: Awaited<ReturnType<typeof openExpectationsWorld>>;

const orders = `
kind: source
name: orders
key: shop
fields:
  shop: STRING
  order: STRING
  amount: { type: DOUBLE, nullable: true }
  rate: { type: DOUBLE, missing: forward }
  units: { type: INT64, default: 1, outliers: { action: clip, min: 0, max: 100 } }
expectations:
  amount_there: { not_null: amount, severity: warn }
  amount_sane: { condition: 'amount >= 0.0 && amount < 1000.0' }
  shop_code: { matches: { field: shop, pattern: '^[A-Z]{3}$' } }
  once: { unique: { fields: [shop, order], window: 1h } }
  never_negative: { range: { field: rate, min: 0 }, severity: block }
`;

const good = { shop: 'SEA', order: 'o1', amount: 5, rate: 1.5, units: 2 };

beforeAll(async () => {
  world = await openExpectationsWorld();
  await world.defineYaml(orders);
});
afterAll(() => world?.close());

test('rows that fail are quarantined with the expectation, the field and the value; warnings are told and pass', async () => {
  const answer = await world.send(
    'orders',
    ['a1', good],
    ['a2', { ...good, order: 'o2', amount: null }],
    ['a3', { ...good, order: 'o3', amount: 5000 }],
    ['a4', { ...good, order: 'o4', shop: 'sea' }],
    ['a5', good],
  );
  expect(answer).toMatchObject({ accepted: 2, warnings: [{ expectation: 'amount_there', events: 1 }] });
  expect(answer.rejections).toMatchObject([
    { index: 2, reason: 'EXPECTATION_FAILED', expectation: 'amount_sane', field: 'amount' },
    { index: 3, reason: 'EXPECTATION_FAILED', expectation: 'shop_code', field: 'shop' },
    { index: 4, reason: 'EXPECTATION_FAILED', expectation: 'once', field: '' },
  ]);
  expect(answer.rejections.map(({ message }) => message).join('\n')).toMatch(/5000[\s\S]*"sea"[\s\S]*"a1"/);
  const { events } = await world.list({ source: 'orders', expectation: 'amount_sane' });
  expect(events).toMatchObject([{ eventId: 'a3', expectation: 'amount_sane', field: 'amount' }]);
});

test('a blocking expectation refuses the whole batch; over NATS, where nobody waits, the event alone is set aside', async () => {
  const batch = [
    ['b1', { ...good, order: 'b1' }],
    ['b2', { ...good, order: 'b2', rate: -1 }],
  ] as const;
  await expect(world.send('orders', ...batch)).rejects.toMatchObject({
    reason: 'EXPECTATION_FAILED',
    code: 3,
    metadata: { expectation: 'never_negative', failed: '1' },
  });
  expect(await world.send('orders', ['b1', { ...good, order: 'b1' }])).toMatchObject({ accepted: 1, duplicates: 0 });
  const nats = await openNats(world.mesh.nats.url, { name: 'test' });
  const headers = natsHeaders();
  headers.set('Nats-Msg-Id', 'b3');
  headers.set('Millrace-Event-Time', String(startUs));
  await nats.js.publish('millrace.ingest.orders', JSON.stringify({ ...good, order: 'b3', rate: -1 }), { headers });
  await eventually(async () => {
    const { events } = await world.list({ source: 'orders', expectation: 'never_negative' });
    expect(events.map(({ eventId }) => eventId)).toEqual(['b3']);
  });
  await nats.close();
});

test('defaults, values carried forward and clipped outliers are what history gets', async () => {
  const { rate: _, units: __, ...bare } = good;
  expect(
    await world.send(
      'orders',
      ['c1', { ...good, shop: 'SFO', order: 'c1', rate: 2.5 }],
      ['c2', { ...bare, shop: 'SFO', order: 'c2' }, startUs + 10],
      ['c3', { ...good, shop: 'SFO', order: 'c3', units: 5_000 }],
      ['c4', { ...bare, shop: 'LAX', order: 'c4' }],
    ),
  ).toMatchObject({ accepted: 3, rejections: [{ eventId: 'c4', reason: 'MISSING_FIELD', field: 'rate' }] });
  await eventually(async () =>
    expect(
      await world.rows(
        "SELECT _event_id AS id, rate, toInt32(units) AS units FROM events_orders WHERE shop = 'SFO' ORDER BY id",
      ),
    ).toEqual([
      { id: 'c1', rate: 2.5, units: 2 },
      { id: 'c2', rate: 2.5, units: 1 },
      { id: 'c3', rate: 1.5, units: 100 },
    ]),
  );
});

test('what must be unique and what is carried forward is known after a kill', async () => {
  await world.send('orders', ['d1', { ...good, shop: 'JFK', order: 'd1', rate: 9 }]);
  await world.restart();
  const { rate: _, ...bare } = good;
  const answer = await eventually(() =>
    world.send(
      'orders',
      ['d2', { ...good, shop: 'JFK', order: 'd1' }, startUs + 60e6],
      ['d3', { ...good, shop: 'JFK', order: 'd1' }, startUs + 3_600e6],
      ['d4', { ...bare, shop: 'JFK', order: 'd4' }, startUs + 1],
      ['d1', { ...good, shop: 'JFK', order: 'd1', rate: 9 }],
    ),
  );
  expect(answer).toMatchObject({ accepted: 2, duplicates: 1, rejections: [{ eventId: 'd2', expectation: 'once' }] });
  await eventually(async () =>
    expect(await world.rows("SELECT rate FROM events_orders WHERE _event_id = 'd4'")).toEqual([{ rate: 9 }]),
  );
});

test('means are fitted to history, kept, and used from then on', async () => {
  await world.defineYaml(`
kind: source
name: readings
fields:
  level: { type: DOUBLE, missing: median, outliers: { action: 'null', iqr: 1.5 } }
`);
  expect((await world.send('readings', ['x', {}])).rejections[0]?.message).toMatch(/median is not fitted yet/);
  const levels = Array.from({ length: 101 }, (_, at) => [`e${at}`, { level: at }] as const);
  await world.send('readings', ...levels);
  await eventually(async () => expect((await world.send('readings', ['y', {}])).accepted + 0).toBe(1), {
    timeoutMs: 30_000,
  });
  expect(await world.send('readings', ['z', { level: 1e9 }])).toMatchObject({ accepted: 1 });
  await eventually(async () =>
    expect(await world.rows("SELECT level FROM events_readings WHERE _event_id IN ('y', 'z')")).toEqual([
      { level: 50 },
      { level: 50 },
    ]),
  );
  await world.restart();
  await eventually(async () => expect((await world.send('readings', ['w', {}])).accepted).toBe(1));
});

test('an event is explained, corrected and published again with its own time; what still fails stays', async () => {
  const { rejections } = await world.send(
    'orders',
    ['f1', { ...good, order: 'f1', amount: 7777 }, startUs + 5],
    ['f2', { ...good, order: 'f2', amount: 8888, shop: 'xx' }],
  );
  const id = rejections[0]?.quarantineId ?? '';
  const explained = await world.client.explainQuarantine({ source: '', quarantineId: id });
  expect(explained).toMatchObject({ valueJson: '7777', wouldPass: false, event: { eventId: 'f1', field: 'amount' } });
  expect(explained.expectationJson).toContain('amount_sane');
  expect(explained.remedy).toContain('fix --set');
  const patch = { source: 'orders', field: 'amount', mergePatchJson: Buffer.from('{"amount": 12}') };
  expect(await world.replay({ ...patch, quarantineIds: [id], dryRun: true })).toMatchObject({ accepted: 1 });
  expect((await world.list({ source: 'orders' })).events.map(({ eventId }) => eventId)).toContain('f1');
  const fixed = await world.replay({ ...patch, quarantineIds: rejections.map(({ quarantineId }) => quarantineId) });
  expect(fixed).toMatchObject({ accepted: 1, rejected: 1, rejections: [{ eventId: 'f2', expectation: 'shop_code' }] });
  const left = (await world.list({ source: 'orders' })).events.map(({ eventId }) => eventId);
  expect(left).toContain('f2');
  expect(left).not.toContain('f1');
  await eventually(async () =>
    expect(
      await world.rows(
        'SELECT amount, toUInt64(toUnixTimestamp64Micro(_event_time)) = ' +
          (startUs + 5) +
          " AS timely FROM events_orders WHERE _event_id = 'f1'",
      ),
    ).toEqual([{ amount: 12, timely: 1 }]),
  );
});

test('the command lists, explains, corrects and replays, and tells what became of expectations', async () => {
  const dir = join(world.mesh.dir, 'work');
  mkdirSync(join(dir, '.millrace'), { recursive: true });
  const { grpc, http } = world.service;
  const endpoints = { services: { ingestion: { grpc, http } }, stores: {} };
  writeFileSync(join(dir, '.millrace', 'endpoints.json'), JSON.stringify(endpoints));
  const millrace = (...args: readonly string[]) => runMillrace(dir, args);
  const lines = [
    { ...good, order: 'k1', amount: 9_999 },
    { ...good, order: 'k2', amount: null },
  ].map((fields, at) => JSON.stringify({ ...fields, id: `k${at}`, at: startUs }));
  const published = await runMillrace(
    dir,
    ['publish', 'orders', '--id-field', 'id', '--time-field', 'at'],
    lines.join('\n'),
  );
  expect(published.out).toMatch(/1 accepted, 0 duplicates, 1 rejected\n {2}1 accepted with a warning, "amount_there"/);
  const filter = ['--expectation', 'amount_sane', '--json'];
  const { events } = (await millrace('quarantine', 'list', 'orders', ...filter)).json<{
    readonly events: readonly { readonly quarantineId: string; readonly eventId: string }[];
  }>();
  const id = events.find(({ eventId }) => eventId === 'k0')?.quarantineId ?? '';
  const explained = await millrace('quarantine', 'explain', id);
  expect(explained.out).toMatch(/^value +9999$[\s\S]*^remedy +correct the event with fix --set/m);
  const again = await millrace('quarantine', 'replay', 'orders', '--id', id);
  expect(again).toMatchObject({ code: 1, out: expect.stringMatching(/1 rejected again, still in quarantine/) });
  const dry = await millrace('quarantine', 'fix', 'orders', '--id', id, '--set', 'amount=3', '--dry-run');
  expect(dry.out).toMatch(/^1 would be accepted/);
  expect((await millrace('quarantine', 'fix', 'orders', '--id', id, '--set', 'amount=3')).out).toMatch(/^1 accepted/);
  expect((await millrace('quarantine', 'explain', id)).err).toContain('UNKNOWN_EVENT');
  expect((await millrace('quarantine', 'fix', 'orders', '--id', id)).err).toContain('nothing to correct');
  const quality = await millrace('quality', 'orders');
  expect(quality.err).toBe('');
  expect(quality.out).toMatch(/no interval has been judged yet|amount_there/);
  expect((await millrace('quality', 'nowhere')).err).toContain('UNKNOWN_SOURCE');
});

test('a source whose expectations cannot work is refused with every problem and the remedy', async () => {
  await expect(
    world.defineYaml(`
kind: source
name: broken
fields: { a: STRING, b: { type: DOUBLE, default: yes } }
expectations:
  one: { matches: { field: a, pattern: '(?=x)' } }
  two: { condition: 'c > 1' }
`),
  ).rejects.toMatchObject({
    reason: 'INVALID_DEFINITION',
    message: expect.stringMatching(/fields\.b: its default is a string[\s\S]*RE2[\s\S]*condition "c > 1"/),
  });
});
