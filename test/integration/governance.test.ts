import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  actions,
  everyKind,
  type GovernanceWorld,
  model,
  openGovernanceWorld,
  refusal,
  shop,
} from './governance-world.ts';

const INVALID_ARGUMENT = 3;
const NOT_FOUND = 5;
const RESOURCE_EXHAUSTED = 8;
const FAILED_PRECONDITION = 9;

let world: GovernanceWorld;
let unique = 0;
const nextName = () => `shop${unique++}`;

beforeAll(async () => {
  world = await openGovernanceWorld();
});
afterAll(() => world?.close());

describe('an apply', () => {
  test('adds, leaves what is the same, and tells people-facing changes from new versions', async () => {
    const name = nextName();
    const added = await world.apply(shop(name));
    expect(actions(added.changes)).toEqual(everyKind('ADDED', name));
    expect(added.changes.map(({ newVersion }) => newVersion)).toEqual(
      Array.from({ length: 4 }, () => expect.stringMatching(/^[0-9a-f]{12}$/)),
    );
    const versions = await world.versions();

    const again = await world.apply(shop(name));
    expect(actions(again.changes)).toEqual(everyKind('UNCHANGED', name));
    expect(again.revision).toBe(added.revision);

    const described = await world.apply(shop(name, { owner: 'someone else' }));
    expect(actions(described.changes)).toEqual(everyKind('METADATA_CHANGED', name));
    expect(described.revision).toBeGreaterThan(added.revision);
    expect(await world.versions()).toEqual(versions);
    expect((await world.shown('FEATURE_VIEW', name)).definition?.metadata?.owner).toBe('someone else');

    const { changes } = await world.apply(shop(name, { window: '2h', owner: 'someone else' }));
    expect(actions(changes)).toEqual([
      `UNCHANGED ENTITY ${name}`,
      `UNCHANGED SOURCE ${name}`,
      `CHANGED FEATURE_VIEW ${name}`,
      `CHANGED FEATURE_SERVICE ${name}`,
    ]);
    const [, , view] = changes;
    expect(view?.oldVersion).toBe(versions[`featureView/${name}`]);
    expect(view?.needsBackfill).toBe(true);
    expect(view?.differences).toContain('features.0.window.kind.value.sizeUs: 3600000000 -> 7200000000');
    const shown = await world.shown('FEATURE_VIEW', name);
    expect(shown).toMatchObject({ version: view?.newVersion, previousVersions: [view?.oldVersion] });
    expect((await world.shown('FEATURE_VIEW', name, view?.oldVersion)).version).toBe(view?.oldVersion);
  });

  test('keeps what people say about a feature without giving the view a version', async () => {
    const name = nextName();
    const view = (about: string) =>
      `kind: feature_view\nname: ${name}\nentity: ${name}\nsource: ${name}\nfeatures:\n  total: { function: sum, field: amount, window: 1h, description: ${about} }`;
    await world.apply(shop(name));
    const first = await world.apply(view('money'));
    const second = await world.apply(view('money spent'));
    expect(actions(second.changes)).toEqual([`METADATA_CHANGED FEATURE_VIEW ${name}`]);
    expect(second.changes[0]?.newVersion).toBe(first.changes[0]?.newVersion);
    const shown = await world.shown('FEATURE_VIEW', name);
    expect(shown.definition?.spec).toMatchObject({ value: { features: [{ description: 'money spent' }] } });
    const { registered } = await world.client.listDefinitions({ kind: 3 });
    const listed = registered.find(({ definition }) => definition?.name === name);
    expect(listed?.definition?.spec).toEqual(shown.definition?.spec);
  });

  test('gives the same definition the same version under every owner, after a removal, and back again', async () => {
    const name = nextName();
    await world.apply(shop(name));
    const first = await world.versions();
    const removals = ['feature_service', 'feature_view', 'source', 'entity'].map((kind) => `${kind}/${name}`);
    const removed = await world.apply('', { removals });
    expect(actions(removed.changes).sort()).toEqual(everyKind('REMOVED', name).sort());
    expect(await world.versions()).not.toHaveProperty(`featureView/${name}`);
    await world.apply(shop(name, { owner: 'other' }));
    expect(await world.versions()).toMatchObject(first);
    await world.apply(shop(name, { window: '2h' }));
    expect((await world.versions())[`featureView/${name}`]).not.toBe(first[`featureView/${name}`]);
    await world.apply(shop(name));
    expect(await world.versions()).toMatchObject(first);
    expect((await world.shown('FEATURE_VIEW', name)).previousVersions).toHaveLength(1);
  });

  test('gives a view outside the set a new version when its source changes under it', async () => {
    const name = nextName();
    await world.apply(shop(name));
    const source = (amount: string) =>
      `kind: source\nname: ${name}\ncompatibility: none\nfields: { user: STRING, amount: ${amount}, ok: BOOL, more: STRING }`;
    const wider = await world.apply(source('DOUBLE'));
    expect(actions(wider.changes)).toEqual([`CHANGED SOURCE ${name}`]);
    const { changes } = await world.apply(source('INT64'));
    expect(actions(changes)).toEqual([`CHANGED SOURCE ${name}`, `CHANGED FEATURE_VIEW ${name}`]);
    expect(changes[1]?.breaks).toEqual([expect.stringContaining(`feature_service "${name}": warning: keeps version`)]);
    expect((await world.shown('FEATURE_SERVICE', name)).definition?.spec).toMatchObject({
      value: { features: [{ viewVersion: changes[1]?.oldVersion }, { viewVersion: changes[1]?.oldVersion }] },
    });
  });

  test('that is only planned changes nothing and says the same', async () => {
    const name = nextName();
    const before = await world.client.listDefinitions({ kind: 0 });
    const planned = await world.plan(shop(name));
    expect(actions(planned.changes)).toEqual(everyKind('ADDED', name));
    expect(await world.client.listDefinitions({ kind: 0 })).toEqual(before);
    expect((await world.apply(shop(name))).changes).toEqual(planned.changes);
  });
});

