import { expect, expectTypeOf, test } from 'vitest';
import {
  allFeatures,
  cel,
  double,
  entity,
  type FieldOf,
  feature,
  featureService,
  featureView,
  model,
  parseYamlDefinitions,
  sliding,
  source,
  string,
  tumbling,
} from './index.ts';

const clicks = source('clicks', {
  fields: { user: string(), amount: double({ min: 0 }), note: string({ nullable: true }) },
  key: 'user',
});
const user = entity('user', { joinKeys: { user: 'STRING' } });
const spend = featureView('spend', {
  owner: 'growth',
  entity: user,
  source: clicks,
  features: (of) => ({
    clicks_1h: of.count({ window: sliding('1h') }),
    clicks_rate: of.rate({ window: sliding('1h') }),
    spend_rate: of.rate({ field: 'amount', window: sliding('1h') }),
    clicks_last_week: of.count({ window: sliding('1d', { offset: '7d' }) }),
    clicks_day_before: of.count({ window: tumbling('1d', { offset: '1d' }) }),
    net_1h: of.mean(cel('amount * 0.8'), { window: sliding('1h') }),
    spend_7d: of.sum('amount', { window: sliding('7d', { hop: '6h' }), filter: 'amount > 1.0' }),
  }),
});

test('a field that the source does not have does not compile', () => {
  expectTypeOf<FieldOf<typeof clicks.fields, 'DOUBLE'>>().toEqualTypeOf<'amount'>();
  featureView('bad', {
    entity: user,
    source: clicks,
    features: (of) => {
      // @ts-expect-error: there is no field "amuont"
      of.sum('amuont', { window: sliding('1h') });
      // @ts-expect-error: a text has no mean
      of.mean('note', { window: sliding('1h') });
      return {};
    },
  });
  // @ts-expect-error: the view has no feature "spend_1y"
  feature(spend, 'spend_1y');
  expect(spend.featureNames).toEqual([
    'clicks_1h',
    'clicks_rate',
    'spend_rate',
    'clicks_last_week',
    'clicks_day_before',
    'net_1h',
    'spend_7d',
  ]);
});

test('TypeScript and YAML give the same definitions', () => {
  const service = featureService('ranking', {
    features: [
      allFeatures(spend),
      feature(spend, 'clicks_1h', { as: 'clicks', default: 0, maxAge: '10m', whenStale: 'default' }),
    ],
  });
  const yaml = `
kind: source
name: clicks
fields:
  user: STRING
  amount: { type: DOUBLE, min: 0 }
  note: { type: STRING, nullable: true }
key: user
---
kind: entity
name: user
join_keys: { user: STRING }
---
kind: feature_view
name: spend
owner: growth
entity: user
source: clicks
features:
  clicks_1h: { function: count, window: 1h }
  clicks_rate: { function: rate, window: 1h }
  spend_rate: { function: rate, field: amount, window: 1h }
  clicks_last_week: { function: count, window: { sliding: 1d, offset: 7d } }
  clicks_day_before: { function: count, window: { tumbling: 1d, offset: 1d } }
  net_1h: { function: mean, input: amount * 0.8, window: 1h }
  spend_7d: { function: sum, field: amount, window: { sliding: 7d, hop: 6h }, filter: amount > 1.0 }
---
kind: feature_service
name: ranking
features:
  - spend:clicks_1h
  - spend:clicks_rate
  - spend:spend_rate
  - spend:clicks_last_week
  - spend:clicks_day_before
  - spend:net_1h
  - { view: spend, feature: spend_7d }
  - { view: spend, feature: clicks_1h, as: clicks, default: 0, max_age: 10m, when_stale: default }
---
kind: model
name: fraud
format: custom
uri: fraud.ts
sha256: ab
custom: { memory_mib: 64, predict_timeout: 50ms, processes: 2, parameters: { a: b }, files: { w: { uri: w.json, sha256: cd } } }
---
kind: model
name: far
format: remote
uri: grpc://triton:8001/fraud/3
remote: { timeout: 1s, calls_max: 4, batching: { rows_max: 8 }, retries_max: 0, inputs: [{ name: x, datatype: FP32, shape: [-1, 2] }] }
`;
  const far = model('far', {
    format: 'remote',
    uri: 'grpc://triton:8001/fraud/3',
    remote: {
      timeout: '1s',
      callsMax: 4,
      batching: { rowsMax: 8 },
      retriesMax: 0,
      inputs: [{ name: 'x', datatype: 'FP32', shape: [-1, 2] }],
    },
  });
  const fraud = model('fraud', {
    format: 'custom',
    uri: 'fraud.ts',
    sha256: 'ab',
    custom: {
      memoryMib: 64,
      predictTimeout: '50ms',
      processes: 2,
      parameters: { a: 'b' },
      files: { w: { uri: 'w.json', sha256: 'cd' } },
    },
  });
  const inTypeScript = [clicks, user, spend, service, fraud, far].map(({ definition }) => ({
    ...definition,
    file: 'clicks.yaml',
  }));
  expect(normal(parseYamlDefinitions(yaml, 'clicks.yaml'))).toEqual(normal(inTypeScript));
});

test('a broken YAML text is refused with every problem at once, each naming file, definition and field', () => {
  const yaml =
    'kind: source\nname: clicks\nfields: { user: TEXT }\npartitons: 3\n---\nkind: feature_view\nname: spend\nentity: user\nsource: clicks\nfeatures: { a: { function: median, window: 1 fortnight } }\n';
  expect(() => parseYamlDefinitions(yaml, 'clicks.yaml')).toThrow(
    /clicks\.yaml: source "clicks": fields\.user[\s\S]*partitons[\s\S]*feature_view "spend": features\.a\.function[\s\S]*features\.a\.window/,
  );
});

/** An unset stale action and SERVE mean the same. */
function normal(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value, (_key, member) => (typeof member === 'bigint' ? String(member) : member)));
}

test('a model names its golden file in YAML as in TypeScript', () => {
  const sha256 = 'ab'.repeat(32);
  const yaml = `{kind: model, name: fraud, owner: risk, uri: fraud.onnx, sha256: ${sha256}, golden: {uri: g.jsonl, sha256: ${sha256}}}`;
  const options = { owner: 'risk', uri: 'fraud.onnx', sha256, golden: { uri: 'g.jsonl', sha256 } };
  const { definition } = model('fraud', options);
  const [given] = parseYamlDefinitions(yaml, 'm.yaml');
  expect(given?.spec).toEqual(definition.spec);
  expect(definition.spec).toMatchObject({ value: { golden: options.golden } });
});
