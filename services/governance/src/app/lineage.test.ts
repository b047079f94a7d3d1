import { definitions } from '@millrace/contracts';
import type { ViewDefinition } from '@millrace/features';
import { emptySnapshot, type Registered, type RegistrySnapshot } from '@millrace/registry';
import { expect, test } from 'vitest';
import { createGetLineage, type PredictionGroup } from './lineage.ts';

function registered<S>(name: string, version: string, spec: S): [string, Registered<S>] {
  const metadata = definitions.Metadata.fromPartial({});
  return [name, { name, version, metadata, spec, createdUs: 1, previousVersions: [] }];
}

const { Source, FeatureView, FeatureService, Model, Deployment } = definitions;
const view = {
  name: 'spend',
  version: 'v2',
  entity: 'user',
  joinKeys: [{ name: 'user', type: 'STRING', field: 'who' }],
  source: 'clicks',
  fields: ['who', 'price', 'count', 'kind', 'paid'].map((name) => ({
    name,
    type: name === 'who' || name === 'kind' ? 'STRING' : 'DOUBLE',
    nullable: true,
  })),
  features: [
    {
      name: 'n',
      function: 'count',
      field: '',
      window: { t: 'lifetime' },
      filter: 'kind == "a" && paid > 0.0',
      ddof: 1,
    },
    {
      name: 'total',
      function: 'sum',
      field: '',
      input: 'price * count',
      window: { t: 'lifetime' },
      filter: '',
      ddof: 1,
    },
  ],
} as unknown as ViewDefinition;

const serviceOf = (...features: string[]) =>
  FeatureService.fromPartial({ features: features.map((feature) => ({ view: 'spend', viewVersion: 'v2', feature })) });
const snapshot: RegistrySnapshot = {
  ...emptySnapshot,
  sources: new Map([
    registered('clicks', 's1', Source.fromPartial({ fields: view.fields.map(({ name }) => ({ name })) })),
    registered('outcomes', 's1', Source.fromPartial({ fields: [] })),
  ]),
  views: new Map([registered('spend', 'v2', FeatureView.fromPartial({ source: 'clicks' }))]),
  resolvedViews: new Map([['spend@v2', view]]),
  services: new Map([registered('spend', 'f2', serviceOf('n', 'total'))]),
  models: new Map([
    registered('fraud', 'm2', Model.fromPartial({ featureService: 'spend', outcome: { source: 'outcomes' } })),
  ]),
  deployments: new Map([registered('live', 'd1', Deployment.fromPartial({ targets: [{ model: 'fraud' }] }))]),
};

const old: PredictionGroup = {
  deployment: 'live',
  model: 'fraud',
  modelVersion: 'm1',
  featureService: 'spend',
  featureServiceVersion: 'f1',
  count: 7,
  firstUs: 1e6,
  lastUs: 2e6,
};

function open(groups: () => Promise<PredictionGroup[]> = async () => [old]) {
  return createGetLineage({
    registry: {
      read: async () => ({ snapshot, manifest: {}, revision: 1 }),
      get: async (kind) =>
        kind === 'model'
          ? registered('fraud', 'm1', Model.fromPartial({ featureService: 'spend' }))[1]
          : registered('spend', 'f1', serviceOf('n'))[1],
    },
    predictions: { groups, find: async (id) => (id === 'p1' ? old : undefined) },
  });
}

test('a feature is made of the fields of its input expression, of its filter, and of its join keys', async () => {
  const { edges, node } = await open()({ node: 'feature:spend.total', directions: ['up'], depth: 16 });
  expect(node).toMatchObject({ kind: 'feature', name: 'spend.total', version: 'v2' });
  expect(edges.filter(({ to }) => to === 'feature:spend.total')).toEqual(
    expect.arrayContaining([
      { from: 'field:clicks.price', to: 'feature:spend.total', how: 'input' },
      { from: 'field:clicks.count', to: 'feature:spend.total', how: 'input' },
      { from: 'field:clicks.who', to: 'feature:spend.total', how: 'join key' },
    ]),
  );
  const filtered = await open()({ node: 'feature:spend.n', directions: ['up'], depth: 1 });
  expect(filtered.edges.filter(({ how }) => how === 'filter').map(({ from }) => from)).toEqual([
    'field:clicks.kind',
    'field:clicks.paid',
  ]);
  expect(filtered.truncated).toBe(true);
});

