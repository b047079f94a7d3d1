import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { eventually } from '@millrace/testkit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type CliWorld, openCliWorld, runMillrace } from './cli-world.ts';

let world: CliWorld;

const typescript = `
import { allFeatures, double, entity, featureService, featureView, int64, lifetime, source, string } from '@millrace/sdk';

export const user = entity('user', { owner: 'shop', joinKeys: { user: 'STRING' } });
export const orders = source('orders', {
  owner: 'shop',
  description: 'An order that was paid',
  fields: { user: string(), amount: double({ min: 0 }), cents: int64() },
});
export const spend = featureView('spend', {
  owner: 'shop',
  entity: user,
  source: orders,
  features: (of) => ({
    total: of.sum('amount', { window: lifetime() }),
    cents: of.sum('cents', { window: lifetime() }),
    orders: of.count({ window: lifetime() }),
  }),
});
export const basket = featureService('basket', { owner: 'shop', features: [allFeatures(spend)] });
`;

const yaml = (join: string) => `
kind: entity
name: gate
owner: airport
join_keys: { number: INT64, open: BOOL }
---
kind: source
name: scans
fields: { number: INT64, open: BOOL, weight: DOUBLE }
---
kind: feature_view
name: scanned
entity: gate
source: scans
features: { scans: { function: count, window: ${join} } }
---
kind: feature_service
name: gates
features: ['scanned:scans']
`;

interface Plan {
  readonly changes: readonly { readonly name: string; readonly action: number; readonly newVersion: string }[];
  readonly problems: readonly { readonly file: string; readonly field: string }[];
}
interface Failure {
  readonly error: {
    readonly reason: string;
    readonly message: string;
    readonly metadata: Readonly<Record<string, string>>;
  };
}
interface Registered {
  readonly definition: { readonly name: string; readonly metadata: { readonly owner: string } };
  readonly version: string;
}
interface Rows {
  readonly rows: readonly Readonly<Record<string, { readonly value: unknown; readonly status: string }>>[];
}

beforeAll(async () => {
  world = await openCliWorld();
  world.write('shop.ts', typescript);
  world.write('gates.yaml', yaml('1h'));
});
afterAll(() => world?.close());

describe('definitions', () => {
  test('in TypeScript and YAML are planned, applied, and unchanged the second time', async () => {
    const planned = await world.millrace('plan', 'shop.ts', 'gates.yaml');
    expect(planned).toMatchObject({ code: 0, err: '' });
    expect(planned.out).toMatch(/^\+ added +feature_view "spend" [0-9a-f]{12} {2}needs backfill$/m);
    expect(planned.out).toMatch(/^\+ added +feature_service "gates" [0-9a-f]{12}$/m);
    const { changes, problems } = (await world.millrace('plan', 'shop.ts', 'gates.yaml', '--json')).json<Plan>();
    expect({ changes: changes.length, problems }).toEqual({ changes: 8, problems: [] });
    expect((await world.millrace('list')).out).toMatch(/nothing is defined yet; try: millrace apply/);

    const applied = await world.millrace('apply', 'shop.ts', 'gates.yaml');
    expect(applied).toMatchObject({ code: 0, err: '' });
    expect(applied.out).toMatch(/^applied at registry revision \d+$/m);
    const again = (await world.millrace('apply', 'shop.ts', 'gates.yaml', '--json')).json<Plan>();
    expect(again.changes.map(({ name, newVersion }) => [name, newVersion])).toEqual(
      changes.map(({ name, newVersion }) => [name, newVersion]),
    );
    expect(new Set(again.changes.map(({ action }) => action))).toEqual(new Set([4]));
  });

  test('that change are told apart by their differences', async () => {
    world.write('changed.yaml', yaml('2h'));
    const { code, out } = await world.millrace('plan', 'changed.yaml');
    expect(code).toBe(0);
    expect(out).toMatch(/^~ changed +feature_view "scanned" ([0-9a-f]{12}) -> (?!\1)[0-9a-f]{12} {2}needs backfill$/m);
    expect(out).toContain('features.0.window.kind.value.sizeUs: 3600000000 -> 7200000000');
    expect(out).toMatch(/^ {2}unchanged +source "scans"/m);
  });

  test('of a whole folder are taken together', async () => {
    mkdirSync(join(world.dir, 'folder'), { recursive: true });
    world.write('folder/a.ts', typescript);
    world.write('folder/b.yaml', yaml('1h'));
    const { changes } = (await world.millrace('plan', 'folder', '--json')).json<Plan>();
    expect(changes).toHaveLength(8);
  });

  test('are listed and shown', async () => {
    const listed = await world.millrace('list');
    expect(listed).toMatchObject({ code: 0, err: '' });
    expect(listed.out).toMatch(/source +│ orders +│ [0-9a-f]{12} +│ shop +│ An order that was paid/);
    const views = (await world.millrace('list', 'feature_view', '--json')).json<readonly Registered[]>();
    expect(views.map(({ definition }) => definition.name)).toEqual(['scanned', 'spend']);

    const shown = (await world.millrace('show', 'feature-view', 'spend', '--json')).json<Registered>();
    expect(shown).toMatchObject({ version: views[1]?.version, definition: { metadata: { owner: 'shop' } } });
    const read = await world.millrace('show', 'feature_view', 'spend', '--version-id', shown.version);
    expect(read.code).toBe(0);
    expect(JSON.parse(read.out)).toMatchObject({ version: shown.version });
  });

  test('are removed by name, alone', async () => {
    world.write('spare.yaml', 'kind: entity\nname: spare\njoin_keys: { spare: STRING }\n');
    await world.millrace('apply', 'spare.yaml');
    const removed = await world.millrace('apply', '--remove', 'entity/spare');
    expect(removed).toMatchObject({ code: 0, err: '' });
    expect(removed.out).toMatch(/^- removed +entity "spare"/m);
    const broken = await world.millrace('apply', '--remove', 'source/orders');
    expect(broken).toMatchObject({ code: 1, out: '' });
    expect(broken.err).toMatch(/feature_view "spend" uses the source[\s\S]*allow breaking \(BREAKS_CONSUMERS\)/);
  });
});