describe('a broken set', () => {
  const broken = (name: string) => `
kind: entity
name: ${name}
join_keys: { user: STRING }
---
kind: source
name: ${name}
event_time: nothing
fields: { user: STRING, amount: DOUBLE }
---
kind: feature_view
name: ${name}_lost
entity: ${name}
source: nowhere
features: { events: { function: count, window: 1h } }
---
kind: feature_view
name: ${name}
entity: ${name}
source: ${name}
features:
  total: { function: sum, field: amuont, window: 1h }
  longest: { function: mean, field: user, window: 1h }
  pace: { function: rate, window: lifetime }
---
kind: feature_service
name: ${name}
features: ['${name}:totals']
---
kind: deployment
name: ${name}
targets: [{ model: ghost }]
---
kind: entity
name: ${name}
join_keys: { user: INT64 }
`;
  const problems = (name: string): readonly (readonly [definition: string, field: string, says: RegExp])[] => [
    [`source "${name}"`, 'event_time_field', /no field "nothing"; fields: user, amount/],
    [`feature_view "${name}_lost"`, 'source', /no source "nowhere"; known: .*shop/],
    [`feature_view "${name}"`, 'features.total.field', /no field "amuont"; fields: user, amount/],
    [`feature_view "${name}"`, 'features.longest.field', /"mean" needs a number and field "user" is STRING/],
    [`feature_view "${name}"`, 'features.pace.window', /a rate over a lifetime has no seconds to divide by/],
    [`feature_service "${name}"`, 'features.0', /has no feature "totals"; features: total, longest, pace/],
    [`deployment "${name}"`, 'targets.0', /no model "ghost"/],
    [`entity "${name}"`, 'name', /defined twice: in "broken.yaml" and in "broken.yaml"; keep one/],
  ];

  test('is refused with every problem at once, each naming file, definition and field, and leaves nothing', async () => {
    const name = nextName();
    const before = await world.client.listDefinitions({ kind: 0 });
    const { status, reason, metadata, lines } = await refusal(world.apply(broken(name), { file: 'broken.yaml' }));
    expect({ status, reason }).toEqual({ status: INVALID_ARGUMENT, reason: 'INVALID_DEFINITION' });
    for (const [definition, field, says] of problems(name)) {
      const found = lines.find((line) => line.startsWith(`broken.yaml: ${definition}: ${field}: `));
      expect(found, `${definition}: ${field}`).toMatch(says);
    }
    expect(metadata).toEqual({ problems: String(lines.length - 1) });
    expect(await world.client.listDefinitions({ kind: 0 })).toEqual(before);
    const missing = await refusal(world.shown('ENTITY', name));
    expect(missing).toMatchObject({ status: NOT_FOUND, reason: 'UNKNOWN_DEFINITION' });
    expect(missing.metadata).toEqual({ kind: 'entity', name, version: '' });
  });

  test('has the same problems as values in its plan', async () => {
    const name = nextName();
    const planned = await world.plan(broken(name), { file: 'broken.yaml' });
    expect(planned.changes).toEqual([]);
    for (const [definition, field, says] of problems(name)) {
      const found = planned.problems.find((each) => each.definition === definition && each.field === field);
      expect(found).toMatchObject({ file: 'broken.yaml', message: expect.stringMatching(says) });
    }
  });

  test('is one with a cycle of references, whichever definition closes it', async () => {
    const name = nextName();
    const source = `kind: source\nname: predictions_${name}\nfields: { user: STRING, amount: DOUBLE }`;
    await world.apply(`${shop(name)}---${model(name)}---\n${source}`);
    const view = `kind: feature_view\nname: ${name}\nentity: ${name}\nsource: predictions_${name}\nfeatures: { total: { function: sum, field: amount, window: 1h }, events: { function: count, window: 1h } }`;
    const { status, reason, lines } = await refusal(world.apply(view, { file: 'loop.yaml', allowBreaking: true }));
    expect({ status, reason }).toEqual({ status: INVALID_ARGUMENT, reason: 'INVALID_DEFINITION' });
    expect(lines[1]).toMatch(new RegExp(`^loop.yaml: feature_view "${name}": source: cycle: .*model "${name}"`));
  });

  test('is one that pins a version that there never was', async () => {
    const name = nextName();
    await world.apply(shop(name));
    const service = (version: string) =>
      `kind: feature_service\nname: ${name}\nfeatures: [{ view: ${name}, feature: total, version: '${version}' }]`;
    const { reason, lines } = await refusal(world.apply(service('abcdefabcdef')));
    expect(reason).toBe('INVALID_DEFINITION');
    expect(lines[1]).toMatch(
      /feature_service "shop\d+": features\.0: .*no version "abcdefabcdef"; versions: [0-9a-f]{12}/,
    );
    const first = (await world.versions())[`featureView/${name}`] ?? '';
    await world.apply(shop(name, { window: '2h' }));
    await world.apply(service(first));
    expect((await world.shown('FEATURE_SERVICE', name)).definition?.spec).toMatchObject({
      value: { features: [{ viewVersion: first }] },
    });
  });

  test('is one that removes what it defines, or what there is not', async () => {
    const name = nextName();
    await world.apply(shop(name));
    for (const removal of [`source/${name}`, 'source/nowhere', 'constructor', '']) {
      const { status, reason, lines } = await refusal(world.apply(shop(name), { removals: [removal] }));
      expect({ status, reason }).toEqual({ status: INVALID_ARGUMENT, reason: 'INVALID_DEFINITION' });
      expect(lines[1]).toContain(`"${removal}"`);
    }
  });

  test('is one over the limit, whatever it says', async () => {
    const removals = Array.from({ length: 10_001 }, (_, at) => `source/s${at}`);
    expect(await refusal(world.apply('', { removals }))).toMatchObject({
      status: RESOURCE_EXHAUSTED,
      reason: 'LIMIT_EXCEEDED',
      metadata: { definitions: '10001', limit: '10000' },
    });
  });
});