test('downstream of a field lie features, feature services, models, deployments and predictions', async () => {
  const { nodes, truncated } = await open()({ node: 'clicks.price', directions: ['down'], depth: 16 });
  expect(nodes.map(({ id }) => id)).toEqual(
    expect.arrayContaining(['feature:spend.total', 'feature_service:spend', 'model:fraud', 'deployment:live']),
  );
  expect(nodes.some(({ id }) => id === 'feature:spend.n')).toBe(false);
  expect(truncated).toBe(false);
});

test('derived features lie between the features that they use and the feature service', async () => {
  const derivedView = { ...view, derived: [{ name: 'mean', expression: 'total / n' }] };
  const spec = FeatureService.fromPartial({
    features: [{ view: 'spend', viewVersion: 'v2', feature: 'mean', alias: 'mean' }],
    derived: [{ name: 'odd', expression: 'mean > limit', description: '' }],
    requestFields: [{ name: 'limit', type: definitions.FieldType.DOUBLE }],
  });
  const derived = {
    ...snapshot,
    resolvedViews: new Map([['spend@v2', derivedView]]),
    services: new Map([registered('spend', 'f2', spec)]),
  };
  const getLineage = createGetLineage({
    registry: { read: async () => ({ snapshot: derived, manifest: {}, revision: 1 }), get: async () => undefined },
    predictions: { groups: async () => [], find: async () => undefined },
  });
  const { edges } = await getLineage({ node: 'feature_service:spend', directions: ['up'], depth: 16 });
  expect(edges).toEqual(
    expect.arrayContaining([
      { from: 'feature:spend.total', to: 'feature:spend.mean', how: 'expression' },
      { from: 'feature:spend.mean', to: 'derived_feature:spend.odd', how: 'expression' },
      { from: 'request_field:spend.limit', to: 'derived_feature:spend.odd', how: 'expression' },
      { from: 'derived_feature:spend.odd', to: 'feature_service:spend', how: 'feature' },
      { from: 'field:clicks.price', to: 'feature:spend.total', how: 'input' },
    ]),
  );
});

test('a prediction leads to the versions that made it, also when they are no longer current', async () => {
  const { nodes, edges } = await open()({ node: 'prediction:p1', directions: ['up'], depth: 16 });
  expect(nodes.map(({ id }) => id)).toEqual(expect.arrayContaining(['model:fraud@m1', 'feature_service:spend@f1']));
  // the service had one feature then
  const features = edges.filter(({ to }) => to === 'feature_service:spend@f1');
  expect(features.map(({ from }) => from)).toEqual(['feature:spend.n']);
});

test('a name that may be several is refused with what it may be, and one that is none with what is like it', async () => {
  const ask = (node: string) => open()({ node, directions: ['up'], depth: 16 });
  await expect(ask('spend')).rejects.toThrow(/feature_view:spend or feature_service:spend/);
  await expect(ask('feature:spend.tot')).rejects.toThrow(/did you mean feature:spend.total/);
  await expect(ask('prediction:p2')).rejects.toMatchObject({ reason: 'UNKNOWN_DEFINITION' });
});

test('while predictions cannot be looked at, the rest is told and a note says so', async () => {
  const away = open(async () => {
    throw new Error('no answer');
  });
  const { notes, nodes } = await away({ node: 'model:fraud', directions: ['up', 'down'], depth: 16 });
  expect(notes[0]).toContain('no answer');
  expect(nodes.map(({ id }) => id)).toContain('field:clicks.price');
});

test('what gives a lookup its key is told from what is answered', async () => {
  const spec = FeatureService.fromPartial({
    features: [
      { view: 'spend', viewVersion: 'v2', feature: 'n', alias: 'n', hidden: true },
      { view: 'spend', viewVersion: 'v2', feature: 'total', through: [{ joinKey: 'user', from: 'key' }] },
    ],
    derived: [{ name: 'key', expression: 'string(n)', description: '' }],
  });
  const lookedUp = { ...snapshot, services: new Map([registered('spend', 'f2', spec)]) };
  const getLineage = createGetLineage({
    registry: { read: async () => ({ snapshot: lookedUp, manifest: {}, revision: 1 }), get: async () => undefined },
    predictions: { groups: async () => [], find: async () => undefined },
  });
  const { edges } = await getLineage({ node: 'feature_service:spend', directions: ['up'], depth: 2 });
  expect(edges).toEqual(
    expect.arrayContaining([
      { from: 'feature:spend.total', to: 'feature_service:spend', how: 'feature' },
      { from: 'derived_feature:spend.key', to: 'feature_service:spend', how: 'lookup key' },
      { from: 'feature:spend.n', to: 'derived_feature:spend.key', how: 'expression' },
    ]),
  );
});
