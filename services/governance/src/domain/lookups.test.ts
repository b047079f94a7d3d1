import { definitions } from '@millrace/contracts';
import { contentVersion } from '@millrace/kernel';
import { emptySnapshot } from '@millrace/registry';
import { expect, test } from 'vitest';
import { makePlan } from './plan.ts';

const { AggregationFunction, FieldType } = definitions;
const define = (name: string, spec: definitions.Definition['spec']) =>
  definitions.Definition.fromPartial({ name, file: 'd.ts', spec } as never);
const { INT64, STRING, DOUBLE } = FieldType;

const entityOf = (name: string, joinKeys: Readonly<Record<string, definitions.FieldType>>) =>
  define(name, {
    $case: 'entity',
    value: { joinKeys: Object.entries(joinKeys).map(([key, type]) => ({ name: key, type })) },
  });
const lifetime = { kind: { $case: 'lifetime' as const, value: {} } };
const last = (name: string) => ({ name, function: AggregationFunction.LAST, field: name, window: lifetime });
const list = { name: 'tails', function: AggregationFunction.LAST_N, field: 'tail', n: 3, window: lifetime };
const viewOf = (name: string, entity: string, features: readonly object[]) =>
  define(name, {
    $case: 'featureView',
    value: definitions.FeatureView.fromPartial({ entity, source: 'events', features } as never),
  });
const base = [
  entityOf('flight', { flight: INT64 }),
  entityOf('aircraft', { tail: STRING }),
  entityOf('seat', { tail: STRING, row: INT64 }),
  define('events', {
    $case: 'source',
    value: definitions.Source.fromPartial({
      fields: [
        ...[INT64, STRING, INT64, DOUBLE].map((type, at) => ({
          name: ['flight', 'tail', 'row', 'fee'][at] ?? '',
          type,
        })),
        { name: 'next', type: STRING, nullable: true },
      ],
    }),
  }),
  viewOf('flights', 'flight', [last('tail'), last('fee'), last('row'), list]),
  viewOf('aircrafts', 'aircraft', [last('fee'), last('next')]),
  viewOf('seats', 'seat', [last('fee')]),
];

const from = (view: string, feature: string, alias: string, through: Readonly<Record<string, string>> = {}) => ({
  ...{ view, feature, alias },
  through: Object.entries(through).map(([joinKey, given]) => ({ joinKey, from: given })),
});
const tail = from('flights', 'tail', 'tail');

function planned(features: readonly object[], changes: object = {}) {
  const value = definitions.FeatureService.fromPartial({ features, ...changes } as never);
  return makePlan(emptySnapshot, {}, [...base, define('trip', { $case: 'featureService', value })], []);
}
const problemsOf = (features: readonly object[], changes: object = {}) =>
  planned(features, changes).problems.map(({ field, message }) => `${field}: ${message}`);

test('lookups go through features, derived features, request fields and join keys, up to three deep', () => {
  const features = [
    tail,
    from('aircrafts', 'next', 'next', { tail: 'tail' }),
    from('aircrafts', 'next', 'after', { tail: 'next' }),
    from('aircrafts', 'fee', 'fee', { tail: 'after' }),
    from('seats', 'fee', 'seat_fee', { tail: 'named', row: 'row' }),
    from('seats', 'fee', 'own_fee', { tail: 'note', row: 'flight' }),
  ];
  const derived = [{ name: 'named', expression: 'tail + "x"', description: '' }];
  const requestFields = [
    { name: 'note', type: STRING },
    { name: 'row', type: INT64 },
  ];
  expect(problemsOf(features, { derived, requestFields })).toEqual([]);
});

test('everything that is wrong with lookups is told at once', () => {
  const problems = problemsOf([
    tail,
    from('flights', 'fee', 'fee'),
    { ...from('flights', 'tails', 'tails') },
    from('aircrafts', 'fee', 'a', { tail: 'fee' }),
    from('aircrafts', 'fee', 'b', { tail: 'tial' }),
    from('aircrafts', 'fee', 'c', { number: 'tail' }),
    from('seats', 'fee', 'd', { tail: 'tail' }),
    from('aircrafts', 'fee', 'e', { tail: 'tails' }),
    from('aircrafts', 'fee', 'f', { tail: 'as_of' }),
  ]);
  expect(problems).toEqual([
    expect.stringMatching(
      /features\.3\.through\.tail: join key "tail" is STRING and "fee" is DOUBLE; look it up through a STRING/,
    ),
    expect.stringMatching(/features\.4\.through\.tail: the service has no "tial"; .*there are tail, fee, tails, a, b/),
    expect.stringMatching(
      /features\.5\.through\.number: entity "aircraft" has no join key "number"; join keys: "tail" \(STRING\)/,
    ),
    expect.stringMatching(
      /features\.5\.through: entity "aircraft" is looked up by "tail" \(STRING\), and nothing gives "tail"/,
    ),
    expect.stringMatching(/features\.6\.through: .*nothing gives "row"/),
    expect.stringMatching(/features\.7\.through\.tail: join key "tail" is STRING and "tails" is STRING\[\]/),
    expect.stringMatching(/features\.8\.through\.tail: join key "tail" is STRING and "as_of" is TIMESTAMP/),
  ]);
});

test('a chain that is too long is refused by name, and so is a circle', () => {
  const chain = ['next', 'n2', 'n3', 'n4'].map((name, at, all) =>
    from('aircrafts', 'next', name, { tail: at === 0 ? 'tail' : (all[at - 1] ?? '') }),
  );
  expect(problemsOf([tail, ...chain])).toEqual([
    expect.stringMatching(
      /features\.4\.through: "n4" is 4 lookups deep: through "n3" through "n2" through "next" through "tail"; the limit is 3/,
    ),
  ]);
  const round = [tail, from('aircrafts', 'next', 'x', { tail: 'y2' }), from('aircrafts', 'next', 'y', { tail: 'x' })];
  const derived = [{ name: 'y2', expression: 'y + ""', description: '' }];
  expect(problemsOf(round, { derived })).toEqual([
    expect.stringMatching(/features\.1\.through: lookups go round in a circle: "x" through "y" through "x"; break it/),
  ]);
});

test('a version is that of the lookups too, whatever their order, and of a service without any what it was', () => {
  const versionOf = (features: readonly object[]) =>
    planned(features, { requestFields: [{ name: 'r', type: INT64 }] }).changes.find(({ name }) => name === 'trip')
      ?.newVersion;
  const seat = (through: Readonly<Record<string, string>>) => [tail, from('seats', 'fee', 'fee', through)];
  expect(versionOf(seat({ tail: 'tail', row: 'r' }))).toBe(versionOf(seat({ row: 'r', tail: 'tail' })));
  expect(versionOf(seat({ tail: 'tail', row: 'r' }))).not.toBe(versionOf(seat({ tail: 'tail', row: 'flight' })));
  const plain = { view: 'flights', feature: 'tail', viewVersion: '0123456789ab' };
  const { changes } = makePlan(
    emptySnapshot,
    {},
    [
      ...base,
      define('p', { $case: 'featureService', value: definitions.FeatureService.fromPartial({ features: [plain] }) }),
    ],
    [],
  );
  const before = { features: [{ ...plain, alias: '', maxAgeUs: 0n, staleAction: 0 }] };
  expect(changes.find(({ name }) => name === 'p')?.newVersion).toBe(
    contentVersion({ $case: 'featureService', value: before }),
  );
});
