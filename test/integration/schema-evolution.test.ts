import { registry } from '@millrace/contracts';
import { parseYamlDefinitions } from '@millrace/sdk';
import { eventually } from '@millrace/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { column, type FullMesh, readRequest, startFullMesh, stringKeys } from '../support/full-mesh.ts';

let mesh: FullMesh;

beforeAll(async () => {
  mesh = await startFullMesh();
});
afterAll(() => mesh?.close());

const apply = (yaml: string, allowBreaking = false) =>
  mesh.clients.registry.apply({ definitions: parseYamlDefinitions(yaml, 'test.yaml'), removals: [], allowBreaking });
const plan = (yaml: string) =>
  mesh.clients.registry.plan({ definitions: parseYamlDefinitions(yaml, 'test.yaml'), removals: [] });
const impacts = (changes: readonly registry.Change[]) =>
  changes.flatMap(({ schemaChanges }) =>
    schemaChanges.map(({ field, impact }) => `${field} ${Object.keys(registry.SchemaImpact)[impact]}`),
  );
let ids = 0;
const send = (source: string, ...events: readonly object[]) =>
  mesh.clients.ingestion.publish({
    source,
    events: events.map((fields) => ({
      id: `e${ids++}`,
      eventTimeUs: BigInt(Date.now() - 1_000) * 1000n,
      json: Buffer.from(JSON.stringify(fields)),
    })),
  });

const first = 'kind: source\nname: payments\nkey: user\nfields: { user: STRING, amount: INT64 }\n';
const view = (features: string) =>
  `---\nkind: feature_view\nname: spend\nentity: user\nsource: payments\nfeatures:\n${features}`;
const total = '  total: { function: sum, field: amount, window: lifetime }\n';
const rest = `---\nkind: entity\nname: user\njoin_keys: { user: STRING }\n${view(total)}---\nkind: feature_service\nname: profile\nfeatures: ['spend:total']\n`;
const second =
  'kind: source\nname: payments\nkey: user\nfields: { user: STRING, amount: DOUBLE, fee: { type: DOUBLE, default: 0.5 } }\n';
const fees =
  '  fees: { function: sum, field: fee, window: lifetime }\n  events: { function: count, window: lifetime }\n';

async function read() {
  const response = await mesh.clients.features.getFeatures(readRequest('profile', [stringKeys('user', ['u'])], 0));
  return Object.fromEntries(response.features.map(({ name }) => [name, column(response, name)[0]]));
}

test('a field widened and a field added: events of before, of old publishers and on their way are read with the new schema', async () => {
  await apply(`${first}${rest}`);
  expect(await send('payments', { user: 'u', amount: 1 }, { user: 'u', amount: 2 })).toMatchObject({ accepted: 2 });
  await eventually(async () => expect(await read()).toEqual({ spend__total: 3 }), { timeoutMs: 30_000 });

  // accepted under the first schema, and not seen by compute before the second
  await mesh.service('feature-compute').kill9();
  await send('payments', { user: 'u', amount: 4 });
  const changed = `${second}${rest}`
    .replace(total, `${total}${fees}`)
    .replace("['spend:total']", "['spend:total', 'spend:fees', 'spend:events']");
  expect(impacts((await plan(changed)).changes)).toEqual(['amount NEEDS_BACKFILL', 'fee SAFE']);
  await apply(changed);
  await mesh.service('feature-compute').restart();
  await send('payments', { user: 'u', amount: 8 }, { user: 'u', amount: 0.25, fee: 2 });
  await eventually(
    async () => expect(await read()).toEqual({ spend__total: 15.25, spend__fees: 4 * 0.5 + 2, spend__events: 5 }),
    { timeoutMs: 60_000 },
  );
  const url = `${mesh.stores.clickhouse.url}/?query=${encodeURIComponent('SELECT amount, fee FROM millrace.events_payments ORDER BY amount FORMAT JSONCompactEachRow')}`;
  await eventually(async () =>
    expect((await (await fetch(url)).text()).replaceAll(', ', ',').trim().split('\n')).toEqual([
      '[0.25,2]',
      '[1,0.5]',
      '[2,0.5]',
      '[4,0.5]',
      '[8,0.5]',
    ]),
  );
});

