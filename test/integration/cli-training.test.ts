import { join } from 'node:path';
import { definitions } from '@millrace/contracts';
import { openRows } from '@millrace/inputs';
import { eventually } from '@millrace/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type CliWorld, openCliWorld } from './cli-world.ts';

let world: CliWorld;

const shop = `
kind: entity
name: user
join_keys: { user: STRING }
---
kind: source
name: orders
fields: { user: STRING, amount: DOUBLE }
---
kind: feature_view
name: spend
entity: user
source: orders
features:
  orders: { function: count, window: lifetime }
  total: { function: sum, field: amount, window: 1d }
---
kind: feature_service
name: basket
features: ['spend:*']
`;

beforeAll(async () => {
  world = await openCliWorld();
  world.write('shop.yaml', shop);
  const applied = await world.millrace('apply', 'shop.yaml');
  expect(applied.code, applied.err).toBe(0);
  const lines = ['ada', 'ada', 'bob'].map((user) => `{"user": "${user}", "amount": 2.5, "at": "2001-02-03T04:05:06Z"}`);
  await world.feed(lines.join('\n'), 'publish', 'orders', '--time-field', 'at');
  await eventually(async () => {
    const { out } = await world.millrace('get', 'basket', 'user=bob');
    expect(out).toMatch(/spend__orders +│ 1/);
  });
});
afterAll(() => world?.close());

test('training sets are built from a file of labels, listed, shown and built again', async () => {
  const at = '2001-02-03T04:05:07Z';
  world.write(
    'labels.csv',
    `user,label_time,bought\nada,${at},1\nbob,${at},0\nada,2001-02-03T04:05:06Z,1\neve,${at},0\n`,
  );
  const build = ['training', 'build', 'basket', '--labels', 'labels.csv', '--complete', '--out', 'set.parquet'];
  const split = ['--split', 'hold-out', '--test-size', '0.25', '--no-shuffle', '--with-statuses'];
  const built = await world.millrace(...build, ...split, '--json');
  expect(built.code, built.err).toBe(0);
  expect(built.err).toMatch(/^\[#*\.*\] \d\/\d view "spend", 4 labels$/m);
  const record = built.json<{ readonly id: string; readonly digest: string; readonly rows: number }>();
  expect(record).toMatchObject({ rows: 4, labelRows: 4, featureService: 'basket', findings: [] });
  const reader = await openRows(join(world.dir, 'set.parquet'), definitions.RowFormat.fromPartial({}));
  const rows: unknown[] = [];
  for await (const chunk of reader.chunks())
    for (const row of chunk.rows)
      if (row.t === 'row') {
        const { user, split: side, spend__orders: orders, spend__orders__status: status } = row.fields;
        rows.push([user, side, orders === null ? null : Number(orders), status]);
      }
  expect(rows).toEqual([
    ['ada', 'train', null, 'NOT_FOUND'],
    ['ada', 'train', 2, 'PRESENT'],
    ['bob', 'train', 1, 'PRESENT'],
    ['eve', 'test', null, 'NOT_FOUND'],
  ]);

  const listed = await world.millrace('training', 'list');
  expect(listed.out).toContain(record.id);
  const shown = await world.millrace('training', 'show', record.id);
  expect(shown.out).toMatch(new RegExp(`digest +${record.digest}`));
  expect(shown.out).toMatch(/spend__orders +│ 2 +│ 2 +│ 2/);
  const again = await world.millrace(
    'training',
    'build',
    '--like',
    record.id,
    '--out',
    'again.arrow',
    '--format',
    'arrow',
  );
  expect(again.code, again.err).toBe(0);
  expect(again.out).toContain(`the same digest as ${record.id}`);

  const leaky = await world.millrace(...build, '--split', 'hold-out', '--seed', '6', '--test-size', '2');
  expect(leaky.code).toBe(1);
  expect(leaky.err).toMatch(/test rows lie before training rows of the same user.*--allow-leakage.*\(LEAKAGE_FOUND\)/s);
  const missing = await world.millrace('training', 'build', 'basket', '--labels', 'nowhere.csv', '--out', 'x');
  expect(missing.err).toMatch(/there is no file "nowhere.csv" that can be read \(INPUT_NOT_FOUND\)/);
});

test('lineage shows what a feature is made of and what it goes into', async () => {
  const { code, out, err } = await world.millrace('lineage', 'feature:spend.total', '--depth', '8');
  expect({ code, err }).toEqual({ code: 0, err: '' });
  expect(out).toContain('field:orders.amount');
  const json = (await world.millrace('lineage', 'orders.amount', '--down', '--json')).json<{
    nodes: { id: string }[];
  }>();
  expect(json.nodes.map(({ id }) => id)).toContain('feature:spend.total');
  expect((await world.millrace('lineage', 'nowhere')).err).toContain('lineage knows no "nowhere"');
});

test('materialize writes a past range to a table and says how far it has come', async () => {
  const range = ['--from', '2001-02-03T00:00:00Z', '--to', '2001-02-04T00:00:00Z', '--every', '6h'];
  const { code, out, err } = await world.millrace('materialize', 'spend', ...range);
  expect(code, err).toBe(0);
  expect(out).toMatch(/of spend: DONE 100 %, \d+ rows in features_spend/);
  const listed = await world.millrace('materializations', '--json');
  expect(listed.json()).toMatchObject([{ view: 'spend', state: 'DONE', table: 'features_spend' }]);
});
