import { definitions } from '@millrace/contracts';
import { hourUs, source } from './compute-world.ts';

const { AggregationFunction, FieldType } = definitions;

export function define(name: string, spec: definitions.Definition['spec']): definitions.Definition {
  return { name, metadata: { owner: 'tests', description: name, tags: new Map() }, file: 'test', spec };
}

export const airport = define('airport', {
  $case: 'entity',
  value: { joinKeys: [{ name: 'code', type: FieldType.STRING }] },
});

export const arrivals = define(source, {
  $case: 'source',
  value: definitions.Source.fromPartial({
    fields: [
      { name: 'code', type: FieldType.STRING },
      { name: 'delay', type: FieldType.DOUBLE, nullable: true },
    ],
  }),
});

const sliding = (sizeUs: number): definitions.Window => ({
  kind: { $case: 'sliding', value: { sizeUs: BigInt(sizeUs), hopUs: 0n, offsetUs: 0n } },
});
const tumbling = (sizeUs: number, offsetUs = 0): definitions.Window => ({
  kind: { $case: 'tumbling', value: { sizeUs: BigInt(sizeUs), offsetUs: BigInt(offsetUs) } },
});
const lifetime: definitions.Window = { kind: { $case: 'lifetime', value: {} } };

/** Every function, every kind of window. */
export function delaysView(name: string, options: { readonly filter?: string } = {}): definitions.Definition {
  const features: [string, definitions.AggregationFunction, string, definitions.Window][] = [
    ['n_1h', AggregationFunction.COUNT, '', sliding(hourUs)],
    ['known_1h', AggregationFunction.COUNT, 'delay', sliding(hourUs)],
    ['mean_1h', AggregationFunction.MEAN, 'delay', sliding(hourUs)],
    ['sum_3h', AggregationFunction.SUM, 'delay', sliding(3 * hourUs)],
    ['max_3h', AggregationFunction.MAX, 'delay', sliding(3 * hourUs)],
    ['min_24h', AggregationFunction.MIN, 'delay', sliding(24 * hourUs)],
    ['sd_24h', AggregationFunction.STDDEV, 'delay', sliding(24 * hourUs)],
    ['var_hour', AggregationFunction.VARIANCE, 'delay', tumbling(hourUs)],
    ['rate_1h', AggregationFunction.RATE, 'delay', sliding(hourUs)],
    ['mean_hour_before', AggregationFunction.MEAN, 'delay', tumbling(hourUs, hourUs)],
    ['first_24h', AggregationFunction.FIRST, 'delay', sliding(24 * hourUs)],
    ['last_all', AggregationFunction.LAST, 'delay', lifetime],
    ['n_all', AggregationFunction.COUNT, '', lifetime],
  ];
  return define(name, {
    $case: 'featureView',
    value: definitions.FeatureView.fromPartial({
      entity: 'airport',
      source,
      features: features.map(([feature, fn, field, window]) => ({
        name: feature,
        function: fn,
        field,
        window,
        filter: options.filter ?? '',
      })),
    } as never),
  });
}

export function featureService(name: string, view: string, features: readonly string[]): definitions.Definition {
  return define(name, {
    $case: 'featureService',
    value: definitions.FeatureService.fromPartial({ features: features.map((feature) => ({ view, feature })) }),
  });
}