describe('a change that leaves a consumer unable to go on', () => {
  const breaking: readonly [what: string, yaml: (name: string) => string, removes: readonly string[], says: RegExp][] =
    [
      [
        'removes a source with a view',
        () => '',
        ['source'],
        /^source "shop\d+": feature_view "shop\d+" uses the source/,
      ],
      ['removes a view with a service', () => '', ['feature_view'], /feature_service "shop\d+" reads it/],
      ['removes a service with a model', () => '', ['feature_service'], /model "shop\d+" is fed by it/],
      [
        'takes a feature from a service with a model',
        (name) => `kind: feature_service\nname: ${name}\nfeatures: ['${name}:events']`,
        [],
        /model "shop\d+" reads shop\d+__total, which is gone/,
      ],
      [
        'takes the field of an outcome from a source',
        (name) => `kind: source\nname: ${name}\nfields: { user: STRING, amount: DOUBLE }`,
        [],
        /model "shop\d+" reads its outcomes from field "ok", which is gone/,
      ],
    ];

  test.each(breaking)('is refused unless breaking is allowed: one that %s', async (_what, yaml, removes, says) => {
    const name = nextName();
    await world.apply(`${shop(name)}---${model(name)}`);
    const before = await world.client.listDefinitions({ kind: 0 });
    const removals = removes.map((kind) => `${kind}/${name}`);
    const refused = await refusal(world.apply(yaml(name), { removals }));
    expect(refused).toMatchObject({
      status: FAILED_PRECONDITION,
      reason: 'BREAKS_CONSUMERS',
      metadata: { breaks: String(refused.lines.length - 2) },
    });
    expect(
      refused.lines.some((line) => says.test(line)),
      refused.lines.join('\n'),
    ).toBe(true);
    expect(refused.lines.at(-1)).toMatch(/in the same set, or allow breaking/);
    expect(await world.client.listDefinitions({ kind: 0 })).toEqual(before);

    const { changes, revision } = await world.apply(yaml(name), { removals, allowBreaking: true });
    expect(changes.flatMap((change) => change.breaks)).not.toEqual([]);
    expect(revision).toBeGreaterThan(before.revision);
  });
});

test('a definition, a version or a kind that there is not is refused by name', async () => {
  const name = nextName();
  await world.apply(shop(name));
  const missing = { status: NOT_FOUND, reason: 'UNKNOWN_DEFINITION' };
  expect(await refusal(world.shown('SOURCE', 'nowhere'))).toMatchObject(missing);
  for (const version of ['abcdefabcdef', 'not a version', '*', '>'])
    expect(await refusal(world.shown('SOURCE', name, version))).toMatchObject({ ...missing, metadata: { version } });
  expect(await refusal(world.shown('UNSPECIFIED', name))).toMatchObject({
    status: INVALID_ARGUMENT,
    reason: 'INVALID_ARGUMENT',
  });
});