describe('events', () => {
  const order = (id: string, user: string, fields = '"amount": 2.5, "cents": 1, "at": "2001-02-03T04:05:06Z"') =>
    `{"id": "${id}", "user": "${user}", ${fields}}`;
  const envelope = ['--id-field', 'id', '--time-field', 'at'];
  const orders = (user: string) => world.millrace('get', 'basket', `user=${user}`, '--json');

  test('are published from a file and from standard input, counted, and read as features', async () => {
    world.write('orders.jsonl', `${order('a', 'ada')}\n\n${order('b', 'ada')}\r\n${order('c', 'bob')}`);
    const published = await world.millrace('publish', 'orders', 'orders.jsonl', ...envelope);
    expect(published).toEqual({ ...published, code: 0, out: '3 accepted, 0 duplicates, 0 rejected\n', err: '' });
    const again = await world.feed(order('a', 'ada'), 'publish', 'orders', ...envelope, '--json');
    expect(again.json()).toEqual({ accepted: 0, duplicates: 1, rejections: [], warnings: [] });

    await eventually(async () => {
      const { rows } = (await world.millrace('get', 'basket', 'user=ada,bob,eve', '--json')).json<Rows>();
      expect(rows.map((row) => row.spend__total)).toEqual([
        { value: 5, status: 'PRESENT' },
        { value: 2.5, status: 'PRESENT' },
        { value: null, status: 'NOT_FOUND' },
      ]);
      expect(rows[0]?.spend__orders).toEqual({ value: 2, status: 'PRESENT' });
    });
    const table = await world.millrace('get', 'basket', 'user=ada');
    expect(table).toMatchObject({ code: 0, err: '' });
    expect(table.out).toMatch(/spend__total +│ 5 +│ PRESENT/);
  });

  test('keep every digit, and their own time', async () => {
    const line = order('big', 'big', '"amount": 0, "cents": "9007199254740993", "at": "2001-02-03T04:05:06Z"');
    expect(await world.feed(line, 'publish', 'orders', ...envelope)).toMatchObject({ code: 0, err: '' });
    await eventually(async () => expect((await orders('big')).out).toContain('"9007199254740993"'));
    const before = await world.millrace('get', 'basket', 'user=big', '--as-of', '2001-02-03T04:05:06Z', '--json');
    expect(before.out).not.toContain('"9007199254740993"');
    // a number that a double would round, or make null, arrives as it was written
    for (const [amount, reason] of [
      ['1e999', 'NOT_FINITE'],
      ['null', 'NULL_NOT_ALLOWED'],
    ]) {
      const wrong = order('wrong', 'big', `"amount": ${amount}, "cents": 1, "at": 1`);
      const { code, out } = await world.feed(wrong, 'publish', 'orders', ...envelope);
      expect(code).toBe(1);
      expect(out).toContain(`line 1: ${reason}: `);
    }
  });

  test('that are rejected are named by their line, and the exit code says so', async () => {
    const lines = [
      '{"user": "eve", "amount": 1, "cents": 1}',
      '{"user": "eve", ',
      '{"user": "eve", "amount": -1, "cents": 1}',
    ];
    const { code, out } = await world.feed(lines.join('\n'), 'publish', 'orders', '--batch', '2');
    expect(code).toBe(1);
    expect(out).toMatch(/^1 accepted, 0 duplicates, 2 rejected$/m);
    expect(out).toMatch(/^ {2}line 2: MALFORMED_PAYLOAD: .*send one valid JSON object/m);
    expect(out).toMatch(/^ {2}line 3: OUT_OF_RANGE: .*amount/m);
    const json = await world.feed(lines.join('\n'), 'publish', 'orders', '--json');
    expect(json.code).toBe(1);
    expect(json.json()).toMatchObject({ accepted: 1, rejections: [{ line: 2 }, { line: 3, field: 'amount' }] });
  });

  const unreadable: readonly (readonly [what: string, line: string, reason: string, says: RegExp])[] = [
    ['is not JSON', '{"id": 1, ', 'MALFORMED_PAYLOAD', /line 2 is not a JSON object: .*; correct it and publish/],
    ['is not an object', '[1, 2]', 'MALFORMED_PAYLOAD', /line 2 is not a JSON object: \[1, 2\]; correct it/],
    ['has no id', '{"user": "a"}', 'MISSING_FIELD', /line 2 has no field "id"; fields: user/],
    ['has no usable id', '{"id": {"a": 1}, "at": 1}', 'WRONG_TYPE', /line 2: field "id" is {"a":1}; write a text/],
    [
      'has no usable time',
      '{"id": 1, "at": "noon"}',
      'INVALID_ARGUMENT',
      /line 2: "noon" is not a time; write RFC 3339/,
    ],
  ];
  test.each(unreadable)('whose line %s end the command with the line', async (_what, line, reason, says) => {
    world.write('bad.jsonl', `{"id": "x", "at": 1, "user": "x"}\n${line}\n`);
    const { code, out, err } = await world.millrace(
      'publish',
      'orders',
      'bad.jsonl',
      '--id-field',
      'id',
      '--time-field',
      'at',
    );
    expect({ code, out }).toEqual({ code: 1, out: '' });
    expect(err).toMatch(says);
    expect(err).toContain(`(${reason})`);
  });
});

