import { definitions } from '@millrace/contracts';
import { emptySnapshot } from '@millrace/registry';
import { expect, test } from 'vitest';
import { catalogOf } from './catalog.ts';
import { validateModel, validateService } from './validate-consumers.ts';

const { AggregationFunction, FieldType } = definitions;
const lifetime: definitions.Window = { kind: { $case: 'lifetime', value: {} } };
const service = definitions.FeatureService.fromPartial({
  features: ['n', 'channels', 'channel'].map((feature) => ({ view: 'visits', feature })),
});
const define = (name: string, spec: object) => definitions.Definition.fromPartial({ name, spec } as never);
const catalog = catalogOf(
  emptySnapshot,
  [
    define('user', {
      $case: 'entity',
      value: definitions.Entity.fromPartial({ joinKeys: [{ name: 'user', type: FieldType.STRING }] }),
    }),
    define('visits', {
      $case: 'source',
      value: definitions.Source.fromPartial({
        fields: [
          { name: 'user', type: FieldType.STRING },
          { name: 'channel', type: FieldType.STRING },
        ],
      }),
    }),
    define('visits', {
      $case: 'featureView',
      value: definitions.FeatureView.fromPartial({
        entity: 'user',
        source: 'visits',
        features: [
          { name: 'n', function: AggregationFunction.COUNT, window: lifetime },
          { name: 'channels', function: AggregationFunction.LAST_N, field: 'channel', n: 3, window: lifetime },
          { name: 'channel', function: AggregationFunction.LAST, field: 'channel', window: lifetime },
        ],
      }),
    }),
    define('visits', { $case: 'featureService', value: service }),
  ],
  new Set(),
);

test('a model that would take a list or a text as a number is refused, with what to take instead', () => {
  const problems: string[] = [];
  const model = definitions.Model.fromPartial({
    format: 'onnx',
    uri: 'a.onnx',
    sha256: 'a'.repeat(64),
    featureService: 'visits',
    inputName: 'x',
    inputColumns: ['n', 'channels', 'channel'].map((name) => ({
      source: { $case: 'feature', value: `visits__${name}` },
    })),
  });
  validateModel(model, catalog, (path, problem) => problems.push(`${path}: ${problem}`));
  expect(problems).toEqual([
    expect.stringContaining(
      'input_columns.1: feature "visits__channels" is STRING[] and a model\'s vector holds numbers',
    ),
    expect.stringContaining('input_columns.2: feature "visits__channel" is STRING and'),
  ]);
});

test('a list has no default', () => {
  const problems: string[] = [];
  const features = service.features.map((feature) => ({
    ...feature,
    defaultValue: { kind: { $case: 'stringValue' as const, value: 'x' } },
  }));
  validateService({ ...service, features }, catalog, (path, problem) => problems.push(`${path}: ${problem}`));
  expect(problems).toEqual([
    expect.stringContaining('features.1: "visits__channels" is STRING[] and a list has no default'),
  ]);
});
