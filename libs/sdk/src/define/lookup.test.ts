import { expect, test } from 'vitest';
import {
  allFeatures,
  entity,
  feature,
  featureService,
  featureView,
  lifetime,
  lookup,
  source,
  string,
} from './index.ts';
import { parseYamlDefinitions } from './yaml.ts';

const events = source('events', { fields: { flight: string(), tail: string(), carrier: string() } });
const flights = featureView('flights', {
  entity: entity('flight', { joinKeys: { flight: 'STRING' } }),
  source: events,
  features: (of) => ({ last_tail: of.last('tail', { window: lifetime() }) }),
});
const aircraft = featureView('aircraft', {
  entity: entity('aircraft', { joinKeys: { tail: 'STRING' } }),
  source: events,
  features: (of) => ({ n: of.count({ window: lifetime() }), carrier: of.last('carrier', { window: lifetime() }) }),
});

function referencesOf(spec: { readonly definition: { readonly spec?: unknown } }) {
  const { value } = spec.definition.spec as { value: { features: Parameters<typeof shown>[0][] } };
  return value.features.map(shown);
}
const shown = (each: {
  readonly feature: string;
  readonly alias: string;
  readonly hidden: boolean;
  readonly through: readonly { readonly joinKey: string; readonly from: string }[];
}) => [
  each.feature,
  each.alias,
  each.hidden,
  Object.fromEntries(each.through.map(({ joinKey, from }) => [joinKey, from])),
];

test('a lookup reads the feature that gives its key where the service does not, and knows one that was looked up', () => {
  const trip = featureService('trip', {
    features: [
      lookup({ through: { tail: feature(flights, 'last_tail') }, as: 'plane', features: [allFeatures(aircraft)] }),
      lookup({ through: { tail: feature(aircraft, 'carrier') }, features: [feature(aircraft, 'n', { as: 'other' })] }),
    ],
  });
  expect(referencesOf(trip)).toEqual([
    ['last_tail', '', true, {}],
    ['n', 'plane__n', false, { tail: 'flights__last_tail' }],
    ['carrier', 'plane__carrier', false, { tail: 'flights__last_tail' }],
    ['n', 'other', false, { tail: 'plane__carrier' }],
  ]);
  const own = featureService('own', {
    features: [
      feature(flights, 'last_tail', { as: 'tail' }),
      lookup({ through: { tail: feature(flights, 'last_tail', { as: 'tail' }) }, features: [feature(aircraft, 'n')] }),
    ],
  });
  expect(referencesOf(own)).toEqual([
    ['last_tail', 'tail', false, {}],
    ['n', '', false, { tail: 'tail' }],
  ]);
});

test('YAML says the same, for one feature or several', () => {
  const text = `kind: feature_service
name: trip
features:
  - { view: flights, feature: last_tail, as: tail, hidden: true }
  - { view: aircraft, feature: n, as: flown, through: { tail: tail } }
  - through: { tail: tail }
    as: plane
    features: ["aircraft:carrier", { view: aircraft, feature: n, default: 0 }]
`;
  const [definition] = parseYamlDefinitions(text, 'trip.yaml');
  expect(referencesOf({ definition: definition as never })).toEqual([
    ['last_tail', 'tail', true, {}],
    ['n', 'flown', false, { tail: 'tail' }],
    ['carrier', 'plane__carrier', false, { tail: 'tail' }],
    ['n', 'plane__n', false, { tail: 'tail' }],
  ]);
});
