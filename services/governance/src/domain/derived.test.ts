import { definitions } from '@millrace/contracts';
import { contentVersion } from '@millrace/kernel';
import { emptySnapshot } from '@millrace/registry';
import { expect, test } from 'vitest';
import { makePlan } from './plan.ts';

const { AggregationFunction, FieldType } = definitions;
const define = (name: string, spec: definitions.Definition['spec']) =>
  definitions.Definition.fromPartial({ name, file: 'd.ts', spec } as never);

const base = [
  define('shop', {
    $case: 'entity',
    value: definitions.Entity.fromPartial({ joinKeys: [{ name: 'shop', type: FieldType.STRING }] }),
  }),
  define('orders', {
    $case: 'source',
    value: definitions.Source.fromPartial({
      fields: [
        { name: 'shop', type: FieldType.STRING },
        { name: 'amount', type: FieldType.DOUBLE },
        { name: 'channel', type: FieldType.STRING },
      ],
    }),
  }),
];
const lifetime = { kind: { $case: 'lifetime' as const, value: {} } };

function viewWith(derived: Readonly<Record<string, string>>): definitions.Definition {
  const features = [
    { name: 'n', function: AggregationFunction.COUNT, window: lifetime },
    { name: 'total', function: AggregationFunction.SUM, input: 'amount * 2.0', window: lifetime },
    { name: 'channel', function: AggregationFunction.LAST, field: 'channel', window: lifetime },
  ];
  return define('by_shop', {
    $case: 'featureView',
    value: definitions.FeatureView.fromPartial({
      entity: 'shop',
      source: 'orders',
      features,
      derived: derivedOf(derived),
    } as never),
  });
}

const derivedOf = (derived: Readonly<Record<string, string>>) =>
  Object.entries(derived).map(([name, expression]) => ({ name, expression, description: 'd' }));

function serviceWith(changes: object): definitions.Definition {
  const features = [
    { view: 'by_shop', feature: 'mean', alias: 'mean' },
    { view: 'by_shop', feature: 'n' },
  ];
  return define('shops', {
    $case: 'featureService',
    value: definitions.FeatureService.fromPartial({ features, ...changes } as never),
  });
}

const planned = (...set: readonly definitions.Definition[]) => makePlan(emptySnapshot, {}, [...base, ...set], []);
const problemsOf = (...set: readonly definitions.Definition[]) =>
  planned(...set).problems.map(({ definition, field, message }) => `${definition}: ${field}: ${message}`);
const versionOf = (name: string, ...set: readonly definitions.Definition[]) =>
  planned(...set).changes.find((change) => change.name === name)?.newVersion;

const view = viewWith({ mean: 'total / n', doubled: 'mean * 2.0' });

test('derived features of views and services are planned, and the version is that of their expressions', () => {
  const service = serviceWith({
    derived: derivedOf({ odd: 'mean > limit' }),
    requestFields: [{ name: 'limit', type: FieldType.DOUBLE }],
  });
  expect(problemsOf(view, service)).toEqual([]);
  const first = versionOf('by_shop', view);
  expect(versionOf('by_shop', viewWith({ mean: 'total / n', doubled: 'mean * 3.0' }))).not.toBe(first);
  expect(versionOf('by_shop', viewWith({ doubled: 'mean * 2.0', mean: 'total / n' }))).toBeDefined();
  const other = serviceWith({
    derived: derivedOf({ odd: 'mean < limit' }),
    requestFields: [{ name: 'limit', type: FieldType.DOUBLE }],
  });
  expect(versionOf('shops', view, other)).not.toBe(versionOf('shops', view, service));
});

test('every problem of expressions is told at once: names, types, circles, limits', () => {
  const broken = viewWith({ a: 'b + 1', b: 'a + 1', c: 'amuont / n', n: 'total', d: 'channel * 2', as_of: 'n' });
  const problems = problemsOf(broken);
  expect(problems).toContainEqual(
    expect.stringMatching(/feature_view "by_shop": derived\.b: .*goes round in a circle: a -> b -> a; break it/),
  );
  expect(problems).toContainEqual(expect.stringMatching(/derived\.a: .*"b" has a problem of its own/));
  expect(problems).toContainEqual(
    expect.stringMatching(
      /derived\.c: expression "amuont \/ n", at character 1 \("amuont"\): there is no "amuont"; names: n, total, channel, as_of/,
    ),
  );
  expect(problems).toContainEqual(expect.stringMatching(/derived\.n: two features are named "n"/));
  expect(problems).toContainEqual(expect.stringMatching(/derived\.d: .*needs two numbers, not a STRING and an INT64/));
  expect(problems).toContainEqual(expect.stringMatching(/derived\.as_of: "as_of" is the read time/));
});

test('a service says what is wrong with its references, request fields and expressions', () => {
  const service = serviceWith({
    features: [
      { view: 'by_shop', feature: 'median' },
      { view: 'by_shop', feature: 'n', hidden: true },
    ],
    derived: derivedOf({ x: 'by_shop__n + y', Bad: '1' }),
    requestFields: [
      { name: 'limit', type: 0 },
      { name: 'by_shop__n', type: FieldType.INT64 },
    ],
  });
  const problems = problemsOf(view, service);
  expect(problems).toContainEqual(
    expect.stringMatching(
      /features\.0: feature view "by_shop" has no feature "median"; features: n, total, channel, mean, doubled/,
    ),
  );
  expect(problems).toContainEqual(expect.stringMatching(/derived\.x: .*there is no "y"/));
  expect(problems).toContainEqual(expect.stringMatching(/derived\.Bad: "Bad" is not a name/));
  expect(problems).toContainEqual(expect.stringMatching(/request_fields\.limit: has no type/));
  expect(problems).toContainEqual(expect.stringMatching(/request_fields\.by_shop__n: two features or request fields/));
  expect(problemsOf(serviceWith({ features: [] }))).toContainEqual(expect.stringMatching(/the service reads nothing/));
  const hidden = serviceWith({ features: [{ view: 'by_shop', feature: 'n', hidden: true }] });
  expect(problemsOf(view, hidden)).toContainEqual(expect.stringMatching(/at least one feature that is not hidden/));
});

test('a service without derived features keeps the version that it had before there were any', () => {
  const plain = serviceWith({ features: [{ view: 'by_shop', feature: 'n', viewVersion: '0123456789ab' }] });
  const { changes } = makePlan(emptySnapshot, {}, [...base, view, plain], []);
  const reference = {
    view: 'by_shop',
    feature: 'n',
    viewVersion: '0123456789ab',
    alias: '',
    maxAgeUs: 0n,
    staleAction: 0,
  };
  const before = { features: [reference] };
  expect(changes.find(({ name }) => name === 'shops')?.newVersion).toBe(
    contentVersion({ $case: 'featureService', value: before }),
  );
});