test('status tells how far sources and views have come', async () => {
  const { code, out, err } = await world.millrace('status');
  expect({ code, err }).toEqual({ code: 0, err: '' });
  expect(out).toMatch(/│ orders +│ \d+ +│/);
  expect(out).toMatch(/│ spend +│ [0-9a-f]{12} +│ READY/);
  expect(out).toMatch(/stream position \d+, rows at \d+/);
  const status = (await world.millrace('status', '--json')).json<{
    readonly sources: readonly { readonly source: string; readonly accepted: number }[];
    readonly compute: { readonly views: readonly { readonly view: string; readonly state: string }[] };
  }>();
  expect(status.sources.find(({ source }) => source === 'orders')?.accepted).toBeGreaterThanOrEqual(4);
  expect(status.compute.views).toContainEqual(expect.objectContaining({ view: 'spend', state: 'READY' }));
});

test('parity tells what the verifier proved and lists what differs', async () => {
  const { code, out, err } = await world.millrace('parity', '--limit', '5');
  expect(code, err).toBe(0);
  expect(out).toMatch(/verifier: \d+ served values proved, 0 mismatched/);
  expect(out).toContain('no mismatch within the last 30 days');
  const json = (await world.millrace('parity', '--json')).json<{ verifier: object; mismatches: unknown[] }>();
  expect(json.mismatches).toEqual([]);
  expect(json.verifier).toMatchObject({ mismatched: 0 });
  expect((await world.millrace('parity', '--limit', '0')).err).toContain('write a number from 1 to 1000');
});