test('a change that does not fit is refused with what uses the field; old publishers of a field that is gone are still heard', async () => {
  const required = second.replace('fee:', 'tip: DOUBLE, fee:');
  const planned = await plan(required);
  expect(impacts(planned.changes)).toEqual(['tip BREAKING']);
  await expect(apply(required)).rejects.toMatchObject({
    reason: 'INCOMPATIBLE_SCHEMA',
    code: 9,
    message: expect.stringMatching(/"payments".*"tip".*not backward compatible/),
  });
  const retyped = second.replace('fee: { type: DOUBLE, default: 0.5 }', 'fee: { type: STRING, nullable: true }');
  const wrong = await plan(retyped);
  expect(impacts(wrong.changes)).toContain('fee BREAKING');
  expect(wrong.changes[0]?.schemaChanges[0]?.affected).toEqual(['feature_view "spend"', 'feature_service "profile"']);
  expect(wrong.problems.map(({ message }) => message).join()).toMatch(/read by feature_service "profile"/);

  await apply('kind: source\nname: plain\nfields: { a: STRING, b: { type: DOUBLE, nullable: true } }\n');
  await apply('kind: source\nname: plain\nfields: { a: STRING }\n');
  await eventually(async () =>
    expect(await send('plain', { a: 'x', b: 1 })).toMatchObject({ accepted: 1, rejections: [] }),
  );
  expect((await send('plain', { a: 'x', c: 1 })).rejections).toMatchObject([{ reason: 'EXTRA_FIELD' }]);
});

test('a transitive compatibility looks at every earlier version, the others at the last one', async () => {
  const versions = (name: string, mode: string) => [
    `kind: source\nname: ${name}\ncompatibility: ${mode}\nfields: { id: STRING, a: INT64 }\n`,
    `kind: source\nname: ${name}\ncompatibility: ${mode}\nfields: { id: STRING }\n`,
    `kind: source\nname: ${name}\ncompatibility: ${mode}\nfields: { id: STRING, a: { type: STRING, default: x } }\n`,
  ];
  for (const yaml of versions('last', 'backward')) await apply(yaml);
  const [one = '', two = '', three = ''] = versions('every', 'backward_transitive');
  await apply(one);
  await apply(two);
  await expect(apply(three)).rejects.toMatchObject({
    reason: 'INCOMPATIBLE_SCHEMA',
    message: expect.stringMatching(/type: INT64 -> STRING: not backward_transitive compatible with version/),
  });
  await apply(three, true);
});

test('what became of another type by force keeps its old values aside, and history goes on', async () => {
  const of = (type: string) => `kind: source\nname: forced\ncompatibility: none\nfields: { a: ${type} }\n`;
  const rows = async (sql: string) => {
    const url = `${mesh.stores.clickhouse.url}/?query=${encodeURIComponent(`${sql} FORMAT JSONCompactEachRow`)}`;
    return (await (await fetch(url)).text()).replaceAll(', ', ',').trim().split('\n');
  };
  await apply(of('STRING'));
  await send('forced', { a: 'old' });
  await eventually(async () => expect(await rows('SELECT a FROM millrace.events_forced')).toEqual(['["old"]']));
  await apply(of('DOUBLE'));
  await eventually(async () => expect(await send('forced', { a: 1.5 })).toMatchObject({ accepted: 1 }));
  await eventually(async () =>
    expect(await rows('SELECT a, a__String FROM millrace.events_forced ORDER BY _seq')).toEqual([
      '[null,"old"]',
      '[1.5,""]',
    ]),
  );
});
