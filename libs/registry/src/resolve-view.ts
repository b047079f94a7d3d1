import { definitions } from '@millrace/contracts';
import {
  type AggregationFunction,
  type FeatureDefinition,
  type FieldType,
  type Operand,
  type SourceField,
  type ViewDefinition,
  vectorType,
  type WindowSpec,
} from '@millrace/features';
import { contentVersion } from '@millrace/kernel';

const fieldTypes: Readonly<Partial<Record<definitions.FieldType, FieldType>>> = {
  [definitions.FieldType.BOOL]: 'BOOL',
  [definitions.FieldType.INT64]: 'INT64',
  [definitions.FieldType.DOUBLE]: 'DOUBLE',
  [definitions.FieldType.STRING]: 'STRING',
  [definitions.FieldType.TIMESTAMP]: 'TIMESTAMP',
};

const functions: Readonly<Partial<Record<definitions.AggregationFunction, AggregationFunction>>> = {
  [definitions.AggregationFunction.COUNT]: 'count',
  [definitions.AggregationFunction.SUM]: 'sum',
  [definitions.AggregationFunction.MEAN]: 'mean',
  [definitions.AggregationFunction.MIN]: 'min',
  [definitions.AggregationFunction.MAX]: 'max',
  [definitions.AggregationFunction.VARIANCE]: 'variance',
  [definitions.AggregationFunction.STDDEV]: 'stddev',
  [definitions.AggregationFunction.FIRST]: 'first',
  [definitions.AggregationFunction.LAST]: 'last',
  [definitions.AggregationFunction.RATE]: 'rate',
  [definitions.AggregationFunction.DISTINCT]: 'distinct',
  [definitions.AggregationFunction.PERCENTILE]: 'percentile',
  [definitions.AggregationFunction.ENTROPY]: 'entropy',
  [definitions.AggregationFunction.AGE]: 'age',
  [definitions.AggregationFunction.DECAYED_SUM]: 'decayed_sum',
  [definitions.AggregationFunction.DECAYED_COUNT]: 'decayed_count',
  [definitions.AggregationFunction.DECAYED_MEAN]: 'decayed_mean',
  [definitions.AggregationFunction.LAST_N]: 'last_n',
  [definitions.AggregationFunction.FIRST_N]: 'first_n',
  [definitions.AggregationFunction.LAST_DISTINCT_N]: 'last_distinct_n',
  [definitions.AggregationFunction.FIRST_DISTINCT_N]: 'first_distinct_n',
  [definitions.AggregationFunction.TOP_K]: 'top_k',
  [definitions.AggregationFunction.HISTOGRAM]: 'histogram',
  [definitions.AggregationFunction.RATIO]: 'ratio',
  [definitions.AggregationFunction.ZSCORE]: 'zscore',
  [definitions.AggregationFunction.TREND]: 'trend',
  [definitions.AggregationFunction.CHANGE]: 'change',
};

/** Undefined for UNSPECIFIED, and for VECTOR, which is a type of a source's fields alone. */
export function fieldTypeOf(type: definitions.FieldType): FieldType | undefined {
  return fieldTypes[type];
}

/** Undefined for UNSPECIFIED. */
export function functionOf(fn: definitions.AggregationFunction): AggregationFunction | undefined {
  return functions[fn];
}

/** The fields of a source in the words of libs/features. */
export function sourceFieldsOf(source: definitions.Source): SourceField[] {
  return source.fields.map(({ name, type, nullable, defaultValue, dimension }): SourceField => {
    const value = defaultValue?.kind?.value;
    if (type === definitions.FieldType.VECTOR) return { name, type: vectorType(dimension), nullable };
    const field = { name, type: fieldTypeOf(type) ?? 'STRING', nullable };
    if (value === undefined) return field;
    return { ...field, default: typeof value === 'bigint' ? plainInteger(value) : value };
  });
}

function plainInteger(value: bigint): number | string {
  return Number.isSafeInteger(Number(value)) ? Number(value) : value.toString();
}

/**
 * A view with everything that its values depend on: join keys, the fields that it uses, its features. The version is the hash of that, so a
 * field that is added to the source, an owner or a description changes nothing. Unspecified enums must have been refused before.
 */