test('doctor checks every service and store, and names what does not answer and where to look', async () => {
  const parts = [
    'governance',
    'ingestion',
    'feature-compute',
    'online-serving',
    'clickhouse',
    'redis',
    'nats',
    'registry',
  ];
  const well = await world.millrace('doctor');
  expect(well).toMatchObject({ code: 0, err: '' });
  for (const part of parts) expect(well.out).toMatch(new RegExp(`^ok {4} ${part}: `, 'm'));
  expect(well.out).not.toContain('FAILED');
  expect((await world.millrace('doctor', '--json')).json()).toMatchObject({ ok: true });

  await world.online.kill9();
  const ill = await world.millrace('doctor');
  expect(ill.code).toBe(1);
  expect(ill.out).toMatch(
    /^FAILED online-serving: http:.* does not answer; look at \.millrace\/logs\/online-serving\.log$/m,
  );
  expect(ill.out).toMatch(/^ok {4} governance: /m);
  const { ok, checks } = (await world.millrace('doctor', '--json')).json<{
    readonly ok: boolean;
    readonly checks: readonly { readonly name: string; readonly ok: boolean }[];
  }>();
  expect(ok).toBe(false);
  expect(checks.filter((check) => !check.ok).map(({ name }) => name)).toEqual(['online-serving']);
  const get = await world.millrace('get', 'basket', 'user=ada', '--timeout', '2');
  expect(get.code).toBe(1);
  expect(get.err).toMatch(/try: millrace doctor \(SERVICE_UNAVAILABLE\)/);
  await world.online.restart();
});

describe('what goes wrong', () => {
  const failing: readonly (readonly [what: string, args: readonly string[], reason: string, says: RegExp])[] = [
    ['an unknown definition', ['show', 'source', 'nowhere'], 'UNKNOWN_DEFINITION', /no source "nowhere"; apply its/],
    ['an unknown version', ['show', 'source', 'orders', '--version-id', 'v 1'], 'UNKNOWN_DEFINITION', /version "v 1"/],
    ['an unknown kind', ['list', 'table'], 'INVALID_ARGUMENT', /"table" is not a kind.*entity, source, feature_view/],
    ['an unknown source', ['publish', 'nowhere', 'orders.jsonl'], 'UNKNOWN_SOURCE', /"nowhere".*apply its definition/],
    ['an unknown feature service', ['get', 'nowhere', 'user=a'], 'UNKNOWN_FEATURE_SERVICE', /"nowhere"/],
    [
      'a key without a value',
      ['get', 'basket', 'user'],
      'INVALID_ARGUMENT',
      /"user" is not a join key; write name=value/,
    ],
    ['an unknown key', ['get', 'basket', 'usr=a'], 'UNKNOWN_JOIN_KEY', /usr/],
    ['an integer key of letters', ['get', 'gates', 'number=a', 'open=true'], 'WRONG_TYPE', /"number" is an INT64/],
    ['a boolean key of letters', ['get', 'gates', 'number=1', 'open=yes'], 'WRONG_TYPE', /neither true nor false/],
    ['a time of words', ['get', 'basket', 'user=a', '--as-of', 'noon'], 'INVALID_ARGUMENT', /"noon" is not a time/],
    ['a file that is not there', ['plan', 'nowhere.ts'], 'INVALID_ARGUMENT', /no file or folder "nowhere.ts"/],
    [
      'events that are not there',
      ['publish', 'orders', 'nowhere.jsonl'],
      'INVALID_ARGUMENT',
      /no file "nowhere.jsonl"/,
    ],
    ['no files at all', ['apply'], 'INVALID_ARGUMENT', /no files named; name TypeScript modules/],
  ];

  test.each(failing)('%s: a reason and a remedy, and exit code 1', async (_what, args, reason, says) => {
    world.write('orders.jsonl', '{"user": "a", "amount": 1, "cents": 1}');
    const { code, out, err } = await world.millrace(...args);
    expect({ code, out }).toEqual({ code: 1, out: '' });
    expect(err).toMatch(says);
    expect(err).toMatch(new RegExp(`^millrace: [\\s\\S]*\\(${reason}\\)\\n$`));
    const json = await world.millrace(...args, '--json');
    expect(json.code).toBe(1);
    expect(json.json<Failure>().error).toMatchObject({ reason, message: expect.stringMatching(says) });
  });

  test('an unknown command, and an option that is no number', async () => {
    const unknown = await world.millrace('aply', 'shop.ts');
    expect(unknown).toMatchObject({ code: 1, out: '' });
    expect(unknown.err).toMatch(/unknown command 'aply'[\s\S]*Did you mean apply\?[\s\S]*millrace --help/);
    const number = await world.millrace('status', '--timeout', 'soon');
    expect(number.code).toBe(1);
    expect(number.err).toMatch(/'soon' is invalid. write a number above 0/);
  });

  test('no mesh, endpoints that are not there, and endpoints that are not JSON', async () => {
    const apart = join(world.mesh.dir, 'apart');
    mkdirSync(apart);
    const none = await runMillrace(apart, ['list']);
    expect(none).toMatchObject({ code: 1, out: '' });
    expect(none.err).toMatch(
      /no running mesh found: no "\.millrace\/endpoints\.json" here or above; run "npm start" first.*\(NOT_READY\)/,
    );
    const named = await runMillrace(apart, ['list', '--endpoints', 'gone.json', '--json']);
    expect(named.json<Failure>().error).toMatchObject({
      reason: 'NOT_READY',
      message: expect.stringContaining('"gone.json"'),
    });
    world.write('notes.json', 'not json');
    const unreadable = await world.millrace('list', '--endpoints', 'notes.json');
    expect(unreadable.err).toMatch(/endpoints file "notes.json" is not JSON.*run "npm start"/);
    const below = await runMillrace(join(world.dir, 'folder'), ['list', 'source', '--json']);
    expect(below.json<unknown[]>()).toHaveLength(2);
  });

  test('definitions with problems: file, definition, field and remedy of each, and nothing is applied', async () => {
    const broken = yaml('1h')
      .replace('source: scans', 'source: scnas')
      .replace('name: gate\n', 'name: Gate\n')
      .replaceAll('scanned', 'seen');
    world.write('broken.yaml', broken);
    const said = [
      /broken\.yaml: entity "Gate": name: "Gate" is not a name; use lowercase/,
      /broken\.yaml: feature_view "seen": source: there is no source "scnas"; known: .*scans/,
    ];
    const planned = await world.millrace('plan', 'broken.yaml');
    expect(planned.code).toBe(1);
    for (const says of said) expect(planned.err).toMatch(says);
    const json = await world.millrace('plan', 'broken.yaml', '--json');
    expect(json.code).toBe(1);
    expect(json.json<Plan>().problems).toContainEqual(
      expect.objectContaining({ file: 'broken.yaml', field: 'source' }),
    );
    const applied = await world.millrace('apply', 'broken.yaml');
    expect(applied).toMatchObject({ code: 1, out: '' });
    for (const says of said) expect(applied.err).toMatch(says);
    expect(applied.err).toContain('(INVALID_DEFINITION)');
    expect((await world.millrace('show', 'feature_view', 'seen')).code).toBe(1);
  });

  test('files that cannot be read as definitions: all of them at once, with the line or the field', async () => {
    world.write('syntax.yaml', 'kind: entity\nname: [oops\n');
    world.write('schema.yaml', 'kind: source\nname: scans\nfields: { number: INTEGER }\n');
    world.write('throws.ts', `import { missing } from './nowhere.ts';\nexport const a = missing;\n`);
    world.write('empty.ts', 'export const nothing = 1;\n');
    const { code, out, err } = await world.millrace('apply', 'syntax.yaml', 'schema.yaml', 'throws.ts');
    expect({ code, out }).toEqual({ code: 1, out: '' });
    expect(err).toMatch(/syntax\.yaml:\d: /);
    expect(err).toMatch(/schema\.yaml: source "scans": fields\.number: /);
    expect(err).toMatch(/throws\.ts: .*nowhere\.ts/);
    expect((await world.millrace('apply', 'empty.ts')).err).toMatch(
      /no definitions in empty\.ts; name TypeScript modules/,
    );
  });
});