export function resolveView(
  name: string,
  spec: definitions.FeatureView,
  entity: definitions.Entity,
  source: definitions.Source,
): ViewDefinition {
  const joinKeys = entity.joinKeys.map((key) => ({
    name: key.name,
    type: fieldTypeOf(key.type) ?? 'STRING',
    field: spec.keys.find(({ joinKey }) => joinKey === key.name)?.field || key.name,
  }));
  const features = spec.features.map(featureOf);
  const derived =
    spec.derived.length === 0
      ? {}
      : { derived: spec.derived.map((each) => ({ name: each.name, expression: each.expression })) };
  const used = new Set([
    ...joinKeys.map(({ field }) => field),
    ...features
      .flatMap((feature) => [feature, feature.numerator ?? [], feature.denominator ?? []].flat())
      .flatMap(({ field, filter, input = '' }) => [field, ...identifiers(filter), ...identifiers(input)]),
  ]);
  const changes = source.changes === definitions.Changes.UPSERT ? { changes: 'upsert' as const } : {};
  const fields = sourceFieldsOf(source).filter((field) => used.has(field.name));
  const valueAffecting = {
    entity: spec.entity,
    source: spec.source,
    eventTimeField: source.eventTimeField,
    joinKeys,
    fields,
    features,
    ...changes,
    ...derived,
  };
  return {
    name,
    version: contentVersion(valueAffecting),
    entity: spec.entity,
    joinKeys,
    source: spec.source,
    ...changes,
    fields,
    features,
    ...derived,
  };
}

/** More than an expression's names (words in its texts too): a field too many in a view does no harm, one too few does. */
function identifiers(expression: string): string[] {
  return expression.match(/[A-Za-z_]\w*/g) ?? [];
}

function featureOf(feature: definitions.AggregatedFeature): FeatureDefinition {
  const of = functionOf(feature.of);
  return {
    name: feature.name,
    function: functionOf(feature.function) ?? 'count',
    field: feature.field,
    ...(feature.input === '' ? {} : { input: feature.input }),
    window: windowOf(feature.window),
    filter: feature.filter,
    ddof: feature.ddof ?? 1,
    ...(feature.quantile === undefined ? {} : { quantile: feature.quantile }),
    ...(feature.halfLifeUs === 0n ? {} : { halfLifeUs: Number(feature.halfLifeUs) }),
    ...(feature.n === 0 ? {} : { n: feature.n }),
    ...(feature.edges.length === 0 ? {} : { edges: feature.edges }),
    ...(feature.numerator === undefined ? {} : { numerator: operandOf(feature.numerator) }),
    ...(feature.denominator === undefined ? {} : { denominator: operandOf(feature.denominator) }),
    ...(of === undefined ? {} : { of }),
    ...offsetOf(feature.offsetUs),
  };
}

function operandOf(operand: definitions.Operand): Operand {
  return {
    function: functionOf(operand.function) ?? 'count',
    field: operand.field,
    ...(operand.input === '' ? {} : { input: operand.input }),
    filter: operand.filter,
    ddof: operand.ddof ?? 1,
    ...(operand.quantile === undefined ? {} : { quantile: operand.quantile }),
  };
}

/** Nothing when it is 0: a view without offsets keeps the version that it had before there were any. */
function offsetOf(offsetUs: bigint): { readonly offsetUs?: number } {
  return offsetUs === 0n ? {} : { offsetUs: Number(offsetUs) };
}

function windowOf(window: definitions.Window | undefined): WindowSpec {
  const kind = window?.kind;
  switch (kind?.$case) {
    case 'sliding':
      return {
        t: 'sliding',
        sizeUs: Number(kind.value.sizeUs),
        hopUs: Number(kind.value.hopUs),
        ...offsetOf(kind.value.offsetUs),
      };
    case 'tumbling':
      return { t: 'tumbling', sizeUs: Number(kind.value.sizeUs), ...offsetOf(kind.value.offsetUs) };
    case 'session':
      return { t: 'session', gapUs: Number(kind.value.gapUs) };
    case 'lifetime':
    case undefined:
      return { t: 'lifetime' };
    default:
      return kind satisfies never;
  }
}
